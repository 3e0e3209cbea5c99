"""The command group: a table of commands, each imported when it runs."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from unified_flux import __version__

# Everything else is imported where it is used: --help needs no more than click and these tables.

COMMANDS = {
    "generate": "Make pictures and write them to files.",
    "translate": "Show what would be sent, and what became of each field; sends nothing.",
    "batch": "Make the pictures of a file of requests; check it first, resume it at any time.",
    "worker": "Work on the batches of a queue that many machines share.",
    "compare": "Show what every provider would make of a request, and for how much.",
    "cost": "Report what was spent; check quotes against bills; show limits.",
    "jobs": "List what the journal knows: jobs, phases, costs, files.",
    "resume": "Bring the picture of one job, wherever it stands.",
    "recover": "Go on with everything that was begun and is not in hand.",
    "rescue": "Fetch pictures again that the provider still has and this disk has not.",
    "models": "Show what each model can do, read from its card.",
    "providers": "Show installed providers, their distribution, and whether a key is there.",
    "drift": "Compare the cards of a provider with what it publishes about itself.",
    "plugin": "List the plugins of providers, check one, begin a new one.",
    "balance": "Ask a provider what the account holds.",
    "sandbox": "Serve the emulators on this machine until Ctrl-C.",
    "config": "Show settings and where each came from.",
    "doctor": "Check this installation and its settings.",
    "completion": "Print the completion script of a shell.",
}

EPILOG = """\b
Exit codes:
  0 ok            4 credentials       8 provider or network failure, nothing charged
  1 general       5 funds or limit    9 not in hand, but charged or maybe charged
  2 usage         6 rate limited     10 partly done
  3 bad request   7 refused content 130 interrupted
"""


class Commands(click.Group):
    """Imports a command's file when that command runs, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"unified_flux.cli.{cmd_name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from unified_flux.text import did_you_mean, safe

            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f'there is no command "{safe(args[0], 40)}"{hint}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="unified-flux %(version)s")
def group() -> None:
    """One request, any provider of FLUX image models: paid once, nothing silent."""


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; nothing leaves here as a traceback."""
    as_json = "--json" in arguments
    try:
        code = group.main(
            arguments, prog_name="unified-flux", standalone_mode=False, terminal_width=_width()
        )
    except (click.Abort, KeyboardInterrupt) as interrupt:
        from unified_flux.cli.faults import interrupted

        # click turns an interrupt into an Abort of its own.
        return interrupted((interrupt.__cause__ or interrupt).args, as_json=as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        from unified_flux.cli.faults import say

        return say(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _width() -> int:
    """How wide help is: as click has it, which imports shutil for that, a twentieth of all."""
    said = os.environ.get("COLUMNS", "")
    try:
        columns = int(said) if said.isdecimal() else os.get_terminal_size(1).columns
    except OSError:
        columns = 80
    return max(min(columns or 80, 80) - 2, 50)


def print_json(found: Any) -> None:
    """One JSON object on standard output."""
    from unified_flux.text import json_text

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    click.echo(json_text(found, ascii_only=encoding not in {"utf-8", "utf8"}))
