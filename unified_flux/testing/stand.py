"""A provider's emulator on a stand: one conversation with it, on a simulated clock, spoilt or not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unified_flux.adapter import Adapter
from unified_flux.contract import Card
from unified_flux.errors import NotDelivered, OutcomeUnknown, UnifiedFluxError
from unified_flux.fetching import Finished
from unified_flux.flow import Ask, follow, generate
from unified_flux.request import ImageRequest
from unified_flux.sandbox.emulator import Emulator
from unified_flux.secret import SANDBOX_PREFIX, Secret
from unified_flux.testing import golden
from unified_flux.testing.simulation import (
    Answers,
    Clock,
    Driven,
    MemoryBlob,
    Scripted,
    drive,
    picture,
    reply,
)
from unified_flux.transports.emulated import EmulatedTransport
from unified_flux.transports.signing import Signer
from unified_flux.wire import Job, OpenedReference, Purpose, WireRequest

KEY = f"{SANDBOX_PREFIX}conformance"
Send = Callable[[WireRequest], Scripted]
Fault = Callable[[Send, WireRequest], Scripted]
_PAGE = b"<html><body><h1>Bad Gateway</h1></body></html>"


class _Memory:
    """Takes downloads and keeps them off the disk."""

    def take(self, blocks: Iterable[bytes]) -> MemoryBlob:
        return MemoryBlob(b"".join(blocks))


@dataclass(slots=True)
class Stand:
    """One emulator and one adapter that speaks to it, in this process."""

    adapter: Adapter
    make: Callable[..., Emulator]
    clock: Clock = field(default_factory=Clock)
    emulator: Emulator = field(init=False)

    def __post_init__(self) -> None:
        self.emulator = self.make(key=KEY, clock=lambda: self.clock.now)

    def meter(self) -> Mapping[str, Any]:
        """What the emulator took and would bill."""
        return self.emulator.meter()

    def send(self, request: WireRequest, key: str = KEY) -> Scripted:
        """One exchange, as the flow is told of it."""
        spool: Any = _Memory()
        signer = Signer(self.adapter, Secret(key, "the stand's key"))
        transport = EmulatedTransport(self.emulator, signer, spool, 60.0, sleep=self._pass)
        try:
            return transport.send(request)
        except UnifiedFluxError as error:
            return error

    def _pass(self, seconds: float) -> None:
        self.clock.now += seconds

    def generate(
        self,
        card: Card,
        request: ImageRequest,
        opened: Sequence[OpenedReference] = (),
        answers: Answers | None = None,
    ) -> Driven[Finished]:
        """One picture from request to bytes."""
        ask = self._ask(card)
        ask.translation = self.adapter.translate(request, card, opened)
        return drive(generate(ask), answers or self.send, clock=self.clock)

    def follow(self, card: Card, job: Job) -> Driven[Finished]:
        """The picture of a job that was accepted."""
        return drive(follow(self._ask(card), job), self.send, clock=self.clock)

    def _ask(self, card: Card) -> Ask:
        rng = random.Random(0)  # noqa: S311 - jitter, not a secret
        return Ask(adapter=self.adapter, card=card, idempotency_key=golden.KEY, rng=rng)


@dataclass(slots=True)
class Spoilt:
    """An emulator behind a fault of one kind of exchange, the first time or always."""

    stand: Stand
    moment: str
    fault: Fault
    always: bool = False
    met: int = 0

    def __call__(self, request: WireRequest) -> Scripted:
        if self._moment(request) != self.moment or (self.met and not self.always):
            return self.stand.send(request)
        self.met += 1
        return self.fault(self.stand.send, request)

    def _moment(self, request: WireRequest) -> str:
        return str(request.purpose)


def _undone(answer: Callable[[WireRequest], Scripted]) -> Fault:
    """The emulator never hears of it."""
    return lambda send, request: answer(request)


def _done(answer: Callable[[WireRequest, Scripted], Scripted]) -> Fault:
    """What was asked for is done, and the answer is another."""
    return lambda send, request: answer(request, send(request))


def _body(body: bytes) -> Fault:
    return _done(
        lambda request, _: (
            picture(body) if request.purpose is Purpose.FETCH else reply(200, text=body)
        )
    )


def _cut(request: WireRequest, answer: Scripted) -> Scripted:
    if isinstance(answer, UnifiedFluxError) or request.purpose is Purpose.FETCH:
        return OutcomeUnknown("the answer was cut off")
    return reply(answer.status, text=answer.body[: len(answer.body) // 2])


FAULTS: Mapping[str, Fault] = {
    "no connection": _undone(lambda request: NotDelivered("no route to the host")),
    "reset, undone": _undone(lambda request: OutcomeUnknown("the connection was reset")),
    "reset, done": _done(lambda request, _: OutcomeUnknown("the connection was reset")),
    "429": _undone(lambda request: reply(429, {"detail": "slow down"}, headers={"Retry-After": "1"})),
    "500, undone": _undone(lambda request: reply(500, {"detail": "oops"})),
    "500, done": _done(lambda request, _: reply(500, {"detail": "oops"})),
    "502 page, done": _done(lambda request, _: reply(502, text=_PAGE)),
    "redirect": _undone(lambda r: reply(307, {}, headers={"Location": "https://example.com/"})),
    "page": _body(_PAGE),
    "empty": _body(b""),
    "another object": _body(b'{"hello": "world"}'),
    "cut": _done(_cut),
}  # fmt: skip
