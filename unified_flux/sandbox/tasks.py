"""Paid work, before and after it is accepted. On this side of the wire a job is a *task*."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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
        key: The idempotency key, where the provider has them and the caller sent one.
        digest: Of the body: what makes two submits the same.
    """

    call: Call
    card: Card
    picture: Picture
    scenario: Scenario
    key: str | None = None

    @property
    def digest(self) -> str:
        """The body's sha256."""
        return hashlib.sha256(self.call.body).hexdigest()


@dataclass(slots=True, kw_only=True)
class Task:
    """Accepted work.

    Attributes:
        file: The picture's name in its URL: as hard to guess as a key.
        accepted: When, by the emulator's clock; `created` and `changed` are times of day.
    """

    id: str
    account: str
    card: Card
    picture: Picture
    scenario: Scenario
    price: Decimal
    file: str
    accepted: float
    created: float
    changed: float
    polls: int = 0
    downloads: int = 0
    settled: bool = False

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
