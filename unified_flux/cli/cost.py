"""`unified-flux cost`: what was spent, whether bills are what was quoted, and what limits leave."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS, print_json

if TYPE_CHECKING:
    from unified_flux.config import Config
    from unified_flux.journal import Journal
    from unified_flux.prices import PriceRow
    from unified_flux.reports.check import Checked
    from unified_flux.reports.costs import Line, Total

_DAY = 86_400
_UNITS = {"h": 3600, "d": _DAY, "w": 7 * _DAY}
_GROUPS = ("provider", "model", "day", "tag", "project")
# Beyond so many lines drawing a table takes seconds, and nobody reads it on one screen.
_LONG = 500
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_sandbox = click.option(
    "--sandbox", is_flag=True, help="The sandbox's money instead of real money."
)


class Since(click.ParamType[int]):
    """A stretch of time up to now, or a day, as the moment it begins: milliseconds since 1970."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        stretch = re.fullmatch(r"(\d{1,6})([hdw]?)", str(value))
        if stretch:
            seconds = int(stretch[1]) * _UNITS[stretch[2] or "d"]
            return max(int((time.time() - seconds) * 1000), 0)
        try:
            day = date.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{str(value)[:40]!r} is neither a stretch such as 30d nor a day such as 2026-11-01",
                param,
                ctx,
            )
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


@click.group("cost", short_help=COMMANDS["cost"])
def command() -> None:
    """Money: what was spent, whether bills are what was quoted, what limits leave. Sends nothing."""


@command.command("report")
@click.option(
    "--by",
    type=click.Choice(_GROUPS),
    default="provider",
    show_default=True,
    help="What to group by.",
)
@click.option(
    "--since",
    type=Since(),
    default=0,
    metavar="30d|DATE",
    help="Leave out what is older; whole days in UTC.",
)
@click.option("--csv", "as_csv", is_flag=True, help="For a spreadsheet.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A page that needs nothing beside it.",
)
@click.option("--force", is_flag=True, help="Overwrite the page.")
@_sandbox
@_json
def report(by: str, since: int, **values: Any) -> None:  # fmt: skip
    """Show what was spent, grouped. Failures that cost and unknown outcomes are lines of their own."""
    from unified_flux.reports import costs
    from unified_flux.text import safe

    config, journal = _opened()
    told = _read(by, since, config, journal, sandbox=values["sandbox"])
    if values["html"]:
        _write_page(values["html"], told, force=values["force"])
    if values["as_json"]:
        print_json(
            {
                "schema_version": 1,
                "by": by,
                "since": _day(since),
                "sandbox": values["sandbox"],
                "rows": [line.to_json() for line in told.lines],
                "totals": [total.to_json() for total in told.totals],
                "notes": told.notes,
            }
        )
    elif values["as_csv"]:
        click.echo(costs.csv_text(by, told.lines), nl=False)
    elif values["html"]:
        click.echo(safe(values["html"]))
    elif told.lines:
        _draw(told)
    else:
        click.echo(f"nothing was spent since {_day(since)}" if since else "nothing was spent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A report, whatever form it is told in."""

    by: str
    lines: list[Line]
    totals: list[Total]
    notes: list[str]


def _read(by: str, since: int, config: Config, journal: Journal, *, sandbox: bool) -> Told:
    from unified_flux.reports import costs

    there = journal.exists()
    sums = list(journal.spending.sums(by, since, sandbox=sandbox)) if there else []
    # A picture counts under each of its tags, and once in the total.
    once = (
        journal.spending.sums("provider", since, sandbox=sandbox) if by == "tag" and there else sums
    )
    found = costs.lines(sums, config.tariff.rates)
    return Told(
        by=by,
        lines=found,
        totals=costs.totals(once),
        notes=costs.notes(found, config.providers, by),
    )


def _day(since: int) -> str | None:
    return datetime.fromtimestamp(since / 1000, UTC).date().isoformat() if since else None


def _draw(told: Told) -> None:
    import sys

    from unified_flux.cli.tables import draw_table
    from unified_flux.reports import chart, costs

    heads, rows = [told.by, *costs.HEADS], [line.cells for line in told.lines]
    if len(rows) > _LONG:
        click.echo("\n".join(costs.text_lines(heads, rows)))
    else:
        draw_table(heads, rows)
    title, bars = costs.chart(told.lines)
    click.echo(title)
    utf8 = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    for line in chart.lines(bars, 78, ascii_only=not utf8):
        click.echo(line)
    for total in told.totals:
        click.echo(f"total: {total}")
    for note in told.notes:
        click.echo(note)


def _write_page(path: Path, told: Told, *, force: bool) -> None:
    from unified_flux.errors import OutputError
    from unified_flux.reports import costs
    from unified_flux.reports.costs_page import costs_page
    from unified_flux.spool import reason, write_whole
    from unified_flux.text import safe

    title, bars = costs.chart(told.lines)
    totals = [f"Total: {total}" for total in told.totals]
    heads, rows = [told.by, *costs.HEADS], [line.cells for line in told.lines]
    notes = [*totals, f"The chart: {title[0].lower()}{title[1:]}", *told.notes]
    text = costs_page(f"Costs by {told.by}", heads, rows, bars, notes)
    try:
        write_whole(path, [text.encode()], force=force)
    except FileExistsError:
        raise OutputError(
            f"{safe(path)} exists already", next_step="--force overwrites it."
        ) from None
    except OSError as error:
        raise OutputError(f"{safe(path)}: {reason(error)}") from None


@command.command("check")
@_sandbox
@_json
def check(sandbox: bool, as_json: bool) -> int:
    """Hold prices against bills: what drifted, and which prices were read long ago.

    The exit code is 1 where a bill differs from its quote or a price is stale.
    """
    found = _checked(sandbox=sandbox)
    bad = [one for one in found if one.drifted or one.stale]
    if as_json:
        print_json({"schema_version": 1, "ok": not bad, "models": [one.to_json() for one in found]})
        return 1 if bad else 0
    from unified_flux.cli.tables import draw_table

    rows = [
        [
            f"{one.provider}/{one.model}",
            ", ".join(f"{row} ({row.basis})" for row in one.rows) or "unknown",
            ", ".join(row.as_of or "no date" for row in one.rows),
            f"{one.observed.median:f} {one.observed.unit}" if one.observed else "",
            one.verdict,
        ]
        for one in found
    ]
    draw_table(["model", "stated", "read", "billed", "verdict"], rows)
    return 1 if bad else 0


def _checked(*, sandbox: bool) -> list[Checked]:
    """Every installed model, and every one that was ever paid for."""
    from unified_flux import registry
    from unified_flux.budget import check_prices
    from unified_flux.errors import UnifiedFluxError
    from unified_flux.reports.check import Checked

    config, journal = _opened()
    stated: dict[tuple[str, str], Sequence[PriceRow]] = {}
    for name in config.providers:
        try:
            adapter = registry.make_adapter(name)
        except UnifiedFluxError as error:
            click.echo(f"{name}: {error}", err=True)
            continue
        check_prices(config, adapter)
        own = config.tariff.own
        stated |= {
            (name, card.model): own(name, card.model, card.family) or card.prices
            for card in adapter.cards
        }
    books = journal.spending if journal.exists() else None
    known = books.models(sandbox=sandbox) if books else []
    return [
        Checked(
            provider=provider,
            model=model,
            rows=stated.get((provider, model), ()),
            observed=books.observed(provider, model, sandbox=sandbox) if books else None,
            drift=books.drift(provider, model, sandbox=sandbox) if books else None,
            today=datetime.now(UTC).date(),
        )
        for provider, model in dict.fromkeys([*stated, *known])
    ]


@command.command("limits")
@_sandbox
@_json
def limits(sandbox: bool, as_json: bool) -> None:
    """Show every limit, what is spent or reserved under it, and what it leaves."""
    from unified_flux.limits import Limits

    config, journal = _opened()
    held = Limits(limits=config.limits, rates=config.tariff.rates)
    there = journal.exists()
    found = []
    for limit in held.limits:
        used = held.used(limit, journal.spending.spent(limit, sandbox=sandbox) if there else ())
        found.append(
            {
                "name": limit.name,
                "most": f"{limit.most.amount:f}",
                "unit": limit.most.unit,
                "used": f"{used.amount:f}" if used else None,
                "left": f"{limit.most.amount - used.amount:f}" if used else None,
                "source": limit.source,
            }
        )
    if as_json:
        print_json({"schema_version": 1, "sandbox": sandbox, "limits": found})
    elif found:
        from unified_flux.cli.tables import draw_table

        heads = ["name", "most", "unit", "used", "left", "source"]
        rows = [["unknown" if row[head] is None else row[head] for head in heads] for row in found]
        draw_table(heads, rows)
    else:
        click.echo('no limits are set; [limits] per_day = "5 USD" in unified-flux.toml sets one')


def _opened() -> tuple[Config, Journal]:
    """The settings and the journal, which is closed when the command ends."""
    from unified_flux.access import open_journal
    from unified_flux.cli.session import read_config
    from unified_flux.errors import ConfigurationError

    config = read_config({})
    journal = open_journal(config)
    if journal is None:
        raise ConfigurationError(
            "the journal is off (journal.enabled = false), and costs stand in it"
        )
    click.get_current_context().call_on_close(journal.close)
    return config, journal
