"""`unified-flux translate`: what would be sent, and what became of each field. Sends nothing."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS, print_json
from unified_flux.cli.options import request_options


@click.command("translate", short_help=COMMANDS["translate"])
@request_options
@click.option("--wire", is_flag=True, help="Show the exchanges too, the key masked.")
def command(**values: Any) -> None:
    """Show what would be sent for PROMPT. Needs no key and sends nothing."""
    from unified_flux.cli.session import ask
    from unified_flux.translation import shown

    asked = ask(values)
    client = asked.session.client
    translation = client.translate(asked.request)
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
    if values["as_json"]:
        print_json(found)
    else:
        _draw(found)


def _draw(found: dict[str, Any]) -> None:
    import json

    from unified_flux.cli.tables import draw_table
    from unified_flux.text import safe

    click.echo(f"{found['provider']} {found['model']}")
    click.echo(json.dumps(found["payload"], ensure_ascii=False, indent=2))
    rows = [
        [entry["field"], entry["outcome"], entry["from"], entry["to"], entry["reason"] or ""]
        for entry in found["report"]
    ]
    draw_table(["field", "outcome", "asked", "sent", "why"], rows)
    for key, value in found["defaults"].items():
        click.echo(f"left to the provider: {key} (its default is {safe(value)})")
    if "wire" in found:
        click.echo(json.dumps(found["wire"], ensure_ascii=False, indent=2))
