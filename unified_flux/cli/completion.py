"""`unified-flux completion`: click's completion script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from unified_flux.cli.group import COMMANDS


@click.command("completion", short_help=COMMANDS["completion"])
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script; for bash: eval "$(unified-flux completion bash)"."""
    from unified_flux.cli.group import group

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(group, {}, "unified-flux", "_UNIFIED_FLUX_COMPLETE").source())
