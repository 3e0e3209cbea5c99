"""`unified-flux rescue`: fetch what the provider still has and this disk has not."""

from __future__ import annotations

import time
from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import Number, talk_options, timeout_option


@click.command("rescue", short_help=COMMANDS["rescue"])
@click.option("-p", "--provider", help="Only this provider's.")
@click.option("--since", type=Number(), metavar="DAYS", help="Leave out older jobs.")
@timeout_option
@talk_options
def command(**values: Any) -> int:
    """Fetch every picture again that is no more on this disk, neither in its place nor in the spool.

    Providers keep pictures for a while only: Rivya and Vtrix do not say how long.
    """
    from unified_flux.cli.taking import take_up

    days = values["since"]
    since = 0 if days is None else int((time.time() - days * 86_400) * 1000)
    return take_up(
        values,
        lambda journal: journal.done_jobs(since),
        lambda client: client.rescuing(since),
    )
