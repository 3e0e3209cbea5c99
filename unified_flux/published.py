"""What a provider publishes about a model, read and held against the model's card.

A card says where under `published`: a list of documents, each with a `url`, a `form` (a key of
`FORMS`), perhaps a place in it (`at`), and whether the key is needed (`signed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unified_flux.contract import Card
from unified_flux.money import parse_amount
from unified_flux.text import did_you_mean, safe

# The words of a schema that are compared; what is not published is no contradiction.
KEYWORDS = ("type", "enum", "minimum", "maximum", "multipleOf", "maxLength", "maxItems", "default")
_TYPES = {"string", "integer", "number", "boolean", "array", "object"}
_VTRIX = {"min": "minimum", "max": "maximum", "max_length": "maxLength", "max_items": "maxItems"}
_RIVYA = {"options": "enum", "min": "minimum", "max": "maximum"}
_DEEPEST = 20

Leaves = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that a card and its provider do not say alike, both as words."""

    model: str
    what: str
    card: str
    published: str

    def __str__(self) -> str:
        return f"{self.what}: the card says {self.card}, published is {self.published}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one document says of a model.

    Attributes:
        leaves: Payload key, dotted as in the card → its schema.
        covers: The keys of the card that it would name if they were there.
        required: The keys that it calls required.
        more: What it says beside the keys: what → (the card's, its own).
    """

    leaves: Leaves = field(default_factory=dict)
    covers: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    more: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


Form = Callable[[Card, Any, Mapping[str, Any]], Told]


def compare(card: Card, documents: Sequence[tuple[Mapping[str, Any], Any]]) -> list[Difference]:
    """Every difference between a card and the documents that it names, in the order of its keys.

    Args:
        documents: An entry of the card's `published`, and the JSON that was found there.

    Raises:
        ValueError: When a document is not of the form that the card says.
    """
    told = [FORMS[entry["form"]](card, found, entry) for entry, found in documents]
    named = {key for one in told for key in one.leaves}
    covered = {key for one in told for key in one.covers}
    found = [
        *(Difference(model=card.model, what=key, card="it is there", published="nothing")
          for key in card.leaves if key in covered - named),
        *(one for each in told for one in _against(card, each)),
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def _against(card: Card, told: Told) -> Iterator[Difference]:
    left_out = {card.parameter(name) for name in card.facts.get("left_out", {})}
    for key, leaf in told.leaves.items():
        if key in left_out:
            continue
        if key not in card.leaves:
            hint = did_you_mean(key, card.leaves)
            yield _difference(card, key, "nothing", f"{_words(leaf)}{hint}")
            continue
        for keyword, ours, theirs in _unlike(card.leaves[key], leaf):
            yield _difference(card, f"{key} {keyword}", ours, theirs)
    needed = {*card.schema.get("required", ()), *card.reference_keys}
    for key in sorted(told.required - needed):
        yield _difference(card, key, "it may be left out", "required")
    for what, (ours, theirs) in told.more.items():
        if ours != theirs:
            yield _difference(card, what, ours, theirs)


def _difference(card: Card, what: str, ours: Any, theirs: Any) -> Difference:
    return Difference(
        model=card.model, what=what, card=safe(ours, 200), published=safe(theirs, 200)
    )


def _unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    ours, theirs = _plain(ours), _plain(theirs)
    for keyword in KEYWORDS:
        said = theirs.get(keyword)
        if said is not None and said != ours.get(keyword):
            yield keyword, _word(ours.get(keyword)), _word(said)


def _plain(leaf: Mapping[str, Any]) -> dict[str, Any]:
    """A leaf's compared words, without the null that stands for "unset" and without order."""
    found = {keyword: leaf[keyword] for keyword in KEYWORDS if keyword in leaf}
    kinds = found.pop("type", [])
    known = {*([kinds] if isinstance(kinds, str) else kinds)} & _TYPES
    if known:
        found["type"] = known
    if isinstance(found.get("enum"), list):
        found["enum"] = {str(option) for option in found["enum"] if option is not None}
    return found


def _word(value: Any) -> str:
    if value is None:
        return "nothing"
    return ", ".join(sorted(value)) if isinstance(value, set) else str(value)


def _words(leaf: Mapping[str, Any]) -> str:
    said = [f"{keyword} {_word(value)}" for keyword, value in _plain(leaf).items()]
    return "; ".join(said) or "a parameter"


# The forms.


def _openapi(card: Card, found: Any, entry: Mapping[str, Any]) -> Told:
    """OpenAPI: the body of POST at the path `at`."""
    operation = _at(found, ["paths", entry["at"], "post", "requestBody", "content"])
    return _schema_told(card, found, _at(operation, ["application/json", "schema"]))


def _schema(card: Card, found: Any, entry: Mapping[str, Any]) -> Told:
    """A JSON Schema inside of a document, at the pointer `at`; its references start at `root`."""
    root = _at(found, _steps(entry.get("root", "")))
    return _schema_told(card, root, _at(found, _steps(entry["at"])))


def _schema_told(card: Card, root: Any, schema: Any) -> Told:
    body = _resolved(root, schema)
    leaves = {name: _resolved(root, leaf) for name, leaf in _object(body.get("properties")).items()}
    return Told(
        leaves=leaves,
        covers=frozenset(card.leaves) - {card.fields["model"]},
        required=frozenset(body.get("required", ())),
    )


def _parameters(card: Card, found: Any, _: Mapping[str, Any]) -> Told:
    """Vtrix's model spec: a list of parameters with constraints."""
    listed = _objects(_at(found, ["data", "parameters"]))
    leaves = {}
    for one in listed:
        bounds = {_VTRIX.get(k, k): v for k, v in _object(one.get("constraints")).items()}
        leaves[str(one.get("name"))] = {"type": one.get("type", ""), **bounds}
    return Told(
        leaves=leaves,
        covers=frozenset(card.leaves) - {card.fields["model"]},
        required=frozenset(str(one.get("name")) for one in listed if one.get("required")),
    )


def _listing(card: Card, found: Any, _: Mapping[str, Any]) -> Told:
    """Rivya's list of models; the inside of `params` is documented nowhere, and read leniently."""
    models = _objects(_at(found, ["data"]))
    model = next((one for one in models if one.get("id") == card.model), None)
    if model is None:
        return Told(more={"model": ("it is there", "not listed")})
    leaves: dict[str, Mapping[str, Any]] = {}
    for one in _objects(model.get("params")):
        name = one.get("key") or one.get("name") or one.get("id")
        if isinstance(name, str):
            leaves[card.parameter(name)] = {_RIVYA.get(k, k): v for k, v in one.items()}
    covers = {card.parameter(name) for name in card.parameters} if leaves else set()
    stated = next((row.price.amount for row in card.prices), None)
    longest = card.leaves[card.fields["prompt"]].get("maxLength")
    more = {
        "api_status": ("available", model.get("api_status", "available")),
        "max_prompt_length": (longest, model.get("max_prompt_length", longest)),
        "base_credits": (stated, parse_amount(model.get("base_credits")) or stated),
    }
    return Told(leaves=leaves, covers=frozenset(covers), more=more)


def _routes(_: Card, found: Any, entry: Mapping[str, Any]) -> Told:
    """OpenAPI of which nothing but its paths is known: those that the adapter asks must be there."""
    paths = {str(path).rstrip("/") for path in _object(_at(found, ["paths"]))}
    more = {
        f"path {path}": ("it is there", "nothing")
        for path in entry["at"]
        if not any(one.endswith(path) for one in paths)
    }
    return Told(more=more)


FORMS: Mapping[str, Form] = {
    "openapi": _openapi,
    "schema": _schema,
    "parameters": _parameters,
    "listing": _listing,
    "routes": _routes,
}


def _resolved(root: Any, schema: Any, depth: int = 0) -> dict[str, Any]:
    """A schema with its references and its alternatives of null put in."""
    found = dict(_object(schema))
    if depth > _DEEPEST:
        raise ValueError("its references go in a circle")
    parts = [found.pop(word, []) for word in ("allOf", "anyOf", "oneOf")]
    inner = [one for part in parts for one in _objects(part) if one.get("type") != "null"]
    target = found.pop("$ref", None)
    if isinstance(target, str):
        inner.append(_at(root, _steps(target.removeprefix("#"))))
    for one in inner if len(inner) == 1 or parts[0] else ():
        found = {**_resolved(root, one, depth + 1), **found}
    return found


def _steps(pointer: str) -> list[str]:
    return [
        step.replace("~1", "/").replace("~0", "~") for step in pointer.strip("/").split("/") if step
    ]


def _at(found: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if not isinstance(found, Mapping) or step not in found:
            raise ValueError(f'it has no "{safe(step, 60)}" at {safe("/".join(steps), 120)}')
        found = found[step]
    return found


def _object(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _objects(found: Any) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
