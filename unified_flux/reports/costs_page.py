"""What was spent, as a page: a chart of it, and a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from unified_flux.reports.chart import Bar, bars
from unified_flux.reports.page import items, node, page, scrolling_table, section
from unified_flux.text import safe

_AMOUNT = re.compile(r"[-+−]?\$?\d+(?:[.,]\d+)*(?: ?(?:USD|credits?(?::\S+)?|%|s))?")
# What stands for an amount where there is none.
_NO_AMOUNT = {"", "-", "–", "unknown", "cost unknown"}
_CELL = 300


def costs_page(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    chart: Sequence[Bar],
    notes: Sequence[str],
) -> str:
    """A cost report as one page that needs nothing beside it.

    Columns in which every cell reads as an amount, or as none, are set to the right. The table is as
    wide as its widest row, and what is missing stays empty.
    """
    width = max([len(heads), *map(len, rows)])
    full = [[*row, *[""] * (width - len(row))] for row in rows]
    right = [_is_amounts([row[column] for row in full]) for column in range(width)]
    parts = [
        section("Chart", node("div", bars(title, chart), class_="panel narrow")) if chart else None,
        section("Table", _table(title, [*heads, *[""] * (width - len(heads))], full, right)),
        section("Notes", items(notes, "asides")) if notes else None,
    ]
    return page(title, node("header", node("h1", title, dir="auto")), *parts)


def _is_amounts(cells: Sequence[str]) -> bool:
    amounts = [cell.strip() for cell in cells if cell.strip().lower() not in _NO_AMOUNT]
    return bool(amounts) and all(_AMOUNT.fullmatch(amount) for amount in amounts)


def _table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> Element:
    if not rows:
        return node("p", "Nothing to list.", class_="quiet")
    classes = ["amount" if is_right else None for is_right in right]
    top = [
        # A head without words would be none to a screen reader.
        node("th" if head else "td", head, class_=class_, scope="col" if head else None, dir="auto")
        for head, class_ in zip(heads, classes, strict=True)
    ]
    body = [
        node("tr", *(_cell(cell, class_) for cell, class_ in zip(row, classes, strict=True)))
        for row in rows
    ]
    return scrolling_table(safe(title, 120), top, body, "costs")


def _cell(text: str, class_: str | None) -> Element:
    return node("td", safe(text, _CELL), class_=class_, dir="auto")
