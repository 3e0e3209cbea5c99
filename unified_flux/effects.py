"""What a flow asks of whoever runs it, and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass

from unified_flux.errors import UnifiedFluxError
from unified_flux.wire import Job, Phase, WireRequest, WireResponse


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
    """Something to tell the caller; `ACCEPTED` comes before the first poll, with the job."""

    phase: Phase
    job: Job | None = None
    note: str | None = None


Effect = Exchange | Pause | Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an effect came to, and when. An exchange has a response or a fault."""

    now: float
    response: WireResponse | None = None
    fault: UnifiedFluxError | None = None
