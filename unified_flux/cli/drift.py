"""`unified-flux drift`: whether a provider's models are still what the cards say."""

from __future__ import annotations

import click

from unified_flux.cli.group import COMMANDS, print_json


@click.command("drift", short_help=COMMANDS["drift"])
@click.argument("provider")
@click.option("--sandbox", is_flag=True, help="Ask the provider's emulator.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(provider: str, sandbox: bool, as_json: bool) -> int:
    """Compare the model cards of PROVIDER with what it publishes about itself.

    Costs nothing. Exit 1 where something differs.
    """
    from unified_flux import registry
    from unified_flux.cli.session import read_config
    from unified_flux.drift import drift

    config = read_config({})
    registry.check_allowed(provider, config)
    found = drift(provider, sandbox=sandbox, config=config)
    if as_json:
        print_json(found.to_json())
        return 1 if found.differences else 0
    for url in found.documents:
        click.echo(f"read  {url}")
    for model in found.models:
        mine = [one for one in found.differences if one.model == model]
        click.echo(f"{'DIFF' if mine else 'same'}  {model}")
        for one in mine:
            click.echo(f"      {one}")
    for model in found.silent:
        click.echo(f"?     {model}: nothing is published about it")
    return 1 if found.differences else 0
