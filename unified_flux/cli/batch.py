"""`unified-flux batch`: the pictures of a file of requests."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import (
    choice_options,
    max_cost_option,
    talk_options,
    timeout_option,
)


@click.group("batch", short_help=COMMANDS["batch"])
def command() -> None:
    """Make the pictures of a file of requests, one request in each line."""


@command.command("run")
@click.argument("file")
@choice_options
@click.option(
    "-o", "--out", help="Folder or template for the pictures; by default a folder beside FILE."
)
@click.option(
    "--results", metavar="FILE", help="Where the results go, one JSON object for each line."
)
@click.option(
    "--format",
    type=click.Choice(["jsonl", "csv"]),
    help="What FILE is, where its name does not say it.",
)
@click.option(
    "--name",
    metavar="TEXT",
    help="What the batch is called; the same name goes on with the same batch.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="How many lines are under way at once.",
)
@max_cost_option
@click.option("--dry-run", is_flag=True, help="Check and quote every line, and send nothing.")
@click.option(
    "--no-check", is_flag=True, help="Check each line as it comes instead of all before the first."
)
@click.option(
    "--resume/--no-resume",
    default=True,
    help="Go on with what an earlier run began (the default), or pay for all of it again.",
)
@click.option("--again", is_flag=True, help="The same as --no-resume.")
@click.option(
    "--fail-fast", is_flag=True, help="Send nothing more after the first line that fails."
)
@click.option(
    "--allow", multiple=True, metavar="LOSS", help="Permit one loss in every line (repeatable)."
)
@click.option("--adapt", is_flag=True, help="Permit every loss but prompt and references.")
@click.option("--force", is_flag=True, help="Overwrite files.")
@click.option("--yes", is_flag=True, help="Do not ask before paying.")
@timeout_option
@talk_options
def run(file: str, **values: Any) -> int:
    """Make the pictures of FILE: JSON lines, CSV, or - for standard input.

    All of it is checked and quoted before anything is paid. Run it again to go on: what is done is
    not paid again, lines that you changed are.
    """
    from unified_flux.cli.lines import run_batch

    return run_batch(file, values)
