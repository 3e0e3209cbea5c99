"""How fast one provider may be asked: jobs in flight, and paid submits a second."""

from __future__ import annotations

from dataclasses import dataclass

from unified_flux.errors import UnifiedFluxError


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The limits of one provider.

    Attributes:
        in_flight: Jobs that may be under way there at once; None for any number.
        per_second: Paid submits that may begin in a second; None for any number.
    """

    in_flight: int | None = None
    per_second: float | None = None


class NotYet(UnifiedFluxError):
    """A paid submit has to wait for its turn; nothing was written and nothing sent.

    Args:
        seconds: After which it is worth asking again.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
