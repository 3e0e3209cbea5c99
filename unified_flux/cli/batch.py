"""`unified-flux batch`: the pictures of a file of requests."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import (
    all_of,
    choice_options,
    max_cost_option,
    queue_option,
    talk_options,
    timeout_option,
)


@click.group("batch", short_help=COMMANDS["batch"])
def command() -> None:
    """Make the pictures of a file of requests, one request in each line."""


_LINES = (
    click.argument("file"),
    choice_options,
    click.option(
        "-o", "--out", help="Folder or template for the pictures; by default a folder beside FILE."
    ),
    click.option(
        "--results", metavar="FILE", help="Where the results go, one JSON object for each line."
    ),
    click.option(
        "--format",
        type=click.Choice(["jsonl", "csv"]),
        help="What FILE is, where its name does not say it.",
    ),
    click.option(
        "--name",
        metavar="TEXT",
        help="What the batch is called; the same name goes on with the same batch.",
    ),
    max_cost_option,
    click.option(
        "--resume/--no-resume",
        default=True,
        help="Go on with what was begun before (the default), or pay for all of it again.",
    ),
    click.option("--again", is_flag=True, help="The same as --no-resume."),
    click.option(
        "--allow", multiple=True, metavar="LOSS", help="Permit one loss in every line (repeatable)."
    ),
    click.option("--adapt", is_flag=True, help="Permit every loss but prompt and references."),
    click.option("--force", is_flag=True, help="Overwrite files."),
    click.option("--yes", is_flag=True, help="Do not ask before paying."),
    timeout_option,
    talk_options,
)
lines_options = all_of(*_LINES)


@command.command("run")
@lines_options
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="How many lines are under way at once.",
)
@click.option("--dry-run", is_flag=True, help="Check and quote every line, and send nothing.")
@click.option(
    "--no-check", is_flag=True, help="Check each line as it comes instead of all before the first."
)
@click.option(
    "--fail-fast", is_flag=True, help="Send nothing more after the first line that fails."
)
def run(file: str, **values: Any) -> int:
    """Make the pictures of FILE: JSON lines, CSV, or - for standard input.

    All of it is checked and quoted before anything is paid. Run it again to go on: what is done is
    not paid again, lines that you changed are.
    """
    from unified_flux.cli.lines import run_batch

    return run_batch(file, values)


@command.command("submit")
@lines_options
@queue_option
def submit(file: str, **values: Any) -> int:
    """Put the lines of FILE into a queue that workers on many machines share.

    All of it is checked and quoted first, as by batch run. References and pictures lie in folders
    that all workers see, or references are URLs.
    """
    from unified_flux.cli.lines import run_batch

    more = {"submit": True, "dry_run": False, "no_check": False, "concurrency": 1}
    return run_batch(file, {**values, **more, "fail_fast": False})


@command.command("status")
@click.argument("batch", required=False)
@queue_option
@talk_options
def status(batch: str | None, **values: Any) -> int:
    """Show how far the batches of a queue are, or BATCH: its name or its file."""
    from unified_flux.cli import queued

    return queued.status(batch, values)


@command.command("watch")
@click.argument("batch")
@queue_option
@talk_options
def watch(batch: str, **values: Any) -> int:
    """Show how far BATCH is until it is done: its name or its file."""
    from unified_flux.cli import queued

    return queued.watch(batch, values)


@command.command("cancel")
@click.argument("batch")
@queue_option
@talk_options
def cancel(batch: str, **values: Any) -> int:
    """Take the lines of BATCH out of the queue that nobody works on yet."""
    from unified_flux.cli import queued

    return queued.cancel(batch, values)
