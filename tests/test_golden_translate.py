"""Golden translations: every file in tests/golden/translate is a case."""

from pathlib import Path

import pytest

from unified_flux import registry
from unified_flux.testing.golden import Golden, check_translation, load

FOLDER = Path(__file__).parent / "golden" / "translate"
CASES = load(FOLDER)


@pytest.mark.parametrize("golden", CASES, ids=lambda golden: golden.id)
def test_a_request_becomes_the_payload_that_the_pages_document(golden: Golden) -> None:
    """Each request gives exactly the recorded payload and report, or the recorded refusal."""
    adapter = registry.make_adapter(golden.facts["provider"], options=golden.options)
    check_translation(golden, adapter)


def test_every_model_has_a_golden_translation() -> None:
    """No card of a built-in provider is without one."""
    asked = {(g.facts["provider"], g.request.model) for g in CASES if "payload" in g.facts}
    for provider in registry.names():
        for card in registry.make_adapter(provider).cards:
            assert asked & {(provider, card.model), (provider, card.family)}, card.model


@pytest.mark.parametrize("golden", CASES, ids=lambda golden: golden.id)
def test_every_golden_translation_says_where_it_comes_from(golden: Golden) -> None:
    """A fact without a page and a day is no fact."""
    assert golden.facts["source"]
    assert golden.facts["read"]
    assert golden.facts["about"].endswith(".")
