"""The kit's questions about requests that nobody thought of: hypothesis asks them, always the same."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from unified_flux.contract import Card
from unified_flux.errors import InvalidRequest, TranslationError
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.testing import samples
from unified_flux.testing.about_requests import check_entry, check_payload
from unified_flux.testing.kit import Kit
from unified_flux.translation import Translation, require

EXAMPLES = 60
# Of all that is asked, at least this share must reach a payload, or little is tried.
SHARE = 0.3


def expected(request: ImageRequest) -> Counter[str]:
    """The names that a report must tell of, each once."""
    names = Counter(name for name, _ in request.set_fields() if name != "extra")
    names.update(
        f"extra.{provider}.{key}" for provider, own in request.extra.items() for key in own
    )
    return names


def check_told(request: ImageRequest, translation: Translation) -> None:
    """Each set field ends exactly once, beside a payload of plain JSON."""
    told = Counter(entry.field for entry in translation.report)
    assert told == expected(request), f"{request} is told as {told}"
    other = False
    for entry in translation.report:
        json.dumps(entry.to_json(), allow_nan=False)
        if entry.field.startswith("extra."):
            other = True
        else:
            check_entry(entry, translation.payload)
    if not other:
        check_payload(translation)


def passes(translation: Translation, policy: Policy) -> bool:
    """Whether a translation may be sent; where not, it is said why, and where it may, it is valid."""
    try:
        require(translation, policy)
    except TranslationError as error:
        assert error.problems, "refused, and nobody says why"
        json.dumps(error.to_json(), allow_nan=False)
        return False
    wrong = translation.card.checker.violations(translation.payload)
    assert not wrong, f"let through with {wrong}"
    return True


def how() -> dict[str, Any]:
    """Always the same examples, and none made smaller: they are small, and that takes long."""
    from hypothesis import Phase

    phases = (Phase.explicit, Phase.generate)
    fixed = {"derandomize": True, "deadline": None, "database": None}
    return {**fixed, "max_examples": EXAMPLES, "phases": phases}


class PropertyQuestions(Kit):
    """Whatever is asked is told completely, and what passes obeys the card."""

    def test_any_request_is_told_completely_or_refused(self, card: Card) -> None:
        """Anything in any field, and then what the card takes; how many reach a payload is told."""
        free = self._asked_freely(card)
        fitting = self._asked_fittingly(card)
        reached, asked = (sum(pair) for pair in zip(free, fitting, strict=True))
        for what, (of, all_) in (("free-form", free), ("valid by construction", fitting)):
            print(f"{card.model}: {of} of {all_} {what} requests reach a payload")
        assert reached >= SHARE * asked, f"only {reached} of {asked} requests reach a payload"

    def _asked_freely(self, card: Card) -> tuple[int, int]:
        from hypothesis import given, settings, strategies as st

        from unified_flux.testing.strategies import free

        count: Counter[bool] = Counter()
        most = card.references.get("max_count", 0) + 1
        kinds = st.sampled_from(["url", "local"])

        @settings(**how())
        @given(fields=free(card), kind=kinds, number=st.integers(0, most))
        def ask(fields: dict[str, Any], kind: str, number: int) -> None:
            asked, opened = samples.references(kind, number)
            try:
                request = ImageRequest(**{"prompt": "a fox", **fields, "references": asked})
            except InvalidRequest as error:
                assert error.problems and str(error), "refused, and nobody says why"
                count[False] += 1
                return
            translation = self.adapter.translate(request, card, opened)
            check_told(request, translation)
            sent = [passes(translation, policy) for policy in (Policy(), Policy(adapt=True))]
            count[any(sent)] += 1
            if any(sent):
                assert request.prompt in samples.texts(translation.payload), "the prompt is lost"

        ask()
        return count[True], count.total()

    def _asked_fittingly(self, card: Card) -> tuple[int, int]:
        from hypothesis import given, settings, strategies as st

        from unified_flux.testing.strategies import fitting

        count: Counter[bool] = Counter()
        most = card.references.get("max_count", 0)

        @settings(**how())
        @given(data=st.data(), kind=st.sampled_from(["url", "local"]), number=st.integers(0, most))
        def ask(data: Any, kind: str, number: int) -> None:
            asked, opened = samples.references(kind, number)
            request = ImageRequest(**data.draw(fitting(card, number)), references=asked)
            translation = self.adapter.translate(request, card, opened)
            check_told(request, translation)
            assert passes(translation, Policy()), f"{request} is all of the card, and refused"
            count[True] += 1

        ask()
        return count[True], count.total()
