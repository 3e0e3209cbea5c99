"""A reverse proxy of raw bytes in front of the sandbox: it knows each exchange and can spoil it.

One thread serves one client, a connection for each exchange. What it may do to an exchange are the
rows of `faults.rows`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType

from faults.port import DOWN, HOST, Door, Port

# How long a door that is shut once stays so, in seconds: longer than the connect timeout there.
OUTAGE = 0.25
PATIENCE = 10.0
_LINGER_NOT = struct.pack("ii", 1, 0)
# The first that fits tells which exchange it is; `result` is where a provider has one beside its polls.
_ROUTES = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("fetch", r"GET /[a-z]+/sandbox/pictures/[^/]+"),
        ("upload", r"POST /rivya/api/v1/files"),
        ("submit", r"POST /(rivya/api/v1/generations|vtrix/model/v1/generation)"),
        ("submit", r"POST /(bfl/v1/[^/]+|fal/fal-ai/.+|replicate/v1/models/.+/predictions)"),
        ("poll", r"GET /(rivya/api/v1/generations|vtrix/model/v1/generation/task)/[^/]+"),
        ("poll", r"GET /(bfl/v1/get_result[?]id=|replicate/v1/predictions/)[^/]+"),
        ("poll", r"GET /fal/.+/requests/[^/]+/status"),
        ("result", r"GET /fal/.+/requests/[^/]+"),
    )
)
_KEYS = (b"\r\nauthorization:", b"\r\nx-key:")


class End(Enum):
    """What becomes of a connection when all is said."""

    CLOSED = auto()
    RESET = auto()
    HELD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent, and which exchange that is."""

    exchange: str
    path: str
    host: str
    head: bytes
    body: bytes

    @property
    def signed(self) -> bool:
        """Whether it carries a key."""
        return any(header in self.head.lower() for header in _KEYS)


Answer = Callable[[Request, bytes], Iterable[bytes]]


def as_it_came(_: Request, answer: bytes) -> Iterable[bytes]:
    """The sandbox's own answer."""
    return [answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row of the table.

    Attributes:
        says: What it is, for people.
        door: Anything but OPEN leaves the request unread.
        forwarded: Whether the sandbox gets the request, so that what it asks for is done.
        answer: What the client is told, made of its request and the sandbox's answer.
        end: What becomes of the connection then.
    """

    name: str
    says: str
    door: Door = Door.OPEN
    forwarded: bool = True
    answer: Answer = as_it_came
    end: End = End.CLOSED

    @property
    def tls(self) -> bool:
        """Whether it can only happen where the address is https."""
        return self.door in {Door.NO_TLS, Door.STRANGER}

    @property
    def hangs(self) -> bool:
        """Whether a client notices it by its timeouts alone."""
        return self.door is Door.STUCK or self.end is End.HELD


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """One that clients trust who are given `bundle`, and one that nobody trusts."""

    trusted: ssl.SSLContext
    stranger: ssl.SSLContext
    bundle: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Fresh ones; the bundle is written into the folder."""
        import trustme

        contexts = []
        authorities = trustme.CA(), trustme.CA()
        for authority in authorities:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(HOST).configure_cert(context)
            contexts.append(context)
        bundle = folder / "trusted.pem"
        authorities[0].cert_pem.write_to_path(str(bundle))
        return cls(trusted=contexts[0], stranger=contexts[1], bundle=bundle)


# What the nth try (from 0) of an exchange meets, None where it passes.
Plan = Callable[[str, int], Fault | None]


class Proxy:
    """Stands before a sandbox and spoils what its plan says until it is healed; a context manager.

    Args:
        upstream: The sandbox's port.
        first: The exchange that a client begins with.
        begun: Tells whether the client is at work: a door that is shut opens some time after.
        certificates: Where the address is to be https.

    Attributes:
        seen: How often each exchange arrived.
        met: How often a fault happened.
        strayed: Signed requests that came under another host name than the proxy's own.
        sizes: Length of the head and of all of the sandbox's last answer to each exchange.
    """

    def __init__(
        self,
        upstream: int,
        plan: Plan,
        *,
        first: str = "submit",
        begun: Callable[[], bool] = lambda: True,
        certificates: Certificates | None = None,
    ) -> None:
        self._upstream = upstream
        self._plan = plan
        self._next = first
        self._begun = begun
        self._certificates = certificates
        self._port = Port()
        self._open, self._calm = threading.Event(), threading.Event()
        self._stopped = False
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="faulty proxy", daemon=True)
        self._tries: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.sizes: dict[str, tuple[int, int]] = {}
        self.met = self.strayed = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._certificates else 'http'}://{HOST}:{self._port.number}"

    def heal(self) -> None:
        """From now on everything passes."""
        self._calm.set()
        self._open.wait(PATIENCE)

    def __enter__(self) -> Proxy:
        self._port.turn(Door.OPEN)
        self._open.set()
        self._turn()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped = True
        self.heal()
        # It waits for a client: this is the last one.
        with contextlib.suppress(OSError), socket.create_connection((HOST, self._port.number), 1):
            pass
        self._thread.join(PATIENCE)
        for connection in self._held:
            connection.close()
        self._port.close()

    def _due(self, exchange: str) -> Fault | None:
        """The fault that this exchange meets."""
        return None if self._calm.is_set() else self._plan(exchange, self._tries[exchange])

    def _spoiled(self, exchange: str) -> None:
        self._tries[exchange] += 1
        self.met += 1

    def _turn(self) -> None:
        """Make the door ready for the next exchange, before a client hears that it may begin it."""
        fault = self._due(self._next)
        if fault is not None and fault.door in DOWN:
            self._open.clear()
            self._port.turn(fault.door)

    def _run(self) -> None:
        while True:
            if not self._open.is_set():
                self._sit_out()
            if self._stopped or self._port.listener is None:
                return
            connection, _ = self._port.listener.accept()
            connection.settimeout(PATIENCE)
            # A client that has gone is no fault of ours.
            with contextlib.suppress(OSError):
                self._meet(connection)
            if connection not in self._held:
                connection.close()

    def _sit_out(self) -> None:
        while not (self._begun() or self._calm.wait(0.02)):
            pass
        while (fault := self._due(self._next)) is not None and fault.door in DOWN:
            self._port.turn(fault.door)
            self._spoiled(self._next)
            self._calm.wait(OUTAGE)
        self._port.turn(Door.OPEN)
        self._open.set()

    def _meet(self, connection: socket.socket) -> None:
        # Whoever has not begun its request has not been refused anything.
        if self._certificates is None and not connection.recv(1, socket.MSG_PEEK):
            return
        fault = self._due(self._next)
        door = fault.door if fault else Door.OPEN
        if door is not Door.OPEN:
            self._spoiled(self._next)
            self._turn()
        if door is Door.RESETS:
            _reset_at_close(connection)
        elif door is Door.NO_TLS:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        elif self._certificates is None:
            self._serve(connection)
        else:
            stranger = door is Door.STRANGER
            context = self._certificates.stranger if stranger else self._certificates.trusted
            with context.wrap_socket(connection, server_side=True) as wrapped:
                self._serve(wrapped)

    def _serve(self, connection: socket.socket) -> None:
        request = _hear(connection)
        if request is None:
            return
        self.seen[request.exchange] += 1
        self.strayed += request.signed and not self.url.endswith(f"/{request.host}")
        fault = self._due(request.exchange)
        answer = self._ask(request) if fault is None or fault.forwarded else b""
        if fault is None:
            self._tries[request.exchange] += 1
            self._pass(request, answer)
            connection.sendall(answer)
            return
        self._spoiled(request.exchange)
        self._turn()
        if fault.end is End.HELD:
            self._held.append(connection)
            return
        if fault.end is End.RESET:
            _reset_at_close(connection)
        for block in fault.answer(request, answer):
            connection.sendall(block)

    def _pass(self, request: Request, answer: bytes) -> None:
        """What a client that gets this answer will do next."""
        after = {"upload": "submit", "submit": "poll", "poll": "poll"}
        if b"/sandbox/pictures/" in answer:
            self._next = "fetch"
        elif b'"COMPLETED"' in answer and b'"response_url"' in answer:
            self._next = "result"
        else:
            self._next = after.get(request.exchange, self._next)
        self._turn()

    def _ask(self, request: Request) -> bytes:
        """The sandbox's answer, to the end; it builds its addresses on the client's Host header."""
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", request.head)
        with socket.create_connection((HOST, self._upstream), PATIENCE) as upstream:
            upstream.sendall(head + b"\r\nConnection: close\r\n\r\n" + request.body)
            answer = b"".join(iter(lambda: upstream.recv(65536), b""))
        if self._certificates is not None:
            answer = _on_https(answer, request.host)
        self.sizes[request.exchange] = (answer.index(b"\r\n\r\n") + 4, len(answer))
        return answer


def _reset_at_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


def _hear(connection: socket.socket) -> Request | None:
    """One whole request, None where the client hangs up before its end."""
    found = b""
    while b"\r\n\r\n" not in found:
        if not (got := connection.recv(65536)):
            return None
        found += got
    head, _, body = found.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    said = {name.lower(): text.strip() for name, _, text in (one.partition(":") for one in fields)}
    while len(body) < int(said.get("content-length", 0)):
        if not (got := connection.recv(65536)):
            return None
        body += got
    asked, _, _ = line.rpartition(" ")
    exchange = next((name for name, route in _ROUTES if route.fullmatch(asked)), "other")
    path = asked.partition(" ")[2]
    return Request(exchange=exchange, path=path, host=said.get("host", ""), head=head, body=body)


def _on_https(answer: bytes, host: str) -> bytes:
    """The answer with its addresses on https, where the sandbox knows of no TLS before it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"application/json" in head:
        body = body.replace(f"http://{host}".encode(), f"https://{host}".encode())
        head = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % len(body), head)
    return head + b"\r\n\r\n" + body
