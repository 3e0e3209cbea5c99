"""`unified-flux jobs`: what the journal knows, and the person's word where nobody else can know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS, print_json
from unified_flux.cli.options import Number
from unified_flux.record import KEPT

if TYPE_CHECKING:
    from unified_flux.journal import Journal
    from unified_flux.record import Record

_DAY = 86_400_000
_PROMPT = 40
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.group("jobs", short_help=COMMANDS["jobs"], invoke_without_command=True)
@click.option(
    "--phase", type=click.Choice([str(phase) for phase in KEPT]), help="Only jobs that stand there."
)
@click.option("-p", "--provider", help="Only this provider's.")
@click.option("-m", "--model", help="Only this model's, as the provider calls it.")
@click.option("--sandbox/--no-sandbox", default=None, help="Only the sandbox's, or none of them.")
@click.option("--since", type=Number(), metavar="DAYS", help="Leave out older jobs.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)
@_json
@click.pass_context
def command(context: click.Context, /, **values: Any) -> None:
    """List the jobs of the journal, the newest first."""
    if context.invoked_subcommand is not None:
        return
    names = ("phase", "provider", "model", "sandbox")
    wanted = {name: values[name] for name in names if values[name] is not None}
    days = values["since"]
    since = 0 if days is None else int(time.time() * 1000 - days * _DAY)
    journal = _journal()
    found = journal.jobs(wanted, since=since, limit=values["limit"]) if journal.exists() else []
    if values["as_json"]:
        print_json({"schema_version": 1, "jobs": [_short(record) for record in found]})
    elif found:
        _draw(found)
    else:
        click.echo("the journal has no such jobs" if wanted or since else "the journal has no jobs")


@command.command("show")
@click.argument("job")
@_json
def show(job: str, as_json: bool) -> None:
    """Tell everything about JOB: an id, its beginning, or PROVIDER/MODEL/ID."""
    from unified_flux.record import said_time
    from unified_flux.text import json_text, plain, safe

    journal, record = _find(job)
    events = [
        {"at": said_time(event["at"]), "phase": event["phase"], "note": event["note"]}
        for event in journal.events(record.id)
    ]
    found = {"schema_version": 1, **record.to_json(), "events": events}
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if name not in {"events", "schema_version"} and value not in (None, [], {}):
            said = json_text(value) if isinstance(value, (dict, list)) else plain(value)
            click.echo(f"{name}: {said}")
    for event in events:
        click.echo(f"{event['at']}  {event['phase']:9}  {safe(event['note'] or '')}".rstrip())


@command.command("resolve")
@click.argument("job")
@click.option("--charged/--not-charged", default=None, help="What you found in your account.")
@_json
def resolve(job: str, charged: bool | None, as_json: bool) -> None:
    """Say what became of JOB, whose outcome nobody could know."""
    if charged is None:
        raise click.UsageError("say --charged or --not-charged: what you found in your account")
    journal, record = _find(job)
    record = journal.resolve(record.id, charged=charged)
    if as_json:
        print_json({"schema_version": 1, **_short(record)})
    else:
        click.echo(
            f"{record.id} is {record.phase}: {record.trouble.message if record.trouble else ''}"
        )


@command.command("purge")
@click.option("--older-than", type=Number(), default=90, show_default=True, metavar="DAYS")
@_json
def purge(older_than: float, as_json: bool) -> None:
    """Forget jobs that ended long ago; what is open or unknown stays. Files are not touched."""
    if older_than < 0:
        raise click.UsageError("--older-than is a number of days from 0 on")
    journal = _journal()
    before = int(time.time() * 1000 - older_than * _DAY)
    count = journal.purge(before) if journal.exists() else 0
    if as_json:
        print_json({"schema_version": 1, "purged": count})
    else:
        click.echo(f"{count} {'job' if count == 1 else 'jobs'} forgotten")


def _journal() -> Journal:
    from unified_flux.access import open_journal
    from unified_flux.cli.session import read_config
    from unified_flux.errors import ConfigurationError

    journal = open_journal(read_config({}))
    if journal is None:
        raise ConfigurationError("the journal is off (journal.enabled = false)")
    click.get_current_context().call_on_close(journal.close)
    return journal


def _find(job: str) -> tuple[Journal, Record]:
    from unified_flux.errors import InvalidRequest
    from unified_flux.text import safe

    journal = _journal()
    record = journal.find(job) if journal.exists() else None
    if record is None:
        raise InvalidRequest(
            f"the journal has no job {safe(job, 80)}", next_step="unified-flux jobs lists them."
        )
    return journal, record


def _short(record: Record) -> dict[str, Any]:
    found = record.to_json()
    names = ("id", "phase", "job", "sandbox", "provider", "model", "client_request_id", "charged", "charge", "destination", "outputs", "prepared_at")  # fmt: skip
    return {**{name: found[name] for name in names}, "prompt": record.request.get("prompt")}


def _draw(found: list[Record]) -> None:
    from unified_flux.cli.tables import draw_table
    from unified_flux.record import said_time

    rows = []
    for record in found:
        prompt = record.request.get("prompt") or ""
        shown = prompt if isinstance(prompt, str) else f"{prompt['length']} characters, not stored"
        files = [one.path or one.spooled for one in record.outputs if one.path or one.spooled]
        rows.append(
            [
                record.id,
                (said_time(record.prepared_at) or "")[:19].replace("T", " "),
                record.phase,
                f"{record.provider}/{record.model}",
                record.price,
                shown[:_PROMPT],
                files[0] if files else "",
            ]
        )
    draw_table(["id", "asked at (UTC)", "phase", "model", "cost", "prompt", "file"], rows)
