"""Amounts of money, each with its unit, and what they rest on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import Any

from unified_flux.text import safe

USD = "USD"
CREDITS = "credits:"


class Basis(StrEnum):
    """What a figure of money rests on, from the weakest to the strongest."""

    UNKNOWN = "unknown"
    THIRD_PARTY = "third party"
    CONFIGURED = "configured"
    DOCUMENTED = "documented"
    OBSERVED = "observed"
    RESERVED = "reserved"
    BILLED = "billed"


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one unit: `USD` or `credits:<provider>`.

    Raises:
        TypeError: When two different units are added: credits and dollars never add up.
    """

    amount: Decimal
    unit: str

    def __add__(self, other: Money) -> Money:
        if self.unit != other.unit:
            raise TypeError(f"cannot add {other.unit} to {self.unit}")
        return Money(self.amount + other.amount, self.unit)

    def times(self, count: int | Fraction) -> Money:
        """So many of it; exact, as every price is a decimal and every share of one too."""
        product = Fraction(self.amount) * count
        return Money(decimal_of(product), self.unit)

    def __str__(self) -> str:
        word = "credits" if self.unit.startswith(CREDITS) else self.unit
        return f"{self.amount:f} {word}"


def decimal_of(number: Fraction, places: int = 18) -> Decimal:
    """A fraction as a decimal without needless zeros; beyond `places` it is rounded up."""
    scaled = -(-number.numerator * 10**places // number.denominator)
    digits = str(abs(scaled)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")
    return Decimal(f"-{text}" if scaled < 0 else text)


def parse_money(said: object, provider: str | None = None) -> Money:
    """What a person wrote as an amount with its unit: `0.5 USD`, `$0.5`, `8 credits:rivya`.

    Args:
        provider: Whose credits are meant where a text says `credits` alone.

    Raises:
        ValueError: With what is wrong and the nearest text that would do.
    """
    text = str(said).strip() if isinstance(said, (str, int, float)) else ""
    text = f"{text[1:]} {USD}" if text.startswith("$") else text
    match = re.fullmatch(r"([-+.0-9eE]+)\s*([^\s0-9].*)?", text)
    amount = parse_amount(match[1]) if match else None
    if match is None or amount is None:
        raise ValueError(
            f'must be an amount and its unit, such as "0.50 USD", not {safe(said, 60)}'
        )
    word = (match[2] or "").strip()
    if not word:
        raise ValueError(
            f'has no unit; write "{amount:f} USD" or "{amount:f} credits:{provider or "PROVIDER"}"'
        )
    if amount <= 0:
        raise ValueError(f"must be above 0, not {amount:f}")
    return Money(amount, parse_unit(word, provider))


def parse_unit(word: object, provider: str | None = None) -> str:
    """A unit as we spell it. Raises ValueError for anything but one of ours."""
    text = str(word).strip() if isinstance(word, str) else ""
    if text.upper() == USD:
        return USD
    if text.lower() in {"credit", "credits"} and provider:
        return f"{CREDITS}{provider}"
    if re.fullmatch(r"credits:[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        return text
    near = f"credits:{provider or 'PROVIDER'}"
    raise ValueError(f'must be in one unit, USD or {near}, not "{safe(word, 40)}"')


def parse_amount(value: object) -> Decimal | None:
    """A provider's amount (text, number, "" or null) as an exact Decimal, None where it says none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    # Beyond this it is no price, and printing it would take the memory that it asks for.
    sane = (
        amount.is_finite() and abs(amount.adjusted()) <= 30 and len(amount.as_tuple().digits) <= 40
    )
    return amount if sane else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a job cost, with its basis and the provider's own words.

    Attributes:
        money: The amount, None where nobody said it: unknown is never 0.
        basis: What the amount rests on.
        raw: The fields of the answer that it was read from, as they came.
    """

    money: Money | None = None
    basis: Basis = Basis.UNKNOWN
    raw: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.money) if self.money else "cost unknown"

    def said(self, *, sandbox: bool) -> str:
        """The charge for a person; the sandbox's money is none."""
        amount, _, unit = str(self).partition(" ")
        return f"{amount} sandbox {unit}" if sandbox and self.money else str(self)

    def to_json(self) -> dict[str, Any]:
        """Amount as a string, null when unknown; `usd` is filled only where the unit is USD."""
        amount = f"{self.money.amount:f}" if self.money else None
        unit = self.money.unit if self.money else None
        return {
            "amount": amount,
            "unit": unit,
            "basis": str(self.basis),
            "usd": amount if unit == USD else None,
        }


# Of every job until an answer says more.
NO_CHARGE_KNOWN = Charge()


def total(charges: Sequence[Charge]) -> Charge:
    """The sum of several charges; unknown as soon as one of them is, or the units differ.

    It rests on the weakest basis of its parts, in the order of `Basis`.
    """
    known = [charge.money for charge in charges if charge.money]
    if not known or len(known) < len(charges) or len({money.unit for money in known}) > 1:
        return Charge()
    if len(charges) == 1:
        return charges[0]
    strength = list(Basis)
    amount = sum((money.amount for money in known), Decimal(0))
    weakest = min((charge.basis for charge in charges), key=strength.index)
    return Charge(money=Money(amount, known[0].unit), basis=weakest)
