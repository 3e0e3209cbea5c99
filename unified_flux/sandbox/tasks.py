"""Paid work, before and after it is accepted. On this side of the wire a job is a *task*."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal

from unified_flux.contract import Card
from unified_flux.sandbox.drawing import Picture
from unified_flux.sandbox.exchange import Call
from unified_flux.sandbox.scenarios import End, Scenario

# Clocks are floats: a client that waits exactly the named pace must find the task ended.
_TICK = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A submit that was found valid.

    Attributes:
        count: How many pictures it asks for.
        key: The idempotency key, where the provider has them and the caller sent one.
        digest: Of the body: what makes two submits the same.
    """

    call: Call
    card: Card
    picture: Picture
    scenario: Scenario
    count: int = 1
    key: str | None = None

    @property
    def digest(self) -> str:
        """The body's sha256."""
        return hashlib.sha256(self.call.body).hexdigest()


@dataclass(slots=True, kw_only=True)
class Task:
    """Accepted work.

    Attributes:
        files: The pictures' names in their URLs: as hard to guess as a key.
        accepted: When, by the emulator's clock; `created` and `changed` are times of day.
    """

    id: str
    account: str
    card: Card
    picture: Picture
    scenario: Scenario
    price: Decimal
    files: tuple[str, ...]
    accepted: float
    created: float
    changed: float
    polls: int = 0
    downloads: int = 0
    settled: bool = False

    def picture_at(self, position: int) -> Picture:
        """One of its pictures; no two of a task are the same."""
        if not position:
            return self.picture
        return replace(self.picture, seed=(self.picture.seed or 0) + position)

    def progress(self, now: float) -> float:
        """From 0 to 1; 1 is the end, good or bad."""
        done, whole = now - self.accepted + _TICK, self.scenario.ready_after
        if self.scenario.polls is not None:
            done, whole = self.polls, self.scenario.polls
        return min(done / whole, 1.0) if whole else 1.0

    @property
    def refunded(self) -> bool:
        """Whether it ended and cost nothing."""
        return self.settled and self.scenario.end is not End.DONE
