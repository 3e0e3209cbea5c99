"""What a batch will cost and has cost: sums per unit, what is unknown, and the most that it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from unified_flux.errors import SpendLimitExceeded
from unified_flux.limits import Limits, Spent, call_limit
from unified_flux.money import CREDITS, Money
from unified_flux.prices import Rates
from unified_flux.report import UNKNOWN_PRICE


@dataclass(slots=True)
class Sums:
    """Money added up unit by unit, and the count of what nobody knows; never added across units."""

    amounts: dict[str, Decimal] = field(default_factory=dict)
    unknown: int = 0

    def add(self, money: Money | None, sign: int = 1) -> None:
        """One more amount, or one that is not known; `sign` -1 takes it away again."""
        if money is None:
            self.unknown += sign
        else:
            self.amounts[money.unit] = (
                self.amounts.get(money.unit, Decimal(0)) + sign * money.amount
            )

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        units = [*self.amounts, *(unit for unit in other.amounts if unit not in self.amounts)]
        amounts = {
            unit: self.amounts.get(unit, Decimal(0)) + other.amounts.get(unit, Decimal(0))
            for unit in units
        }
        return Sums(amounts, self.unknown + other.unknown)

    def said(self, *, sandbox: bool) -> str:
        """For a person."""
        play = "sandbox " if sandbox else ""
        parts = [
            f"{amount:f} {play}{'credits' if unit.startswith(CREDITS) else unit}"
            for unit, amount in self.amounts.items()
            if amount
        ]
        if self.unknown:
            lines = "1 line" if self.unknown == 1 else f"{self.unknown} lines"
            parts.append(f"an unknown amount ({lines})")
        return " and ".join(parts) or "nothing"

    def to_json(self) -> dict[str, Any]:
        """Amounts as texts, by unit."""
        amounts = {unit: f"{amount:f}" for unit, amount in self.amounts.items()}
        return {"amounts": amounts, "unknown": self.unknown}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """`--max-cost`: what all lines together may cost."""

    limits: Limits

    @classmethod
    def of(
        cls, max_cost: str | Money, rates: Rates, provider: str | None, *, unknown_allowed: bool
    ) -> Ceiling:
        """The ceiling that a person wrote.

        Args:
            provider: Whose credits are meant; None where several may be asked.

        Raises:
            InvalidRequest: When it is no amount of money.
        """
        limit = call_limit(max_cost, provider)
        return cls(Limits(limits=(limit,), rates=rates, unknown_allowed=unknown_allowed))

    @property
    def nothing(self) -> Money:
        """No money, in its unit."""
        return Money(Decimal(0), self.limits.limits[0].most.unit)

    def takes(self, sums: Sums) -> bool:
        """Whether so much stays below it."""
        used = self._used(sums.amounts, sums.unknown)
        return used is not None and used.amount <= self.limits.limits[0].most.amount

    def require(self, sums: Sums, lines: int) -> None:
        """Refuse a batch that would pass it.

        Raises:
            SpendLimitExceeded: When it would be passed, or nobody knows.
        """
        limit = self.limits.limits[0]
        used = self._used(sums.amounts, sums.unknown)
        if used is None:
            unknown = self._used(sums.amounts, 0) is not None
            what = (
                f"{sums.unknown} of its lines cost" if unknown else f"it costs in {limit.most.unit}"
            )
            raise SpendLimitExceeded(
                f"nobody knows what {what}, and {limit.name} = {limit} is set; nothing was sent",
                next_step="unified-flux compare says what would make a price known. "
                f"--allow {UNKNOWN_PRICE} lets it pass uncounted.",
            )
        if used.amount > limit.most.amount:
            raise SpendLimitExceeded(
                f"the {lines} lines may cost {used.amount:f} {limit.most.unit}, and {limit.name} "
                f"allows {limit} in all; nothing was sent",
                next_step="Raise it, or take lines out.",
            )

    def _used(self, amounts: Mapping[str, Decimal], unknown: int) -> Money | None:
        parts = [Spent(unit, Fraction(amount)) for unit, amount in amounts.items()]
        if unknown:
            parts.append(Spent("", Fraction(0), unknown))
        return self.limits.used(self.limits.limits[0], parts)
