"""ImageRequest → payload and report: the one place where a field becomes a provider's word.

Each set field is written where the card says, spelled as the card's schema asks; then the whole
payload meets the schema once, and what breaks it turns that field's entry into *rejected*. So all
problems of all fields are known together, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unified_flux import contract, sizing
from unified_flux.contract import Card, Violation
from unified_flux.draft import Draft
from unified_flux.errors import ContractViolation, Problem, TranslationError, UnsupportedField
from unified_flux.report import Entry, Outcome, Policy, Report
from unified_flux.request import ImageRequest
from unified_flux.text import did_you_mean, safe
from unified_flux.wire import OpenedReference, replace_placeholders

# The fields that what comes answers to: pictures by their headers, and how many they are.
EXPECTED = ("output_format", "aspect_ratio", "resolution", "width", "height", "n")

PlaceReferences = Callable[[Sequence[OpenedReference], Card], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A request in one model's words.

    Attributes:
        payload: The provider's JSON body, flat as documented; placeholders stand for local bytes.
        report: What became of each field.
        references: The opened references that it speaks of.
        broken: Violations that belong to no field of the request.
        violations: Every violation of the schema, whichever field it belongs to.
    """

    card: Card
    payload: dict[str, Any]
    report: Report
    references: tuple[OpenedReference, ...] = ()
    broken: tuple[Problem, ...] = ()
    violations: tuple[Violation, ...] = ()

    def expected(self) -> dict[str, Any]:
        """What the picture should be, by our fields: as the payload says, or by default.

        A default says nothing where references are sent: then the picture follows them.
        """
        edits = any(entry.field == "references" for entry in self.report.entries)
        expected = {}
        for field in EXPECTED:
            key = self.card.fields.get(field)
            said = at(self.payload, key) if key else None
            if said is None and key and not edits:
                said = self.card.defaults.get(key)
            if said is not None:
                expected[field] = self.card.meaning(field, said)
        return expected


def at(payload: Any, path: str) -> Any:
    """What stands at a dotted path, None where nothing does."""
    for step in path.split("."):
        payload = payload.get(step) if isinstance(payload, dict) else None
    return payload


def translate(
    request: ImageRequest,
    card: Card,
    references: Sequence[OpenedReference],
    place: PlaceReferences,
) -> Translation:
    """Say `request` in the words of `card`; losses and faults stand in the report, none is raised."""
    draft = Draft(request, card)
    draft.values[card.fields["model"]] = card.model
    for name, value in request.set_fields():
        _RULES.get(name, _word)(draft, name, value)
    sizing.translate(draft)
    if request.references:
        _references(draft, references, place)
    _extra(draft)
    defaults = {key: value for key, value in card.defaults.items() if key not in draft.values}
    found = card.checker.violations(assemble(card, draft.values))
    payload, entries, broken = _judge(card, draft.values, draft.entries, found)
    order = [name for name, _ in request.set_fields()]
    entries.sort(key=lambda entry: order.index(entry.field.partition(".")[0]))
    return Translation(
        card=card,
        payload=payload,
        report=Report(entries=tuple(entries), defaults=defaults),
        references=tuple(references),
        broken=tuple(broken),
        violations=tuple(found),
    )


def problems(translation: Translation, policy: Policy) -> list[Problem]:
    """Everything that stands against a translation under a policy; nothing where it may be sent."""
    stopped = [entry for entry in translation.report.entries if not policy.permits(entry)]
    return [*(entry.problem() for entry in stopped), *translation.broken]


def require(translation: Translation, policy: Policy) -> Translation:
    """The translation itself, where the policy lets all of it pass.

    Raises:
        UnsupportedField, ContractViolation: With every problem at once. Nothing was sent.
    """
    found = problems(translation, policy)
    if not found:
        return translation
    losses = any(problem.allow for problem in found)
    kind: type[TranslationError] = UnsupportedField if losses else ContractViolation
    card = translation.card
    raise kind(
        f"{card.provider}'s {card.model} cannot do this request as it stands; nothing was sent",
        problems=found,
        provider=card.provider,
        model=card.model,
        next_step="--adapt permits every approximation and drop at once." if losses else None,
    )


def _word(draft: Draft, name: str, value: Any) -> None:
    key = draft.card.fields.get(name)
    if key is None:
        reason = f"{draft.card.model} has no parameter for it"
        draft.end(name, Outcome.DROPPED, reason=reason)
        return
    word = draft.card.word(name, value)
    said = spell(word, draft.card.leaves[key])
    draft.values[key] = said
    outcome = Outcome.NATIVE if word == value else Outcome.CONVERTED
    draft.end(name, outcome, said, keys=(key,))


def spell(value: Any, schema: Any) -> Any:
    """A value in the type that the schema asks: Rivya's switches are texts, Vtrix's booleans."""
    if schema.get("type") == "string":
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
    return value


def _model(draft: Draft, name: str, value: str) -> None:
    outcome = Outcome.NATIVE if value == draft.card.model else Outcome.CONVERTED
    draft.end(name, outcome, draft.card.model, keys=(draft.card.fields["model"],))


def _n(draft: Draft, name: str, value: int) -> None:
    most = draft.card.at_once
    if most > 1:
        key = draft.card.fields[name]
        draft.values[key] = min(value, most)
        if value <= most:
            draft.end(name, Outcome.NATIVE, value, keys=(key,), reason="one submit makes them all")
            return
        reason = f"one submit makes at most {most}: {-(-value // most)} submits"
        draft.end(name, Outcome.CONVERTED, most, keys=(key,), reason=reason)
        return
    if value == 1:
        draft.end(name, Outcome.NATIVE, 1, reason="one submit makes one picture")
        return
    reason = f"{value} submits of one picture each, every one paid on its own"
    draft.end(name, Outcome.CONVERTED, value, reason=reason)


def _seed(draft: Draft, name: str, value: int) -> None:
    _word(draft, name, value)
    n = draft.request.n or 1
    if n > 1 and draft.card.at_once == 1 and draft.entries[-1].outcome is Outcome.NATIVE:
        draft.entries[-1] = replace(
            draft.entries[-1],
            outcome=Outcome.CONVERTED,
            became=f"{value} to {value + n - 1}",
            reason=f"each of the {n} pictures takes the next seed",
        )


def _kept(draft: Draft, name: str, value: Any) -> None:
    draft.end(name, Outcome.CONVERTED, reason="kept by unified-flux beside the picture")


def _client_request_id(draft: Draft, name: str, value: str) -> None:
    if name in draft.card.fields:
        _word(draft, name, value)
    else:
        reason = "kept by unified-flux beside the picture; the provider has no field for it"
        draft.end(name, Outcome.CONVERTED, reason=reason)


def _later(draft: Draft, name: str, value: Any) -> None:
    """Fields that are translated together with others."""


_RULES: dict[str, Callable[[Draft, str, Any], None]] = {
    "model": _model,
    "n": _n,
    "seed": _seed,
    "client_request_id": _client_request_id,
    "tags": _kept,
    "references": _later,
    "extra": _later,
    **dict.fromkeys(sizing.FIELDS, _later),
}


def _references(draft: Draft, opened: Sequence[OpenedReference], place: PlaceReferences) -> None:
    said = [reference.url or reference.name or "image" for reference in opened]
    reason = "; ".join(_reference_faults(draft.card, opened))
    if reason:
        draft.end("references", Outcome.REJECTED, said=said, reason=reason)
        return
    placed = place(opened, draft.card)
    draft.values.update(placed)
    local = any(reference.source for reference in opened)
    by = {
        "upload": "uploaded first",
        "base64": "sent inline as base64",
        "data_uri": "sent inline as a data URI",
    }
    draft.end(
        "references",
        Outcome.CONVERTED if local else Outcome.NATIVE,
        list(placed),
        said=said,
        keys=tuple(placed),
        reason=by[draft.card.references["local"]] if local else None,
    )


def _reference_faults(card: Card, opened: Sequence[OpenedReference]) -> list[str]:
    rules = card.references
    if not rules:
        return [f"{card.model} takes no reference images"]
    faults = []
    if len(opened) > rules["max_count"]:
        images = "image" if rules["max_count"] == 1 else "images"
        faults.append(
            f"{card.model} takes at most {rules['max_count']} {images}, got {len(opened)}"
        )
    for reference in opened:
        name = safe(reference.name or "image", 80)
        if reference.size > rules["max_bytes"]:
            most = rules["max_bytes"] / 1e6
            faults.append(
                f"{name} has {reference.size / 1e6:.1f} MB, at most {most:g} MB are taken"
            )
        if reference.source and reference.mime not in rules["mime"]:
            faults.append(f"{name} is {reference.mime}, taken are {', '.join(rules['mime'])}")
    return faults


def _extra(draft: Draft) -> None:
    card = draft.card
    for provider, entries in draft.request.extra.items():
        for key, value in entries.items():
            name = f"extra.{provider}.{key}"
            if provider != card.provider:
                reason = f"for {provider}, not for {card.provider}"
                draft.end(name, Outcome.DROPPED, said=value, reason=reason, refuses=False)
                continue
            path = card.parameter(key)
            fault = _extra_fault(draft, key, path)
            if fault:
                draft.end(name, Outcome.REJECTED, said=value, reason=fault)
            else:
                draft.values[path] = value
                draft.end(name, Outcome.NATIVE, value, said=value, keys=(path,))


def _extra_fault(draft: Draft, key: str, path: str) -> str | None:
    card = draft.card
    if path in draft.values or path in card.reference_keys or path == card.fields["prompt"]:
        owner = next((ours for ours, theirs in card.fields.items() if theirs == path), "references")
        return f"the field {owner} says this; extra never overrides a field"
    if key not in card.parameters:
        hint = did_you_mean(key, card.parameters)
        return f"{card.model} has no parameter {safe(key, 60)}{hint}"
    return None


def _judge(
    card: Card, values: dict[str, Any], entries: list[Entry], found: Sequence[Violation]
) -> tuple[dict[str, Any], list[Entry], list[Problem]]:
    """What the schema says against a payload: violations become the rejections of the fields they hit."""
    broken = []
    asked = dict(values)
    for violation in found:
        hit = [i for i, entry in enumerate(entries) if _covers(entry.keys, violation.path)]
        if not hit:
            broken.append(Problem(field=violation.path, message=violation.message))
        for i in hit:
            entries[i] = _reject(entries[i], violation, asked, card)
            for path in entries[i].keys:
                values.pop(path, None)
    return assemble(card, values), entries, broken


def _reject(entry: Entry, violation: Violation, asked: dict[str, Any], card: Card) -> Entry:
    """The entry as rejected; where several keys say its field, no single value is nearest."""
    again = entry.outcome is Outcome.REJECTED and entry.reason
    leaf = {**card.leaves.get(violation.path, {}), **violation.bounds}
    near = contract.nearest(asked.get(violation.path), leaf if len(entry.keys) == 1 else {})
    return replace(
        entry,
        outcome=Outcome.REJECTED,
        reason=f"{entry.reason}; {violation.message}" if again else violation.message,
        nearest=near if len(entry.keys) == 1 else None,
        became=None,
    )


def _covers(keys: tuple[str, ...], path: str) -> bool:
    return any(path == key or path.startswith(f"{key}.") for key in keys)


def assemble(card: Card, values: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested objects, in the card's order."""
    payload: dict[str, Any] = {}
    for path in [
        *(p for p in card.leaves if p in values),
        *(p for p in values if p not in card.leaves),
    ]:
        *parents, last = path.split(".")
        place = payload
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = values[path]
    return payload


def fill(payload: Any, urls: Mapping[str, str]) -> Any:
    """The payload with each placeholder whose sha256 was uploaded replaced by its URL."""
    return replace_placeholders(payload, lambda one: urls.get(one.reference.sha256, one))


def shown(payload: Any) -> Any:
    """The payload as `--json` and sidecars print it: local bytes by sha256, size and type."""
    return replace_placeholders(
        payload, lambda one: {"placeholder": "local image", **one.reference.to_json()}
    )
