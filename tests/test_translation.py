"""Translation at its edges; the ordinary cases are the files in tests/golden/translate."""

from __future__ import annotations

from typing import Any

import pytest

from unified_flux import ContractViolation, ImageRequest, Policy, UnsupportedField, registry
from unified_flux.adapter import Adapter
from unified_flux.contract import Card, choose
from unified_flux.translation import Translation, require


def card(provider: str, model: str) -> tuple[Adapter, Card]:
    adapter = registry.make_adapter(provider)
    return adapter, choose(adapter.cards, model)


def translate(provider: str, model: str, **fields: Any) -> Translation:
    adapter, found = card(provider, model)
    return adapter.translate(ImageRequest(**{"prompt": "a fox", **fields}), found)


@pytest.mark.parametrize("letter", ["x", "শ", "🦊", "é"])
def test_a_prompt_is_counted_in_code_points(letter: str) -> None:
    """5,000 pass and 5,001 do not, whatever a letter weighs in bytes."""
    passed = translate("rivya", "flux-2-pro", prompt=letter * 5000)
    assert require(passed, Policy()) is passed
    with pytest.raises(ContractViolation) as caught:
        require(translate("rivya", "flux-2-pro", prompt=letter * 5001), Policy())
    assert "at most 5000 characters, and has 5001" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_loss_and_a_violation_are_told_together() -> None:
    """One error lists what would be lost beside what breaks the schema."""
    with pytest.raises(UnsupportedField) as caught:
        require(translate("rivya", "flux-2-pro", prompt="x" * 5001, seed=7), Policy())
    assert [problem.field for problem in caught.value.problems] == ["prompt", "seed"]


def test_no_mode_makes_moderation_looser() -> None:
    """A tolerance outside the card's range is the caller's to change, even with --adapt."""
    with pytest.raises(ContractViolation, match="nearest: 1"):
        require(translate("vtrix", "flux_kontext_pro", safety_tolerance=0), Policy.of(adapt=True))


def test_what_a_card_allows_is_not_written_twice() -> None:
    """Taking an option out of a card takes it out of the translation: code repeats no fact."""
    adapter, found = card("rivya", "flux-kontext-pro")
    params = found.schema["properties"]["params"]
    narrow = {**params["properties"], "aspectRatio": {"type": "string", "enum": ["1:1"]}}
    schema = {
        **found.schema,
        "properties": {**found.schema["properties"], "params": {**params, "properties": narrow}},
    }
    changed = adapter.translate(
        ImageRequest(prompt="x", aspect_ratio="16:9"), Card("rivya", schema)
    )
    assert changed.report["aspect_ratio"].became == "1:1"


def test_a_model_may_be_named_by_family_or_by_the_providers_id() -> None:
    """Both find the same card; the family is converted, the id is native."""
    for name, outcome in (("flux-kontext-pro", "converted"), ("flux_kontext_pro", "native")):
        adapter, found = card("vtrix", name)
        report = adapter.translate(ImageRequest(prompt="x", model=name), found).report
        assert (report["model"].became, str(report["model"].outcome)) == (
            "flux_kontext_pro",
            outcome,
        )


def test_a_field_that_was_not_set_has_no_entry() -> None:
    """The report is about what the caller set; the rest shows as the provider's defaults."""
    made = translate("vtrix", "flux_kontext_pro")
    with pytest.raises(KeyError):
        made.report["seed"]
    assert made.report.defaults == {
        "output_format": "jpeg",
        "prompt_upsampling": False,
        "safety_tolerance": 2,
    }


def test_pixels_that_a_card_states_for_a_ratio_are_no_approximation() -> None:
    """A card may state the very size of a ratio and resolution; then nothing is lost."""
    adapter, found = card("rivya", "flux-2-pro")
    asked = ImageRequest(prompt="x", width=1536, height=864)
    assert str(adapter.translate(asked, found).report["width"].outcome) == "approximated"
    facts = {**found.facts, "sizes": {"16:9 1K": [1536, 864]}}
    stated = Card("rivya", {**found.schema, "x-unified-flux": facts})
    report = adapter.translate(asked, stated).report
    assert {str(report[name].outcome) for name in ("width", "height")} == {"converted"}


def test_leading_zeros_of_a_ratio_mean_nothing() -> None:
    """016:09 is 16:9 on every model."""
    for provider, model in (("vtrix", "flux_kontext_pro"), ("rivya", "flux-kontext-pro")):
        report = translate(provider, model, aspect_ratio="016:09").report
        assert report["aspect_ratio"].became == "16:9"


def test_the_nearest_ratio_is_offered_for_a_providers_own_parameter() -> None:
    """`extra` gets the same help as the field."""
    made = translate("rivya", "flux-kontext-pro", extra={"rivya": {"aspectRatio": "3:2"}})
    assert made.report["extra.rivya.aspectRatio"].nearest == "4:3"
