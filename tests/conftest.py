"""What every test starts from: an empty folder, no keys, and no way out to the network."""

from __future__ import annotations

import io
import ipaddress
import logging
import os
import secrets
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres import Postgres, programs

from unified_flux import registry
from unified_flux.sandbox.server import SandboxServer, new_key
from unified_flux.settings import variable

# A distribution of its own, whose tests want it installed: test_extending.py sees to that.
collect_ignore = ["example_plugin"]
_real_connect = socket.socket.connect
_real_getaddrinfo = socket.getaddrinfo


def _is_local(host: Any) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"localhost", None}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections and names beyond this machine fail at once."""

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not _is_local(address[0]):
            raise AssertionError(f"a test reached for {address}")
        _real_connect(self, address)

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise socket.gaierror(socket.EAI_NONAME, "no name is resolved in tests")
        return _real_getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole run, stevedore's among others."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def clean_place(tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder and an environment without keys, settings or proxies."""
    prefixes = [f"{variable(name)}_" for name in registry.names()]
    for name in os.environ:
        foreign = name.upper().endswith(("_PROXY", "_CA_BUNDLE"))
        if foreign or name.startswith(("UNIFIED_FLUX_", "XDG_", *prefixes)):
            monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    monkeypatch.setenv("UNIFIED_FLUX_HOME", str(tmp_path / "data"))
    log = logging.getLogger("unified_flux")
    for name, value in (("handlers", []), ("propagate", True), ("level", logging.NOTSET)):
        monkeypatch.setattr(log, name, value)


@pytest.fixture
def served() -> Iterator[SandboxServer]:
    """All emulators behind a port of this machine."""
    key = new_key()
    emulators = {name: registry.emulator_class(name)(key=key) for name in registry.names()}
    with SandboxServer(emulators, key=key) as server:
        yield server


@pytest.fixture
def configured(served: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> SandboxServer:
    """The same, with keys and addresses in the environment."""
    for name, url in served.providers.items():
        monkeypatch.setenv(f"{name.upper()}_API_KEY", served.key)
        monkeypatch.setenv(f"{name.upper()}_BASE_URL", url)
    return served


def png(width: int = 64, height: int = 48, filler: int = 0) -> bytes:
    """A whole PNG of one grey; `filler` adds that many bytes in a private chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            chunk(b"prVt", bytes(filler)) if filler else b"",
            chunk(b"IDAT", rows),
            chunk(b"IEND", b""),
        ]
    )


@pytest.fixture(name="make_png")
def make_png_fixture() -> Callable[..., bytes]:
    """The maker of small pictures."""
    return png


@pytest.fixture
def jpeg() -> bytes:
    """A small whole JPEG."""
    from PIL import Image

    kept = io.BytesIO()
    Image.new("RGB", (80, 60), "teal").save(kept, "JPEG")
    return kept.getvalue()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server of this run's own; without Debian's package the test is skipped."""
    pytest.importorskip("psycopg", reason="the extra [batch] is not installed")
    bin = programs()
    if bin is None:
        pytest.skip("Debian's package postgresql is not installed")
    with Postgres(tmp_path_factory.mktemp("postgres"), bin) as server:
        yield server


@pytest.fixture
def shared(postgres: Postgres) -> str:
    """The address of a new database there."""
    return postgres.database(f"flux_{secrets.token_hex(6)}")


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where an empty journal may be, of either kind: a folder, and an address."""
    if request.param == "sqlite":
        return tmp_path / "home"
    address: str = request.getfixturevalue("postgres").emptied()
    return address
