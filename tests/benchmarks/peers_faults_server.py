"""A provider that breaks on purpose and counts what it would have to be paid for.

One `Meter` serves one call of one client. It speaks enough of the client's contract for one
picture; the paid POST meets the fault, the first time or every time, and all else is answered well.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from peers_server import picture, rivya

PICTURE = picture(2000)
Act = Callable[[socket.socket], None]


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """One whole answer, and the last one of its connection."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def reset(connection: socket.socket) -> None:
    """Hang up with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silence(connection: socket.socket) -> None:
    """Say nothing until the client has had enough."""
    connection.recv(1)


def saying(body: bytes, status: str = "200 OK", kind: str = "application/json") -> Act:
    """Answer that."""
    return lambda connection: connection.sendall(answer(body, status, kind))


def complaint(status: str, more: str = "") -> Act:
    """An ordinary refusal in JSON."""
    body = json.dumps({"error": {"message": status, "code": None}, "detail": status}).encode()
    return saying(body, f"{status}{more}")


def cut_off(connection: socket.socket) -> None:
    """Half of an answer, then the end of the connection."""
    whole = answer(json.dumps({"id": "1", "request_id": "1", "status": "starting"}).encode())
    connection.sendall(whole[:-20])


GATEWAY = b"<html><body><center><h1>504 Gateway Time-out</h1></center><hr>nginx</body></html>"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What becomes of a paid submit; whether work had begun by then; whether it was even read."""

    act: Act
    accepted: bool = True
    read: bool = True


FAULTS: dict[str, Fault] = {
    "reset before the request is read": Fault(act=reset, accepted=False, read=False),
    "429": Fault(act=complaint("429 Too Many Requests"), accepted=False),
    "429 with Retry-After: 1": Fault(
        act=complaint("429 Too Many Requests", "\r\nRetry-After: 1"), accepted=False
    ),
    "accepted, then reset": Fault(act=reset),
    "accepted, then no answer": Fault(act=silence),
    "accepted, then 500": Fault(act=complaint("500 Internal Server Error")),
    "accepted, then 502": Fault(act=complaint("502 Bad Gateway")),
    "accepted, then 503": Fault(act=complaint("503 Service Unavailable")),
    "accepted, then 504": Fault(act=complaint("504 Gateway Timeout")),
    "accepted, then 504 as nginx's page": Fault(
        act=saying(GATEWAY, "504 Gateway Time-out", "text/html")
    ),
    "accepted, then HTML with 200": Fault(act=saying(b"<html>ok</html>", kind="text/html")),
    "accepted, then an empty 200": Fault(act=saying(b"")),
    "accepted, then truncated JSON": Fault(act=saying(b'{"id": "1", "request_id": "1", "st')),
    "accepted, then cut off in the answer": Fault(act=cut_off),
}


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Where a client submits, what it is answered on which path, and whether keys are honoured.

    Attributes:
        honours_keys: Whether this provider documents its Idempotency-Key, so that a repeated
            submit under the same key is the same job.
    """

    submit: str
    answers: Callable[[str], Mapping[str, Any]]
    honours_keys: bool = False


def _fal(base: str) -> dict[str, Any]:
    job = f"{base}/requests/1"
    urls = {"response_url": job, "status_url": f"{job}/status", "cancel_url": f"{job}/cancel"}
    return {
        "POST /fal-ai/flux-pro/kontext": {"request_id": "1", "status": "IN_QUEUE", **urls},
        "GET /requests/1/status": {"status": "COMPLETED", "logs": [], "metrics": {}},
        "GET /requests/1": {"images": [{"url": f"{base}/small"}]},
    }


def _replicate(base: str) -> dict[str, Any]:
    model = "black-forest-labs/flux-kontext-pro"
    job = {"id": "p1", "model": model, "version": "v", "input": {}, "logs": "", "error": None}
    return {
        f"POST /v1/models/{model}/predictions": {**job, "status": "starting", "output": None},
        "GET /v1/predictions/p1": {**job, "status": "succeeded", "output": f"{base}/small"},
    }


def _openai(base: str) -> dict[str, Any]:
    data = [{"b64_json": base64.b64encode(PICTURE).decode()}]
    return {"POST /v1/images/generations": {"created": 1, "data": data}}


def _rivya(base: str) -> dict[str, Any]:
    return {
        "POST /api/v1/generations": json.loads(rivya("queued", base)),
        "GET /api/v1/generations/": json.loads(rivya("succeeded", base)),
    }


def _vtrix(base: str) -> dict[str, Any]:
    job = {"id": "t1", "model": "flux_kontext_pro"}
    output = [{"content": [{"type": "image", "url": f"{base}/small"}]}]
    done = {**job, "status": "completed", "output": output, "usage": {"cost": "0.01"}}
    return {
        "POST /model/v1/generation": {**job, "status": "in_progress"},
        "GET /model/v1/generation/task/": done,
    }


CONTRACTS = {
    "fal": Contract(submit="POST /fal-ai/", answers=_fal),
    "replicate": Contract(submit="POST /v1/models/", answers=_replicate),
    "openai": Contract(submit="POST /v1/images/", answers=_openai),
    "rivya": Contract(submit="POST /api/v1/generations", answers=_rivya, honours_keys=True),
    "vtrix": Contract(submit="POST /model/v1/generation", answers=_vtrix),
}


@dataclass(slots=True)
class Meter:
    """The server of one call; a context manager.

    Attributes:
        fault, every: What strikes, and whether it strikes every submit or the first only.
        tries: How many submits met this server, whole or not.
        accepted: The idempotency key, or None, of each submit that work would have begun for.
    """

    contract: Contract
    fault: Fault | None = None
    every: bool = False
    tries: int = 0
    accepted: list[str | None] = field(default_factory=list)
    _listener: socket.socket = field(init=False)

    def __enter__(self) -> Meter:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def paid(self) -> int:
        """How many pictures the caller of this one call would pay for."""
        keys = [key for key in self.accepted if key is not None]
        again = len(keys) - len(set(keys)) if self.contract.honours_keys else 0
        return len(self.accepted) - again

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        """One connection, one request; a client that hangs up is no fault here."""
        with connection:
            try:
                act = self._judge(connection)
                act(connection)
            except OSError:
                return

    def _judge(self, connection: socket.socket) -> Act:
        """What to do with this connection, counted where it is a submit."""
        # A client makes one submit at a time, so nothing is counted by two threads at once.
        fault = self.fault if self.every or self.tries == 0 else None
        if fault and not fault.read:
            # Wait for the first byte: a connection that is reset before any is another fault,
            # one that clients may well take for a refused connection.
            connection.recv(1, socket.MSG_PEEK)
            self.tries += 1
            return fault.act
        head = read_request(connection)
        if not head.startswith(self.contract.submit):
            return self._well(head)
        self.tries += 1
        if fault is None or fault.accepted:
            self.accepted.append(key_of(head))
        return fault.act if fault else self._well(head)

    def _well(self, head: str) -> Act:
        if head.startswith("GET /small"):
            return saying(PICTURE, kind="image/png")
        known = self.contract.answers(self.url)
        found = next((body for start, body in known.items() if head.startswith(start)), None)
        return saying(json.dumps(found).encode(), "404 Not Found" if found is None else "200 OK")


def key_of(head: str) -> str | None:
    """The value of any header that sounds like an idempotency key."""
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if "idempotency" in name.lower():
            return value.strip()
    return None


def read_request(connection: socket.socket) -> str:
    """The head of one request whose whole body was read; broken off before that, an OSError."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _block(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    left = int((text.lower().partition("content-length:")[2] or "0").split("\r\n")[0]) - len(rest)
    while left > 0:
        left -= len(_block(connection))
    return text


def _block(connection: socket.socket) -> bytes:
    block = connection.recv(65536)
    if not block:
        raise ConnectionError("the client hung up in the middle of a request")
    return block
