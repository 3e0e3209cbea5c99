"""Model cards: what each model of a provider accepts, and whether a payload does.

A card is a closed JSON Schema (draft 2020-12) of the payload; its keyword `x-unified-flux` holds
what a schema cannot say. docs/cards.md lists the keys. One keyword is ours inside the schema:
`x-ratio-between: ["9:21", "21:9"]` bounds a `W:H` text; `x-when` says in words when a bound under
`then` holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from math import inf, isinf, isnan
from typing import Any

from unified_flux.errors import ConfigurationError, InvalidRequest, Problem
from unified_flux.geometry import nearest_ratio, parse_ratio
from unified_flux.prices import PriceRow, read_rows
from unified_flux.text import did_you_mean, safe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANSWERS = "answers.json"
# What no card can do without; what it says beyond, the conformance kit examines.
_NEEDED = (
    ("properties", "model", "const"),
    ("x-unified-flux", "family"),
    ("x-unified-flux", "fields", "model"),
    ("x-unified-flux", "fields", "prompt"),
    ("x-unified-flux", "polling", "first"),
    ("x-unified-flux", "polling", "every"),
)
# The package of the cards that unified-flux itself brings.
BUILT_IN = "unified_flux.schemas"


@dataclass(frozen=True, eq=False)
class Card:
    """One model of one provider, read from its JSON file.

    Attributes:
        provider: The provider's name, the folder of the file.
        schema: The whole file.
        path: Where it was read.
    """

    provider: str
    schema: Mapping[str, Any]
    path: str = ""

    @cached_property
    def checker(self) -> Checker:
        """The schema, ready to judge payloads."""
        return Checker(self.schema)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What stands under `x-unified-flux`."""
        found: Mapping[str, Any] = self.schema["x-unified-flux"]
        return found

    @cached_property
    def model(self) -> str:
        """The provider's own id of the model."""
        return str(self.schema["properties"]["model"]["const"])

    @property
    def family(self) -> str:
        """The model in our words, the same on every provider."""
        return str(self.facts["family"])

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """Our field → dotted path in the payload."""
        found: Mapping[str, str] = self.facts["fields"]
        return found

    @property
    def references(self) -> Mapping[str, Any]:
        """Rules for input images; empty where the model takes none."""
        found: Mapping[str, Any] = self.facts.get("references", {})
        return found

    @cached_property
    def prices(self) -> tuple[PriceRow, ...]:
        """What is stated of its price; empty where nobody states one."""
        return read_rows(list(self.facts.get("prices", ())), self.provider)

    @cached_property
    def leaves(self) -> Mapping[str, Mapping[str, Any]]:
        """Every payload key, dotted, with its schema, in the card's order."""
        return dict(_leaves(self.schema, ""))

    def parameter(self, key: str) -> str:
        """The dotted path of a model-specific parameter, whether the card has it or not."""
        place = self.facts.get("parameters", "")
        return f"{place}.{key}" if place else key

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of all model-specific parameters that a caller may set as `extra`."""
        taken = {self.fields["model"], self.fields["prompt"], *self.reference_keys}
        prefix = self.parameter("")
        names = [path for path in self.leaves if path.startswith(prefix) and path not in taken]
        return tuple(path.removeprefix(prefix) for path in names)

    @cached_property
    def reference_keys(self) -> tuple[str, ...]:
        """The payload keys that hold input images."""
        rules = self.references
        lists = (rules[name] for name in ("one", "items") if name in rules)
        return tuple(rules.get("keys", ())) or tuple(lists)

    def route(self, payload: Mapping[str, Any]) -> str:
        """Where the model is asked for a payload, of a provider that has paths for its models.

        Of several it is the first that takes as many references as the payload has.
        """
        said = [payload[key] for key in self.reference_keys if key in payload]
        count = sum(len(one) if isinstance(one, list) else 1 for one in said)
        routes = self.facts["routes"]
        return str(next((r for r in routes if count <= r["references"]), routes[-1])["path"])

    @cached_property
    def at_once(self) -> int:
        """How many pictures one submit can make."""
        leaf = self.leaves.get(self.fields.get("n", ""), {})
        return int(leaf.get("maximum", 1))

    def word(self, field: str, value: Any) -> Any:
        """A value of ours as the provider calls it: "jpeg" is "jpg" to some."""
        return self.facts.get("words", {}).get(field, {}).get(value, value)

    def meaning(self, field: str, word: Any) -> Any:
        """The other way round."""
        words: Mapping[str, str] = self.facts.get("words", {}).get(field, {})
        return next((ours for ours, theirs in words.items() if theirs == word), word)

    def options(self, field: str) -> tuple[str, ...]:
        """What the model takes for one of our fields, in our words; empty where it has no such list."""
        listed = self.leaves.get(self.fields.get(field, ""), {}).get("enum", ())
        return tuple(str(self.meaning(field, option)) for option in listed if option is not None)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The provider's documented default of every key that has one."""
        return {path: leaf["default"] for path, leaf in self.leaves.items() if "default" in leaf}


def _leaves(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, inner in schema.get("properties", {}).items():
        if inner.get("type") == "object":
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


@cache
def load_cards(provider: str, package: str = BUILT_IN) -> tuple[Card, ...]:
    """Every card of a provider, by file name.

    Raises:
        ConfigurationError: When the package holds no card for it, or what is none.
    """
    folder = resources.files(package) / provider
    if not folder.is_dir():
        raise ConfigurationError(f'"{package}" holds no model cards for {provider}')
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".json"))
    return tuple(
        Card(provider, _read(folder / name), str(folder / name))
        for name in names
        if name != ANSWERS
    )


def _read(file: Traversable) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"the card {file} is no JSON: {error}") from None
    for path in _NEEDED:
        inner: Any = found
        for step in path:
            inner = inner.get(step) if isinstance(inner, Mapping) else None
        if not inner:
            raise ConfigurationError(f'the card {file} has no "{".".join(path)}"')
    card: dict[str, Any] = found
    return card


@cache
def load_answers(provider: str, package: str = BUILT_IN) -> Checker:
    """The open schema of a provider's answers; one that takes anything where it has none."""
    file = resources.files(package) / provider / ANSWERS
    return Checker(json.loads(file.read_text("utf-8")) if file.is_file() else {})


def find(cards: tuple[Card, ...], wanted: str) -> Card | None:
    """The card whose model id or family is `wanted`, None where there is none."""
    return next((card for card in cards if wanted in {card.model, card.family}), None)


def choose(cards: tuple[Card, ...], wanted: str) -> Card:
    """The card whose model id or family is `wanted`.

    Raises:
        InvalidRequest: When there is none, with the nearest name and all names.
    """
    card = find(cards, wanted)
    if card is not None:
        return card
    names = dict.fromkeys(name for card in cards for name in (card.family, card.model))
    message = f'{cards[0].provider} has no model "{safe(wanted, 60)}"{did_you_mean(wanted, names)}'
    raise InvalidRequest(
        message,
        problems=[Problem(field="model", message=f"must be one of {', '.join(names)}")],
        next_step="unified-flux models shows what each can do.",
    )


def _ratio_between(_: Any, bounds: list[str], value: Any, __: Any) -> Iterator[Any]:
    import jsonschema

    low, high = (parse_ratio(bound) for bound in bounds)
    ratio = parse_ratio(value) if isinstance(value, str) else None
    if ratio and low and high and not low <= ratio <= high:
        yield jsonschema.ValidationError("ratio out of range")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which a value breaks a schema: where, which keyword, what to say.

    `bounds` is the part of the schema that it broke.
    """

    path: str
    keyword: str
    message: str
    bounds: Mapping[str, Any] = field(default_factory=dict)


class Checker:
    """One schema, compiled once, that lists every violation. It never fetches: its registry is empty."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    @cached_property
    def _validator(self) -> Any:
        import jsonschema
        import referencing

        keywords = {"x-ratio-between": _ratio_between}
        extend: Any = jsonschema.validators.extend
        kind = extend(jsonschema.Draft202012Validator, keywords)
        return kind(self.schema, registry=referencing.Registry())

    def violations(self, value: Any) -> list[Violation]:
        """Every violation by `value`, in the order of their paths.

        The words are ours, made of keyword and bound, so that no message ever carries a megabyte
        of base64 or changes with a library's version.
        """
        found = [
            Violation(path=path, keyword=error.validator, message=_say(error), bounds=error.schema)
            for error in self._validator.iter_errors(value)
            for path in _paths(error)
        ]
        return sorted(found, key=lambda violation: (violation.path, violation.keyword))


def _paths(error: Any) -> list[str]:
    """Where the fault lies: for a missing or surplus key, at that key."""
    here = [str(step) for step in error.absolute_path]
    if error.validator == "required":
        names = [name for name in error.validator_value if name not in error.instance]
    elif error.validator == "additionalProperties":
        names = [name for name in error.instance if name not in error.schema.get("properties", {})]
    else:
        return [".".join(here)]
    return [".".join([*here, safe(name, 60)]) for name in names]


_WORDS = {
    "required": "is required",
    "additionalProperties": "is not a parameter of this model",
    "enum": "must be one of {options}",
    "const": "must be {bound}",
    "type": "must be of type {options}",
    "minimum": "must be at least {bound}",
    "maximum": "must be at most {bound}",
    "maxLength": "must be at most {bound} characters, and has {length}",
    "minLength": "must be at least {bound} characters",
    "maxItems": "must hold at most {bound}",
    "multipleOf": "must be a multiple of {bound}",
    "pattern": "must have the form {bound}",
    "x-ratio-between": "must lie between {options}",
}


def _say(error: Any) -> str:
    bound = error.validator_value
    options = ", ".join(map(str, bound)) if isinstance(bound, list) else str(bound)
    length = len(error.instance) if hasattr(error.instance, "__len__") else 0
    words = _WORDS.get(error.validator, 'breaks "{keyword}"')
    said = words.format(
        bound=safe(bound, 80), options=safe(options, 120), length=length, keyword=error.validator
    )
    return f"{said} {error.schema['x-when']}" if "x-when" in error.schema else said


def nearest(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value that `schema` takes and that is nearest to `value`; None where none suggests itself."""
    options = [option for option in schema.get("enum", ()) if option is not None]
    number = _number(value)
    if options:
        if number is not None and all(_number(option) is not None for option in options):
            return min(options, key=lambda option: abs(float(option) - number))
        ratio = parse_ratio(value) if isinstance(value, str) else None
        ratios = [option for option in options if parse_ratio(str(option))]
        if ratio and ratios:
            return nearest_ratio(ratio, ratios)
        return next((o for o in options if str(o).lower() == str(value).lower()), options[0])
    if number is None or not isinstance(value, (int, float)) or isnan(value):
        return None
    low, high = schema.get("minimum", -inf), schema.get("maximum", inf)
    near = min(max(value, low), high)
    step = schema.get("multipleOf", 1 if "integer" in schema.get("type", ()) else 0)
    if not step or isinf(near) or near % step == 0:
        return near if near != value else None
    below = near // step * step
    near = below if near - below <= step / 2 and below >= low else below + step
    return int(near) if low <= near <= high else None


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def typed(text: str, schema: Mapping[str, Any]) -> Any:
    """A command line's text as the type that the schema asks; left as it is where it does not fit."""
    kinds = schema.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "string" in kinds:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, str) else value
