"""One request on several providers, side by side: pictures, what they cost, what became of each field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from xml.etree.ElementTree import Element

from unified_flux.report import Entry, Outcome
from unified_flux.reports.chart import Bar, bars
from unified_flux.reports.page import items, node, page, scrolling_table, section
from unified_flux.reports.thumbnails import thumbnail
from unified_flux.text import plain, safe

_LOSSES = {Outcome.APPROXIMATED, Outcome.DROPPED, Outcome.REJECTED}
_NAME, _SENTENCE, _CELL = 80, 400, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """What one provider made of the request.

    Attributes:
        pictures: Files that are written already; none where it brought no picture.
        entries: What became of each field.
        quoted: The price before, in words, with its basis.
        charged: The price after, in words, with its basis.
        usd: The charge in dollars, None where no rate makes it so.
        usd_basis: What that amount rests on.
        error: Why it brought no picture.
    """

    provider: str
    model: str
    sandbox: bool
    pictures: tuple[Path, ...]
    entries: tuple[Entry, ...]
    quoted: str
    charged: str
    usd: Decimal | None
    usd_basis: str | None
    seconds: float | None
    error: str | None = None
    notes: tuple[str, ...] = ()


def gallery(prompt: str, exhibits: Sequence[Exhibit], *, made_at: str, total: str) -> str:
    """A comparison as one page that needs nothing beside it."""
    one_each = len({exhibit.provider for exhibit in exhibits}) == len(exhibits)
    what = "provider" if one_each else "model"
    count = f"{len(exhibits)} {what}{'' if len(exhibits) == 1 else 's'}"
    head = node(
        "header",
        node("h1", f"One request, {count}"),
        node("p", prompt, class_="prompt", dir="auto"),
        node("p", f"Total: {safe(total, _SENTENCE)}", class_="total"),
        node("p", f"Made {safe(made_at, _NAME)}", class_="made quiet small"),
    )
    if not exhibits:
        return page("Comparison", head, node("p", "No provider was asked.", class_="quiet"))
    cards = node("div", *(_card(prompt, exhibit) for exhibit in exhibits), class_="grid")
    chart = bars("Cost in USD, provider by provider", [_bar(exhibit) for exhibit in exhibits])
    return page(
        f"Comparison: {safe(prompt, 60)}",
        head,
        section("Pictures", cards),
        section("Cost in USD", node("div", chart, class_="panel narrow")),
        section("What became of each field", *_fields(exhibits)),
    )


# ---------------------------------------------------------------- one provider


def _card(prompt: str, exhibit: Exhibit) -> Element:
    name = safe(exhibit.provider, _NAME)
    title = node("h3", name, dir="auto")
    fault = None
    if exhibit.error is not None:
        fault = node("p", node("strong", "No picture. "), safe(exhibit.error, _SENTENCE))
        fault.attrib.update({"class": "fault", "dir": "auto"})
    words = node(
        "div",
        node(
            "div",
            node("div", title, _badge(exhibit), class_="title"),
            node("p", safe(exhibit.model, _NAME), class_="model", dir="auto"),
        ),
        fault,
        _facts(exhibit),
        items((safe(note, _SENTENCE) for note in exhibit.notes), "notes"),
        class_="words",
    )
    return node("article", _shots(prompt, exhibit), words, class_="card", aria_label=name)


def _badge(exhibit: Exhibit) -> Element | None:
    return node("span", "sandbox", class_="badge") if exhibit.sandbox else None


def _facts(exhibit: Exhibit) -> Element:
    seconds = "not known" if exhibit.seconds is None else f"{exhibit.seconds:.1f} s"
    told = {"Quoted": exhibit.quoted, "Charged": exhibit.charged, "Time": seconds}
    pairs = [
        part
        for name, value in told.items()
        for part in (node("dt", name), node("dd", safe(value, _SENTENCE), dir="auto"))
    ]
    return node("dl", *pairs, class_="facts")


def _shots(prompt: str, exhibit: Exhibit) -> Element:
    """The pictures of one provider, or words where there is none."""
    count = len(exhibit.pictures)
    shots = [
        _shot(path, f"{index} of {count}, " if count > 1 else "", prompt, exhibit)
        for index, path in enumerate(exhibit.pictures, 1)
    ]
    empty = node("div", _frame("no picture"), class_="shot")
    return node("div", *(shots or [empty]), class_="shots")


def _shot(path: Path, which: str, prompt: str, exhibit: Exhibit) -> Element:
    name = safe(path.name, _NAME)
    small = thumbnail(path)
    if small is None:
        frame = _frame("this picture cannot be shown here")
        return node("figure", frame, node("figcaption", which, name, dir="auto"), class_="shot")
    picture = node(
        "img",
        src=small.uri,
        alt=f"{which}{safe(exhibit.provider, _NAME)}'s picture of: {safe(prompt, 150)}",
        width=small.width,
        height=small.height,
    )
    size = f"{small.full_width} × {small.full_height} {small.format.upper()}"
    return node(
        "figure",
        node("div", picture, class_="frame"),
        node("figcaption", which, size, node("br"), name, dir="auto"),
        class_="shot",
    )


def _frame(words: str) -> Element:
    return node("div", words, class_="frame empty")


def _bar(exhibit: Exhibit) -> Bar:
    """What a provider took, in dollars; where nobody can say that, its own words."""
    name = safe(f"{exhibit.provider}/{exhibit.model}", _NAME)
    name += " (sandbox)" if exhibit.sandbox else ""
    if exhibit.usd is None:
        return Bar(label=name, value=None, said="no amount in USD", note=exhibit.charged)
    note = exhibit.usd_basis or ""
    return Bar(label=name, value=exhibit.usd, said=f"{exhibit.usd:f} USD", note=note)


# ---------------------------------------------------------------- the fields


def _fields(exhibits: Sequence[Exhibit]) -> list[Element]:
    """What became of each field: a row per field, a column per provider."""
    ends = [{entry.field: entry for entry in exhibit.entries} for exhibit in exhibits]
    names = list(dict.fromkeys(name for entries in ends for name in entries))
    if not names:
        return [node("p", "No field was reported.", class_="quiet")]
    heads = [node("th", "Field", scope="col"), *map(_head, exhibits)]
    rows = [_row(name, [entries.get(name) for entries in ends]) for name in names]
    return [scrolling_table("What became of each field", heads, rows, "fields")]


def _head(exhibit: Exhibit) -> Element:
    model = node("div", safe(exhibit.model, _NAME), class_="model")
    return node("th", safe(exhibit.provider, _NAME), model, scope="col", dir="auto")


def _row(name: str, entries: Sequence[Entry | None]) -> Element:
    differs = len({_end(entry) for entry in entries}) > 1
    mark = node("span", "≠ differs", class_="badge") if differs else None
    head = node("th", safe(name, _NAME), mark, scope="row")
    return node("tr", head, *map(_cell, entries), class_="differs" if differs else None)


def _end(entry: Entry | None) -> tuple[str, str]:
    """What tells one end of a field from another; a native one is the same in any spelling."""
    if entry is None:
        return ("", "")
    same = entry.outcome is Outcome.NATIVE
    return (entry.outcome, "" if same else plain(entry.became))


def _cell(entry: Entry | None) -> Element:
    if entry is None:
        return node("td", node("span", "not reported", class_="quiet"))
    lost = entry.outcome in _LOSSES
    outcome = node("div", str(entry.outcome), class_="loss" if lost else None)
    reason = safe(entry.reason, _CELL) if entry.reason else None
    why = node("div", reason, class_="quiet small", dir="auto") if reason else None
    return node("td", outcome, node("div", _change(entry), dir="auto"), why)


def _change(entry: Entry) -> str:
    said = safe(plain(entry.said), _CELL)
    if entry.became is None or plain(entry.became) == plain(entry.said):
        return said
    return f"{said} → {safe(plain(entry.became), _CELL)}"
