"""The conformance kit, examined: it passes honest adapters and catches every planted fault."""

import copy
import dataclasses
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import planted_queues  # noqa: F401 - plants its faults
import pytest
from planted import GOLDEN, Fault, kit_for, provider_of, set_in, translating, unhappy, with_entries

from unified_flux import registry
from unified_flux.contract import Card
from unified_flux.errors import JobFailed
from unified_flux.report import Outcome, Report
from unified_flux.wire import Job, Output, Phase, WireRequest

pytest_plugins = ["pytester"]

Rivya: Any = registry.adapter_class("rivya")
Vtrix: Any = registry.adapter_class("vtrix")


# ---------------------------------------------------------------- the report

FIELD_ALONE = "test_a_field_set_alone_ends_exactly_once"


@Fault(FIELD_ALONE)
class DropsSilently(Vtrix):
    """Drops a field in silence."""

    translate = translating(lambda t: t, lambda r: dataclasses.replace(r, seed=None))


@Fault(FIELD_ALONE)
class LosesAnEntry(Vtrix):
    """Sends a field and tells nothing of it."""

    translate = translating(
        lambda t: with_entries(t, [e for e in t.report if e.field != "safety_tolerance"])
    )


@Fault(FIELD_ALONE)
class TellsTwice(Rivya):
    """Tells of a field twice."""

    translate = translating(
        lambda t: with_entries(t, [*t.report, *(e for e in t.report if e.field == "output_format")])
    )


@Fault(FIELD_ALONE)
class ClampsTheRequest(Vtrix):
    """Clamps a number before it is translated."""

    translate = translating(
        lambda t: t,
        lambda r: dataclasses.replace(
            r, safety_tolerance=None if r.safety_tolerance is None else max(1, r.safety_tolerance)
        ),
    )


@Fault(FIELD_ALONE)
class ClampsThePayload(Vtrix):
    """Clamps a number that it reports as native."""

    translate = translating(
        lambda t: set_in(t, seed=t.payload["seed"] % 2**31) if "seed" in t.payload else t
    )


@Fault(FIELD_ALONE)
class DefaultsInTheDark(Vtrix):
    """Sets what nobody asked for."""

    translate = translating(lambda t: set_in(t, output_format="png"))


@Fault(FIELD_ALONE)
class HidesDefaults(Rivya):
    """Shows no default of the provider's."""

    translate = translating(
        lambda t: dataclasses.replace(t, report=Report(entries=t.report.entries))
    )


@Fault("test_what_the_card_takes_is_said_and_what_it_does_not_is_not")
class RefusesWhatIsTaken(Rivya):
    """Drops what the card has."""

    @property
    def cards(self) -> tuple[Card, ...]:
        return super().cards

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        fields = {k: v for k, v in card.fields.items() if k != "watermark"}
        facts = {**card.facts, "fields": fields}
        poorer = Card(card.provider, {**card.schema, "x-unified-flux": facts})
        return super().translate(request, poorer, references)


@Fault("test_extra_never_overrides_a_field")
class ExtraOverrides(Vtrix):
    """Lets extra override a field."""

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        found = super().translate(request, card, references)
        own = {k: v for k, v in request.extra.get("vtrix", {}).items() if k in card.leaves}
        return set_in(found, **own)


@Fault("test_the_prompt_is_never_lost")
class CutsThePrompt(Rivya):
    """Cuts a prompt that is too long."""

    translate = translating(lambda t: t, lambda r: dataclasses.replace(r, prompt=r.prompt[:5000]))


@Fault("test_references_are_never_lost")
class LosesReferences(Vtrix):
    """Leaves out the references that are too many."""

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        return super().translate(request, card, references[: card.references["max_count"]])


@Fault("test_references_are_never_lost")
class SwapsReferences(Vtrix):
    """Sends references in another order."""

    def place_references(self, references: Sequence[Any], card: Card) -> dict[str, Any]:
        return super().place_references(references[::-1], card)


@Fault("test_an_unfit_reference_is_refused")
class TakesAnySize(Rivya):
    """Takes a reference of any size."""

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        small = [dataclasses.replace(one, size=min(one.size, 100)) for one in references]
        return super().translate(request, card, small)


@Fault("test_extra_says_the_providers_own_parameters")
class IgnoresUnknownExtra(Vtrix):
    """Leaves out a parameter that it does not know."""

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        own = request.extra.get("vtrix", {})
        known = {key: value for key, value in own.items() if key in card.parameters}
        fewer = dataclasses.replace(request, extra={**request.extra, "vtrix": known})
        return super().translate(fewer if own else request, card, references)


@Fault("test_what_is_accepted_obeys_the_card")
class SaysWhatIsRefused(Vtrix):
    """Sends a value that the card refuses, as native."""

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        found = super().translate(request, card, references)
        if request.safety_tolerance is None:
            return found
        taken = {"outcome": Outcome.NATIVE, "became": request.safety_tolerance}
        entries = [
            dataclasses.replace(e, **taken) if e.field == "safety_tolerance" else e
            for e in found.report
        ]
        sent = set_in(found, safety_tolerance=request.safety_tolerance)
        return with_entries(sent, entries)


@Fault("test_all_fields_that_the_card_takes_go_together")
class LosesAFieldBesideAnother(Rivya):
    """Forgets the watermark where a format is set."""

    translate = translating(
        lambda t: t, lambda r: dataclasses.replace(r, watermark=None) if r.output_format else r
    )


# ---------------------------------------------------------------- purity


@Fault("test_translation_is_pure")
class ChangesTheRequest(Vtrix):
    """Changes the request."""

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        found = super().translate(request, card, references)
        request.extra.clear()
        return found


@Fault("test_translation_is_pure")
class SharesThePayload(Rivya):
    """Hands out one payload twice."""

    kept: ClassVar[dict[str, Any]] = {}

    def translate(self, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        found = super().translate(request, card, references)
        return dataclasses.replace(
            found, payload=self.kept.setdefault(repr((request, references)), found.payload)
        )


TOUCHED = "test_nothing_outside_is_touched"


@Fault(TOUCHED)
class ReadsTheEnvironment(Rivya):
    """Reads the environment."""

    def poll(self, job: Job) -> WireRequest:
        os.environ.get("RIVYA_API_KEY")
        return super().poll(job)


@Fault(TOUCHED)
class AsksTheClock(Vtrix):
    """Asks the clock."""

    def read(self, response: Any, job: Any = None) -> Any:
        time.monotonic()
        return super().read(response, job)


@Fault(TOUCHED)
class ReadsAFile(Vtrix):
    """Reads a file."""

    def refusal(self, response: Any) -> Any:
        Path(__file__).read_bytes()
        return super().refusal(response)


@Fault("test_a_submit_is_what_the_flow_takes_it_for")
class MakesItsOwnKey(Rivya):
    """Makes an idempotency key of its own, another each time."""

    def submit(self, payload: Any, card: Card, idempotency_key: str) -> WireRequest:
        return super().submit(payload, card, f"{random.random()}")


@Fault("test_a_submit_is_what_the_flow_takes_it_for")
class ClaimsToBeIdempotent(Vtrix):
    """Calls itself idempotent and sends no key."""

    idempotent = True


@Fault("test_a_submit_is_what_the_flow_takes_it_for")
class EatsThePayload(Vtrix):
    """Takes the payload apart."""

    def submit(self, payload: Any, card: Card, idempotency_key: str) -> WireRequest:
        found = super().submit(payload, card, idempotency_key)
        payload.pop("model")
        return found


# ---------------------------------------------------------------- the wire


@Fault("test_no_exchange_holds_a_credential")
class HoldsTheKey(Rivya):
    """Puts the key into a header."""

    def submit(self, payload: Any, card: Card, idempotency_key: str) -> WireRequest:
        found = super().submit(payload, card, idempotency_key)
        headers = {**found.headers, "Authorization": "Bearer rvya_sk_1"}
        return dataclasses.replace(found, headers=headers)


@Fault("test_no_exchange_holds_a_credential")
class HoldsTheKeyInTheAddress(Vtrix):
    """Puts the key into the URL."""

    def poll(self, job: Job) -> WireRequest:
        found = super().poll(job)
        return dataclasses.replace(found, url=f"{found.url}?api_key=1")


@Fault("test_only_its_own_hosts_are_signed")
class SignsAStranger(Rivya):
    """Signs a request to a foreign host."""

    def poll(self, job: Job) -> WireRequest:
        found = super().poll(job)
        return dataclasses.replace(found, url=f"https://status.example.com/{job.id}")


@Fault("test_another_base_url_is_kept_to")
class StaysAtHome(Vtrix):
    """Ignores the configured address."""

    def __init__(self, base_url: str | None = None, options: Any = None) -> None:
        super().__init__(None, options)


@Fault("test_a_job_can_be_asked_for_by_its_name")
class TrustsTheId(Vtrix):
    """Puts a job's id into the URL as it came."""

    def poll(self, job: Job) -> WireRequest:
        found = super().poll(job)
        return dataclasses.replace(found, url=f"{self.base}/model/v1/generation/task/{job.id}")


REFUSAL = "test_every_refusal_is_a_provider_error"


@Fault(REFUSAL)
class ChokesOnHtml(Rivya):
    """Raises on a refusal that is not JSON."""

    def refusal(self, response: Any) -> Any:
        response.object()
        return super().refusal(response)


@Fault(REFUSAL)
class ForgetsRetryAfter(Rivya):
    """Forgets Retry-After."""

    def refusal(self, response: Any) -> Any:
        found = super().refusal(response)
        found.retry_after = None
        return found


@Fault("test_nonsense_for_an_answer_stays_inside_our_errors")
class ChokesOnNonsense(Vtrix):
    """Raises on a good status around nonsense."""

    def read(self, response: Any, job: Any = None) -> Any:
        json.loads(response.body)["model"].lower()
        return super().read(response, job)


@Fault("test_nonsense_for_an_answer_stays_inside_our_errors")
class TakesNonsenseForFree(Vtrix):
    """Calls an answer without an id a failed job that cost nothing."""

    def read(self, response: Any, job: Any = None) -> Any:
        try:
            return super().read(response, job)
        except Exception as error:
            raise JobFailed("no job was made") from error


@Fault("test_a_distorted_answer_is_an_error_of_ours")
class BelievesTheAnswer(Rivya):
    """Believes that an answer has what is documented."""

    def read(self, response: Any, job: Any = None) -> Any:
        found = super().read(response, job)
        if isinstance(found, Output):
            return Output(job=found.job, urls=(response.object()["result"]["urls"][0],))
        return found


# ---------------------------------------------------------------- words and conversations


@Fault("test_every_documented_status_word_is_known")
class ForgetsAWord(Rivya):
    """Forgets a status word."""

    phases: ClassVar[Any] = {
        word: phase for word, phase in Rivya.phases.items() if word != "processing"
    }


@Fault("test_the_phases_cover_a_jobs_life")
class KnowsNoFailure(Vtrix):
    """Knows no word for failure."""

    phases: ClassVar[Any] = {"in_progress": Phase.RUNNING, "completed": Phase.DONE}


@Fault("test_an_unseen_word_keeps_running_under_the_deadline")
class FearsTheUnseen(Rivya):
    """Takes an unseen word for a failure."""

    def read(self, response: Any, job: Any = None) -> Any:
        found = super().read(response, job)
        if isinstance(found, Job) and found.word not in self.phases:
            return dataclasses.replace(found, failure=JobFailed("unknown word"))
        return found


REPLAY = "test_a_golden_conversation_is_held_word_for_word"


@Fault(REPLAY)
class PollsElsewhere(Rivya):
    """Polls a wrong URL."""

    def poll(self, job: Job) -> WireRequest:
        found = super().poll(job)
        return dataclasses.replace(found, url=found.url.replace("generations", "generation"))


@Fault(REPLAY)
class SaysNumbers(Rivya):
    """Says a number as a text."""

    def submit(self, payload: Any, card: Card, idempotency_key: str) -> WireRequest:
        changed = copy.deepcopy(payload)
        if "safetyTolerance" in changed.get("params", {}):
            changed["params"]["safetyTolerance"] = str(changed["params"]["safetyTolerance"])
        return super().submit(changed, card, idempotency_key)


@Fault(REPLAY)
class CountsNoMoney(Vtrix):
    """Reads no charge."""

    def read(self, response: Any, job: Any = None) -> Any:
        found = super().read(response, job)
        if isinstance(found, Output):
            free = dataclasses.replace(found.job, charge=type(found.job.charge)())
            return dataclasses.replace(found, job=free)
        return found


# ---------------------------------------------------------------- cards


def with_card(base: Any, change: Callable[[dict[str, Any]], None]) -> tuple[Card, ...]:
    """The provider's cards, the first one changed."""
    first, *rest = base().cards
    schema = copy.deepcopy(dict(first.schema))
    change(schema)
    return (Card(first.provider, schema), *rest)


def bad_card(question: str, fault: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Plant a fault in a card."""
    cards = with_card(Vtrix, change)
    Fault(question)(type("BadCard", (Vtrix,), {"__doc__": fault, "cards": cards}))


CLOSED = "test_a_card_is_a_closed_schema"
REACH = "test_a_card_reaches_nowhere_and_never_hangs"
SAYS = "test_a_card_says_what_a_schema_cannot"


def facts(schema: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the schema."""
    found: dict[str, Any] = schema["x-unified-flux"]
    return found


bad_card(CLOSED, "Leaves a schema open", lambda s: s.pop("additionalProperties"))
bad_card(
    CLOSED, "Leaves an inner schema open", lambda s: s["properties"].update(o={"type": "object"})
)
bad_card(CLOSED, "Is no valid schema", lambda s: s["properties"]["seed"].update(type="whole"))
bad_card(
    REACH,
    "Refers elsewhere",
    lambda s: s["properties"]["seed"].update({"$ref": "https://x.example/"}),
)
bad_card(
    REACH, "Repeats a repetition", lambda s: s["properties"]["prompt"].update(pattern="^(a+)+$")
)
bad_card(SAYS, "Has no source", lambda s: facts(s).pop("source"))
bad_card(SAYS, "Polls at no pace", lambda s: facts(s)["polling"].update(first=[5, 3]))
for _least in (0, -1, "5", True, float("nan"), 3.5):
    bad_card(SAYS, f"Keeps {_least!r} s", lambda s, n=_least: facts(s)["polling"].update(least=n))
bad_card(
    SAYS,
    "Prices without a unit",
    lambda s: facts(s).update(prices=[{"amount": "1", "unit": "euro"}]),
)
bad_card(
    "test_a_card_maps_fields_that_exist_on_both_sides",
    "Maps a field to nowhere",
    lambda s: facts(s)["fields"].update(watermark="mark"),
)
bad_card(
    "test_a_card_says_how_references_are_taken",
    "Names more references than it has keys for",
    lambda s: facts(s)["references"].update(max_count=9),
)
bad_card(
    "test_models_and_families_are_told_apart",
    "Shares a family",
    lambda s: facts(s).update(family="flux-kontext-pro"),
)
bad_card(
    "test_a_bare_prompt_is_valid",
    "Wants more than a prompt",
    lambda s: s["required"].append("seed"),
)


@Fault("test_the_adapter_introduces_itself")
class HasAnotherName(Rivya):
    """Goes by another name."""

    name = "reviya"
    cards: ClassVar[Any] = Rivya().cards


@Fault("test_the_adapter_introduces_itself")
class SpeaksInTheOpen(Rivya):
    """Speaks without TLS."""

    base_url = "http://rivya.ai"


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("fault", Fault.planted)
def test_the_kit_catches_every_planted_fault(fault: str) -> None:
    """An adapter with one fault does not stand up to the question that is about it."""
    adapter, question = Fault.planted[fault]
    assert unhappy(kit_for(adapter, provider_of(adapter)), question), f"{question} does not see it"


def test_faults_are_planted_in_every_adapter() -> None:
    """At least 25 in three adapters that differ, and some in each of the five."""
    hosts = Counter(provider_of(adapter) for adapter, _ in Fault.planted.values())
    assert {*hosts} == {*registry.names()}
    assert sum(sorted(hosts.values())[-3:]) >= 25


@pytest.mark.parametrize("name", ["rivya", "vtrix"])
def test_the_kit_passes_an_honest_adapter(name: str) -> None:
    """Every question, asked without pytest, is answered well."""
    asked = list(kit_for(registry.adapter_class(name), name).questions())
    assert len(asked) > 200
    for _, ask in asked:
        ask()


def test_every_question_catches_some_fault() -> None:
    """A question that no fault can fail asks nothing."""
    asked = {name.partition("[")[0] for name, _ in kit_for(Rivya, "rivya").questions()}
    caught = {question for _, question in Fault.planted.values()}
    assert asked - caught == {"test_there_are_golden_conversations"}


def test_an_adapter_without_golden_conversations_fails(tmp_path: Path) -> None:
    """What nobody recorded, nobody has read: an empty folder is no pass."""
    kit = kit_for(Rivya, "rivya")
    type(kit).golden = tmp_path
    assert unhappy(kit, "test_there_are_golden_conversations")


OUTSIDE = """
from pathlib import Path
from unified_flux import registry
from unified_flux.testing import Conformance

class TestOutside(Conformance):
    \"\"\"An adapter of another distribution.\"\"\"
    name = "vtrix"
    golden = Path({golden!r})

class TestFaulty(TestOutside):
    \"\"\"One that forgets a status word.\"\"\"
    def make_adapter(self, base_url=None, options=None):
        adapter = super().make_adapter(base_url, options)
        adapter.phases = {{"completed": adapter.phases["completed"]}}
        return adapter
"""


def test_an_outside_test_module_is_an_empty_subclass(pytester: pytest.Pytester) -> None:
    """pytest asks every question once per card, field and conversation, and faults fail."""
    pytester.makepyfile(test_outside=OUTSIDE.format(golden=str(GOLDEN / "vtrix")))
    options = ("--import-mode=importlib", "-p", "no:cacheprovider", "-q")
    result = pytester.runpytest_inprocess(*options, "-k", "TestOutside")
    passed = result.parseoutcomes()
    assert passed.keys() == {"passed", "deselected"}
    assert passed["passed"] == len(list(kit_for(Vtrix, "vtrix").questions()))
    result = pytester.runpytest_inprocess(*options, "-k", "TestFaulty and phases")
    assert result.parseoutcomes()["failed"] == 1
