"""Connections to strangers: resolve once, vet every address, connect to the vetted one.

The name is kept for the Host header, SNI and the certificate; only the address is pinned, so a name
that answers differently a moment later cannot lead anywhere else.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from unified_flux.addresses import is_public, objection
from unified_flux.errors import ProtocolError

progress = threading.local()


def vet(url: str) -> None:
    """Refuse a stranger's URL that no request should go to.

    Raises:
        ProtocolError: With the reason.
    """
    reason = objection(url)
    if reason:
        raise ProtocolError(f"an address in an answer is not to be followed: {reason}")


class Tracked(HTTPConnection):
    """Notes when the first byte of a request leaves: before that, nothing can have been taken."""

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            # What a proxy was told on the way is no part of the request.
            progress.sent = False

    def send(self, data: Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()
        progress.sent = True
        super().send(data)


class TrackedTLS(Tracked, HTTPSConnection):
    """The same over TLS."""


class Guarded(Tracked):
    """Connects only to public addresses, whatever the name resolves to."""

    def _new_conn(self) -> socket.socket:
        last: OSError | None = None
        for address in self._vetted():
            try:
                return socket.create_connection((address, self.port), self.timeout)
            except TimeoutError as error:
                raise ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
            except OSError as error:
                last = error
        raise NewConnectionError(self, f"connecting to {self.host} failed: {last}")

    def _vetted(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not all(is_public(address) for address in addresses):
            raise ProtocolError(f"{self.host} leads to a private address; it was not contacted")
        return addresses


class GuardedTLS(Guarded, TrackedTLS):
    """The same over TLS, with the name kept for SNI and the certificate."""


class TrackedPool(HTTPConnectionPool):
    ConnectionCls = Tracked


class TrackedTLSPool(HTTPSConnectionPool):
    ConnectionCls = TrackedTLS


class GuardedPool(HTTPConnectionPool):
    ConnectionCls = Guarded


class GuardedTLSPool(HTTPSConnectionPool):
    ConnectionCls = GuardedTLS


TRACKED = {"http": TrackedPool, "https": TrackedTLSPool}
GUARDED = {"http": GuardedPool, "https": GuardedTLSPool}
