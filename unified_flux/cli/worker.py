"""`unified-flux worker`: lines of batches from a queue that many machines share."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import queue_option, talk_options


@click.command("worker", short_help=COMMANDS["worker"])
@queue_option
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="How many lines are under way at once.",
)
@click.option("--sandbox", is_flag=True, help="Use the providers' emulators; nothing is charged.")
@click.option("--once", is_flag=True, help="End when nothing is left in the queue.")
@talk_options
def command(**values: Any) -> int:
    """Work on the lines of the queue until Ctrl-C; run it on as many machines as you like.

    Ctrl-C fetches no more lines and sees those under way to their end. A worker that dies loses
    nothing: another goes on with its lines from the journal, and pays for none of them again.
    """
    from unified_flux.cli.queued import work

    return work(values)
