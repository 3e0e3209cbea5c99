"""A server that costs next to nothing, in a process of its own: canned answers over raw sockets.

It speaks just enough of Rivya's and Vtrix's contracts for one picture, reads bodies without keeping
them, and sends head and body in one piece with TCP_NODELAY, so that no waiting of its own is measured.

    python tests/benchmarks/peers_server.py [CERTIFICATE]    prints its port
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading

SMALL, LARGE = 100_000, 20_000_000


def picture(size: int, width: int = 1024, height: int = 576) -> bytes:
    """Bytes that pass for a whole PNG: a true header, filler, a true end."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + b"\0\0\0\0"
    end = b"\0\0\0\0IEND\xaeB`\x82"
    filler = size - len(start) - len(end)
    return start + (bytes(range(256)) * (filler // 256 + 1))[:filler] + end


def answer(body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    """One whole answer."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def rivya(status: str, base: str) -> bytes:
    """A generation object as Rivya documents it."""
    url = f"{base}/small"
    done = status == "succeeded"
    return json.dumps(
        {
            "id": "task_benchmark",
            "status": status,
            "model": "flux-kontext-pro",
            "reserved_credits": 4,
            "final_credits": 4 if done else 0,
            "created_at": "2026-11-21T10:00:00.000Z",
            "updated_at": "2026-11-21T10:00:05.000Z",
            "result": {"primary_url": url, "urls": [url]} if done else None,
            "error": None,
        }
    ).encode()


def answers(base: str) -> dict[str, bytes]:
    """What is answered, by method and the beginning of the path."""
    running = json.dumps({"id": "t1", "status": "in_progress", "model": "flux_kontext_pro"})
    return {
        "POST /api/v1/generations": answer(rivya("queued", base), more="Retry-After: 0\r\n"),
        "GET /api/v1/generations/": answer(rivya("succeeded", base)),
        "POST /api/v1/files": answer(json.dumps({"id": "f1", "url": f"{base}/small"}).encode()),
        "POST /model/v1/generation": answer(running.encode()),
        "POST /echo": answer(b'{"ok": true}'),
        "GET /small": answer(picture(SMALL), "image/png"),
        "GET /large": answer(picture(LARGE), "image/png"),
        "GET /close": answer(b"{}", more="Connection: close\r\n"),
    }


def serve(connection: socket.socket, known: dict[str, bytes]) -> None:
    """Answer one connection's requests until it is closed."""
    room = memoryview(bytearray(1 << 20))
    with connection:
        while head := read_head(connection):
            text = head[0].decode("latin-1")
            length = int((text.lower().partition("content-length:")[2] or "0").split("\r\n")[0])
            left = length - head[1]
            while left > 0 and (got := connection.recv_into(room[: min(left, len(room))])):
                left -= got
            found = next(answer for start, answer in known.items() if text.startswith(start))
            connection.sendall(found)
            if b"Connection: close" in found[:300]:
                return


def read_head(connection: socket.socket) -> tuple[bytes, int] | None:
    """A request's head, and how many bytes of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            return None
        data += block
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, len(rest)


def talk(
    connection: socket.socket, context: ssl.SSLContext | None, known: dict[str, bytes]
) -> None:
    """One connection's thread; a peer that hangs up is no fault here."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        serve(connection, known)
    except OSError:
        connection.close()


def main(certificate: str | None = None) -> None:
    """Listen on a free port of this machine until killed."""
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = listener.getsockname()[1]
    known = answers(f"http://127.0.0.1:{port}")
    print(port, flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection, context, known), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
