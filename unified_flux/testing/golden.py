"""Golden conversations: what a provider documents, replayed word for word against an adapter.

A conversation is one JSON file:

    {"source": ["page", ...], "read": "2026-11-21", "about": "one sentence",
     "request": {fields of ImageRequest}, "options": {the adapter's}, "allow": ["drop:seed"],
     "turns": [{"send": {"method", "url", "headers", "json" or "parts"},
                "reply": {"status", "headers", "json" or "text"}, "after": [2, 3]}],
     "end": {"urls": [...], "charge": {...}} or {"error": "JobFailed", "says": "...", ...}}

`send` is compared exactly; local bytes stand in it as base64, in a part as name, type and size.
`after` bounds the seconds since the answer before. Downloads are no turns: `urls` are what was
fetched, in order. `end` may name anything of the error's `to_json()`. A translation is one too:

    {"source", "read", "about", "provider", "request", "options", "allow",
     "payload": {...} or "error": {"field", "says", "nearest"}, "report": {field: outcome}}
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_flux.adapter import Adapter
from unified_flux.contract import choose
from unified_flux.errors import Problem, TranslationError, UnifiedFluxError
from unified_flux.fetching import Finished
from unified_flux.flow import Ask, generate
from unified_flux.references import open_references
from unified_flux.report import Policy
from unified_flux.request import ImageRequest, Reference
from unified_flux.testing.simulation import Clock, Driven, drive, picture, reply
from unified_flux.translation import Translation, require
from unified_flux.wire import (
    OpenedReference,
    Part,
    Purpose,
    WireRequest,
    WireResponse,
    replace_placeholders,
)

# What `idempotency_key` is in every golden conversation.
KEY = "golden-idempotency-key"


@dataclass(frozen=True, slots=True)
class Golden:
    """One golden file, read."""

    path: Path
    facts: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def options(self) -> dict[str, str]:
        """Settings for the adapter."""
        return dict(self.facts.get("options", {}))

    @property
    def turns(self) -> Sequence[Mapping[str, Any]]:
        """What is sent and what comes back, in order."""
        turns: Sequence[Mapping[str, Any]] = self.facts.get("turns", ())
        return turns

    @property
    def request(self) -> ImageRequest:
        """The request, its references made of what the file holds."""
        fields = dict(self.facts["request"])
        fields["references"] = [self._reference(r) for r in fields.get("references", ())]
        return ImageRequest(**fields)

    @property
    def policy(self) -> Policy:
        """The losses that the file allows."""
        return Policy.of(self.facts.get("allow", ()))

    @property
    def replies(self) -> list[WireResponse]:
        """Every answer of the provider."""
        return [answered(turn["reply"]) for turn in self.turns]

    def _reference(self, given: Any) -> Reference:
        if isinstance(given, str):
            return Reference(given)
        if "file" in given:
            return Reference(self.path.parent / given["file"], given.get("name"))
        origin = given.get("url") or base64.b64decode(given["bytes_base64"], validate=True)
        return Reference(origin, given.get("name"))

    def translation(self, adapter: Adapter) -> Translation:
        """What the adapter makes of the request."""
        request = self.request
        card = choose(adapter.cards, request.model or adapter.cards[0].model)
        return adapter.translate(request, card, open_references(request.references))

    def ask(self, adapter: Adapter) -> Ask:
        """What the flow of this conversation is given."""
        translation = require(self.translation(adapter), self.policy)
        return Ask(
            adapter=adapter,
            card=translation.card,
            translation=translation,
            idempotency_key=KEY,
            rng=random.Random(0),  # noqa: S311 - jitter, not a secret
        )


def load(folder: Path) -> list[Golden]:
    """Every golden file of a folder, by name; none where there is no such folder."""
    paths = sorted(folder.glob("*.json"))
    return [Golden(path, json.loads(path.read_text("utf-8"))) for path in paths]


def answered(said: Mapping[str, Any]) -> WireResponse:
    """A recorded reply as an answer."""
    return reply(
        said["status"], said.get("json"), text=said.get("text"), headers=said.get("headers")
    )


def spoken(request: WireRequest) -> dict[str, Any]:
    """An exchange as golden files write it."""
    said: dict[str, Any] = {"method": request.method, "url": request.url}
    if request.headers:
        said["headers"] = dict(request.headers)
    if request.json is not None:
        said["json"] = _plain(request.json)
    if request.parts:
        said["parts"] = [_part(part) for part in request.parts]
    return said


def _plain(payload: Any) -> Any:
    """The payload with the base64 of its references, as it goes over the wire."""
    return replace_placeholders(payload, lambda one: one.before + _base64(one.reference))


def _base64(reference: OpenedReference) -> str:
    blocks = reference.source.blocks() if reference.source else ()
    return base64.b64encode(b"".join(blocks)).decode()


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part.value, str):
        return {"name": part.name, "value": part.value}
    file = part.value
    return {"name": part.name, "file": file.name, "type": file.mime, "size": file.size}


class _Provider:
    """Answers as recorded, as long as it is asked as recorded."""

    def __init__(self, golden: Golden, clock: Clock) -> None:
        self.golden = golden
        self.clock = clock
        self.turn = 0
        self.fetched: list[str] = []
        self._since = 0.0

    def __call__(self, request: WireRequest) -> WireResponse:
        if request.purpose is Purpose.FETCH:
            self.fetched.append(request.url)
            return picture()
        said = spoken(request)
        where = f"{self.golden.id}, turn {self.turn + 1}"
        if self.turn >= len(self.golden.turns):
            raise AssertionError(f"{where}: sent, where the conversation has ended: {_show(said)}")
        turn = self.golden.turns[self.turn]
        if _exact(said) != _exact(turn["send"]):
            recorded = _show(turn["send"])
            raise AssertionError(f"{where}: sent\n{_show(said)}\nrecorded is\n{recorded}")
        self._check_pause(where, turn.get("after"))
        self.turn += 1
        self._since = self.clock.now
        return answered(turn["reply"])

    def _check_pause(self, where: str, after: Sequence[float] | None) -> None:
        waited = self.clock.now - self._since
        if after is not None and not after[0] <= waited <= after[1]:
            raise AssertionError(f"{where}: sent after {waited:.3f} s, documented is {after}")


def _show(said: Any) -> str:
    return json.dumps(said, indent=1, ensure_ascii=False, default=str)


def replay(golden: Golden, adapter: Adapter) -> Driven[Finished]:
    """Hold a recorded conversation with `adapter`, word for word.

    Raises:
        AssertionError: Where a word, the pace or the end differs from what is recorded.
    """
    clock = Clock()
    provider = _Provider(golden, clock)
    driven = drive(generate(golden.ask(adapter)), provider, clock=clock)
    left = len(golden.turns) - provider.turn
    if left:
        raise AssertionError(
            f"{golden.id}: {left} recorded turns were never sent; it ended in {driven.error!r}"
        )
    _check_end(golden, driven, provider.fetched)
    return driven


def _check_end(golden: Golden, driven: Driven[Finished], fetched: list[str]) -> None:
    end = golden.facts["end"]
    if "error" in end:
        _check_error(golden.id, end, driven.error)
        return
    if driven.error is not None or driven.result is None:
        raise AssertionError(f"{golden.id}: ended in {driven.error!r}, recorded is {_show(end)}")
    found: dict[str, Any] = {"urls": fetched}
    if "charge" in end:
        charge = driven.result.job.charge.to_json()
        found["charge"] = {name: charge[name] for name in end["charge"]}
    if found != end:
        raise AssertionError(f"{golden.id}: ended with {_show(found)}, recorded is {_show(end)}")


def _check_error(where: str, end: Mapping[str, Any], error: UnifiedFluxError | None) -> None:
    if error is None or type(error).__name__ != end["error"]:
        raise AssertionError(f"{where}: ended in {error!r}, recorded is {end['error']}")
    if end.get("says", "") not in str(error):
        raise AssertionError(f"{where}: the error says {str(error)!r}, recorded is {end['says']!r}")
    facts = error.to_json()
    for name, value in end.items():
        if name not in {"error", "says"} and facts.get(name) != value:
            raise AssertionError(f"{where}: {name} is {facts.get(name)!r}, recorded is {value!r}")


def check_translation(golden: Golden, adapter: Adapter) -> None:
    """Translate a golden request and compare payload and report, or the refusal.

    Raises:
        AssertionError: Where they differ from what is recorded.
    """
    wrong: dict[str, Any] | None = golden.facts.get("error")
    try:
        translation = golden.translation(adapter)
        _check_report(golden, translation)
        require(translation, golden.policy)
    except TranslationError as error:
        if wrong is None:
            raise AssertionError(f"{golden.id}: refused: {error}") from error
        _check_problem(golden.id, wrong, error.problems)
        return
    if wrong is not None:
        raise AssertionError(f"{golden.id}: was accepted, recorded is {_show(wrong)}")
    payload, recorded = _plain(translation.payload), golden.facts["payload"]
    if _exact(payload) != _exact(recorded):
        raise AssertionError(f"{golden.id}: became {_show(payload)}, recorded is {_show(recorded)}")


def _exact(value: Any) -> str:
    """JSON text: Python calls 1, 1.0 and True equal, a provider does not."""
    return json.dumps(value, sort_keys=True)


def _check_report(golden: Golden, translation: Translation) -> None:
    found = {entry.field: str(entry.outcome) for entry in translation.report.entries}
    for field, outcome in golden.facts.get("report", {}).items():
        if found.get(field) != outcome:
            raise AssertionError(f"{golden.id}: {field} is {found.get(field)}, not {outcome}")


def _check_problem(where: str, wrong: Mapping[str, Any], problems: Sequence[Problem]) -> None:
    for problem in problems:
        if problem.field == wrong["field"] and wrong.get("says", "") in problem.message:
            if "nearest" in wrong and problem.nearest != wrong["nearest"]:
                raise AssertionError(f"{where}: nearest is {problem.nearest!r}")
            return
    raise AssertionError(f"{where}: refused by {[str(p) for p in problems]}, recorded is {wrong}")
