"""Horizontal bars, for a page and for a terminal; what is unknown has words instead of a bar."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from xml.etree.ElementTree import Element

from unified_flux.reports.page import node
from unified_flux.text import safe

# What is small still shows: only nothing has no length.
_LEAST = Fraction(1, 200)
# In pixels: a line of words, the bar, what stands between rows.
_LINE, _BAR, _GAP = 21, 12, 18
# How many ems of its font a line has on a phone; SVG breaks no lines by itself.
_ROOM, _SMALL_ROOM = 18.6, 21.4
_SLIM, _BROAD = frozenset(" !'(),.:;[]fijl|"), frozenset("%&@MWmw")
_LABEL_LIMIT = 120
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEAST_BAR = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row of a chart.

    Attributes:
        value: The length, None where nobody knows it.
        said: The value in words, with its unit.
        note: What it rests on, or why it is not known.
    """

    label: str
    value: Decimal | None
    said: str
    note: str = ""

    @property
    def length(self) -> Decimal | None:
        """The value as far as a bar can show it: one below nothing, or beyond number, has none."""
        if self.value is None or not self.value.is_finite() or self.value < 0:
            return None
        if not self.value:
            return Decimal(0)
        # Beyond this it is no amount, and a share of it would take the memory that it asks for.
        return self.value if abs(self.value.adjusted()) <= 60 else None


def shares(rows: Sequence[Bar]) -> list[Fraction | None]:
    """How much of the longest bar each row takes, from 0 to 1; None where it has no bar."""
    most = max((Fraction(row.length) for row in rows if row.length is not None), default=Fraction())
    return [None if row.length is None else _share(Fraction(row.length), most) for row in rows]


def _share(length: Fraction, most: Fraction) -> Fraction:
    return max(_LEAST, length / most) if length else Fraction()


def bars(title: str, rows: Sequence[Bar]) -> Element:
    """The rows as an inline SVG picture, with all of its words in its description."""
    drawn: list[Element] = []
    at = 0
    for row, share in zip(rows, shares(rows), strict=True):
        at = _draw(row, share, at, drawn) + _GAP
    if not rows:
        drawn.append(node("text", "nothing to show", x=0, y=_LINE - 6, class_="aside"))
        at = _LINE + _GAP
    words = "; ".join(_sentence(row) for row in rows)
    return node(
        "svg",
        node("title", safe(title, _LABEL_LIMIT)),
        node("desc", words or "nothing to show"),
        *drawn,
        class_="chart",
        role="img",
        width="100%",
        height=at - _GAP,
    )


def _sentence(row: Bar) -> str:
    """A row in words, each part cut so that no row takes the others' place."""
    parts = [f"{safe(row.label, _LABEL_LIMIT)}: {safe(row.said, _LABEL_LIMIT)}", row.note]
    return ", ".join(safe(part, _LABEL_LIMIT * 2) for part in parts if part)


def _draw(row: Bar, share: Fraction | None, at: int, drawn: list[Element]) -> int:
    """Add one row that begins at height `at`, and say where it ends."""
    label, said, note = (safe(text, _LABEL_LIMIT) for text in (row.label, row.said, row.note))
    beside = share is not None and _ems(label) + _ems(said) + 1 <= _ROOM
    if beside:
        end = node("text", said, x="100%", y=at + _LINE - 6, text_anchor="end", class_="said")
        drawn.append(end)
    at = _draw_text(label, "label", at, drawn)
    at = at if beside else _draw_text(said, "said", at, drawn)
    at = at if share is None else _draw_bar(share, at, drawn)
    return _draw_text(note, "aside", at, drawn)


def _draw_text(text: str, class_: str, at: int, drawn: list[Element]) -> int:
    """Add a text in as many lines as it takes on a phone."""
    for line in _wrapped(text, _ROOM if class_ != "aside" else _SMALL_ROOM):
        drawn.append(node("text", line, x=0, y=at + _LINE - 6, class_=class_))
        at += _LINE
    return at


def _draw_bar(share: Fraction, at: int, drawn: list[Element]) -> int:
    """Add the bar itself, and the line that it starts from."""
    width = f"{float(share * 100):.2f}%"
    drawn.append(node("rect", x=0, y=at + 2, width=width, height=_BAR, rx=2, class_="bar"))
    drawn.append(node("rect", x=0, y=at, width=2, height=_BAR + 4, class_="axis"))
    return at + _BAR + 6


def _wrapped(text: str, room: float) -> Iterator[str]:
    """Text in lines of at most `room` ems; a word that is longer is broken."""
    line = ""
    for word in text.split():
        if line and _ems(f"{line} {word}") > room:
            yield line
            line = ""
        line = f"{line} {word}".strip()
        while _ems(line) > room:
            fits = next(at for at in range(len(line), 0, -1) if _ems(line[:at]) <= room)
            yield line[:fits]
            line = line[fits:]
    if line:
        yield line


def _ems(text: str) -> float:
    """How wide a text is at most in the usual fonts, bold ones included."""
    return sum(map(_em, text))


def _em(char: str) -> float:
    category = unicodedata.category(char)
    if category in {"Mn", "Me"}:
        return 0.0
    if unicodedata.east_asian_width(char) in {"W", "F"}:
        return 1.4
    if char in _BROAD or not char.isascii():
        return 1.12
    if char in _SLIM:
        return 0.46
    return 0.86 if char.isupper() or category[0] == "S" else 0.72


def lines(rows: Sequence[Bar], width: int, *, ascii_only: bool = False) -> list[str]:
    """The rows for a terminal, each at most `width` cells wide.

    Args:
        ascii_only: Write `#` for the bars and escapes for letters that ASCII has not.
    """
    from rich.cells import cell_len

    words = [[_plain(text, ascii_only) for text in (r.label, r.said, r.note)] for r in rows]
    label = min(max((cell_len(row[0]) for row in words), default=0), max(width // 3, 1))
    said = max((cell_len(_told(row)) for row in words), default=0)
    room = width - label - min(said, width // 2) - 4
    found = []
    for row, share in zip(words, shares(rows), strict=True):
        parts = [_fit(row[0], label, ascii_only)]
        if share is not None and room >= _LEAST_BAR:
            parts.append(_blocks(share, room, ascii_only))
        parts.append(_told(row))
        found.append(_fit("  ".join(parts), width, ascii_only).rstrip())
    return found


def _plain(text: str, ascii_only: bool) -> str:
    shown = safe(text, _LABEL_LIMIT)
    return shown.encode("ascii", "backslashreplace").decode() if ascii_only else shown


def _told(words: Sequence[str]) -> str:
    """The value and, in brackets, what it rests on."""
    _, said, note = words
    return f"{said} ({note})" if said and note else said or note


def _blocks(share: Fraction, room: int, ascii_only: bool) -> str:
    """A bar of so many cells, in eighths of one where the terminal has them."""
    eighths = max(round(share * room * 8), 1) if share else 0
    if ascii_only:
        return ("#" * max(eighths // 8, 1 if share else 0)).ljust(room)
    full, rest = divmod(eighths, 8)
    return ("█" * full + _EIGHTHS[rest] * bool(rest)).ljust(room)


def _fit(text: str, width: int, ascii_only: bool) -> str:
    """Text in exactly so many cells; what was cut says so."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, max(width, 0))
    sign = "..." if ascii_only else "…"
    return set_cell_size(text, max(width - len(sign), 0)) + sign[: max(width, 0)]
