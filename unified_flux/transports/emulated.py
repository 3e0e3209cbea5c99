"""One exchange with an emulator in this process: the provider's own URLs, and no socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from unified_flux.errors import NotDelivered, OutcomeUnknown
from unified_flux.sandbox.emulator import Emulator, Fault, Reply
from unified_flux.spool import Spool
from unified_flux.transports.encoding import encode
from unified_flux.transports.signing import Signer
from unified_flux.wire import Purpose, WireRequest, WireResponse


class EmulatedTransport:
    """Hands requests to an emulator and turns the faults it stages into what a socket would show."""

    def __init__(
        self,
        emulator: Emulator,
        signer: Signer,
        spool: Spool,
        read_timeout: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._emulator = emulator
        self._signer = signer
        self._spool = spool
        self._read_timeout = read_timeout
        self._sleep = sleep

    def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
        """Make one exchange.

        Raises:
            NotDelivered: For a host that the emulator does not stand for.
            OutcomeUnknown: For a staged reset, cut or late answer.
        """
        if not self._signer.adapter.trusts(request.url):
            raise NotDelivered("the built-in sandbox contacts no other host; nothing was sent")
        kind, body = encode(request)
        headers = self._signer.headers(request)
        if kind is not None:
            headers["Content-Type"] = kind
        arrived = WireRequest(
            purpose=request.purpose,
            method=request.method,
            url=request.url,
            headers=headers,
            body=body if isinstance(body, bytes) else b"".join(body or ()),
        )
        return self._receive(request, self._emulator.handle(arrived), within)

    def close(self) -> None:
        """Nothing is held open."""

    def _receive(self, request: WireRequest, reply: Reply, within: float | None) -> WireResponse:
        patience = min(self._read_timeout, within or self._read_timeout)
        if reply.fault is Fault.RESET:
            raise OutcomeUnknown("the connection was reset after the request was sent")
        if reply.fault is Fault.SLOW:
            self._sleep(min(reply.seconds, patience))
            if reply.seconds > patience:
                raise OutcomeUnknown(f"no answer came in {patience:g} s")
        if reply.fault is Fault.TRUNCATE:
            raise OutcomeUnknown("the answer was cut off")
        if request.purpose is Purpose.FETCH and reply.status == 200:
            blob = self._spool.take(_one(reply.body))
            return WireResponse(status=200, headers=reply.headers, blob=blob)
        return reply


def _one(body: bytes) -> Iterator[bytes]:
    yield body
