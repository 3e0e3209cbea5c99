"""Tables in Markdown; foreign text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unified_flux.text import plain

# What Markdown or the HTML below it would read as more than a letter.
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|"})


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as GitHub reads it."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [["" if cell is None else str(cell) for cell in line] for line in lines[:2]]
    cells += [
        ["" if cell is None else plain(cell).translate(_MARKS) for cell in row] for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
