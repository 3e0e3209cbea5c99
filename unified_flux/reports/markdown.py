"""Tables in Markdown; foreign text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unified_flux.text import plain

# What Markdown or the HTML below it would read as more than a letter.
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|"})


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as GitHub reads it."""
    cells = [["" if cell is None else escaped(cell) for cell in row] for row in rows]
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: Any) -> str:
    """Foreign text as Markdown that shows it as it is."""
    return plain(text).translate(_MARKS)
