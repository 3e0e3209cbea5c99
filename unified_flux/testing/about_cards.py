"""The kit's questions about model cards."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from datetime import date
from math import inf
from typing import Any

from unified_flux.addresses import split_url
from unified_flux.contract import DIALECT, Card
from unified_flux.money import USD, Basis
from unified_flux.request import ImageRequest
from unified_flux.testing.kit import Kit
from unified_flux.testing.patterns import endless

FACTS = "/x-unified-flux"
_LOCAL = {"upload", "base64", "data_uri"}
# A star stands for one label, and never for the last two: a key stays with its provider.
_HOST = re.compile(r"(([a-z0-9-]+|\*)\.)*[a-z0-9-]+\.[a-z0-9-]+")
_FIELDS = {field.name for field in dataclasses.fields(ImageRequest)}


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object inside a schema with the pointer to it; what stands beside it is left out."""
    if isinstance(schema, Mapping):
        yield path, schema
        for key, value in schema.items():
            if key not in {"x-unified-flux", "default", "const", "enum", "examples", "if", "then"}:
                yield from nodes(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from nodes(value, f"{path}/{index}")


def is_day(text: Any) -> bool:
    """Whether `text` is a day such as 2026-11-21."""
    try:
        return bool(date.fromisoformat(text).isoformat() == text)
    except (TypeError, ValueError):
        return False


def is_span(found: Any) -> bool:
    """Whether `found` is a shortest and a longest number of seconds."""
    if not isinstance(found, list) or len(found) != 2:
        return False
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in found)
    return numbers and bool(0 < found[0] <= found[1] < inf)


class CardQuestions(Kit):
    """Cards are valid, closed, sourced, and fetch nothing."""

    def test_the_adapter_introduces_itself(self) -> None:
        """Its name is that of its entry point, its address https, its API version one we know."""
        adapter = self.adapter
        assert adapter.name == self.name, f"{adapter.name} is registered as {self.name}"
        parts = split_url(adapter.base_url)
        assert parts is not None and parts.scheme == "https", f"{adapter.base_url} is not https"
        assert not parts.query and not parts.username, "a base URL is no place for secrets"
        assert adapter.api_version == 1, f"there is no adapter API {adapter.api_version}"
        for host in adapter.auth.hosts:
            assert _HOST.fullmatch(host), f"{self.set_at('auth')}{host!r} is no host of its own"
        assert "{key}" in adapter.auth.template, "the key has no place in the auth template"

    def test_models_and_families_are_told_apart(self) -> None:
        """Every model id, family and `$id` belongs to one card only."""
        cards = self.adapter.cards
        assert cards, "there are no cards"
        for what in ("model", "family"):
            names = [getattr(card, what) for card in cards]
            assert len({*names}) == len(names), f"two cards share a {what}: {names}"
        ids = [card.schema.get("$id") for card in cards]
        assert all(ids) and len({*ids}) == len(ids), f"$id is missing or shared: {ids}"

    def test_a_card_is_a_closed_schema(self, card: Card) -> None:
        """It is valid JSON Schema draft 2020-12 and takes no key that it does not name."""
        import jsonschema

        assert card.schema.get("$schema") == DIALECT, (
            f"{self.at(card, '/$schema')}: the dialect is not draft 2020-12"
        )
        try:
            jsonschema.Draft202012Validator.check_schema(card.schema)
        except jsonschema.SchemaError as error:
            pointer = "".join(f"/{step}" for step in error.absolute_path)
            raise AssertionError(f"{self.at(card, pointer)}: {error.message}") from None
        for path, node in nodes(card.schema):
            if node.get("type") == "object" or isinstance(node.get("properties"), Mapping):
                if path.endswith("/properties"):
                    continue
                assert node.get("additionalProperties") is False, (
                    f"{self.at(card, path)}: an open schema; additionalProperties must be false"
                )

    def test_a_card_reaches_nowhere_and_never_hangs(self, card: Card) -> None:
        """It refers to no other document, and no pattern repeats a repetition."""
        for path, node in nodes(card.schema):
            for word in ("$ref", "$dynamicRef"):
                target = node.get(word, "#")
                assert not isinstance(target, str) or target.startswith("#"), (
                    f"{self.at(card, f'{path}/{word}')}: refers to {target}; nothing is fetched"
                )
            pattern = node.get("pattern")
            if isinstance(pattern, str):
                why = endless(pattern)
                assert why is None, (
                    f"{self.at(card, f'{path}/pattern')}: {pattern} may take for ever: {why}"
                )

    def test_a_card_says_what_a_schema_cannot(self, card: Card) -> None:
        """Family, source with its day, prices with unit and basis, and the pace of polling."""
        facts = card.facts
        assert isinstance(facts.get("family"), str) and facts["family"], "no family"
        source = facts.get("source", {})
        assert source.get("page") and is_day(source.get("read")), (
            f"{self.at(card, f'{FACTS}/source')}: no source: {source}"
        )
        for number, row in enumerate(facts["prices"]):
            place = self.at(card, f"{FACTS}/prices/{number}")
            assert isinstance(row.get("amount"), str), f"{place}: no exact amount: {row}"
            assert "unit" in row, f"{place}: no unit; say USD or credits:{self.name}"
        for price in card.prices:
            assert price.price.unit in {USD, f"credits:{self.name}"}, f"unknown unit: {price}"
            assert price.source and price.as_of, f"no source: {price}"
            assert price.basis is not Basis.CONFIGURED, f"a card is nobody's setting: {price}"
            astray = {*price.when} - {*card.leaves}
            assert not astray, f"the schema has no {astray}"
        for which in ("first", "every"):
            assert is_span(facts["polling"].get(which)), (
                f"{self.at(card, f'{FACTS}/polling/{which}')}: no span of seconds"
            )
        least, every = facts["polling"].get("least"), facts["polling"]["every"]
        assert least is None or is_span([least, every[0]]), (
            f"polling.least is {least!r}: no number of seconds up to the {every[0]} of polling.every"
        )

    def test_a_card_maps_fields_that_exist_on_both_sides(self, card: Card) -> None:
        """Every field is one of ImageRequest's, every path one of the schema's."""
        assert {"model", "prompt"} <= {*card.fields}, "model and prompt are not mapped"
        for field, path in card.fields.items():
            place = self.at(card, f"{FACTS}/fields/{field}")
            assert field in _FIELDS, f"{place}: ImageRequest has no {field}"
            assert path in card.leaves, f"{place}: the schema has no {path}"
        assert ("width" in card.fields) == ("height" in card.fields), "width and height go together"

    def test_a_card_says_how_references_are_taken(self, card: Card) -> None:
        """How many, how large, of which types, and by which way a local one goes."""
        rules = card.references
        if not rules:
            return
        assert rules["max_count"] >= 1 and rules["max_bytes"] > 0, rules
        assert rules["mime"] and rules["local"] in _LOCAL, rules
        assert card.reference_keys and {*card.reference_keys} <= {*card.leaves}, rules
        if "keys" in rules:
            assert len(rules["keys"]) == rules["max_count"], "as many keys as references"

    def test_a_bare_prompt_is_valid(self, card: Card) -> None:
        """A prompt alone makes a payload that the card accepts."""
        translation = self.translated(card)
        wrong = card.checker.violations(translation.payload)
        assert not wrong and not translation.broken, f"{wrong} {translation.broken}"
