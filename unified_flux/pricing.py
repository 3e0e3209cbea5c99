"""What a request will cost, as far as anybody knows: a quote, and what it rests on.

The user's own price rows come first, then what the provider documents, then what its bills in the
journal were, then third parties. Where none of them gives a number the price is unknown: it is
never 0 and never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

from unified_flux.money import Basis, Money, decimal_of
from unified_flux.prices import COUNTABLE, IMAGE, INPUT, PriceRow, Rates, Tariff, rate_setting
from unified_flux.translation import Translation, at

SIDES = 2


class Kind(StrEnum):
    """How a quote's amount was come by."""

    EXACT = "exact"
    FORMULA = "formula"
    UPPER_BOUND = "upper bound"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a model's latest bills in the journal were, of one picture each.

    Attributes:
        count: How many bills the median is of; `low` and `high` are the least and most of them.
        newest: The day of the newest, YYYY-MM-DD; `age` the days since.
    """

    unit: str
    median: Decimal
    low: Decimal
    high: Decimal
    count: int
    newest: str
    age: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "median": f"{self.median:f}",
            "low": f"{self.low:f}",
            "high": f"{self.high:f}",
            "count": self.count,
            "newest": self.newest,
            "age_days": self.age,
        }

    def __str__(self) -> str:
        bills = "1 bill" if self.count == 1 else f"{self.count} bills"
        spread = "" if self.low == self.high else f", {self.low:f} to {self.high:f}"
        days = "today" if self.age < 1 else f"{self.age} days ago" if self.age > 1 else "yesterday"
        return f"the journal: median of {bills}{spread}, the newest {days}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A price before anything is paid.

    Attributes:
        money: For all pictures together; None where nobody knows.
        each: For one of them; `most` is the most that one may cost, as far as is known.
        pictures: How many.
        source, as_of: Who said so, and the day it was read or last seen.
        usd: In USD; by the user's rate where the price is in credits, None where there is none.
        usd_basis: What `usd` rests on.
        observed: The bills that an observed price was taken from.
        why: Why it is unknown.
        how_to_price: What would make it known in USD; None where it is.
    """

    money: Money | None = None
    each: Money | None = None
    most: Money | None = None
    pictures: int = 1
    kind: Kind | None = None
    basis: Basis = Basis.UNKNOWN
    source: str | None = None
    as_of: str | None = None
    usd: Money | None = None
    usd_basis: Basis | None = None
    observed: Observed | None = None
    why: str | None = None
    how_to_price: str | None = None

    def times(self, pictures: int) -> Quote:
        """The quote of so many pictures, of one of which this is."""
        money = self.money.times(pictures) if self.money else None
        usd = self.usd.times(pictures) if self.usd else None
        return replace(self, money=money, usd=usd, pictures=pictures)

    def to_json(self) -> dict[str, Any]:
        """Amounts as strings, null where they are not known."""
        return {
            "amount": _said(self.money),
            "unit": self.money.unit if self.money else None,
            "kind": str(self.kind) if self.kind else None,
            "basis": str(self.basis),
            "source": self.source,
            "as_of": self.as_of,
            "usd": _said(self.usd),
            "usd_basis": str(self.usd_basis) if self.usd_basis else None,
            "pictures": self.pictures,
            "each": _said(self.each),
            "observed": self.observed.to_json() if self.observed else None,
            "why": self.why,
        }

    def __str__(self) -> str:
        if self.money is None:
            return f"unknown ({self.why})"
        return f"{self.money} ({self.basis}, {self.kind})"


def together(quotes: Sequence[Quote], pictures: int) -> Quote:
    """The quote of so many pictures by several submits of one model."""
    return replace(
        quotes[0],
        money=_sum([one.money for one in quotes]),
        usd=_sum([one.usd for one in quotes]),
        pictures=pictures,
    )


def _sum(parts: Sequence[Money | None]) -> Money | None:
    known = [part for part in parts if part is not None]
    return reduce(Money.__add__, known) if len(known) == len(parts) else None


def _said(money: Money | None) -> str | None:
    return f"{money.amount:f}" if money else None


def quote(
    translation: Translation,
    tariff: Tariff,
    observed: Callable[[], Observed | None] = lambda: None,
) -> Quote:
    """What one submit of a translation costs.

    Args:
        observed: Looks up what the bills of this model were; asked only where no price is stated.
    """
    card = translation.card
    name = f"{card.provider}/{card.model}"
    own = tariff.own(card.provider, card.model, card.family)
    documented = [row for row in card.prices if row.basis is Basis.DOCUMENTED]
    others = [row for row in card.prices if row.basis is not Basis.DOCUMENTED]
    unknown = []
    looks: tuple[Callable[[], Quote | str | None], ...] = (
        lambda: _stated(own, translation),
        lambda: _stated(documented, translation),
        lambda: _billed(observed()),
        lambda: _stated(others, translation),
    )
    for look in looks:
        found = look()
        if isinstance(found, Quote):
            return _in_usd(found, tariff.rates)
        unknown += [found] if found else []
    return _unknown(name, "; ".join(unknown))


@lru_cache(maxsize=64)
def _unknown(name: str, why: str) -> Quote:
    """Many jobs of a model share it."""
    provider, _, model = name.partition("/")
    return Quote(
        why=why or f"{provider} publishes no price for {model}",
        how_to_price=f'Set amount, unit and per under [prices."{name}"], or make one picture: '
        "its bill is kept, and quoted from.",
    )


def marks(translation: Translation) -> dict[str, tuple[Any, Any]]:
    """What tells one price of a model from another: payload key → what is said or meant, and its default."""
    card = translation.card
    keys = {key for row in card.prices for key in row.when}
    defaults = {key: card.defaults.get(key) for key in keys}
    said = {key: at(translation.payload, key) for key in keys}
    found = {k: (defaults[k] if said[k] is None else said[k], defaults[k]) for k in sorted(keys)}
    # A quote is of one picture, so only bills of one tell of it.
    return found | ({card.fields["n"]: (1, 1)} if "n" in card.fields else {})


def _in_usd(quoted: Quote, rates: Rates) -> Quote:
    if quoted.money is None:
        return quoted
    unit = quoted.money.unit
    usd = rates.usd(quoted.money)
    rate = f"Set what a credit is worth: {rate_setting(unit)}."
    basis = rates.basis(unit, quoted.basis)
    return replace(quoted, usd=usd, usd_basis=basis, how_to_price=None if usd else rate)


def _billed(observed: Observed | None) -> Quote | None:
    if observed is None:
        return None
    each = Money(observed.median, observed.unit)
    return Quote(
        money=each,
        each=each,
        most=Money(observed.high, observed.unit),
        kind=Kind.ESTIMATE,
        basis=Basis.OBSERVED,
        source=str(observed),
        as_of=observed.newest,
        observed=observed,
    )


def _stated(rows: Sequence[PriceRow], translation: Translation) -> Quote | str | None:
    """The price by rows that add up, or why they come to no number."""
    if not rows:
        return None
    held = [row for row in rows if _holds(row, translation)]
    if not held:
        return f"priced is {', '.join(map(str, rows))}, and this request is another"
    total, kind = Fraction(0), Kind.EXACT
    for row in held:
        counted = _count(row, translation)
        if isinstance(counted, str):
            return counted
        count, how = counted
        total += Fraction(row.price.amount) * count
        kind = max(kind, how, key=_ORDER.index)
    money, first = Money(decimal_of(total), held[0].price.unit), held[0]
    return Quote(
        money=money,
        each=money,
        most=money,
        kind=kind,
        basis=first.basis,
        source=first.source,
        as_of=first.as_of,
    )


# The later, the less is known.
_ORDER = (Kind.EXACT, Kind.FORMULA, Kind.UPPER_BOUND)


def _holds(row: PriceRow, translation: Translation) -> bool:
    """Whether a row is about what the payload says, or by default means."""
    payload, defaults = translation.payload, translation.card.defaults
    return all(
        (defaults.get(key) if (said := at(payload, key)) is None else said) in values
        for key, values in row.when.items()
    )


def _count(row: PriceRow, translation: Translation) -> tuple[Fraction, Kind] | str:
    """How often a row is paid for one picture, or why nobody can say."""
    if row.per == IMAGE:
        return Fraction(1), Kind.EXACT
    if row.per not in COUNTABLE:
        return f"it is paid per {row.per}, which nobody can count before"
    rounded = Kind.FORMULA if row.rounding else Kind.UPPER_BOUND
    if row.per == INPUT:
        sizes = [(one.width, one.height) for one in translation.references]
        if not all(width and height for width, height in sizes):
            return "it is paid per input megapixel, and the size of a reference is not known"
        return sum((row.megapixels(w * h) for w, h in sizes), Fraction(0)), rounded
    size, known = _output_size(translation)
    if size is None:
        return "it is paid per output megapixel, and the picture's size is not known; set its size"
    return row.megapixels(size[0] * size[1]), rounded if known else Kind.UPPER_BOUND


def _output_size(translation: Translation) -> tuple[tuple[int, int] | None, bool]:
    """The picture's pixels as the payload or the card says, or their documented most."""
    card, payload = translation.card, translation.payload
    keys = [card.fields[name] for name in ("width", "height") if name in card.fields]
    said = [at(payload, key) for key in keys]
    if len(said) == SIDES and all(isinstance(side, int) and side > 0 for side in said):
        return (said[0], said[1]), True
    words = [
        str(at(payload, key) or card.defaults.get(key))
        for name in ("aspect_ratio", "resolution")
        if (key := card.fields.get(name))
    ]
    stated = card.facts.get("sizes", {}).get(" ".join(words))
    if stated:
        return (stated[0], stated[1]), True
    most = [int(card.leaves[key].get("maximum", 0)) for key in keys]
    return ((most[0], most[1]) if len(most) == SIDES and all(most) else None), False
