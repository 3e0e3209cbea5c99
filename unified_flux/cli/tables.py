"""Tables for people, drawn by rich; foreign text is made harmless and never read as markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from unified_flux.text import plain


def draw_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on standard output, as wide as the terminal, or as needed in a pipe."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else plain(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)
