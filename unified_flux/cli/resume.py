"""`unified-flux resume`: go on with one job wherever it stands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import talk_options, timeout_option

if TYPE_CHECKING:
    from unified_flux.record import Record


@click.command("resume", short_help=COMMANDS["resume"])
@click.argument("job")
@click.option(
    "-o", "--output", help="File, folder/ or template; by default where it was meant to go."
)
@click.option("--force", is_flag=True, help="Overwrite files.")
@click.option(
    "--resubmit",
    is_flag=True,
    help="Where nobody knows whether it was taken: send it again. It may be paid twice.",
)
@click.option("--yes", is_flag=True, help="Do not ask before sending again.")
@click.option(
    "--allow",
    multiple=True,
    metavar="WORD",
    help="unknown-price permits --resubmit what nobody can price, under a limit.",
)
@timeout_option
@talk_options
def command(job: str, **values: Any) -> int:
    """Bring the picture of JOB: an id of the journal, its beginning, or PROVIDER/MODEL/ID.

    It polls and fetches. A submit that a dead process left without an answer is sent again where the
    provider takes it for the same job; nothing else is submitted unless --resubmit says so.
    """
    from unified_flux.cli.delivery import Delivery
    from unified_flux.cli.live import Watch
    from unified_flux.cli.session import open_session
    from unified_flux.output import Target

    record, provider = _look_up(job)
    if values["resubmit"]:
        _ask_first(record, sure=values["yes"])
    with Watch(values["quiet"]) as watch:
        flags = {**values, "provider": provider}
        session = open_session(
            flags, allow=values["allow"], timeout=values["timeout"], on_event=watch
        )
        with session.client as client:
            meant = record.destination if record else None
            target = Target(
                values["output"] or meant, values["force"] or bool(record and record.force)
            )
            if values["output"] or not meant:
                target.check([{"job": job}])
            result = (
                client.resume(record.id, resubmit=values["resubmit"])
                if record
                else client.wait(job)
            )
            watch.stop()
            delivery = Delivery(session=session, result=result, target=target, report=result.report)
            return delivery.deliver(values["as_json"])


def _look_up(job: str) -> tuple[Record | None, str]:
    """The job's record, where the journal has one, and its provider."""
    from unified_flux.cli.session import journalled
    from unified_flux.errors import InvalidRequest
    from unified_flux.text import safe
    from unified_flux.wire import Job

    record = journalled(job)
    named = Job.parse(job)
    if record is not None:
        return record, record.provider
    if named is None:
        raise InvalidRequest(
            f'"{safe(job, 80)}" is no job',
            next_step="unified-flux jobs lists those of the journal; any other is written "
            "PROVIDER/MODEL/ID, as the error printed it.",
        )
    return None, named.provider


def _ask_first(record: Record | None, *, sure: bool) -> None:
    """A second submit is the person's own word, given for this very job."""
    from unified_flux.errors import InvalidRequest
    from unified_flux.wire import Phase

    if record is None or record.phase is not Phase.UNKNOWN:
        phase = f"this one is {record.phase}" if record else "the journal does not know this one"
        raise InvalidRequest(f"only a job whose outcome is unknown is submitted again; {phase}")
    if sure:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "sending it again may be paid twice, and nobody is here to ask",
            next_step="--yes says that this is meant.",
        )
    again = (
        "under the same key, which should bring the same job" if record.submit else "as a new job"
    )
    click.confirm(
        f"{record.provider} may have taken it. Send it again {again}?", abort=True, err=True
    )
