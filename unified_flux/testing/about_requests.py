"""The kit's questions about translation: nothing silent, nothing lost, nothing touched."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

from unified_flux.contract import Card, Checker
from unified_flux.errors import TranslationError
from unified_flux.report import Entry, Outcome, Policy
from unified_flux.request import CLIENT_FIELDS, ImageRequest
from unified_flux.testing import samples
from unified_flux.testing.kit import Kit
from unified_flux.testing.samples import PROMPT, flat
from unified_flux.translation import Translation, require
from unified_flux.wire import OpenedReference, Placeholder

KEPT = {Outcome.NATIVE, Outcome.CONVERTED, Outcome.APPROXIMATED}
# Said together with other fields: a value says nothing without the others' schema.
SHAPE = {"aspect_ratio", "resolution", "width", "height"}


def paths(entry: Entry) -> list[str]:
    """Where in the payload an entry says that its field went."""
    return list(entry.keys)


def refused(translation: Translation, policy: Policy) -> bool:
    """Whether a policy stops a translation."""
    try:
        require(translation, policy)
    except TranslationError:
        return True
    return False


def check_once(translation: Translation, said: dict[str, Any]) -> None:
    """Each set field ends in the report exactly once, as it was asked."""
    entries = translation.report.entries
    found, asked = sorted(entry.field for entry in entries), sorted(said)
    assert found == asked, f"set were {asked}, the report tells of {found}"
    for entry in entries:
        if entry.field in said:
            asked_for = said[entry.field]
            assert entry.said == asked_for and type(entry.said) is type(asked_for), (
                f"{entry.field}: asked {asked_for!r}, the report says {entry.said!r}"
            )


def check_entry(entry: Entry, payload: dict[str, Any]) -> None:
    """What an entry tells is what the payload holds."""
    if entry.outcome in {Outcome.APPROXIMATED, Outcome.DROPPED, Outcome.REJECTED}:
        assert entry.reason, f"{entry.field} is {entry.outcome} without a reason"
    if entry.outcome not in KEPT or (entry.field in CLIENT_FIELDS and not entry.keys):
        return
    assert paths(entry), f"{entry.field} is {entry.outcome}, and nobody says where"
    found = flat(payload)
    for path in paths(entry):
        assert path in found, f"{entry.field} went to {path}, where the payload has nothing"
    single = len(paths(entry)) == 1 and entry.field != "references"
    if entry.outcome is Outcome.NATIVE and single:
        value = found[paths(entry)[0]]
        same = [s for s in samples.spellings(entry.said) if s == value and type(s) is type(value)]
        assert same, f"{entry.field} is native, and {entry.said!r} went out as {value!r}"


def check_payload(translation: Translation) -> None:
    """Everything in the payload is told by an entry, and everything else is shown as a default."""
    card, payload = translation.card, flat(translation.payload)
    entries = translation.report.entries
    told = {path for entry in entries if entry.outcome in KEPT for path in paths(entry)}
    silent = {*payload} - told - {card.fields["model"]}
    assert not silent, f"the payload says {silent}, the report does not"
    assert payload.get(card.fields["model"]) == card.model, "the payload names another model"
    if all(entry.outcome is not Outcome.REJECTED for entry in entries):
        unset = {key: value for key, value in card.defaults.items() if key not in payload}
        shown = translation.report.defaults
        assert shown == unset, f"left to the provider is {unset}, shown are {shown}"


class RequestQuestions(Kit):
    """Every field ends in the report once, and the payload is what the report says."""

    def test_a_field_set_alone_ends_exactly_once(self, card: Card, field: str) -> None:
        """It changes the payload where the report says so, or is dropped or refused with a reason."""
        for fields in samples.values(field, card):
            translation = self.translated(card, **fields)
            check_once(translation, {"prompt": PROMPT, **fields})
            for entry in translation.report.entries:
                check_entry(entry, translation.payload)
            check_payload(translation)

    def test_what_the_card_takes_is_said_and_what_it_does_not_is_not(
        self, card: Card, field: str
    ) -> None:
        """A value that the schema takes is never refused, one that it does not take never native."""
        if field in SHAPE or field in CLIENT_FIELDS or field == "model":
            return
        for fields in samples.values(field, card):
            entry = self.translated(card, **fields).report[field]
            key = card.fields.get(field)
            if key is None:
                assert entry.outcome is not Outcome.NATIVE, f"{field} is nowhere in the card"
                continue
            leaf = Checker(card.leaves[key])
            takes = any(not leaf.violations(s) for s in samples.spellings(fields[field]))
            if takes:
                assert entry.outcome in {Outcome.NATIVE, Outcome.CONVERTED}, entry
            else:
                assert entry.outcome is not Outcome.NATIVE, entry
                near = [] if entry.nearest is None else leaf.violations(entry.nearest)
                assert not near, f"{field}: {entry.nearest!r}, called nearest, would not do either"

    def test_what_is_accepted_obeys_the_card(self, card: Card, field: str) -> None:
        """No value that the policy lets pass, strict or adapting, breaks the schema."""
        for fields in samples.values(field, card):
            translation = self.translated(card, **fields)
            for policy in (Policy(), Policy(adapt=True)):
                if not refused(translation, policy):
                    wrong = card.checker.violations(translation.payload)
                    assert not wrong, f"{fields} passes with {wrong}"

    def test_all_fields_that_the_card_takes_go_together(self, card: Card) -> None:
        """They do not get into each other's way: all of them pass at once, each told once."""
        fields: dict[str, Any] = {}
        for field in samples.SETTABLE:
            if field in {"references", "extra", "width", "height"} or fields.keys() & {field}:
                continue
            for tried in samples.values(field, card):
                alone = self.translated(card, **tried)
                if not refused(alone, Policy()):
                    fields |= tried
                    break
        translation = self.translated(card, **fields)
        check_once(translation, fields)
        check_payload(translation)
        assert not refused(translation, Policy()), f"{fields} pass alone and not together"

    def test_the_prompt_is_never_lost(self, card: Card) -> None:
        """It goes out word for word in any script; one that is too long is refused in every mode."""
        key = card.fields["prompt"]
        for prompt in samples.PROMPTS:
            assert flat(self.translated(card, prompt=prompt).payload).get(key) == prompt
        longest = card.leaves[key].get("maxLength")
        if longest is None:
            return
        for letter in ("a", "শ", "🦊"):
            assert not refused(self.translated(card, prompt=letter * longest), Policy())
            over = self.translated(card, prompt=letter * (longest + 1))
            assert over.report["prompt"].outcome is Outcome.REJECTED, "cut, dropped or sent"
            assert refused(over, Policy(adapt=True)), f"{longest + 1} characters are let through"

    def test_references_are_never_lost(self, card: Card, kind: str) -> None:
        """All of them are in the payload in order, or the request is refused in every mode."""
        most = card.references.get("max_count", 0)
        for count in (1, most, most + 1):
            asked, opened = samples.references(kind, count)
            translation = self.translated(card, opened, references=asked)
            names = [e.field for e in translation.report.entries if e.field != "prompt"]
            assert names == (["references"] if count else []), f"the report tells of {names}"
            if count > most:
                self._check_refused(translation, f"{count} references, {most} are taken")
            elif count:
                assert not refused(translation, Policy()), f"{count} of {most} references"
                check_payload(translation)
                self._check_placed(translation, opened)

    def test_an_unfit_reference_is_refused(self, card: Card) -> None:
        """One that is too large or of a type that is not taken never passes, in any mode."""
        if not card.references:
            return
        asked, (good,) = samples.references("local", 1)
        large = replace(good, size=card.references["max_bytes"] + 1)
        for what, one in (("too large", large), ("a GIF", replace(good, mime="image/gif"))):
            if one.mime in card.references["mime"] and one is not large:
                continue
            self._check_refused(self.translated(card, (one,), references=asked), what)

    @staticmethod
    def _check_refused(translation: Translation, what: str) -> None:
        entry = translation.report["references"]
        assert entry.outcome is Outcome.REJECTED and entry.reason, f"{what}: {entry}"
        assert refused(translation, Policy(adapt=True)), f"{what} pass where losses are allowed"

    @staticmethod
    def _check_placed(translation: Translation, opened: tuple[OpenedReference, ...]) -> None:
        said = list(samples.texts(translation.payload))
        urls = [text for text in said if text in {one.url for one in opened}]
        local = [text.reference for text in said if isinstance(text, Placeholder)]
        assert urls == [one.url for one in opened if one.url], f"sent are {urls}"
        assert local == [one for one in opened if one.source], f"sent are {local}"

    def test_extra_never_overrides_a_field(self, card: Card) -> None:
        """A parameter that a field says already is refused under `extra`, and the field stays."""
        for field, path in card.fields.items():
            name = path.removeprefix(card.parameter(""))
            for fields in [] if field in CLIENT_FIELDS else samples.values(field, card)[:1]:
                plain = self.translated(card, **fields)
                if field not in {"prompt", "model"} and path not in flat(plain.payload):
                    continue
                extra = {self.name: {name: "overridden"}}
                both = self.translated(card, **fields, extra=extra)
                entry = both.report[f"extra.{self.name}.{name}"]
                assert entry.outcome is Outcome.REJECTED, f"extra overrides {field}: {entry}"
                assert both.payload == plain.payload, f"extra changes {field}"

    def test_extra_says_the_providers_own_parameters(self, card: Card) -> None:
        """A known one is sent and told, an unknown one refused, another provider's listed only."""
        for name in card.parameters:
            leaf = card.leaves[card.parameter(name)]
            value = next(iter(leaf.get("enum", ())), leaf.get("default", leaf.get("minimum", "x")))
            translation = self.translated(card, extra={self.name: {name: value}})
            assert [e.field for e in translation.report][1:] == [f"extra.{self.name}.{name}"]
            check_payload(translation)
        unknown = self.translated(card, extra={self.name: {"no_such_parameter": 1}})
        assert refused(unknown, Policy(adapt=True)), "an unknown parameter is let through"
        assert unknown.payload == self.translated(card).payload, "an unknown parameter is sent"
        other = self.translated(card, extra={f"not-{self.name}": {"seed": 1}})
        assert [e.field for e in other.report][1:] == [f"extra.not-{self.name}.seed"]
        assert not refused(other, Policy()), "what is for another provider refuses nothing"
        assert other.payload == self.translated(card).payload

    def test_translation_is_pure(self, card: Card, kind: str) -> None:
        """The same request gives an equal payload, of plain JSON, and stays as it was."""
        asked, opened = samples.references(kind, 1 if card.references else 0)
        extra = {self.name: {}, "another": {"list": [1, {"deep": [2]}]}}
        request = ImageRequest(prompt=PROMPT, references=asked, seed=7, extra=extra)
        before = copy.deepcopy(extra), tuple(replace(one) for one in opened)
        first = self.adapter.translate(request, card, opened)
        kept = json.dumps(first.payload, allow_nan=False)
        assert json.loads(kept) == first.payload, "the payload is not plain JSON"
        _spoil(first.payload)
        second = self.adapter.translate(request, card, opened)
        assert json.dumps(second.payload) == kept, "the same request became something else"
        assert [str(e) for e in first.report] == [str(e) for e in second.report]
        assert before == (request.extra, opened), "the request was changed"


def _spoil(value: Any) -> None:
    """Change everything that can be changed: a payload must not be shared with the next one."""
    if isinstance(value, dict):
        for inner in value.values():
            _spoil(inner)
        value["spoiled"] = True
    elif isinstance(value, list):
        for inner in value:
            _spoil(inner)
        value.append("spoiled")
