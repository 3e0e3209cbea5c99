"""The emulators behind a socket on 127.0.0.1, each under its provider's name, with real faults."""

from __future__ import annotations

import logging
import re
import secrets
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from unified_flux.adapter import Auth
from unified_flux.sandbox.emulator import Emulator, Fault, Reply
from unified_flux.sandbox.exchange import say
from unified_flux.secret import SANDBOX_PREFIX
from unified_flux.wire import Purpose, WireRequest

HOST = "127.0.0.1"
MAX_BODY = 64 * 1024 * 1024
METER = "/sandbox/meter"

_log = logging.getLogger(__name__)
_HOST_HEADER = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")
# Linger on, for no time: closing sends a reset instead of a goodbye.
_RESET = struct.pack("ii", 1, 0)


def new_key() -> str:
    """A fresh sandbox key."""
    return f"{SANDBOX_PREFIX}{secrets.token_urlsafe(24)}"


class SandboxServer:
    """Serves emulators until it is stopped; a context manager.

    Args:
        emulators: Provider's name → its emulator, mounted under `/<name>`.
        key: What the meter accepts; the emulators are made with the same.
        port: 0 takes a free one.
    """

    def __init__(self, emulators: Mapping[str, Emulator], *, key: str, port: int = 0) -> None:
        self.emulators = dict(emulators)
        self.key = key
        self._port = port
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where it listens.

        Raises:
            RuntimeError: Before `start`.
        """
        if self._server is None:
            raise RuntimeError("the sandbox server is not started")
        return f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def providers(self) -> dict[str, str]:
        """Provider's name → the base URL to give its adapter."""
        return {name: f"{self.url}/{name}" for name in self.emulators}

    @property
    def meter_url(self) -> str:
        """Where the billing meter is read, with the key as Bearer."""
        return f"{self.url}{METER}"

    def start(self) -> None:
        """Listen and serve, in threads of its own.

        Raises:
            OSError: When the port is taken.
        """
        self._server = _Server((HOST, self._port), _Handler)
        self._server.emulators = self.emulators
        self._server.key = self.key
        serve = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True
        )
        serve.start()

    def stop(self) -> None:
        """Stop listening and hang up on everyone; answers that were to come late never come."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    emulators: Mapping[str, Emulator]
    key: str

    def __init__(self, *args: Any) -> None:
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def server_bind(self) -> None:
        # The parent asks DNS for this machine's full name, which nobody here needs.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET))
        if linger == _RESET:
            # A goodbye first would turn the reset into an ordinary end.
            self.close_request(request)
        else:
            super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            _log.exception("the sandbox failed on a request")

    def close(self) -> None:
        """Hang up, wait for the threads to notice, free the port."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                _hang_up(connection)
            self._changed.wait_for(lambda: not self._connections, timeout=2)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        _log.debug("a client had gone already")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "unified-flux-sandbox"
    sys_version = ""
    disable_nagle_algorithm = True
    # Head and body leave in one segment: two would meet the client's delayed acknowledgement.
    wbufsize = 64 * 1024

    def handle_expect_100(self) -> bool:
        """Say "go on" only to what will be read."""
        refused = self._unreadable()
        if refused is not None:
            self._refuse(refused)
            return False
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        refused = self._unreadable()
        if refused is not None:
            self._refuse(refused)
            return
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self._send(self._answer(body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _unreadable(self) -> Reply | None:
        """Why the body is not read."""
        if "Transfer-Encoding" in self.headers:
            return _no(411, "send a Content-Length; chunked bodies are not taken")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            return _no(400, "the Content-Length is no number")
        if int(length) > MAX_BODY:
            return _no(413, f"the body is larger than {MAX_BODY} bytes")
        return None

    def _answer(self, body: bytes) -> Reply:
        path = urlsplit(self.path).path
        if path == METER and self.command == "GET":
            return self._meter()
        emulator = self.server.emulators.get(path.split("/")[1] if "/" in path else "")
        if emulator is None:
            names = ", ".join(f"/{name}" for name in self.server.emulators)
            return _no(404, f"here are {names} and {METER}")
        # Only emulators look at requests, and they do not ask for the purpose.
        arrived = WireRequest(
            purpose=Purpose.ASK,
            method=self.command,
            url=f"http://{self._host()}{self.path}",
            headers=dict(self.headers),
            body=body,
        )
        return emulator.handle(arrived)

    def _host(self) -> str:
        """How the client calls this machine: URLs in answers must pass for the same place."""
        said = self.headers.get("Host", "")
        return said if _HOST_HEADER.fullmatch(said) else f"{HOST}:{self.server.server_address[1]}"

    def _meter(self) -> Reply:
        token = Auth().key_in({"authorization": self.headers.get("Authorization", "")})
        if token != self.server.key:
            return _no(401, "send the sandbox's key as Bearer")
        return say(200, {name: one.meter() for name, one in self.server.emulators.items()})

    def _send(self, reply: Reply) -> None:
        if reply.fault is Fault.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close_connection = True
            return
        if reply.fault is Fault.SLOW and self.server.stopping.wait(reply.seconds):
            self.close_connection = True
            return
        sent = len(reply.body)
        if reply.fault is Fault.TRUNCATE:
            sent //= 2
            self.close_connection = True
        self.send_response(reply.status)
        for name, text in reply.headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body[:sent])

    def _refuse(self, reply: Reply) -> None:
        """Answer without reading the body, and let the client finish: closing at once would reset."""
        self.close_connection = True
        self._send(reply)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1.0)
        left = 2 * MAX_BODY
        while left > 0 and (read := len(self.rfile.read1(64 * 1024))):
            left -= read

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def _no(status: int, message: str) -> Reply:
    return say(status, {"error": {"code": f"sandbox_{status}", "message": message}})
