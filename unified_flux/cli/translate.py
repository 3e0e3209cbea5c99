"""`unified-flux translate`: what would be sent, and what became of each field. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS, print_json
from unified_flux.cli.options import request_options

if TYPE_CHECKING:
    from unified_flux.wire import Part, WireRequest


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
    client = asked.session.router.choose(asked.request)
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
        auth = client.adapter.auth
        masked = {auth.header: auth.template.format(key="***")}
        found["wire"] = [_exchange(request, masked) for request in client.wire(translation)]
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


def _exchange(request: WireRequest, masked: dict[str, str]) -> dict[str, Any]:
    from unified_flux.translation import shown
    from unified_flux.transports.encoding import encode

    kind, _ = encode(request)
    return {
        "purpose": str(request.purpose),
        "method": request.method,
        "url": request.url,
        "headers": {**request.headers, **masked, "Content-Type": (kind or "").partition(";")[0]},
        "json": shown(request.json),
        "parts": [_part(part) for part in request.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part.value, str):
        return {"name": part.name, "value": part.value}
    return {"name": part.name, "file": part.value.to_json()}


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
