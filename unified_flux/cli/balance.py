"""`unified-flux balance`: what the account holds, in the provider's own unit."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS, print_json
from unified_flux.cli.options import choice_options, talk_options, timeout_option


@click.command("balance", short_help=COMMANDS["balance"])
@choice_options
@timeout_option
@talk_options
def command(**values: Any) -> None:
    """Ask the provider what the account holds."""
    from unified_flux.cli.session import open_session

    session = open_session(values, timeout=values["timeout"])
    with session.client as client:
        money = client.balance()
    if values["as_json"]:
        amount = f"{money.amount:f}"
        found = {"provider": client.provider, "amount": amount, "unit": money.unit}
        print_json({"schema_version": 1, "sandbox": client.sandbox, **found})
    else:
        sandbox = "sandbox " if client.sandbox else ""
        click.echo(f"{sandbox}{client.provider}  {money}")
