"""How fast one provider may be asked: jobs in flight, and paid submits a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unified_flux.errors import UnifiedFluxError
from unified_flux.text import did_you_mean, safe


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The limits of one provider.

    Attributes:
        in_flight: Jobs that may be under way there at once; None for any number.
        per_second: Paid submits that may begin in a second; None for any number.
    """

    in_flight: int | None = None
    per_second: float | None = None


def read_throttle(name: str, value: Any) -> Any:
    """One of the two limits from the settings: `vtrix.in_flight`.

    Raises:
        ValueError: Saying how the setting is wrong.
    """
    _, _, limit = name.partition(".")
    if limit not in _LIMITS:
        raise ValueError(f"is neither {' nor '.join(_LIMITS)}{did_you_mean(limit, _LIMITS)}")
    kinds, wanted = _LIMITS[limit]
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
        raise ValueError(f"must be {wanted}, not {safe(value, 40)}")
    return value


_LIMITS: dict[str, tuple[Any, str]] = {
    "in_flight": ((int,), "a whole number above 0"),
    "per_second": ((int, float), "a number above 0"),
}


class NotYet(UnifiedFluxError):
    """A paid submit has to wait for its turn; nothing was written and nothing sent.

    Args:
        seconds: After which it is worth asking again.
    """

    def __init__(self, message: str, seconds: float = 1.0, **details: Any) -> None:
        super().__init__(message, **details)
        self.seconds = seconds
