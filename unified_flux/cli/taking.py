"""Many jobs taken up at once: each provider's by a client of its own, each picture to its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from unified_flux import registry
from unified_flux.access import open_journal
from unified_flux.cli.delivery import PARTLY_DONE, Delivery, image_json
from unified_flux.cli.group import print_json
from unified_flux.cli.live import Watch
from unified_flux.cli.session import Session, open_session, read_config
from unified_flux.client import Client
from unified_flux.errors import ConfigurationError, UnifiedFluxError
from unified_flux.journal import Journal, Row
from unified_flux.outcomes import in_doubt
from unified_flux.output import Target
from unified_flux.record import Record
from unified_flux.result import Recovered
from unified_flux.text import safe
from unified_flux.wire import Phase

Listed = Callable[[Journal], Sequence[Row]]
Each = Callable[[Client], Iterator[Recovered]]


@dataclass(frozen=True, slots=True)
class Taking:
    """What became of the jobs: pictures in their places, what was closed for good, what failed."""

    done: list[dict[str, Any]] = field(default_factory=list)
    closed: list[tuple[dict[str, Any], UnifiedFluxError]] = field(default_factory=list)
    failed: list[tuple[dict[str, Any], UnifiedFluxError]] = field(default_factory=list)

    def fail(self, facts: dict[str, Any], error: UnifiedFluxError) -> None:
        """Told at once: what is settled as unknown is not found again by recovering once more."""
        self.failed.append((facts, error))
        name = facts["job"] or facts["id"] or facts["provider"]
        click.echo(f"error: {safe(name)}: {error}", err=True)


def take_up(values: dict[str, Any], listed: Listed, each: Each, *, all_open: bool = False) -> int:
    """Take up what `listed` finds, with the clients' `each`, and return the exit code.

    Args:
        all_open: Whether everything open was meant, so that what stays open is told as well.
    """
    taking = Taking()
    with Watch(values["quiet"]) as watch:
        for provider in _providers(values, listed):
            try:
                session = open_session(
                    {**values, "provider": provider}, timeout=values["timeout"], on_event=watch
                )
            except UnifiedFluxError as error:
                taking.fail({"id": None, "job": None, "provider": provider}, error)
                continue
            with session.client as client:
                for one in each(client):
                    _hand_over(session, one, taking, lines=not values["as_json"])
    return _end(values, taking, _tell_what_stays(values, taking) if all_open else 0)


def _providers(values: dict[str, Any], listed: Listed) -> list[str]:
    """The providers that have something to take up."""
    wanted = values["provider"]
    config = read_config(values)
    if wanted is not None:
        registry.check_allowed(wanted, config)
        registry.adapter_class(wanted)
    journal = open_journal(config)
    if journal is None:
        raise ConfigurationError("the journal is off (journal.enabled = false)")
    if not journal.exists():
        return []
    try:
        found = dict.fromkeys(row["provider"] for row in listed(journal))
    finally:
        journal.close()
    return [name for name in found if wanted in {None, name}]


def _hand_over(
    session: Session,
    one: Recovered,
    taking: Taking,
    *,
    lines: bool,
) -> None:
    """Write the pictures of one job to where they were meant to go, and say so."""
    record = one.record
    facts = _facts(record)
    if one.result is None:
        error = one.error or UnifiedFluxError("it did not come")
        # Nothing was ever paid for these, and nobody has to do anything about them.
        nothing = record.phase is Phase.CANCELLED or (
            record.emulated and record.phase is Phase.REFUSED
        )
        if nothing:
            taking.closed.append((facts, error))
            session.note(f"closed: {facts['id']}: {error.message}")
        else:
            taking.fail(facts, error)
        return
    target = Target(record.destination, record.force)
    delivery = Delivery(session=session, result=one.result, target=target, report=record.report)
    if record.destination is None:
        written = [(image, image.blob.path) for image in one.result.images]
    else:
        try:
            written, missing = delivery.write()
        except UnifiedFluxError as error:
            taking.fail(facts, error)
            return
        for picture in missing:
            taking.fail(facts, picture.error)
    taking.done.append({**facts, "images": [image_json(image, path) for image, path in written]})
    for image, path in written if lines else ():
        click.echo(delivery.line(image, path))


def _facts(record: Record) -> dict[str, Any]:
    job = str(record.job) if record.job else None
    return {"id": record.id, "job": job, "provider": record.provider}


def _tell_what_stays(values: dict[str, Any], taking: Taking) -> int:
    """Say what only others can go on with: living processes, whose number is returned, and the person."""
    journal = open_journal(read_config(values))
    if journal is None or not journal.exists():
        return 0
    try:
        busy = sum(journal.works_on(journal.get(row["id"])) for row in journal.open_jobs())
        unknown = journal.jobs({"phase": str(Phase.UNKNOWN)})
    finally:
        journal.close()
    if busy:
        what = "1 job is" if busy == 1 else f"{busy} jobs are"
        _note(values, f"{what} left to the process at work on it")
    told = {facts["id"] for facts, _ in taking.failed}
    for record in unknown:
        if record.id not in told and values["provider"] in {None, record.provider}:
            taking.fail(_facts(record), in_doubt(record))
    return busy


def _note(values: dict[str, Any], text: str) -> None:
    if not values["quiet"]:
        click.echo(text, err=True)


def _jobs(count: int) -> str:
    return "1 job is" if count == 1 else f"{count} jobs are"


def _end(values: dict[str, Any], taking: Taking, staying: int) -> int:
    done, closed, failed = taking.done, taking.closed, taking.failed
    if values["as_json"]:
        said = {
            "schema_version": 1,
            "recovered": done,
            "closed": _said(closed),
            "failed": _said(failed),
        }
        print_json(said)
    elif not (done or closed or failed or staying):
        click.echo("nothing is left behind")
    if not failed:
        return 0
    return PARTLY_DONE if done else max(error.exit_code for _, error in failed)


def _said(ended: list[tuple[dict[str, Any], UnifiedFluxError]]) -> list[dict[str, Any]]:
    return [{**facts, "error": error.to_json()} for facts, error in ended]
