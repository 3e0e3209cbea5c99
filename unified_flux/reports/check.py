"""Prices held against bills: what is stated, how old it is, and what was really paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from unified_flux.journal.spending import Drift
from unified_flux.prices import PriceRow
from unified_flux.pricing import Observed

# A price that was read longer ago than this is worth another look, in days.
STALE = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One model's prices and bills.

    Attributes:
        rows: What is stated: the user's own rows where there are any, else the card's.
        drift: How bills differ from quotes by stated prices.
    """

    provider: str
    model: str
    rows: Sequence[PriceRow]
    observed: Observed | None
    drift: Drift | None
    today: date

    @property
    def stale(self) -> list[PriceRow]:
        """The rows that were read long ago."""
        return [row for row in self.rows if (row.age(self.today) or 0) > STALE]

    @property
    def drifted(self) -> bool:
        """Whether any bill differs from its quote."""
        return self.drift is not None and self.drift.differing > 0

    @property
    def verdict(self) -> str:
        """What to make of it, in words."""
        said = [f"stale: {row} was read {row.age(self.today)} days ago" for row in self.stale]
        if self.drift is not None:
            said.insert(0, _held(self.drift))
        if said:
            return "; ".join(said)
        if self.rows:
            return "not billed yet"
        return "no stated price; quoted from bills" if self.observed else "no price and no bill"

    def to_json(self) -> dict[str, Any]:
        """As `cost check --json` prints it."""
        drift = self.drift
        return {
            "provider": self.provider,
            "model": self.model,
            "prices": [
                {
                    "amount": f"{row.price.amount:f}",
                    "unit": row.price.unit,
                    "per": row.per,
                    "basis": str(row.basis),
                    "source": row.source,
                    "as_of": row.as_of,
                    "age_days": row.age(self.today),
                    "stale": row in self.stale,
                }
                for row in self.rows
            ],
            "observed": self.observed.to_json() if self.observed else None,
            "drift": {
                "compared": drift.compared,
                "differing": drift.differing,
                "unit": drift.quoted.unit,
                "quoted": f"{drift.quoted.amount:f}",
                "billed": f"{drift.billed.amount:f}",
            }
            if drift
            else None,
            "verdict": self.verdict,
        }


def _held(drift: Drift) -> str:
    """Quotes against bills in words."""
    if not drift.differing:
        return f"as quoted, in {_bills(drift.compared)}"
    quoted = drift.quoted.amount
    share = f", {(drift.billed.amount / quoted - 1) * 100:+.1f} % in all" if quoted else ""
    return (
        f"drifted: in {drift.differing} of {_bills(drift.compared)} not as quoted{share}; the "
        f"newest was quoted {drift.newest_quoted} and billed {drift.newest_billed}"
    )


def _bills(count: int) -> str:
    return "1 bill" if count == 1 else f"{count} bills"
