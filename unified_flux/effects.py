"""What a flow asks of whoever runs it, and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass

from unified_flux.errors import UnifiedFluxError
from unified_flux.wire import Blob, Job, Phase, WireRequest, WireResponse


@dataclass(frozen=True, slots=True)
class Exchange:
    """Make this exchange; `within` bounds its seconds where the flow has little time left."""

    request: WireRequest
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Let this many seconds pass."""

    seconds: float


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


Effect = Exchange | Pause | Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an effect came to, and when. An exchange has a response or a fault, a fact perhaps a fault."""

    now: float
    response: WireResponse | None = None
    fault: UnifiedFluxError | None = None
