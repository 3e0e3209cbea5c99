"""`unified-flux models`: what each model can do, read from its card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS, print_json

if TYPE_CHECKING:
    from unified_flux.contract import Card


@click.command("models", short_help=COMMANDS["models"])
@click.option("-p", "--provider", help="Only this provider's.")
@click.option("--fields", is_flag=True, help="Every field of a request beside every model.")
@click.option("--markdown", is_flag=True, help="With --fields: the table in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(provider: str | None, fields: bool, markdown: bool, as_json: bool) -> None:
    """Show what each model can do. Needs no key and sends nothing."""
    cards = list(_cards(provider))
    if as_json:
        print_json({"schema_version": 1, "models": [_json(card) for card in cards]})
        return
    from unified_flux.cli.tables import draw_table

    if fields or markdown:
        _show_fields(cards, markdown=markdown)
        return
    draw_table(["provider", "model", "family", "references", "price", "takes"], map(_row, cards))


def _row(card: Card) -> list[Any]:
    references = card.references.get("max_count", 0)
    takes = "; ".join(_abilities(card))
    return [card.provider, card.model, card.family, references, _price(card), takes]


def _show_fields(cards: list[Card], *, markdown: bool) -> None:
    from unified_flux.cli import fields
    from unified_flux.cli.tables import draw_table

    table = fields.fields_table(cards)
    if markdown:
        for line in fields.markdown(table):
            click.echo(line)
    else:
        head, *rows = [[cell.replace("`", "") for cell in line] for line in table]
        draw_table(head, rows)


def _cards(provider: str | None) -> Iterator[Card]:
    """The cards of one provider, or of all; one that is broken is told, and the others are shown."""
    from unified_flux import registry
    from unified_flux.cli.session import read_config
    from unified_flux.retry import slip

    config = read_config({})
    for name in [provider] if provider else config.providers:
        try:
            registry.check_allowed(name, config)
            cards = registry.make_adapter(name).cards
            # What cannot be shown is found out here, while the others still can.
            for card in cards:
                _row(card)
        except Exception as error:
            if provider:
                raise slip(name, error) from error
            click.echo(f"left out: {slip(name, error)}", err=True)
        else:
            yield from cards


def _price(card: Card) -> str:
    return ", ".join(f"{row} ({row.basis})" for row in card.prices) or "unknown"


def _abilities(card: Card) -> Iterator[str]:
    """Each field of ours that the model takes, with what its schema allows."""
    for field, key in card.fields.items():
        if field not in {"model", "prompt", "client_request_id"}:
            yield f"{field} {_domain(card.leaves[key])}".strip()
    limit = card.leaves[card.fields["prompt"]].get("maxLength")
    if limit:
        yield f"prompt up to {limit} characters"


def _domain(leaf: Any) -> str:
    if "enum" in leaf:
        return "|".join(str(option) for option in leaf["enum"] if option is not None)
    if "x-ratio-between" in leaf:
        return " to ".join(leaf["x-ratio-between"])
    if "minimum" in leaf and "maximum" in leaf:
        return f"{leaf['minimum']} to {leaf['maximum']}"
    if "multipleOf" in leaf:
        return f"from {leaf['minimum']} in steps of {leaf['multipleOf']}"
    return f"from {leaf['minimum']}" if "minimum" in leaf else ""


def _json(card: Card) -> dict[str, Any]:
    return {
        "provider": card.provider,
        "model": card.model,
        "family": card.family,
        "title": card.schema["title"],
        "fields": {
            field: {"key": key, "schema": card.leaves[key]} for field, key in card.fields.items()
        },
        "parameters": list(card.parameters),
        "references": card.references or None,
        "prices": card.facts.get("prices", []),
        "polling": card.facts["polling"],
        "prompt_language": card.facts.get("prompt_language"),
        "source": card.facts["source"],
    }
