"""What passes an emulator's door: calls, replies, and the faults that befall replies on the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any

from unified_flux.wire import WireRequest, WireResponse

ELSEWHERE = "https://example.com/elsewhere"


class Fault(StrEnum):
    """What befalls an answer on its way."""

    NONE = "none"
    RESET = "reset"
    TRUNCATE = "truncate"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(WireResponse):
    """An answer, and what becomes of it on the wire; a transport or server makes that real.

    Attributes:
        fault: RESET: the connection is reset, no answer. TRUNCATE: the body breaks off halfway.
            SLOW: the answer comes after `seconds`.
    """

    fault: Fault = Fault.NONE
    seconds: float = 0.0


class BadCallError(ValueError):
    """The body is not what the route takes."""


class RefusedError(Exception):
    """Ends a request with an answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as a route sees it.

    Attributes:
        base: The URL before the provider's own path: answers build their URLs on it.
        id: What stands for `{id}` or `{path}` in the route's path.
        account: Whose key came with it; empty on public routes.
    """

    request: WireRequest
    headers: Mapping[str, str]
    base: str
    query: str
    id: str = ""
    account: str = ""

    @property
    def body(self) -> bytes:
        """The body's bytes."""
        return self.request.body

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            BadCallError: When it is none.
        """
        try:
            found = json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise BadCallError("the body is not JSON") from error
        if not isinstance(found, dict):
            raise BadCallError("the body must be a JSON object")
        return found


def _no_constant(word: str) -> Any:
    raise ValueError(word)


@dataclass(frozen=True, slots=True)
class Route:
    """Which method of the emulator answers what; `{id}` in the path is one segment, `{path}` several.

    Attributes:
        scope: The right that the key must have; None where no key is asked.
    """

    method: str
    path: str
    answer: Callable[[Any, Call], Reply]
    scope: str | None = ""


@cache
def pattern(path: str) -> re.Pattern[str]:
    known = re.escape(path).replace(r"\{id\}", "(?P<id>[^/]+)").replace(r"\{path\}", "(?P<id>.+?)")
    return re.compile(f"(?P<base>.*?){known}")


def say(status: int, body: Any) -> Reply:
    """A JSON answer."""
    data = json.dumps(body, ensure_ascii=False).encode()
    return Reply(status=status, headers={"content-type": "application/json"}, body=data)


def paced(reply: Reply, seconds: float) -> Reply:
    """The reply with a Retry-After."""
    return replace(reply, headers={**reply.headers, "retry-after": f"{seconds:g}"})


_PAGE = (
    b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in.</body></html>\n"
)
# The faults that look the same whoever is emulated.
FACES: Mapping[str, Reply] = {
    "reset": Reply(status=0, fault=Fault.RESET),
    "html": Reply(status=200, headers={"content-type": "text/html; charset=utf-8"}, body=_PAGE),
    "empty": Reply(status=200, headers={"content-type": "application/json"}),
    "redirect-307": Reply(status=307, headers={"location": ELSEWHERE}),
    "redirect-302": Reply(status=302, headers={"location": f"{ELSEWHERE}.png"}),
}
