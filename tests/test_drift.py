"""Cards against what providers publish: each file in tests/drift is a case. Adding a case is adding a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unified_flux import ProtocolError, UnifiedFluxError, config, registry
from unified_flux.contract import Card, choose
from unified_flux.drift import drift, published
from unified_flux.published import compare
from unified_flux.sandbox import catalogues
from unified_flux.sandbox.server import SandboxServer

CASES = sorted((Path(__file__).parent / "drift").glob("*.json"))


def card_of(provider: str, model: str) -> Card:
    return choose(registry.make_adapter(provider).cards, model)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """Every difference is told once, with both sides, and nothing else is."""
    case = json.loads(path.read_text("utf-8"))
    card = card_of(case["provider"], case["model"])
    documents = list(zip(published(card), case["documents"], strict=True))
    assert [str(one) for one in compare(card, documents)] == case["differences"]


@pytest.mark.parametrize("provider", registry.names())
def test_a_provider_that_did_not_change_has_no_difference(
    provider: str, configured: SandboxServer
) -> None:
    """Over a real socket, from the addresses that the cards name; nothing is accepted, or paid."""
    found = drift(provider)
    assert found.differences == ()
    assert {*found.models} == {card.model for card in registry.make_adapter(provider).cards}
    assert all(url.startswith(configured.providers[provider]) for url in found.documents)
    assert configured.emulators[provider].meter()["accepted"] == 0


def test_a_change_at_the_provider_is_told_with_its_model(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter that came, of each model that has it."""
    inputs = catalogues.inputs

    def newer(card: Card, keys: Any = None) -> dict[str, Any]:
        found = inputs(card, keys)
        found["properties"]["raw"] = {"type": "boolean", "default": False}
        return found

    monkeypatch.setattr(catalogues, "inputs", newer)
    found = drift("bfl")
    assert [(one.model, one.what) for one in found.differences] == [
        (model, "raw") for model in found.models
    ]


def test_no_key_is_needed_where_nothing_is_signed(configured: SandboxServer) -> None:
    """What is published for everybody is read without a key; elsewhere the missing one is named."""
    places = {f"{n.upper()}_BASE_URL": url for n, url in configured.providers.items()}
    bare = config.load(registry.names(), environ=places)
    assert drift("fal", config=bare).differences == ()
    with pytest.raises(UnifiedFluxError, match="REPLICATE_API_KEY is not set"):
        drift("replicate", config=bare)


def test_a_document_of_another_form_is_told_plainly(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the provider answers is no fault of the card, and no traceback."""
    monkeypatch.setattr(catalogues, "openapi", lambda title, bodies: {"openapi": "4.0"})
    with pytest.raises(ProtocolError, match='is of another form: it has no "paths"') as caught:
        drift("bfl")
    assert "published" in str(caught.value.next_step)


def test_references_in_a_circle_end() -> None:
    """A hostile document takes no stack."""
    circle = {"$ref": "#/components/schemas/A"}
    body = {"application/json": {"schema": circle}}
    found = {
        "paths": {"/v1/flux-2-pro": {"post": {"requestBody": {"content": body}}}},
        "components": {"schemas": {"A": circle}},
    }
    card = card_of("bfl", "flux-2-pro")
    with pytest.raises(ValueError, match="in a circle"):
        compare(card, [(published(card)[0], found)])


def test_a_provider_whose_cards_name_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter whose provider publishes nothing is no fault, and no silence."""
    monkeypatch.setattr("unified_flux.drift.published", lambda card: ())
    with pytest.raises(UnifiedFluxError, match="name nothing that it publishes"):
        drift("vtrix")
