"""`unified-flux translate`: what would be sent, and what became of each field. Sends nothing."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS, print_json
from unified_flux.cli.options import request_options


@click.command("translate", short_help=COMMANDS["translate"])
@request_options
@click.option("--wire", is_flag=True, help="Show the exchanges too, the key masked.")
def command(**values: Any) -> int:
    """Show what would be sent for PROMPT. Needs no key and sends nothing.

    Where generate would refuse, the report is shown all the same, and the exit code is generate's.
    """
    from unified_flux.cli.session import ask
    from unified_flux.errors import TranslationError
    from unified_flux.translation import require, shown

    asked = ask(values, fallback="no provider is configured: this is what {provider} would be sent")
    client = asked.session.client
    translation = client.preview(asked.request)
    refusal = None
    try:
        require(translation, client.policy)
    except TranslationError as error:
        refusal = error
    report = asked.explain(translation.report)
    found: dict[str, Any] = {
        "schema_version": 1,
        "provider": client.provider,
        "model": translation.card.model,
        "payload": shown(translation.payload),
        "report": report.to_json(),
        "defaults": report.defaults,
    }
    if values["wire"]:
        found["wire"] = client.wire(translation, asked.request).to_json()
    if refusal is not None:
        found["error"] = refusal.to_json()
    if values["as_json"]:
        print_json(found)
    else:
        _draw(found)
    if refusal is None:
        return 0
    click.echo(f"error: {refusal}", err=True)
    return refusal.exit_code


def _draw(found: dict[str, Any]) -> None:
    import json

    from unified_flux.cli.tables import draw_table
    from unified_flux.text import plain

    click.echo(f"{found['provider']} {found['model']}")
    click.echo(json.dumps(found["payload"], ensure_ascii=False, indent=2))
    rows = [
        [entry["field"], entry["outcome"], entry["from"], entry["to"], entry["reason"] or ""]
        for entry in found["report"]
    ]
    draw_table(["field", "outcome", "asked", "sent", "why"], rows)
    for key, value in found["defaults"].items():
        click.echo(f"left to the provider: {key} (its default is {plain(value)})")
    if "wire" in found:
        click.echo(json.dumps(found["wire"], ensure_ascii=False, indent=2))
