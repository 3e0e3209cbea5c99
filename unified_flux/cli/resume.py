"""`unified-flux resume`: fetch the picture of a job that is already accepted and paid."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import talk_options, timeout_option


@click.command("resume", short_help=COMMANDS["resume"])
@click.argument("job")
@click.option("-o", "--output", help="File, folder/ or template.")
@click.option("--force", is_flag=True, help="Overwrite files.")
@timeout_option
@talk_options
def command(job: str, **values: Any) -> int:
    """Poll and fetch JOB, written PROVIDER/MODEL/ID as the error printed it. Never submits."""
    from unified_flux.cli.delivery import Delivery
    from unified_flux.cli.live import Watch
    from unified_flux.cli.session import open_session
    from unified_flux.errors import InvalidRequest
    from unified_flux.output import Target
    from unified_flux.text import safe
    from unified_flux.wire import Job

    found = Job.parse(job)
    if found is None:
        raise InvalidRequest(
            f'"{safe(job, 80)}" is no job',
            next_step="A job is written PROVIDER/MODEL/ID, as the error printed it.",
        )
    with Watch(values["quiet"]) as watch:
        flags = {**values, "provider": found.provider}
        session = open_session(flags, timeout=values["timeout"], on_event=watch)
        with session.client as client:
            target = Target(values["output"], values["force"])
            target.check([{"job": found.id}])
            result = client.wait(found)
            watch.stop()
            delivery = Delivery(session=session, result=result, target=target, report=result.report)
            return delivery.deliver(values["as_json"])
