"""Drives a flow with scripted answers and a clock that only moves when the flow waits.

    driven = drive(flow.generate(ask), [reply(200, {"id": "t1", "status": "queued"}), ...])
    driven.sent, driven.pauses, driven.events, driven.result, driven.error

No thread, socket or sleep: five minutes of polling take a millisecond.
"""

from __future__ import annotations

import hashlib
import json as jsonlib
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from unified_flux.effects import Answer, Effect, Event, Exchange, Pause
from unified_flux.errors import UnifiedFluxError
from unified_flux.images import Header, sniff
from unified_flux.wire import Purpose, WireRequest, WireResponse

# A flow that is still talking after so many effects will not end by itself.
MAX_EFFECTS = 20_000

T = TypeVar("T")
Scripted = WireResponse | UnifiedFluxError
Answers = Iterable[Scripted] | Callable[[WireRequest], Scripted]


class ScriptEnded(AssertionError):
    """The flow asked for an exchange that the script has no answer for, or did not end."""


@dataclass(slots=True)
class Clock:
    """Simulated time in seconds. An answer that takes long moves it by hand: `clock.now += 30`."""

    now: float = 0.0


@dataclass(slots=True)
class Driven(Generic[T]):
    """A flow's conversation from first effect to end.

    Attributes:
        effects: Everything that the flow asked for, in order.
        result: What it returned, None where it raised.
        error: What it raised of ours, None where it returned; anything else passes through.
        clock: When it ended.
    """

    clock: Clock
    effects: list[Effect] = field(default_factory=list)
    result: T | None = None
    error: UnifiedFluxError | None = None

    @property
    def sent(self) -> list[WireRequest]:
        """Every exchange, in order."""
        return [effect.request for effect in self.effects if isinstance(effect, Exchange)]

    def of(self, purpose: Purpose) -> list[WireRequest]:
        """The exchanges of one purpose."""
        return [request for request in self.sent if request.purpose is purpose]

    @property
    def pauses(self) -> list[float]:
        """The seconds of every pause, in order."""
        return [effect.seconds for effect in self.effects if isinstance(effect, Pause)]

    @property
    def events(self) -> list[Event]:
        """Everything that the flow told, in order."""
        return [effect for effect in self.effects if isinstance(effect, Event)]

    @property
    def notes(self) -> list[str]:
        """The notes among the events."""
        return [event.note for event in self.events if event.note]

    def outcome(self) -> T:
        """The result. Raises the flow's own error where it ended in one."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


def drive(
    flow: Generator[Effect, Answer, T],
    answers: Answers,
    *,
    clock: Clock | None = None,
    limit: int = MAX_EFFECTS,
) -> Driven[T]:
    """Run a flow to its end against `answers`, on a simulated clock.

    Args:
        flow: The generator.
        answers: One response or fault per exchange, in order; or a function of the request.
        clock: Time to begin at; a function may move it while it answers.
        limit: How many effects are believed to be a flow that ends.

    Raises:
        ScriptEnded: When the flow wants more exchanges than are scripted, or does not end.
    """
    driven: Driven[T] = Driven(clock or Clock())
    respond = _responder(answers)
    try:
        effect = next(flow)
        while True:
            driven.effects.append(effect)
            if len(driven.effects) > limit:
                raise ScriptEnded(f"the flow has not ended after {limit} effects")
            effect = flow.send(_perform(effect, respond, driven.clock))
    except StopIteration as done:
        driven.result = done.value
    except UnifiedFluxError as error:
        driven.error = error
    return driven


def _perform(effect: Effect, respond: Callable[[WireRequest], Scripted], clock: Clock) -> Answer:
    if isinstance(effect, Exchange):
        came = respond(effect.request)
        if isinstance(came, UnifiedFluxError):
            return Answer(now=clock.now, fault=came)
        return Answer(now=clock.now, response=came)
    if isinstance(effect, Pause):
        if effect.seconds < 0:
            raise AssertionError(f"the flow wants to wait {effect.seconds} s")
        clock.now += effect.seconds
    return Answer(now=clock.now)


def _responder(answers: Answers) -> Callable[[WireRequest], Scripted]:
    if callable(answers):
        return answers
    script = iter(answers)

    def following(request: WireRequest) -> Scripted:
        for scripted in script:
            return scripted
        raise ScriptEnded(f"nothing is scripted for {request.method} {request.url}")

    return following


def reply(
    status: int = 200,
    json: Any = None,
    *,
    text: str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> WireResponse:
    """An answer with a JSON body, or with `text` as it stands."""
    body = text.encode() if isinstance(text, str) else text
    if body is None:
        body = jsonlib.dumps(json).encode()
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    return WireResponse(status=status, headers=lowered, body=body)


def picture(data: bytes = b"\x89PNG\r\n\x1a\n a picture", status: int = 200) -> WireResponse:
    """The answer to a fetch."""
    return WireResponse(status=status, blob=MemoryBlob(data))


@dataclass(frozen=True, slots=True)
class MemoryBlob:
    """A fetched picture that is on no disk."""

    data: bytes

    @property
    def path(self) -> Path:
        """No file of this name exists."""
        return Path(f"{self.sha256[:12]}.simulated")

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """As hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def whole(self) -> bool:
        """Nobody judges it."""
        return True

    @property
    def header(self) -> Header | None:
        """What its first bytes say."""
        return sniff(self.data)

    def read(self) -> bytes:
        """All of it."""
        return self.data

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write it to `path`."""
        target = Path(path)
        with target.open("wb" if force else "xb") as file:
            file.write(self.data)
        return target
