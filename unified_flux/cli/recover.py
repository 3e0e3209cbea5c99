"""`unified-flux recover`: go on with everything that a process left behind."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import talk_options, timeout_option


@click.command("recover", short_help=COMMANDS["recover"])
@click.option("-p", "--provider", help="Only this provider's.")
@timeout_option
@talk_options
def command(**values: Any) -> int:
    """Poll, fetch and write every job that was begun and is not in hand.

    What was on its way when its process died is sent again only where the provider takes it for the
    same job; elsewhere it is marked unknown, and told here until you resolve it. A job that a living
    process works on is left to it.
    """
    from unified_flux.cli.taking import take_up

    return take_up(
        values,
        lambda journal: journal.open_jobs(),
        lambda client: client.recovering(),
        all_open=True,
    )
