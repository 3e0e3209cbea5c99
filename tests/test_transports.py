"""One exchange over a real socket: what is sent, what each fault becomes, who sees the key."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from unified_flux import NotDelivered, OutcomeUnknown, ProtocolError, Reference, registry
from unified_flux.references import open_references
from unified_flux.secret import Secret
from unified_flux.settings import Network
from unified_flux.spool import Spool
from unified_flux.transports import guard, http
from unified_flux.transports.encoding import Body, encode, encode_json
from unified_flux.transports.http import HttpTransport
from unified_flux.transports.signing import Signer
from unified_flux.wire import BLOCK, OpenedReference, Part, Placeholder, Purpose, WireRequest

from hostile import answer, hear, hostile, reset, say  # isort: skip

KEY = "sandbox_canary-key"
FAST = Network(connect_timeout=0.2, read_timeout=0.2, total_timeout=1.0)
MakePng = Callable[..., bytes]


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[Callable[..., HttpTransport]]:
    """Makes transports to a base URL and closes them."""
    made: list[HttpTransport] = []

    def make(base: str, network: Network = FAST) -> HttpTransport:
        adapter = registry.make_adapter("rivya", base)
        signer = Signer(adapter, Secret(KEY))
        made.append(HttpTransport(signer, Spool(tmp_path / "spool"), network))
        return made[-1]

    yield make
    for one in made:
        one.close()


def submit(base: str, payload: Any = None) -> WireRequest:
    return WireRequest(
        purpose=Purpose.SUBMIT, method="POST", url=f"{base}/x", json=payload or {"prompt": "a fox"}
    )


def fetch(url: str) -> WireRequest:
    return WireRequest(purpose=Purpose.FETCH, url=url, signed=False)


def local(data: bytes, name: str = "den.png") -> OpenedReference:
    return open_references([Reference(data, name)])[0]


def body_of(request: WireRequest) -> bytes:
    _, body = encode(request)
    return body if isinstance(body, bytes) else b"".join(body or ())


def test_a_payload_goes_out_as_json_with_its_length_and_the_key(transport: Any) -> None:
    """Bytes on the wire: signed, typed, of known length, not chunked."""
    with hostile(say(answer(b'{"id": "t"}'))) as server:
        response = transport(server.url).send(submit(server.url, {"prompt": "Füchse 🦊"}))
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert json.loads(body) == {"prompt": "Füchse 🦊"}
    assert f"Authorization: Bearer {KEY}".encode() in head
    assert b"Content-Type: application/json" in head
    assert b"chunked" not in head
    assert response.object() == {"id": "t"}


def test_a_reference_goes_out_as_base64_in_its_place(make_png: MakePng) -> None:
    """The placeholder becomes the very base64, and the length is known beforehand."""
    data = make_png(filler=2 * BLOCK + 77)
    payload = {"a": ["x", Placeholder(local(data))], "b": Placeholder(local(data)), "c": "<x>"}
    body = encode_json(payload)
    assert isinstance(body, Body)
    text = b"".join(body)
    assert len(body) == len(text)
    said = base64.b64encode(data).decode()
    assert json.loads(text) == {"a": ["x", said], "b": said, "c": "<x>"}
    assert b"".join(body) == text


def test_an_upload_is_a_form_that_others_can_read(make_png: MakePng) -> None:
    """python-multipart reads back every part; a name cannot break out of its quotes."""
    from unified_flux.sandbox.forms import read

    data = make_png(filler=BLOCK)
    parts = (
        Part(name="kind", value="image"),
        Part(name="file", value=local(data, 'evil"; x="\r\nX: y.png')),
    )
    request = WireRequest(purpose=Purpose.UPLOAD, method="POST", url="https://x/", parts=parts)
    kind, body = encode(request)
    assert kind is not None and isinstance(body, Body)
    whole = b"".join(body)
    assert len(whole) == len(body)
    form = read(kind, whole)
    assert data in whole
    assert b"\r\nX: y" not in whole
    assert set(form) == {"kind", "file"}


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (reset, OutcomeUnknown),
        (say(b""), OutcomeUnknown),
        (say(b"HTTP/1.1 200"[:7]), OutcomeUnknown),
        (say(answer(b"x" * 50)[:-10]), OutcomeUnknown),
        (say(b"SSH-2.0-OpenSSH\r\n"), OutcomeUnknown),
        (lambda connection: connection.recv(1), OutcomeUnknown),
        (say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), OutcomeUnknown),
    ],
    ids=["reset", "hang up", "cut status line", "cut body", "not http", "silence", "bad gzip"],
)  # fmt: skip
def test_whatever_breaks_after_sending_leaves_the_outcome_unknown(
    script: Any, kind: type[Exception], transport: Any
) -> None:
    """Once a byte has left, no fault says that the submit was not taken."""
    with hostile(script) as server, pytest.raises(kind) as caught:
        transport(server.url).send(submit(server.url))
    assert KEY not in str(caught.value)


def test_a_refused_connection_was_never_delivered(transport: Any) -> None:
    """Nothing listens: no byte left."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NotDelivered, match="nothing was sent"):
        transport(url).send(submit(url))


def test_a_name_that_does_not_resolve_was_never_delivered(transport: Any) -> None:
    """DNS comes before the first byte."""
    with pytest.raises(NotDelivered):
        transport("https://rivya.invalid").send(submit("https://rivya.invalid"))


@pytest.fixture
def tls() -> Iterator[tuple[str, trustme.CA]]:
    """A TLS server of this machine and the authority that vouches for it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) as connection:
                    hear(connection)
                    connection.sendall(answer(b"{}"))
            except ssl.SSLError:
                plain.close()
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}", authority
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_certificate_that_nobody_vouches_for_stops_before_the_first_byte(
    tls: Any, transport: Any
) -> None:
    """A failed handshake was never delivered."""
    url, _ = tls
    with pytest.raises(NotDelivered, match="SSLError"):
        transport(url).send(submit(url))


def test_a_certificate_that_is_vouched_for_is_accepted(
    tls: Any, transport: Any, tmp_path: Path
) -> None:
    """Verification works through the shared context, with a bundle of one's own."""
    url, authority = tls
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    network = Network(connect_timeout=1, read_timeout=1, ca_bundle=str(bundle))
    assert transport(url, network).send(submit(url)).status == 200


def test_a_redirect_is_handed_back_and_not_followed(transport: Any) -> None:
    """The key stays with the host it was meant for."""
    elsewhere = answer(b"", "307 Temporary Redirect", Location="http://127.0.0.2:1/steal")
    with hostile(say(elsewhere)) as server:
        response = transport(server.url).send(submit(server.url))
    assert response.status == 307
    assert len(server.heard) == 1


def test_a_key_is_not_put_on_for_a_foreign_host(transport: Any) -> None:
    """An adapter that asks for it is broken, and nothing is sent."""
    with hostile(say(answer(b"{}"))) as server, pytest.raises(ProtocolError, match="not one of"):
        transport("https://rivya.ai").send(submit(server.url))
    assert server.heard == []


def test_a_download_carries_no_key_and_lands_in_the_spool(transport: Any, jpeg: bytes) -> None:
    """The bytes are on disk, whole, with nothing of ours in the request."""
    with hostile(say(answer(jpeg))) as server:
        response = transport(server.url).send(fetch(f"{server.url}/fox.jpg"))
    assert response.blob is not None
    assert response.blob.read() == jpeg
    assert KEY.encode() not in server.heard[0]
    assert b"Authorization" not in server.heard[0]


@pytest.mark.parametrize("keep", [len(b"HTTP/1.1 200 OK\r\nContent"), 100, 500])
def test_a_download_whose_length_was_cut_away_is_no_picture(
    keep: int, transport: Any, jpeg: bytes
) -> None:
    """Without a length the picture's own end decides, and an empty one never passes."""
    whole = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" + jpeg
    with hostile(say(whole[:keep])) as server, pytest.raises(OutcomeUnknown):
        transport(server.url).send(fetch(f"{server.url}/fox.jpg"))


def test_a_cut_download_is_no_picture(transport: Any, jpeg: bytes, tmp_path: Path) -> None:
    """A wrong Content-Length is noticed and nothing is kept."""
    with hostile(say(answer(jpeg)[:-5])) as server, pytest.raises(OutcomeUnknown):
        transport(server.url).send(fetch(f"{server.url}/fox.jpg"))
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/x", "https://127.0.0.1/x", "https://10.0.0.1/x", "file:///etc/passwd",
     "https://user:pw@example.com/x", "https://localhost/x"],
)  # fmt: skip
def test_a_download_from_inside_is_refused_before_any_connection(url: str, transport: Any) -> None:
    """An answer cannot send us to our own network; loopback only counts as the configured base."""
    with pytest.raises(ProtocolError, match="not to be followed"):
        transport("https://rivya.ai").send(fetch(url))


def test_a_name_that_leads_inside_is_refused_after_one_lookup(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS is asked once, every address is vetted, and one bad address refuses the name."""
    asked = []

    def resolve(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("93.184.216.34", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ProtocolError, match="private address"):
        transport("https://rivya.ai").send(fetch("https://rebind.example.com/x"))
    assert asked == ["rebind.example.com"]


def test_a_vetted_name_is_connected_by_the_vetted_address(
    tls: Any, transport: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is pinned while the name is kept for the certificate."""
    url, authority = tls
    port = int(url.rpartition(":")[2])
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, *_, **__: [(*kind, ("127.0.0.1", port))]
    )
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.1")
    network = Network(connect_timeout=1, read_timeout=1, ca_bundle=str(bundle))
    # The server's certificate is for 127.0.0.1, so a name of our own must fail to match it.
    with pytest.raises(NotDelivered, match="SSLError"):
        transport("https://rivya.ai", network).send(fetch(f"https://cdn.example.com:{port}/x"))


def test_an_endless_answer_is_cut_off(transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is read up to a cap, not into all memory."""
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 100_000)
    with (
        hostile(say(answer(b" " * 1_000_000))) as server,
        pytest.raises(OutcomeUnknown, match="larger"),
    ):
        transport(server.url).send(submit(server.url))


def test_proxies_are_asked_for_once_per_host_and_never_for_this_machine(transport: Any) -> None:
    """Loopback goes direct, whatever the environment says."""
    asked: list[str] = []

    def proxies(url: str) -> dict[str, str]:
        asked.append(url)
        return {"https": "http://127.0.0.1:9"}

    network = Network(connect_timeout=0.2, read_timeout=0.2, proxies=proxies)
    with hostile(say(answer(b"{}"))) as server:
        assert transport(server.url, network).send(submit(server.url)).status == 200
    assert asked == []
    far = transport("https://rivya.invalid", network)
    for _ in range(2):
        with pytest.raises(NotDelivered):
            far.send(submit("https://rivya.invalid"))
    assert asked == ["https://rivya.invalid/x"]


def test_a_connection_is_kept_for_the_next_exchange(transport: Any) -> None:
    """Two exchanges share a connection, and as many threads as you like leave no more behind."""

    def twice(connection: socket.socket) -> None:
        connection.sendall(answer(b"{}"))
        hear(connection)
        connection.sendall(answer(b"{}"))

    with hostile(twice) as server:
        one = transport(server.url)
        for _ in range(2):
            thread = threading.Thread(target=one.send, args=(submit(server.url),))
            thread.start()
            thread.join()
        assert len(server.heard) == 1


def test_the_key_is_in_no_exception_however_deep_one_looks(transport: Any) -> None:
    """The library's own error holds the request with its headers; ours does not hold the library's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NotDelivered) as caught:
        transport(url).send(submit(url))
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__


def test_a_key_that_a_provider_echoes_is_not_handed_on(transport: Any) -> None:
    """An answer reaches the adapter without it."""
    echo = f'{{"error": {{"message": "Incorrect key {KEY}"}}}}'.encode()
    with hostile(say(answer(echo, "401 Unauthorized"))) as server:
        response = transport(server.url).send(submit(server.url))
    assert response.object()["error"]["message"] == "Incorrect key ***"


def test_a_drip_of_bytes_cannot_outlast_the_time_that_is_left(transport: Any) -> None:
    """The time for a whole answer is kept between any two bytes."""
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.02):
            connection.sendall(b" ")

    with hostile(drip) as server, pytest.raises(OutcomeUnknown, match="in time"):
        try:
            transport(server.url).send(submit(server.url), within=0.1)
        finally:
            stop.set()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_provider_may_live_at_an_ipv6_address(transport: Any) -> None:
    """Its address is asked as it is written, and so are its path and query."""
    with hostile(say(answer(b"{}")), host="::1") as server:
        assert transport(server.url).send(submit(server.url)).status == 200
    assert f"Host: [::1]:{server.port}".encode() in server.heard[0]


def test_a_proxy_that_refuses_was_told_nothing_of_the_request(transport: Any) -> None:
    """What a proxy hears on the way is no byte of the paid submit."""
    refusal = answer(b"", "403 Forbidden")
    with hostile(say(refusal)) as proxy:
        network = Network(
            connect_timeout=1, read_timeout=1, proxies=lambda url: {"https": proxy.url}
        )
        with pytest.raises(NotDelivered):
            transport("https://rivya.ai", network).send(submit("https://rivya.ai"))
    assert KEY.encode() not in b"".join(proxy.heard)


@pytest.mark.parametrize("url", ["https://ex ample.com/é", "https://1.1.1.1:99999/é", "http://["])
def test_an_address_that_is_none_is_refused_in_our_words(url: str, transport: Any) -> None:
    """Whatever a provider names as a picture's address, the error is ours."""
    with pytest.raises(ProtocolError, match="not to be followed"):
        transport("https://rivya.ai").send(fetch(url))
    with pytest.raises(ProtocolError, match="not to be followed"):
        transport("http://127.0.0.1:9").send(fetch(url))
