"""What was spent, as lines: for a table, a chart, a page, a script, a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from unified_flux.journal.spending import Sum
from unified_flux.money import CREDITS, USD, Basis, Money
from unified_flux.prices import Rates, rate_setting
from unified_flux.reports.chart import Bar
from unified_flux.text import plain

# What became of the jobs of a line; a failure and a doubt that may have cost are lines of their own.
OUTCOMES = {
    "done": "paid",
    "running": "under way",
    "reserved": "reserved",
    "failed": "failed, and charged or perhaps",
    "unknown": "nobody knows whether it was taken",
}
HEADS = ("pictures", "cost", "unit", "basis", "USD", "USD by", "what became of them")
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a report.

    Attributes:
        group: The provider, model, day, tag or project; empty where it has none.
        money: None where nobody knows.
        usd, usd_basis: In USD, where a rate makes it so, and what that rests on.
    """

    group: str
    outcome: str
    pictures: int
    money: Money | None
    basis: Basis
    usd: Money | None
    usd_basis: Basis | None

    @property
    def cells(self) -> tuple[str, ...]:
        """The line for a table, its group first; the order is that of `HEADS`."""
        money = self.money
        return (
            self.group or "(none)",
            str(self.pictures),
            f"{money.amount:f}" if money else "unknown",
            money.unit if money else "",
            str(self.basis),
            f"{self.usd.amount:f}" if self.usd else "unknown",
            str(self.usd_basis or ""),
            OUTCOMES[self.outcome],
        )

    def to_json(self) -> dict[str, Any]:
        """The line as `cost report --json` prints it; what is not known is null."""
        return {
            "group": self.group or None,
            "outcome": self.outcome,
            "pictures": self.pictures,
            "amount": f"{self.money.amount:f}" if self.money else None,
            "unit": self.money.unit if self.money else None,
            "basis": str(self.basis),
            "usd": f"{self.usd.amount:f}" if self.usd else None,
            "usd_basis": str(self.usd_basis) if self.usd_basis else None,
        }


def lines(sums: Iterable[Sum], rates: Rates) -> list[Line]:
    """The journal's sums, in USD too where the user said what a credit is worth."""
    return [
        Line(
            group=one.group,
            outcome=one.outcome,
            pictures=one.jobs,
            money=one.money,
            basis=one.basis,
            usd=rates.usd(one.money),
            usd_basis=rates.basis(one.money.unit, one.basis) if one.money else None,
        )
        for one in sums
    ]


@dataclass(frozen=True, slots=True)
class Total:
    """All money of one unit that rests on one basis: bills and mere quotes are told apart."""

    money: Money
    basis: Basis

    def __str__(self) -> str:
        return f"{self.money.amount:f} {self.money.unit} ({self.basis})"

    def to_json(self) -> dict[str, str]:
        """The total as `cost report --json` prints it."""
        money = self.money
        return {"amount": f"{money.amount:f}", "unit": money.unit, "basis": str(self.basis)}


def totals(sums: Iterable[Sum]) -> list[Total]:
    """The sum of each unit and basis; credits and dollars never add up.

    Args:
        sums: By something that each job has one of; by tags a job would count several times.
    """
    amounts: dict[tuple[str, Basis], Decimal] = {}
    for one in sums:
        if one.money:
            key = (one.money.unit, one.basis)
            amounts[key] = amounts.get(key, Decimal(0)) + one.money.amount
    return [Total(Money(amounts[key], key[0]), key[1]) for key in sorted(amounts)]


def notes(found: Sequence[Line], providers: Sequence[str], by: str) -> list[str]:
    """What a reader of the sums has to know."""
    said = []
    missing = sorted({line.money.unit for line in found if line.money and not line.usd})
    for unit in missing:
        provider = unit.removeprefix(CREDITS)
        gone = "" if provider in providers else f"{provider} is not installed any more; "
        said.append(f"{unit} are not in USD: {gone}set {rate_setting(unit)}")
    unknown = sum(line.pictures for line in found if line.money is None)
    if unknown:
        said.append(f"what {_pictures(unknown)} cost is not known, and is in no sum")
    if by == "tag" and any(line.group != "" for line in found):
        said.append("a picture with several tags counts under each of them")
    return said


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def chart(found: Sequence[Line]) -> tuple[str, list[Bar]]:
    """Title and bars: each group's known cost, in USD where any is known there, else in its one unit."""
    units = {line.money.unit for line in found if line.money}
    unit = USD if any(line.usd for line in found) or len(units) != 1 else units.pop()
    sums: dict[str, Decimal | None] = {}
    for line in found:
        money = line.usd if unit == USD else line.money
        known = sums.get(line.group)
        sums[line.group] = (known or Decimal(0)) + money.amount if money else known
    bars = [
        Bar(
            label=group or "(none)",
            value=amount,
            said="unknown" if amount is None else f"{amount:f} {unit}",
        )
        for group, amount in sums.items()
    ]
    return f"Cost in {unit}, by its quote where no bill came yet", bars


def text_lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A long table, its columns as wide as they need to be, however wide the terminal is."""
    from rich.cells import cell_len

    said = [heads, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*said, strict=True)]
    for row in said:
        cells = (cell + " " * (to - cell_len(cell)) for cell, to in zip(row, widths, strict=True))
        yield "   ".join(cells).rstrip()


def csv_text(by: str, found: Sequence[Line]) -> str:
    """The lines for a spreadsheet; no cell of foreign text is a formula."""
    kept = io.StringIO()
    writer = csv.writer(kept)
    writer.writerow([by, *HEADS])
    for line in found:
        group, *cells = line.cells
        writer.writerow([f"'{group}" if group.startswith(_FORMULA) else group, *cells])
    return kept.getvalue()
