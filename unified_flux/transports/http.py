"""One exchange over HTTP with urllib3's pools, as requests makes them.

Each exchange has connection pools to itself while it lasts; all share one TLS context, since loading the CA
bundle anew costs every connection fifteen times its handshake. requests chooses and makes the pool of
a place, through a proxy perhaps, once; exchanges go straight to it: what requests does for every call
(environment, cookies, redirects, errors of its own) is either not wanted here or looked up once.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from unified_flux.addresses import is_loopback, origin, split_url
from unified_flux.errors import (
    NotDelivered,
    OutcomeUnknown,
    TransportError,
    UnifiedFluxError,
)
from unified_flux.settings import Network
from unified_flux.spool import Spool
from unified_flux.transports.encoding import encode
from unified_flux.transports.guard import GUARDED, TRACKED, progress, vet
from unified_flux.transports.signing import Signer
from unified_flux.wire import MAX_ANSWER_BYTES, Purpose, WireRequest, WireResponse

MAX_PICTURE_BYTES = 256 * 1024 * 1024
BLOCK = 64 * 1024
# As many pools as requests keeps.
PLACES = DEFAULT_POOLSIZE


class _Pools(HTTPAdapter):
    """requests' adapter with a shared TLS context and connections of our own classes."""

    def __init__(self, context: ssl.SSLContext, classes: dict[str, Any]) -> None:
        self._context = context
        self._classes = classes
        self._pools: dict[str, HTTPConnectionPool] = {}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = TRACKED
        return manager

    def pool_for(self, place: str, proxies: dict[str, str]) -> HTTPConnectionPool:
        """The connections to one place."""
        pool = self._pools.get(place)
        if pool is None:
            if len(self._pools) >= PLACES:
                # requests would close one of them, and not say which.
                self.close()
                self._pools.clear()
            prepared = requests.PreparedRequest()
            prepared.url = f"{place}/"
            # Typed as what has no `urlopen`; it is one of our classes.
            pool = cast(
                HTTPConnectionPool, self.get_connection_with_tls_context(prepared, True, proxies)
            )
            pool.cert_reqs = "CERT_REQUIRED"  # type: ignore[attr-defined]  # of the one with TLS
            self._pools[place] = pool
        return pool


class HttpTransport:
    """Exchanges with one provider, and downloads from wherever it keeps its pictures."""

    def __init__(self, signer: Signer, spool: Spool, network: Network) -> None:
        self._signer = signer
        self._spool = spool
        self._network = network
        self._proxies: dict[str, dict[str, str]] = {}
        self._free: dict[bool, deque[_Pools]] = {False: deque(), True: deque()}

    def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
        """Make one exchange.

        Args:
            within: Seconds that its answer may take in all, where that is less than the settings say.

        Raises:
            NotDelivered: When no byte of it left this machine.
            OutcomeUnknown: When it left and no whole answer came.
            ProtocolError: When its address is not to be contacted; nothing was sent.
        """
        guarded = self._is_strange(request)
        total = min(self._network.total_timeout, within or self._network.total_timeout)
        pools = self._take_pools(guarded=guarded)
        progress.sent = False
        fault: TransportError | None = None
        try:
            return self._exchange(pools, request, total)
        except UnifiedFluxError:
            raise
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            fault = _fault(request, error, sent=progress.sent)
        finally:
            self._free[guarded].append(pools)
        # Raised out here, since the library's own error holds the request with its key.
        raise fault

    def _exchange(self, pools: _Pools, request: WireRequest, total: float) -> WireResponse:
        until = time.monotonic() + total
        url = _in_ascii(request.url)
        headers = self._signer.headers(request)
        kind, body = encode(request)
        if kind is not None:
            headers["Content-Type"] = kind
        if body is not None:
            headers["Content-Length"] = str(len(body))
        response = pools.pool_for(origin(url), self._proxies_for(url)).urlopen(
            request.method,
            _target(url),
            body=body,  # type: ignore[arg-type]  # blocks may be memoryviews
            headers=headers,
            retries=False,
            redirect=False,
            timeout=Timeout(
                connect=min(self._network.connect_timeout, total),
                read=min(self._network.read_timeout, total),
            ),
            preload_content=False,
            decode_content=False,
        )
        try:
            return self._read(request, response, until)
        finally:
            # What was not read to its end is not kept for the next exchange.
            response.close()
            response.release_conn()

    def close(self) -> None:
        """Close every connection."""
        for free in self._free.values():
            while free:
                free.pop().close()

    def _is_strange(self, request: WireRequest) -> bool:
        """Unsigned requests go to addresses that an answer named, unless it named the base itself."""
        if request.signed:
            return False
        base = self._signer.adapter.base
        local = is_loopback(urlsplit(base).hostname or "") and split_url(request.url) is not None
        if local and origin(request.url) == origin(base):
            return False
        vet(request.url)
        return True

    def _take_pools(self, *, guarded: bool) -> _Pools:
        """Pools that no other thread holds: there are as many as there were exchanges at once."""
        try:
            return self._free[guarded].pop()
        except IndexError:
            return _Pools(self._context, GUARDED if guarded else TRACKED)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._network.ca_bundle or DEFAULT_CA_BUNDLE_PATH)

    def _proxies_for(self, url: str) -> dict[str, str]:
        place = origin(url)
        if place not in self._proxies:
            local = is_loopback(urlsplit(url).hostname or "")
            self._proxies[place] = {} if local else dict(self._network.proxies(url))
        return self._proxies[place]

    def _read(self, request: WireRequest, response: BaseHTTPResponse, until: float) -> WireResponse:
        headers = {name.lower(): response.headers[name] for name in response.headers}
        blocks = _blocks(request, response, until)
        if request.purpose is Purpose.FETCH and response.status == 200:
            blob = self._spool.take(_capped(blocks, MAX_PICTURE_BYTES))
            if not blob.size or not (blob.whole or "content-length" in headers):
                raise OutcomeUnknown("the picture arrived cut off")
            return WireResponse(status=200, headers=headers, blob=blob)
        body = self._signer.scrub(b"".join(_capped(blocks, MAX_ANSWER_BYTES)))
        return WireResponse(status=response.status, headers=headers, body=body)


def _in_ascii(url: str) -> str:
    """The URL as it is asked for, with an international name or path encoded."""
    if url.isascii():
        return url
    prepared = requests.PreparedRequest()
    prepared.prepare_url(url, None)
    return str(prepared.url)


def _target(url: str) -> str:
    """What stands behind a URL's place. A proxy wants no more: plain http stays on this machine."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"


def _blocks(request: WireRequest, response: BaseHTTPResponse, until: float) -> Iterator[bytes]:
    """What has arrived, as it arrives: a drip of bytes cannot outlast the time that is given."""
    try:
        while block := response.read1(BLOCK, decode_content=True):
            if time.monotonic() > until:
                raise OutcomeUnknown("the answer did not come to its end in time")
            yield block
    except (HTTPError, ValueError) as error:
        fault = _fault(request, error, sent=True)
    else:
        return
    raise fault


def _capped(blocks: Iterator[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > most:
            raise OutcomeUnknown(f"the answer is larger than {most} bytes and was not read further")
        yield block


def _fault(request: WireRequest, error: Exception, *, sent: bool) -> TransportError:
    """The fault in our words: the library's own may show headers and addresses."""
    place = origin(request.url)
    kind = type(error).__name__
    if sent:
        return OutcomeUnknown(f"the exchange with {place} broke off after it was sent ({kind})")
    return NotDelivered(f"{place} could not be reached ({kind}); nothing was sent")
