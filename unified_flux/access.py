"""The way to one provider: over HTTP with its key, or to its emulator in this process."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from unified_flux import config as configuration, registry
from unified_flux.adapter import Adapter
from unified_flux.addresses import is_loopback
from unified_flux.config import Config
from unified_flux.journal import Journal
from unified_flux.secret import SANDBOX_PREFIX, Secret
from unified_flux.settings import Network
from unified_flux.spool import Spool
from unified_flux.transports.signing import Signer
from unified_flux.wire import WireRequest, WireResponse
from unified_flux.world import Transport

_DAY = 86_400.0
_MB = 1_000_000


def open_journal(config: Config) -> Journal | None:
    """The journal as the settings want it, None where it is turned off; nothing is opened yet."""
    if not config.get("journal.enabled"):
        return None
    return Journal(
        config.queue or config.home,
        store_prompts=config.get("journal.store_prompts"),
        wait=config.get("journal.wait"),
        throttles=config.throttles,
        held_for=config.get("timeout"),
        lease=config.get("lease"),
    )


def answers_here(adapter: Adapter, config: Config) -> bool:
    """Whether the configured address and key are those of a sandbox on this machine."""
    key = config.key(adapter.name)
    local = is_loopback(urlsplit(adapter.base).hostname or "")
    return local and key is not None and key.for_sandbox


@dataclass(frozen=True)
class Access:
    """How one client reaches its provider: a transport that is made when it is first needed.

    Attributes:
        emulated: Whether the provider's emulator answers, in this process.
    """

    adapter: Adapter
    config: Config
    spool: Spool
    emulated: bool
    _mark: str = field(default_factory=lambda: secrets.token_hex(8))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _purged: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def sandbox(self) -> bool:
        """Whether an emulator answers, in this process or behind a local port."""
        return self.emulated or answers_here(self.adapter, self.config)

    @property
    def place(self) -> str:
        """Where jobs live that are made through it: no other place knows them."""
        return f"emulator {self._mark}" if self.emulated else self.adapter.base

    def purge_spool(self, spared: Callable[[], Container[str]]) -> None:
        """Remove old pictures, and the oldest of too many, but for those that are `spared`.

        Once in this object's life: a full spool takes a while to look through.
        """
        if self._purged.is_set():
            return
        self._purged.set()
        days, most = self.config.get("spool_days"), self.config.get("spool_mb")
        self.spool.purge(days * _DAY, most * _MB, spared())

    @cached_property
    def key_mark(self) -> str | None:
        """Tells two keys apart and gives neither away; None where there is none."""
        key = self.config.key(self.adapter.name)
        if key is None or self.emulated:
            return None
        return hashlib.sha256(f"unified-flux {key.reveal()}".encode()).hexdigest()[:8]

    @property
    def transport(self) -> Transport:
        """Raises MissingKey where a key is needed and not there."""
        # One for all threads: each emulator has jobs of its own.
        with self._lock:
            return self._transport

    @cached_property
    def _transport(self) -> Transport:
        return self._emulated() if self.emulated else self._http()

    def check_key(self) -> None:
        """Raises MissingKey where a key is needed and not there."""
        _ = self.transport

    def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
        """Make one exchange; see `unified_flux.world.Transport`."""
        return self.transport.send(request, within)

    def close(self) -> None:
        """Close connections."""
        if "_transport" in self.__dict__:
            self._transport.close()

    def _http(self) -> Transport:
        from unified_flux.transports.http import HttpTransport

        signer = Signer(self.adapter, self.config.secret(self.adapter.name))
        bundle, proxies = configuration.network_environment()
        network = Network(
            connect_timeout=self.config.get("connect_timeout"),
            read_timeout=self.config.get("read_timeout"),
            ca_bundle=bundle,
            proxies=proxies,
        )
        return HttpTransport(signer, self.spool, network)

    def _emulated(self) -> Transport:
        from unified_flux.transports.emulated import EmulatedTransport

        secret = Secret(f"{SANDBOX_PREFIX}{secrets.token_hex(16)}", "the sandbox's key")
        emulator = registry.emulator_class(self.adapter.name)(key=secret.reveal())
        signer = Signer(self.adapter, secret)
        return EmulatedTransport(emulator, signer, self.spool, self.config.get("read_timeout"))
