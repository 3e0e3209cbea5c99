"""`unified-flux compare`: one request, every provider: what each makes of it, and for how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS, print_json
from unified_flux.cli.options import compare_options

if TYPE_CHECKING:
    from unified_flux.compare import Candidate, Comparison


@click.command("compare", short_help=COMMANDS["compare"])
@compare_options
def command(**values: Any) -> int:
    """Show what every provider would make of PROMPT and what it would cost. Needs no key, sends nothing.

    With --run, those that can do it make the picture, side by side, after showing the total and asking.
    """
    from unified_flux.cli.session import open_comparison

    told = open_comparison(values)
    if values["run"]:
        from unified_flux.cli.running import run

        return run(told, values, show=lambda: show(told.comparison, values))
    if values["as_json"]:
        print_json({"schema_version": 1, **told.comparison.to_json()})
    else:
        show(told.comparison, values)
    return 0


def show(comparison: Comparison, values: dict[str, Any]) -> None:
    """The candidates for a person: a table, or the same in Markdown."""
    heads = ["provider", "model", "possible", "cost", "basis", "USD", *_fields(comparison)]
    rows = [_row(one, heads[6:]) for one in comparison.candidates]
    if values["markdown"]:
        from unified_flux.reports.markdown import escaped, table

        click.echo(f"{table(heads, rows)}\n")
        for line in _explained(comparison):
            click.echo(f"- {escaped(line)}")
        return
    from unified_flux.cli.tables import draw_table

    draw_table(heads, rows)
    for line in _explained(comparison):
        click.echo(line)


def _fields(comparison: Comparison) -> list[str]:
    """Every field that is set, in the order of the first report; the prompt is everywhere the same."""
    names = [entry.field for one in comparison.candidates for entry in one.translation.report]
    return [name for name in dict.fromkeys(names) if name != "prompt"]


def _row(one: Candidate, fields: Sequence[str]) -> list[Any]:
    from unified_flux.text import plain

    entries = {entry.field: entry for entry in one.translation.report}
    quote = one.quote
    cells = []
    for name in fields:
        entry = entries.get(name)
        changed = entry is not None and entry.became not in (None, entry.said)
        became = f" {plain(entry.said)} → {plain(entry.became)}" if entry and changed else ""
        cells.append(f"{entry.outcome}{became}" if entry else "")
    return [
        one.provider,
        one.model,
        "yes" if one.possible else "no",
        quote.money or "unknown",
        f"{quote.basis}, {quote.kind}" if quote.kind else quote.basis,
        f"{quote.usd.amount:f}" if quote.usd else "unknown",
        *cells,
    ]


def _explained(comparison: Comparison) -> Iterator[str]:
    """What a cell is too small for: why not, what it rests on, how to make it known."""
    from unified_flux.text import safe

    for one in comparison.candidates:
        name = f"{one.provider}/{one.model}"
        for problem in one.problems:
            yield f"{name}: {problem}"
        if one.quote.money is None:
            yield f"{name}: the price is unknown: {safe(one.quote.why)}"
        elif one.quote.source:
            read = f", read {one.quote.as_of}" if one.quote.as_of and not one.quote.observed else ""
            yield f"{name}: priced by {safe(one.quote.source)}{read}"
        if one.quote.how_to_price:
            yield f"{name}: {one.quote.how_to_price}"
    for provider, why in comparison.left_out.items():
        yield f"{provider}: not compared: {why}"
