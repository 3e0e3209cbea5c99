"""Spend limits: what may be spent in a call, a day, a month, or at one provider.

Judged in exact numbers: what is spent or reserved already, and what is about to be. The journal
does it in the transaction that writes the reservation down, so that no two processes pass a limit
together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from unified_flux.errors import InvalidRequest, Problem, SpendLimitExceeded
from unified_flux.money import CREDITS, USD, Money, decimal_of, parse_money
from unified_flux.prices import Rates, rate_setting
from unified_flux.report import UNKNOWN_PRICE
from unified_flux.text import did_you_mean

PROVIDERS = "per_provider"


class Period(StrEnum):
    """What a limit counts together; days and months are those of UTC."""

    CALL = "per_call"
    DAY = "per_day"
    MONTH = "per_month"
    EVER = "in all"


_WHEN = {
    Period.CALL: "in this call",
    Period.DAY: "today (UTC)",
    Period.MONTH: "this month (UTC)",
    Period.EVER: "in all",
}
_WAIT = {Period.DAY: ", or wait until tomorrow (UTC)", Period.MONTH: ", or wait for the next month"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit.

    Attributes:
        name: What the user calls it: a setting, or `--max-cost`.
        source: Where it was set, with the line where it stands in a file; empty for the call's own.
        provider: Whose spending it counts; None for all.
    """

    name: str
    most: Money
    period: Period
    source: str
    provider: str | None = None

    @property
    def counts(self) -> str | None:
        """The provider whose spending it counts; credits count for who is paid in them."""
        unit = self.most.unit
        return self.provider or (None if unit == USD else unit.removeprefix(CREDITS))

    def concerns(self, provider: str) -> bool:
        """Whether a call to a provider is counted by it."""
        return self.counts in {None, provider}

    def __str__(self) -> str:
        return f"{self.most.amount:f} {self.most.unit}"


@dataclass(frozen=True, slots=True)
class Spent:
    """A sum that the journal knows: exact, or of jobs whose cost nobody knows."""

    unit: str
    amount: Fraction
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits of one call.

    Attributes:
        provider: Who would be paid; None for several together.
        unknown_allowed: Whether what nobody can price may pass, uncounted.
        how_to_price: What to do where the price is not known.
    """

    limits: tuple[Limit, ...] = ()
    provider: str | None = None
    rates: Rates = field(default_factory=Rates)
    unknown_allowed: bool = False
    how_to_price: str | None = None

    def check(self, limit: Limit, spent: Iterable[Spent], asked: Sequence[Money | None]) -> None:
        """Let a call pass under one limit.

        Args:
            spent: What is spent or reserved in the limit's period.
            asked: The most that each new picture may cost.

        Raises:
            SpendLimitExceeded: When it would be passed, or when that cannot be known.
        """
        new = [Spent(m.unit, Fraction(m.amount)) if m else Spent("", Fraction(0), 1) for m in asked]
        before = self._sum(limit, spent, new=False)
        cost = self._sum(limit, new, new=True)
        if before + cost <= Fraction(limit.most.amount):
            return
        unit, when = limit.most.unit, _WHEN[limit.period]
        left = f", of which {_said(before)} {unit} are spent or reserved" if before else ""
        where = f" ({limit.source})" if limit.source else ""
        what = "this picture" if len(asked) == 1 else f"these {len(asked)} pictures"
        raise SpendLimitExceeded(
            f"{what} may cost {_said(cost)} {unit}, and {limit.name} allows {limit}{left} {when}; "
            "nothing was sent",
            provider=self.provider,
            next_step=f"Raise it{where}{_WAIT.get(limit.period, '')}.",
        )

    def used(self, limit: Limit, spent: Iterable[Spent]) -> Money | None:
        """What is spent or reserved under a limit, in its unit; None where nobody knows."""
        try:
            used = self._sum(limit, spent, new=False)
        except SpendLimitExceeded:
            return None
        return Money(decimal_of(used), limit.most.unit)

    def _sum(self, limit: Limit, parts: Iterable[Spent], *, new: bool) -> Fraction:
        """Parts in the limit's unit; what is not known there counts for nothing where allowed."""
        total = Fraction(0)
        for part in parts:
            exact = None if part.unknown else self._exact(part, limit.most.unit)
            if exact is None and not self.unknown_allowed:
                raise self._unknown(limit, part, new=new)
            total += exact or 0
        return total

    def _exact(self, part: Spent, unit: str) -> Fraction | None:
        if part.unit == unit:
            return part.amount
        return self.rates.exact_usd(part.amount, part.unit) if unit == USD else None

    def _unknown(self, limit: Limit, one: Spent, *, new: bool) -> SpendLimitExceeded:
        where = _WHEN[limit.period]
        if one.unknown:
            what = "what this call costs" if new else f"what {_jobs(one.unknown)} cost {where}"
        else:
            said = f"{_said(one.amount)} {one.unit}"
            what = f"what {said} of this call are" if new else f"what {said}, spent {where}, are"
            what += f" in {limit.most.unit}"
        rate = None if one.unknown else _how_to_rate(one.unit)
        step = rate or (self.how_to_price if new else "unified-flux cost report tells of them.")
        return SpendLimitExceeded(
            f"nobody knows {what}, and {limit.name} = {limit} is set; nothing was sent",
            provider=self.provider,
            next_step=f"{step or ''} --allow {UNKNOWN_PRICE} lets it pass uncounted.".strip(),
        )


def _said(amount: Fraction) -> str:
    return f"{decimal_of(amount):f}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _how_to_rate(unit: str) -> str | None:
    return f"Set {rate_setting(unit)}." if unit.startswith(CREDITS) else None


_NAMES = (Period.CALL, Period.DAY, Period.MONTH)


def read_limit(name: str, said: Any, source: str) -> Limit:
    """One limit of the settings, by the name below `limits.` that it stands under.

    `per_day` and its like count everything; `per_provider.NAME.per_day` one provider; and
    `per_provider.NAME` alone counts all that was ever spent there.

    Raises:
        ValueError: For an unknown name, no amount, no unit, or another provider's credits.
    """
    provider: str | None = None
    match name.split("."):
        case [word] if word in _NAMES:
            period = Period(word)
        case ["per_provider", provider, word] if word in _NAMES:
            period = Period(word)
        case ["per_provider", provider]:
            period = Period.EVER
        case _:
            raise ValueError(f"is no limit{did_you_mean(name, _NAMES)}; known: {', '.join(_NAMES)}")
    most = parse_money(said, provider)
    if provider and most.unit not in {USD, f"{CREDITS}{provider}"}:
        raise ValueError(f"mixes units: {provider} is not paid in {most.unit}")
    return Limit(name=f"limits.{name}", most=most, period=period, source=source, provider=provider)


def call_limit(said: object, provider: str | None = None) -> Limit:
    """`--max-cost`, or the argument of that name.

    Args:
        provider: Who is asked; None for several together.

    Raises:
        InvalidRequest: When it is no money, or other credits than the provider's.
    """
    try:
        said = f"{said.amount:f} {said.unit}" if isinstance(said, Money) else said
        most = parse_money(said, provider)
        limit = Limit(name="max-cost", most=most, period=Period.CALL, source="")
        if provider is not None and not limit.concerns(provider):
            raise ValueError(f"is in {most.unit}, and {provider} is not paid in them")
    except ValueError as error:
        problem = Problem(field="max-cost", message=str(error))
        raise InvalidRequest(
            "the limit cannot be kept; nothing was sent", problems=[problem]
        ) from None
    return limit
