"""A server of raw bytes on a free port of this machine, for what no honest server does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Script = Callable[[socket.socket], None]


@dataclass(slots=True)
class Hostile:
    """Runs one script per connection, in order; the last one again and again.

    Attributes:
        heard: What each connection sent, up to the end of its body.
    """

    host: str = "127.0.0.1"
    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def hear(connection: socket.socket) -> bytes:
    """One whole request."""
    found = b""
    while b"\r\n\r\n" not in found:
        got = connection.recv(65536)
        if not got:
            return found
        found += got
    head, _, body = found.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def say(data: bytes) -> Script:
    """Answer these bytes and hang up."""
    return lambda connection: connection.sendall(data)


def reset(connection: socket.socket) -> None:
    """Answer with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def hostile(
    *scripts: Script, before: Script | None = None, host: str = "127.0.0.1"
) -> Iterator[Hostile]:
    """The server, stopped at the end. `before` acts on a connection before anything is read."""
    server = Hostile(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    server.port = listener.getsockname()[1]

    def serve() -> None:
        for turn in range(1000):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                if before is not None:
                    before(connection)
                    continue
                try:
                    server.heard.append(hear(connection))
                    scripts[min(turn, len(scripts) - 1)](connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An ordinary HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
