"""Properties: whatever a caller asks and whatever a provider answers, the two promises hold."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from unified_flux import registry
from unified_flux.adapter import Adapter
from unified_flux.contract import Card
from unified_flux.effects import Event, Exchange
from unified_flux.errors import (
    Charged,
    InvalidRequest,
    NotDelivered,
    OutcomeUnknown,
    ProtocolError,
    ProviderError,
    TranslationError,
    UnifiedFluxError,
)
from unified_flux.flow import Ask, Finished, generate
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.retry import Pace
from unified_flux.testing import samples
from unified_flux.testing.about_requests import check_entry, check_payload
from unified_flux.testing.simulation import Clock, Driven, drive, picture, reply
from unified_flux.translation import require
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse

CARDS = [
    (adapter, card)
    for adapter in (registry.make_adapter("rivya"), registry.make_adapter("vtrix"))
    for card in adapter.cards
]
ADAPTERS = [registry.make_adapter("rivya"), registry.make_adapter("vtrix")]

deterministic = settings(derandomize=True, deadline=None, database=None)
on_every_card = pytest.mark.parametrize(
    "which", range(len(CARDS)), ids=[card.model for _, card in CARDS]
)
on_every_adapter = pytest.mark.parametrize("adapter", ADAPTERS, ids=[a.name for a in ADAPTERS])

# ---------------------------------------------------------------- requests of any kind

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = sorted(
    {name for _, card in CARDS for name in (*card.parameters, "input_image_1", "a.b", "x, y")}
)
NUMBERS = st.integers() | st.integers(-2, 5000) | st.just(10**400) | st.booleans() | st.floats()
RATIOS = st.builds("{}:{}".format, st.integers(0, 99), st.integers(0, 99)) | st.sampled_from(
    ["1:1", "16:9", "16x9", "21:9", "9:21", "22:9", "1:99999", "99999:1", "", "١:١"]
)
FREE: dict[str, st.SearchStrategy[Any]] = {
    "prompt": st.text(min_size=1, max_size=40) | st.just("শ" * 5001),
    "model": st.text(max_size=10),
    "aspect_ratio": RATIOS | st.text(max_size=6),
    "resolution": st.sampled_from(["1K", "2K", "4K", "1k"]),
    "width": NUMBERS,
    "height": NUMBERS,
    "output_format": st.sampled_from(["jpeg", "png", "webp", "jpg", ""]),
    "seed": NUMBERS,
    "prompt_upsampling": st.booleans() | st.just("true"),
    "safety_tolerance": st.integers(-1, 7) | st.floats(),
    "translate_prompt": st.booleans() | st.just(1),
    "watermark": st.text(max_size=10),
    "n": NUMBERS,
    "client_request_id": st.text(max_size=10),
    "tags": st.lists(st.text(max_size=5) | st.integers(), max_size=3) | st.text(max_size=5),
    "extra": st.dictionaries(
        st.sampled_from(["rivya", "vtrix", "other"]),
        st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), JSON, max_size=3) | JSON,
        max_size=2,
    ),
}


def some_of(options: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A few of the fields, so that most requests are not refused for another field's sake."""
    chosen = st.sets(st.sampled_from(sorted(options)), max_size=4)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({n: options[n] for n in names}))


def free_request(fields: dict[str, Any], kind: str, count: int) -> tuple[Any, Any]:
    """A request and its opened references, None where the constructor refuses it in our words."""
    asked, opened = samples.references(kind, count)
    try:
        return ImageRequest(**{"prompt": "a fox", **fields, "references": asked}), opened
    except InvalidRequest as error:
        assert error.problems and str(error)
        return None, ()


def expected(request: ImageRequest) -> Counter[str]:
    """The names that a report must tell of, each once."""
    names = Counter(name for name, _ in request.set_fields() if name != "extra")
    names.update(
        f"extra.{provider}.{key}" for provider, own in request.extra.items() for key in own
    )
    return names


@on_every_card
@given(fields=some_of(FREE), kind=st.sampled_from(["url", "local"]), count=st.integers(0, 9))
@settings(deterministic, max_examples=120)
def test_any_request_is_told_completely_or_refused(
    which: int, fields: dict[str, Any], kind: str, count: int
) -> None:
    """Each set field ends exactly once beside a payload of plain JSON, or the constructor says why."""
    adapter, card = CARDS[which]
    request, opened = free_request(fields, kind, count)
    if request is None:
        return
    translation = adapter.translate(request, card, opened)
    assert Counter(entry.field for entry in translation.report) == expected(request)
    for entry in translation.report:
        json.dumps(entry.to_json(), allow_nan=False)
        if not entry.field.startswith("extra."):
            check_entry(entry, translation.payload)
    if not any(entry.field.startswith("extra.") for entry in translation.report):
        check_payload(translation)
    assert json.loads(json.dumps(translation.payload, allow_nan=False)) == translation.payload
    for policy in (Policy(), Policy(adapt=True)):
        try:
            require(translation, policy)
        except TranslationError as error:
            assert error.problems
            json.dumps(error.to_json(), allow_nan=False)
        else:
            assert not card.checker.violations(translation.payload)
            assert request.prompt in samples.texts(translation.payload)


# ---------------------------------------------------------------- requests that the card takes


def taken(leaf: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a leaf of a card takes, in the words of ImageRequest."""
    if "enum" in leaf:
        options = [option for option in leaf["enum"] if option is not None]
        if {*options} == {"true", "false"}:
            return st.booleans()
        if all(option.isdigit() for option in options):
            return st.sampled_from([int(option) for option in options])
        return st.sampled_from(options)
    if "x-ratio-between" in leaf:
        return st.sampled_from(["21:9", "9:21", "1:1", "3:2", "7:5", "16:10", "100:99"])
    kinds = leaf["type"] if isinstance(leaf["type"], list) else [leaf["type"]]
    if "boolean" in kinds:
        return st.booleans()
    if "string" in kinds:
        most = min(leaf.get("maxLength", 60), 60)
        return st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=most)
    step, low, high = leaf.get("multipleOf", 1), leaf.get("minimum"), leaf.get("maximum")
    low, high = (-(2**40) if low is None else low), (2**40 if high is None else high)
    if step == 1:
        return st.integers(low, high)
    return st.integers(-(-low // step), 128).map(lambda count: count * step)


def fitting(card: Card) -> st.SearchStrategy[dict[str, Any]]:
    """Fields that the card takes as they are; width and height go together."""
    options = {
        field: taken(dict(card.leaves[path]))
        for field, path in card.fields.items()
        if field not in {"model", "prompt", "width", "height"}
    }
    options["prompt"] = taken(dict(card.leaves[card.fields["prompt"]]))
    options["model"] = st.sampled_from([card.model, card.family])
    optional = st.fixed_dictionaries({"prompt": options.pop("prompt")}, optional=options)
    if "width" not in card.fields:
        return optional
    sides = {n: taken(dict(card.leaves[card.fields[n]])) for n in ("width", "height")}
    shape = st.just({}) | st.fixed_dictionaries(
        {name: side.filter(lambda pixels: pixels < 10**5) for name, side in sides.items()}
    )
    return st.builds(lambda one, other: one | other, optional, shape)


@on_every_card
@given(data=st.data())
@settings(deterministic, max_examples=40)
def test_what_the_card_takes_passes_the_strict_policy(which: int, data: st.DataObject) -> None:
    """A request made of the card's own values loses nothing, and its payload obeys the schema."""
    adapter, card = CARDS[which]
    fields = data.draw(fitting(card))
    kind = data.draw(st.sampled_from(["url", "local"]))
    count = data.draw(st.integers(0, card.references["max_count"]))
    asked, opened = samples.references(kind, count)
    translation = adapter.translate(ImageRequest(**fields, references=asked), card, opened)
    require(translation, Policy())
    assert not card.checker.violations(translation.payload)
    check_payload(translation)


# ---------------------------------------------------------------- answers of any kind

WORDS = [
    "id", "status", "model", "error", "result", "urls", "primary_url", "output", "content", "type",
    "url", "usage", "cost", "discount", "progress", "code", "message", "error_message", "detail",
    "reserved_credits", "final_credits", "requestId", "metadata", "data", "error_code",
]  # fmt: skip
VALUES = ["queued", "in_progress", "completed", "succeeded", "failed", "FAILED", "", "0.04", "image", "https://a.example/b.png"]  # fmt: skip
ANSWERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(VALUES)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=8)
    ),
    max_leaves=12,
)
TASKS = st.fixed_dictionaries(
    {"id": st.sampled_from(["task_1", "", "a/b"]) | ANSWERS, "status": st.sampled_from(VALUES)},
    optional={word: ANSWERS for word in WORDS if word not in {"id", "status"}},
)
BODIES = st.binary(max_size=40) | (ANSWERS | TASKS).map(lambda value: json.dumps(value).encode())


@on_every_adapter
@given(body=BODIES, status=st.sampled_from([200, *samples.STATUSES]))
@settings(deterministic, max_examples=250)
def test_any_answer_is_read_or_refused_in_our_words(
    adapter: Adapter, body: bytes, status: int
) -> None:
    """Whatever bytes come back, reading them gives a job, a picture or an error of ours."""
    answer = WireResponse(status=status, body=body)
    readers: list[Callable[[], object]] = [
        lambda: adapter.read(answer),
        lambda: adapter.read_balance(answer),
    ]
    if adapter.name == "rivya":
        readers.append(lambda: adapter.read_upload(answer))
    for reader in readers:
        try:
            found = reader()
        except (UnifiedFluxError, NotImplementedError):
            continue
        if isinstance(found, (Job, Output)):
            job = found.job if isinstance(found, Output) else found
            assert isinstance(job.id, str) and job.id
            json.dumps(job.charge.to_json())
            assert job.failure is None or job.phase is Phase.FAILED
    refusal = adapter.refusal(answer)
    assert isinstance(refusal, ProviderError)
    assert refusal.status == status
    json.dumps(refusal.to_json(), allow_nan=False)


# ---------------------------------------------------------------- a peer that means no good

URL = "https://cdn.example.com/fox.png"
TASK: dict[str, dict[str, Any]] = {
    "rivya": {"id": "task_1", "model": "m", "result": {"urls": [URL]}, "error": None},
    "vtrix": {"id": "task_1", "output": [{"content": [{"type": "image", "url": URL}]}]},
}
STATUS_WORDS = ["queued", "processing", "in_progress", "completed", "succeeded", "failed", "odd", 7]
FAULTS = [
    lambda: NotDelivered("no route"),
    lambda: OutcomeUnknown("reset"),
    lambda: ProtocolError("not let through"),
]
RETRY_AFTER = [None, None, "0", "0.1", "3", "1e9", "-1", "nan", "soon"]
TURNS = st.one_of(
    st.tuples(st.just("task"), st.sampled_from(STATUS_WORDS), st.sampled_from(RETRY_AFTER)),
    st.tuples(
        st.just("http"),
        st.sampled_from([302, 307, *samples.STATUSES]),
        st.sampled_from(RETRY_AFTER),
    ),
    st.tuples(st.just("fault"), st.integers(0, len(FAULTS) - 1), st.none()),
    st.tuples(st.just("body"), st.sampled_from(sorted(samples.NONSENSE)), st.none()),
    st.tuples(st.just("picture"), st.none(), st.none()),
    st.tuples(st.just("other"), st.sampled_from(STATUS_WORDS), st.none()),
)


class Peer:
    """Answers by a script that then repeats its end; remembers what it took as paid work."""

    def __init__(self, adapter: Adapter, script: list[Any], clock: Clock, delay: float) -> None:
        self.adapter, self.script, self.clock, self.delay = adapter, script, clock, delay
        self.turn = 0
        self.submits: list[tuple[str, WireRequest]] = []

    def __call__(self, request: WireRequest) -> WireResponse | UnifiedFluxError:
        self.clock.now += self.delay
        answer = self._answer(request.purpose)
        if request.purpose is Purpose.SUBMIT:
            self.submits.append((self._fate(answer), request))
        return answer

    def _answer(self, purpose: Purpose) -> WireResponse | UnifiedFluxError:
        kind, what, after = self.script[min(self.turn, len(self.script) - 1)]
        self.turn += 1
        headers = {} if after is None else {"Retry-After": after}
        if kind == "fault":
            return FAULTS[what]()
        if kind == "http":
            return reply(what, {"error": {"code": "c", "message": "m"}}, headers=headers)
        if kind == "picture" or (purpose is Purpose.FETCH and kind in {"task", "other"}):
            return picture()
        if kind == "body":
            return WireResponse(status=200, body=samples.NONSENSE[what])
        task = {**TASK[self.adapter.name], "status": what}
        if kind == "other" and purpose is Purpose.POLL:
            task["id"] = "somebody-elses"
        return reply(200, task, headers=headers)

    def _fate(self, answer: WireResponse | UnifiedFluxError) -> str:
        """What a careful person would say became of the paid submit."""
        if isinstance(answer, UnifiedFluxError):
            return "unknown" if isinstance(answer, OutcomeUnknown) else "no"
        if answer.status < 300:
            try:
                self.adapter.read(answer)
            except UnifiedFluxError:
                return "unknown"
            return "accepted"
        return "unknown" if answer.status in {302, 408, 500, 502, 503} else "no"


def told_before_asked(driven: Driven[Finished]) -> bool:
    """Whether the accepted job was told before anything else was exchanged about it."""
    for effect in driven.effects:
        if isinstance(effect, Event) and effect.phase is Phase.ACCEPTED:
            return effect.job is not None and effect.job.id == "task_1"
        if isinstance(effect, Exchange) and effect.request.purpose is not Purpose.SUBMIT:
            return False
    return False


@on_every_adapter
@given(
    script=st.lists(TURNS, min_size=1, max_size=8),
    delay=st.sampled_from([0.0, 0.05, 20.0]),
    seed=st.integers(0, 3),
)
@settings(deterministic, max_examples=300)
def test_no_peer_makes_a_flow_endless_or_pay_twice(
    adapter: Adapter, script: list[Any], delay: float, seed: int
) -> None:
    """It ends in time; after an accepted submit none follows, after an unknown one only its twin."""
    clock = Clock()
    peer = Peer(adapter, script, clock, delay)
    pace = Pace(timeout=120, resend_within=90)
    ask = Ask(
        adapter=adapter,
        card=adapter.cards[-1],
        translation=adapter.translate(ImageRequest(prompt="a fox"), adapter.cards[-1]),
        idempotency_key="key-1",
        pace=pace,
        rng=random.Random(seed),
    )
    driven = drive(generate(ask), peer, clock=clock)
    # The deadline, then one download's own patience, and the exchange under way at each end.
    assert clock.now <= pace.timeout + pace.retry_within + 6 * delay + 1
    fates = [fate for fate, _ in peer.submits]
    assert "accepted" not in fates[:-1], f"submitted again after acceptance: {fates}"
    assert all(request == peer.submits[0][1] for _, request in peer.submits)
    if "unknown" in fates[:-1]:
        assert adapter.idempotent, f"sent again without a key: {fates}"
    check_end(driven, fates)


def check_end(driven: Driven[Finished], fates: list[str]) -> None:
    """What the caller learns is true: of the job, and of the money."""
    accepted = fates[-1] == "accepted"
    if accepted:
        assert told_before_asked(driven)
    if driven.error is None:
        assert accepted and driven.result is not None and driven.result.blobs
        assert driven.result.job.id == "task_1", "somebody else's picture"
    elif accepted:
        assert driven.error.job is not None and driven.error.job.id == "task_1"
        assert driven.error.charged is not Charged.NO, "nobody said that it was free"
    elif "unknown" in fates:
        assert isinstance(driven.error, OutcomeUnknown), f"{fates}: {driven.error!r}"
        assert driven.error.charged is Charged.MAYBE
        assert driven.error.exit_code == 9
    else:
        assert driven.error.charged is Charged.NO, f"{fates}: {driven.error!r}"
