"""What a flow asks of whoever runs it, and what it is answered."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from unified_flux.errors import UnifiedFluxError
from unified_flux.wire import Blob, Job, Phase, WireRequest, WireResponse


@dataclass(frozen=True, slots=True)
class Exchange:
    """Make this exchange; `within` bounds its seconds where the flow has little time left."""

    request: WireRequest
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Let this many seconds pass.

    Attributes:
        idly: Nothing of the flow's own is under way: where no more is to be sent, it ends here.
    """

    seconds: float
    idly: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the caller."""

    phase: Phase
    job: Job | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Event):
    """An event that belongs on disk before the flow goes on; `id` is our own name of the job.

    The answer to a fact that could not be kept has a fault. Before paying the flow then stops; what
    is paid already goes on.
    """

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent(Fact):
    """A paid submit is about to leave: SENDING. Told again before each further try.

    `repeatable` where the provider takes the same bytes again under the same key as one job.
    """

    wire: WireRequest
    repeatable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Fact):
    """The provider has taken it and named its job: ACCEPTED, before the first poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Fact):
    """It is decided: DONE with the pictures' addresses, or REFUSED, FAILED, UNKNOWN, CANCELLED."""

    urls: tuple[str, ...] = ()
    error: UnifiedFluxError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved(Fact):
    """The pictures are on this disk: SAVED. None stands for one that could not be fetched."""

    blobs: tuple[Blob | None, ...]


@dataclass(frozen=True, slots=True)
class Together:
    """Run these flows side by side until the last is over.

    In the world that is given, another provider's perhaps, else in the world of the flow that asks.
    """

    flows: Sequence[Generator[Effect, Answer, Any]]
    world: object | None = None


Effect = Exchange | Pause | Event | Together


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an effect came to, and when.

    Attributes:
        response: Of an exchange that was answered.
        fault: Of one that was not, or of a fact that could not be kept.
        held: Seconds that an intent had to wait for its turn.
        ends: What flows that ran side by side came to, in their order: failures are values.
    """

    now: float
    response: WireResponse | None = None
    fault: UnifiedFluxError | None = None
    held: float = 0.0
    ends: tuple[Any, ...] = ()
