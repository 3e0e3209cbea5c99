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

_LOCAL = {"upload", "base64", "data_uri"}
# A repeated group that itself repeats: on a long text its matching may take for ever.
_NESTED = re.compile(r"\((?:[^()\\]|\\.)*[+*}](?:[^()\\]|\\.)*\)\s*(?:[+*]|\{\d+,)")
_FIELDS = {field.name for field in dataclasses.fields(ImageRequest)}


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object inside a schema with the path to it; what stands beside it is left out."""
    if isinstance(schema, Mapping):
        yield path or "the card", schema
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
            known = r"([a-z0-9-]+\.)+([*]\.)?([a-z0-9-]+\.)+[a-z0-9-]+|[a-z0-9-]+\.[a-z0-9-]+"
            assert re.fullmatch(known, host), f"{host!r} is no host name"
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

        assert card.schema.get("$schema") == DIALECT, "the dialect is not draft 2020-12"
        jsonschema.Draft202012Validator.check_schema(card.schema)
        for path, node in nodes(card.schema):
            if node.get("type") == "object" or isinstance(node.get("properties"), Mapping):
                if path.endswith("/properties"):
                    continue
                assert node.get("additionalProperties") is False, f"{path} is open"

    def test_a_card_reaches_nowhere_and_never_hangs(self, card: Card) -> None:
        """It refers to no other document, and no pattern repeats a repetition."""
        for path, node in nodes(card.schema):
            for word in ("$ref", "$dynamicRef"):
                target = node.get(word, "#")
                assert not isinstance(target, str) or target.startswith("#"), (
                    f"{path} refers to {target}"
                )
            pattern = node.get("pattern")
            if isinstance(pattern, str):
                re.compile(pattern)
                assert not _NESTED.search(pattern), f"{path}: {pattern} may take for ever"

    def test_a_card_says_what_a_schema_cannot(self, card: Card) -> None:
        """Family, source with its day, prices with unit and basis, and the pace of polling."""
        facts = card.facts
        assert isinstance(facts.get("family"), str) and facts["family"], "no family"
        source = facts.get("source", {})
        assert source.get("page") and is_day(source.get("read")), f"no source: {source}"
        for row in facts["prices"]:
            assert isinstance(row["amount"], str), f"no exact amount: {row}"
        for price in card.prices:
            assert price.price.unit in {USD, f"credits:{self.name}"}, f"unknown unit: {price}"
            assert price.source and price.as_of, f"no source: {price}"
            assert price.basis is not Basis.CONFIGURED, f"a card is nobody's setting: {price}"
            astray = {*price.when} - {*card.leaves}
            assert not astray, f"the schema has no {astray}"
        for which in ("first", "every"):
            assert is_span(facts["polling"].get(which)), f"polling.{which} is no span of seconds"
        least, every = facts["polling"].get("least"), facts["polling"]["every"]
        assert least is None or is_span([least, every[0]]), (
            f"polling.least is {least!r}: no number of seconds up to the {every[0]} of polling.every"
        )

    def test_a_card_maps_fields_that_exist_on_both_sides(self, card: Card) -> None:
        """Every field is one of ImageRequest's, every path one of the schema's."""
        assert {"model", "prompt"} <= {*card.fields}, "model and prompt are not mapped"
        unknown = {*card.fields} - _FIELDS
        assert not unknown, f"ImageRequest has no {unknown}"
        astray = {*card.fields.values()} - {*card.leaves}
        assert not astray, f"the schema has no {astray}"
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
