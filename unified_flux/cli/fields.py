"""The table of all models and all fields of `ImageRequest`, made from the cards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unified_flux.contract import Card
from unified_flux.request import ImageRequest

# What becomes of a picture that is no URL.
_LOCAL = {
    "upload": "local ones are uploaded first",
    "base64": "URL or base64",
    "data_uri": "URL or data URI",
}
NONE = "none"


def fields_table(cards: Sequence[Card]) -> list[list[str]]:
    """Head and rows; models that say the same stand in one column."""
    columns: dict[tuple[str, ...], list[Card]] = {}
    names = [one.name for one in dataclasses.fields(ImageRequest)]
    for card in cards:
        told = tuple(_cell(name, card) for name in names)
        columns.setdefault((card.provider, *told), []).append(card)
    heads = [
        " ".join(f"`{word}`" for word in (same[0].provider, *(card.model for card in same)))
        for same in columns.values()
    ]
    rows = [
        [f"`{name}`", *(told[number] for told in columns)] for number, name in enumerate(names, 1)
    ]
    return [["ImageRequest", *heads], *rows]


def markdown(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    head, *rows = table
    for line in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(line)} |"


def _cell(field: str, card: Card) -> str:
    if field == "references":
        return _references(card)
    if field == "extra":
        return _extra(card)
    key = card.fields.get(field)
    if key is None:
        return "n submits" if field == "n" else NONE
    said = f"`{key}`"
    bounds = _bounds(card.leaves[key], card, key)
    return f"{said}: {bounds}" if bounds else said


def _references(card: Card) -> str:
    rules = card.references
    if not rules:
        return NONE
    keys = card.reference_keys
    if "keys" in rules:
        place = f"`{keys[0]}`" + (f" to `{keys[-1]}`" if len(keys) > 1 else "")
    else:
        place = ", ".join(f"`{key}`" for key in keys)
    most = rules["max_count"]
    images = f"at most {most} image{'' if most == 1 else 's'}"
    size = f"{rules['max_bytes'] / 1e6:g} MB each"
    return f"{place}: {images}, {size}; {_LOCAL[rules['local']]}"


def _extra(card: Card) -> str:
    """The parameters that no field of ours says."""
    own = [card.parameter(name) for name in card.parameters]
    more = [key for key in own if key not in card.fields.values()]
    if not more:
        return "any key above"
    return "also " + ", ".join(
        " ".join(word for word in (f"`{key}`", _bounds(card.leaves[key], card, key)) if word)
        for key in more
    )


def _bounds(leaf: Mapping[str, Any], card: Card, key: str) -> str:
    said = [", ".join(_range(leaf))] if any(_range(leaf)) else []
    if key in card.schema.get("required", ()):
        said.append("required")
    if "default" in leaf:
        said.append(f"default `{json.dumps(leaf['default']).strip(chr(34))}`")
    closer = card.schema.get("then", {}).get("properties", {}).get(key)
    if closer:
        said.append(f"at most {closer['maximum']} {closer['x-when']}")
    return "; ".join(said)


def _range(leaf: Mapping[str, Any]) -> Iterator[str]:
    kinds = leaf.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next(one for one in kinds if one != "null")
    if kind in {"integer", "number", "boolean"}:
        yield kind
    if "enum" in leaf:
        likely = all(str(o).isdigit() or o in {"true", "false"} for o in leaf["enum"] if o)
        texts = "the texts " if kind == "string" and likely else ""
        yield texts + ", ".join(f"`{option}`" for option in leaf["enum"] if option is not None)
    elif "x-ratio-between" in leaf:
        yield f"any from {' to '.join(leaf['x-ratio-between'])}"
    elif "minimum" in leaf and "maximum" in leaf:
        yield f"{leaf['minimum']} to {leaf['maximum']}"
    elif "minimum" in leaf:
        step = f" in steps of {leaf['multipleOf']}" if "multipleOf" in leaf else ""
        yield f"from {leaf['minimum']}{step}"
    if "maxLength" in leaf:
        yield f"at most {leaf['maxLength']:,} characters"
