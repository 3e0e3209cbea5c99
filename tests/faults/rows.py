"""The faults, one row each."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from functools import partial

from faults.proxy import Answer, Door, End, Fault, Request

LARGE = 64 * 1024 * 1024
# In seconds: later than the whole time that a trial of a fault that stays gives a picture.
LATE = 0.9
_BLOCK = b" " * (64 * 1024)
_REASONS = {
    302: "Found",
    307: "Temporary Redirect",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _message(status: int, body: bytes, kind: str = "application/json", *more: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'OK')}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _saying(message: bytes) -> Answer:
    return lambda request, answer: [message]


def _page(status: int) -> bytes:
    """What a gateway says who knows nothing of the service behind it."""
    said = f"<html><head><title>{status}</title></head><body>{_REASONS.get(status, 'Hello')}</body>"
    return _message(status, f"{said}</html>\n".encode(), "text/html")


def _redirect(status: int, elsewhere: bool) -> Answer:
    """To where the same would be answered well: whoever follows with the key is seen to."""

    def answer(request: Request, _: bytes) -> Iterable[bytes]:
        host = request.host.replace("127.0.0.1", "localhost") if elsewhere else request.host
        place = f"Location: http://{host}{request.path}"
        return [_message(status, b"", "text/plain", place)]

    return answer


def _with_nan(_: Request, answer: bytes) -> Iterable[bytes]:
    """The true answer, with a NaN in it where it is JSON."""
    body = answer.partition(b"\r\n\r\n")[2]
    odd = body.replace(b"{", b'{"odd": NaN, ', 1) if body.startswith(b"{") else b'{"odd": NaN}'
    return [_message(200, odd)]


def _late(_: Request, answer: bytes) -> Iterator[bytes]:
    time.sleep(LATE)
    yield answer


def _large(_: Request, __: bytes) -> Iterator[bytes]:
    head = _message(200, b"").replace(b"Content-Length: 0", b"Content-Length: %d" % LARGE)
    yield head
    for _block in range(LARGE // len(_BLOCK)):
        yield _BLOCK


def _measured_by(more: int) -> Answer:
    """The true answer whose Content-Length says so many bytes more than there are."""

    def answer(_: Request, answer: bytes) -> Iterable[bytes]:
        size = len(answer.partition(b"\r\n\r\n")[2]) + more
        return [re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % size, answer, count=1)]

    return answer


def _cut(place: int, _: Request, answer: bytes) -> Iterable[bytes]:
    return [answer[:place]]


def cut(place: int) -> Fault:
    """The answer breaks off after so many bytes; counted from its end where that is negative."""
    return Fault(name="cut", says="cut", answer=partial(_cut, place))


def _refusals() -> Iterator[Fault]:
    slow_down = b'{"error": {"code": "slow_down", "message": "Too many requests."}}'
    told = _message(429, slow_down, "application/json", "Retry-After: 0.1")
    yield Fault(
        name="429-paced", says="429 with Retry-After", forwarded=False, answer=_saying(told)
    )
    yield Fault(
        name="429",
        says="429 without Retry-After",
        forwarded=False,
        answer=_saying(_message(429, slow_down)),
    )
    for status in (500, 502, 503, 504):
        said = _saying(_page(status))
        yield Fault(name=f"{status}", says=f"{status}, nothing done", forwarded=False, answer=said)
        yield Fault(name=f"{status}-done", says=f"{status}, and it was done", answer=said)


def _redirects() -> Iterator[Fault]:
    for status, done in ((307, False), (302, True)):
        for elsewhere in (True, False):
            where = "another host" if elsewhere else "the same host"
            yield Fault(
                name=f"{status}-{'other' if elsewhere else 'same'}",
                says=f"{status} to {where}{', and it was done' if done else ''}",
                forwarded=done,
                answer=_redirect(status, elsewhere),
            )


_WRONG = b'{"hello": ["world"], "id": 7}'
_DEEP = b"[" * 100_000 + b"]" * 100_000
TABLE = (
    Fault(name="refused", says="connection refused", door=Door.SHUT),
    Fault(name="stuck", says="connect timeout", door=Door.STUCK),
    Fault(name="no-tls", says="TLS: the port speaks none", door=Door.NO_TLS),
    Fault(name="stranger", says="TLS: a certificate that nobody trusts", door=Door.STRANGER),
    Fault(name="reset-unread", says="reset before the request is read", door=Door.RESETS),
    Fault(name="reset-done", says="reset after it was accepted", answer=lambda *_: (), end=End.RESET),
    Fault(name="silence", says="read timeout", end=End.HELD),
    Fault(name="late", says="an answer that comes when the time is up", answer=_late),
    *_refusals(),
    Fault(name="html", says="200 with a page of HTML", answer=_saying(_page(200))),
    Fault(name="empty", says="200 with nothing", answer=_saying(_message(200, b""))),
    Fault(name="wrong-json", says="200 with JSON of another shape", answer=_saying(_message(200, _WRONG))),
    Fault(name="nan", says="200 with NaN in its JSON", answer=_with_nan),
    Fault(name="deep", says="200 with 100,000 brackets", answer=_saying(_message(200, _DEEP))),
    Fault(name="large", says="200 with 64 MB", answer=_large),
    *_redirects(),
    Fault(name="too-long", says="Content-Length too long", answer=_measured_by(100)),
    Fault(name="too-short", says="Content-Length too short", answer=_measured_by(-100)),
    Fault(name="cut", says="cut off in the middle of its head", answer=partial(_cut, 40)),
)  # fmt: skip
ROWS = {fault.name: fault for fault in TABLE}


def _decided(status: int) -> Fault:
    said = b'{"error": {"code": "no", "message": "No."}}'
    return Fault(
        name=f"{status}",
        says=f"{status}, nothing done",
        forwarded=False,
        answer=_saying(_message(status, said)),
    )


# What may come in any order and any number; plain refusals, which decide a case, are among it.
STORM = (*TABLE, *(_decided(status) for status in (400, 401, 402, 403, 404, 408, 409)))
