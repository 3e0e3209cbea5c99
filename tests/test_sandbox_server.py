"""The sandbox behind a socket: the same answers, and faults that are real ones."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from unified_flux.sandbox.rivya import RivyaEmulator
from unified_flux.sandbox.server import MAX_BODY, SandboxServer, new_key
from unified_flux.sandbox.vtrix import VtrixEmulator


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    key = new_key()
    emulators = {"rivya": RivyaEmulator(key=key), "vtrix": VtrixEmulator(key=key)}
    with SandboxServer(emulators, key=key) as running:
        yield running


@pytest.fixture
def connection(server: SandboxServer) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    yield opened
    opened.close()


Answer = tuple[http.client.HTTPResponse, bytes]


def ask(
    connection: http.client.HTTPConnection, server: SandboxServer, path: str, body: Any = None
) -> Answer:
    headers = {"Authorization": f"Bearer {server.key}"}
    raw = None if body is None else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", path, raw, headers)
    response = connection.getresponse()
    return response, response.read()


def submitted(
    connection: http.client.HTTPConnection, server: SandboxServer, prompt: str = "a red fox"
) -> Answer:
    body = {"model": "flux-kontext-pro", "prompt": prompt}
    return ask(connection, server, "/rivya/api/v1/generations", body)


def picture_path(connection: http.client.HTTPConnection, server: SandboxServer, prompt: str) -> str:
    job = json.loads(submitted(connection, server, prompt)[1])["id"]
    _, found = ask(connection, server, f"/rivya/api/v1/generations/{job}")
    url: str = json.loads(found)["result"]["primary_url"]
    return url.removeprefix(server.url)


def dialled(server: SandboxServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def everything(opened: socket.socket) -> bytes:
    """All that still comes on a connection."""
    return b"".join(iter(lambda: opened.recv(65_536), b""))


def test_a_key_says_what_it_is_for() -> None:
    """A fresh key is marked as the sandbox's, and is never the same twice."""
    assert new_key().startswith("sandbox_")
    assert new_key() != new_key()


def test_it_listens_on_this_machine_only(server: SandboxServer) -> None:
    """Addresses are those of 127.0.0.1, each provider under its own prefix."""
    assert server.url.startswith("http://127.0.0.1:")
    assert server.providers == {name: f"{server.url}/{name}" for name in ("rivya", "vtrix")}


def test_one_connection_serves_a_whole_job(
    server: SandboxServer, connection: http.client.HTTPConnection
) -> None:
    """Submit, poll and download go over one connection, and the picture arrives whole."""
    path = picture_path(connection, server, "a fox sandbox:ready")
    kept = connection.sock
    response, picture = ask(connection, server, path)
    assert connection.sock is kept
    assert (response.status, response.getheader("Content-Type")) == (200, "image/jpeg")
    assert picture.startswith(b"\xff\xd8\xff")
    assert picture.endswith(b"\xff\xd9")


def test_urls_carry_the_name_that_the_client_used(server: SandboxServer) -> None:
    """A client that says localhost gets URLs at localhost; one that says nonsense, the address."""
    port = server.url.rpartition(":")[2]
    body = b'{"model": "flux_kontext_pro", "prompt": "a fox sandbox:ready"}'
    for said, expected in (
        (f"localhost:{port}", f"localhost:{port}"),
        ("a b", f"127.0.0.1:{port}"),
    ):
        head = (
            f"POST /vtrix/model/v1/generation HTTP/1.1\r\nHost: {said}\r\nConnection: close\r\n"
            f"Authorization: Bearer {server.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with dialled(server) as opened:
            opened.sendall(head.encode() + body)
            assert f"http://{expected}/vtrix/sandbox/pictures/".encode() in everything(opened)


def test_meter_is_read_with_the_key(
    server: SandboxServer, connection: http.client.HTTPConnection
) -> None:
    """The meter shows all providers' books to the key's holder and to nobody else."""
    submitted(connection, server)
    response, body = ask(connection, server, "/sandbox/meter")
    found = json.loads(body)
    assert (response.status, set(found)) == (200, {*server.emulators})
    assert found["rivya"] == server.emulators["rivya"].meter()
    assert found["rivya"]["accepted"] == 1
    for headers in ({}, {"Authorization": "Bearer other"}):
        connection.request("GET", "/sandbox/meter", headers=headers)
        refused = connection.getresponse()
        refused.read()
        assert refused.status == 401


def test_unknown_paths_say_what_is_here(
    server: SandboxServer, connection: http.client.HTTPConnection
) -> None:
    """A path outside the providers names what is served."""
    for path in ("/", "/nothing", "*"):
        response, body = ask(connection, server, path)
        assert response.status == 404
        assert b"/rivya" in body


def test_reset_is_a_reset(server: SandboxServer, connection: http.client.HTTPConnection) -> None:
    """The connection dies with an RST, and the job may exist all the same."""
    with pytest.raises(ConnectionResetError):
        submitted(connection, server, "a fox sandbox:reset-after")
    assert server.emulators["rivya"].meter()["accepted"] == 1


def test_truncated_download_breaks_off_halfway(
    server: SandboxServer, connection: http.client.HTTPConnection
) -> None:
    """The length promises more than comes; the next download is whole."""
    path = picture_path(connection, server, "a fox sandbox:ready sandbox:truncated")
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(connection, server, path)
    assert cut.value.expected is not None
    assert abs(cut.value.expected - len(cut.value.partial)) <= 1
    connection.close()
    assert ask(connection, server, path)[0].status == 200


def test_slow_answer_comes_later(
    server: SandboxServer, connection: http.client.HTTPConnection
) -> None:
    """A slow answer arrives after its seconds, whole."""
    response, body = submitted(connection, server, "a fox sandbox:slow-answer-0.05")
    assert (response.status, json.loads(body)["status"]) == (200, "queued")


def test_stop_does_not_wait_for_slow_answers() -> None:
    """Stopping ends an answer that was to come in 30 s, and frees the port."""
    key = new_key()
    emulator = RivyaEmulator(key=key)
    server = SandboxServer({"rivya": emulator}, key=key)
    server.start()
    opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            submitted(opened, server, "a fox sandbox:slow-answer")
        except (http.client.HTTPException, OSError) as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not emulator.meter()["accepted"]:
        pass
    server.stop()
    waiting.join(5)
    opened.close()
    assert len(failed) == 1
    with pytest.raises(RuntimeError):
        _ = server.url


def test_stop_twice_is_harmless(server: SandboxServer) -> None:
    """A server that is stopped stays stopped."""
    server.stop()
    server.stop()


def test_a_taken_port_is_an_error(server: SandboxServer) -> None:
    """Two servers never share a port."""
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        SandboxServer({}, key="k", port=port).start()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Transfer-Encoding: chunked", 411),
        (f"Content-Length: {MAX_BODY + 1}", 413),
        ("Content-Length: many", 400),
        ("Content-Length: -1", 400),
        (f"Content-Length: {MAX_BODY + 1}\r\nExpect: 100-continue", 413),
    ],
)
def test_bodies_that_are_not_read(server: SandboxServer, head: str, status: int) -> None:
    """A body that is too large, chunked or of no known length is refused unread."""
    sent = f"POST /rivya/api/v1/generations HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"
    with dialled(server) as opened:
        opened.sendall(sent.encode())
        opened.shutdown(socket.SHUT_WR)
        answer = everything(opened)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_refusal_is_read_by_a_client_that_is_still_sending(server: SandboxServer) -> None:
    """A client that sends on past a refusal still gets to read it."""
    head = f"POST /rivya/x HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
    with dialled(server) as opened:
        opened.sendall(head.encode())
        for _ in range(64):
            opened.sendall(bytes(65_536))
        opened.shutdown(socket.SHUT_WR)
        answer = everything(opened)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_expect_continue_is_answered(server: SandboxServer) -> None:
    """A client that asks first is told to go on, and then answered."""
    body = b'{"model": "flux-kontext-pro", "prompt": "a fox"}'
    head = (
        "POST /rivya/api/v1/generations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        f"Connection: close\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with dialled(server) as opened:
        opened.sendall(head.encode())
        assert opened.recv(65_536).startswith(b"HTTP/1.1 100 ")
        opened.sendall(body)
        answer = everything(opened)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_clients_that_hang_up_leave_no_trace(
    server: SandboxServer,
    connection: http.client.HTTPConnection,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Half a request, or none, is no error of the server's: it says nothing and serves on."""
    for sent in (b"", b"POST /rivya/api/v1/generations HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf"):
        with dialled(server) as opened:
            opened.sendall(sent)
    assert ask(connection, server, "/rivya/api/v1/credits")[0].status == 200
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
