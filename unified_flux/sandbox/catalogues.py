"""What providers publish about their models, made from the cards."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs

from unified_flux.contract import Card


def rivya(card: Card) -> dict[str, Any]:
    """One entry of Rivya's GET /api/v1/models; the insides of `params` and `reference_media` are ours."""
    row = card.facts["prices"][0]
    rules = card.references
    params = {name: card.leaves[card.parameter(name)] for name in card.parameters if name}
    return {
        "id": card.model,
        "display_name": card.schema["title"].partition(" on ")[0],
        "category": "image",
        "runtime": "async_task",
        "base_credits": int(row["amount"]),
        "billing_type": "FIXED",
        "supported_modes": ["text-to-image", "image-to-image"],
        "max_prompt_length": card.leaves[card.fields["prompt"]].get("maxLength"),
        "reference_media": {
            "kind": "image",
            "max_count": rules["max_count"],
            "max_bytes": rules["max_bytes"],
            "mime_types": rules["mime"],
        },
        "params": [_parameter(name, leaf) for name, leaf in params.items()],
        "api_status": "available",
        "api_input_status": "partial_requires_files",
        "supported_api_inputs": ["text", "file"],
        "requires_files_api": False,
        "requires_upload_for_modes": ["image-to-image"],
        "url_input_supported": bool(rules["url"]),
        "file_kinds": ["image"],
        "chat_capabilities": None,
        "notices": ["This is a sandbox: pictures are drawn, credits are not money."],
    }


def _parameter(name: str, leaf: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": name,
        "type": "select" if "enum" in leaf else leaf["type"],
        "default": leaf.get("default"),
        "options": leaf.get("enum"),
        "min": leaf.get("minimum"),
        "max": leaf.get("maximum"),
    }


def vtrix(cards: tuple[Card, ...], query: str) -> dict[str, Any]:
    """The data of Vtrix's GET /api/v1/skill/models.

    Raises:
        ValueError: When the page is no number.
    """
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    try:
        page, size = (max(1, int(asked.get(name, usual))) for name, usual in _PAGING)
    except ValueError as error:
        raise ValueError("page and page_size must be numbers") from error
    words = asked.get("keywords", "").lower()
    found = [
        {
            "id": card.model,
            "name": card.schema["title"].partition(" on ")[0],
            "type": "image",
            "description": card.schema["title"],
            "input_modalities": ["text", "image"],
            "output_modalities": ["image"],
        }
        for card in cards
        if asked.get("type", "image") in {"", "image"}
        and (words in card.model or words in card.schema["title"].lower())
    ]
    return {
        "models": found[(page - 1) * size : page * size],
        "total": len(found),
        "page": page,
        "page_size": size,
        "total_pages": -(-len(found) // size),
    }


_PAGING = (("page", "1"), ("page_size", "20"))

_BOUNDS = {
    "enum": "enum",
    "default": "default",
    "minimum": "min",
    "maximum": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
}


def vtrix_spec(card: Card, endpoint: str) -> dict[str, Any]:
    """The data of Vtrix's GET /api/v1/skill/models/{id}/spec."""
    return {
        "model_id": card.model,
        "name": card.schema["title"].partition(" on ")[0],
        "vendor": "blackforestlabs",
        "type": "image",
        "api": {
            "endpoint": endpoint,
            "method": "POST",
            "headers": {"Authorization": "Bearer YOUR_API_KEY", "Content-Type": "application/json"},
        },
        "parameters": [
            {
                "name": name,
                "path": f"input[0].params.{name}",
                "type": _type(leaf),
                "required": name in card.schema["required"],
                "description": "",
                "constraints": {
                    theirs: leaf[ours] for ours, theirs in _BOUNDS.items() if ours in leaf
                },
            }
            for name, leaf in card.leaves.items()
            if name != card.fields["model"]
        ],
        "agent_prompt": "",
    }


def _type(leaf: Mapping[str, Any]) -> str:
    """The type of a key, the null that stands for "unset" left aside."""
    kinds = leaf["type"]
    return str(kinds) if isinstance(kinds, str) else next(kind for kind in kinds if kind != "null")


# What a card's schema says for us alone.
_OURS = {"x-ratio-between", "x-when", "minLength"}


def inputs(card: Card, keys: Collection[str] | None = None) -> dict[str, Any]:
    """The JSON Schema of a card's payload without its model, all or some of its keys."""
    names = [name for name in card.leaves if name != card.fields["model"]]
    leaves = {
        name: {word: value for word, value in card.leaves[name].items() if word not in _OURS}
        for name in names
        if keys is None or name in keys
    }
    required = [name for name in card.schema["required"] if name in leaves]
    return {"type": "object", "required": required, "properties": leaves}


def openapi(title: str, bodies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """OpenAPI of paths that are posted to, each with the schema of its body."""
    schemas = {f"Body{number}": body for number, body in enumerate(bodies.values())}
    paths = {
        path: {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}
                    }
                },
                "responses": {"200": {"description": "Accepted"}},
            }
        }
        for path, name in zip(bodies, schemas, strict=True)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "sandbox"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
