"""What a picture costs, as rows that somebody stated; and what a credit is worth in dollars.

A row says an amount, its unit, what it is paid for, and who said so when. Rows stand in the model
cards; a user's own, under `[prices."provider/model"]`, stand above them. A credit's worth in USD is
the user's to say, under `[credits]`: no provider here documents one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from unified_flux.geometry import PIXELS
from unified_flux.money import CREDITS, USD, Basis, Money, decimal_of, parse_amount, parse_unit
from unified_flux.text import did_you_mean, safe

IMAGE, OUTPUT, INPUT = "image", "output megapixel", "input megapixel"
# What a row can be paid for. Any other word is kept, shown, and never made a number.
COUNTABLE = (IMAGE, OUTPUT, INPUT)
# Pixels of a megapixel where a row says nothing else: what 1K holds in our reading (decision 0003).
MEGAPIXEL = PIXELS["1K"]
ROUNDINGS = ("up", "none")
_KEYS = ("amount", "unit", "per", "basis", "source", "as_of", "when", "pixels", "rounding")
_BASES = (Basis.DOCUMENTED, Basis.THIRD_PARTY, Basis.CONFIGURED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One price that somebody stated.

    Attributes:
        per: `image`, `output megapixel` or `input megapixel`; other words are kept as they came.
        source, as_of: Where it was read, and on which day (YYYY-MM-DD).
        when: Payload key, dotted → the values that the price holds for.
        pixels: How many a megapixel has.
        where: The line that the user wrote it on; empty for a card's.
        rounding: `up` where each begun megapixel counts whole, `none` where shares count, None
            where nobody said: then `up` is an upper bound.
    """

    price: Money
    per: str
    basis: Basis
    source: str | None = None
    as_of: str | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    pixels: int = MEGAPIXEL
    rounding: str | None = None
    where: str = ""

    def megapixels(self, pixels: int) -> Fraction:
        """How many megapixels are paid for."""
        exact = Fraction(pixels, self.pixels)
        return (
            exact if self.rounding == "none" else Fraction(-(-exact.numerator // exact.denominator))
        )

    def age(self, today: date) -> int | None:
        """Days since it was read, None where nobody noted the day."""
        return (today - date.fromisoformat(self.as_of)).days if self.as_of else None

    def __str__(self) -> str:
        said = f"{self.price.amount:f} {self.price.unit} per {self.per}"
        limits = [f"{key} {'|'.join(map(str, values))}" for key, values in self.when.items()]
        return f"{said} at {', '.join(limits)}" if limits else said


def read_rows(
    found: Any, provider: str, basis: Basis | None = None, where: str = ""
) -> tuple[PriceRow, ...]:
    """The price rows of one model, from JSON or TOML: one table or a list of them.

    Args:
        basis: What they all rest on; where None, each says it.
        where: The line that they stand on.

    Raises:
        ValueError: For anything that is no price, saying which key and what it must be.
    """
    tables = found if isinstance(found, list) else [found]
    rows: list[PriceRow] = []
    for number, table in enumerate(tables, 1):
        try:
            rows.append(replace(_row(table, provider, basis), where=where))
        except ValueError as error:
            raise ValueError(f"(row {number}) {error}" if len(tables) > 1 else str(error)) from None
    units = sorted({row.price.unit for row in rows})
    if len(units) > 1:
        raise ValueError(f"mixes units, {' and '.join(units)}; say all of one model in one")
    return tuple(rows)


def _row(table: Any, provider: str, basis: Basis | None) -> PriceRow:
    if not isinstance(table, Mapping):
        raise ValueError("must be a table with amount, unit and per")  # noqa: TRY004 - one kind for all
    for name in table:
        if name not in _KEYS:
            raise ValueError(
                f'has "{safe(name, 40)}", which no price has{did_you_mean(name, _KEYS)}'
            )
    amount = parse_amount(table.get("amount"))
    if amount is None or amount < 0:
        raise ValueError(f"needs an amount from 0 on, not {safe(table.get('amount', 'none'), 40)}")
    if "unit" not in table:
        raise ValueError(f"has no unit; say USD or credits:{provider}")
    per = table.get("per", IMAGE)
    if not isinstance(per, str) or not per.strip():
        raise ValueError(f"needs per: {', '.join(COUNTABLE)}")
    return PriceRow(
        price=Money(amount, parse_unit(table["unit"], provider)),
        per=per,
        basis=basis or _basis(table.get("basis")),
        source=_text(table, "source"),
        as_of=_day(table.get("as_of")),
        when=_when(table.get("when", {})),
        pixels=_pixels(table.get("pixels", MEGAPIXEL)),
        rounding=_rounding(table.get("rounding")),
    )


def _basis(said: Any) -> Basis:
    if said not in _BASES:
        raise ValueError(f"must say its basis: {', '.join(_BASES)}, not {safe(said, 40)}")
    return Basis(said)


def _text(table: Mapping[str, Any], name: str) -> str | None:
    value = table.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"has a {name} that is no text")
    return value


def _day(said: Any) -> str | None:
    if said is None:
        return None
    # TOML has dates of its own.
    text = said.isoformat() if isinstance(said, date) else str(said)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(f"has an as_of that is no day such as 2026-11-25: {safe(said, 40)}")
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"has an as_of that is no day of the calendar: {text}") from None
    return text


def _when(found: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(found, Mapping) or not all(isinstance(one, list) for one in found.values()):
        raise ValueError('has a when that is no table such as {"params.resolution" = ["1K"]}')
    return {str(key): tuple(values) for key, values in found.items()}


def _pixels(said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or said <= 0:
        raise ValueError(f"has pixels that are no whole number above 0: {safe(said, 40)}")
    return said


def _rounding(said: Any) -> str | None:
    if said is not None and said not in ROUNDINGS:
        raise ValueError(f"has a rounding that is not {' or '.join(ROUNDINGS)}: {safe(said, 40)}")
    return None if said is None else str(said)


def read_rate(said: Any) -> Decimal:
    """What one credit is worth in USD. Raises ValueError where that is no number above 0."""
    rate = parse_amount(said)
    if rate is None or rate <= 0:
        raise ValueError(f"must be USD per credit, a number above 0, not {safe(said, 40)}")
    return rate


def rate_setting(unit: str) -> str:
    """The line of the settings that says what a provider's credit is worth."""
    return f'[credits] {unit.removeprefix(CREDITS)} = "USD per credit"'


@dataclass(frozen=True, slots=True)
class Rates:
    """What credits are worth in USD, by provider, as the user said."""

    by_provider: Mapping[str, Decimal] = field(default_factory=dict)

    def usd(self, money: Money | None) -> Money | None:
        """An amount in USD, None where no rate was said: a guess would be worse."""
        exact = self.exact_usd(Fraction(money.amount), money.unit) if money else None
        return None if exact is None else Money(decimal_of(exact), USD)

    def exact_usd(self, amount: Fraction, unit: str) -> Fraction | None:
        """The same, unrounded, for sums that must not pass a limit."""
        if unit == USD:
            return amount
        rate = self.by_provider.get(unit.removeprefix(CREDITS))
        return None if rate is None else amount * Fraction(rate)

    def basis(self, unit: str, basis: Basis) -> Basis | None:
        """What the USD of an amount rest on: its own basis, or the rate that was configured."""
        if unit == USD:
            return basis
        return Basis.CONFIGURED if unit.removeprefix(CREDITS) in self.by_provider else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """The user's own word on prices.

    Attributes:
        rows: `provider/model` or `provider/family` → price rows that stand above the card's.
    """

    rows: Mapping[str, tuple[PriceRow, ...]] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)

    def own(self, provider: str, *names: str) -> tuple[PriceRow, ...]:
        """The rows of a model, under the first of its names that has any; empty where none has."""
        found = (self.rows.get(f"{provider}/{name}", ()) for name in names)
        return next((rows for rows in found if rows), ())
