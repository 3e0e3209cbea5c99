"""Properties: whatever a caller asks and whatever a provider answers, the two promises hold."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from unified_flux import registry
from unified_flux.adapter import Adapter
from unified_flux.effects import Event, Exchange
from unified_flux.errors import (
    Charged,
    NotDelivered,
    OutcomeUnknown,
    ProtocolError,
    ProviderError,
    UnifiedFluxError,
)
from unified_flux.flow import Ask, Finished, generate
from unified_flux.request import ImageRequest
from unified_flux.retry import Pace
from unified_flux.testing import samples
from unified_flux.testing.simulation import Clock, Driven, drive, picture, reply
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse

ADAPTERS = [registry.make_adapter(name) for name in registry.names()]

deterministic = settings(derandomize=True, deadline=None, database=None)
on_every_adapter = pytest.mark.parametrize("adapter", ADAPTERS, ids=[a.name for a in ADAPTERS])

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
AT = "https://queue.fal.run/fal-ai/flux-pro/requests/task_1"
TASK: dict[str, dict[str, Any]] = {
    "bfl": {
        "id": "task_1",
        "polling_url": "https://api.eu.bfl.ai/v1/get_result?id=task_1",
        "result": {"sample": URL},
    },
    "fal": {
        "request_id": "task_1",
        "status_url": f"{AT}/status",
        "response_url": AT,
        "images": [{"url": URL}],
    },
    "replicate": {"id": "task_1", "output": URL, "error": None},
    "rivya": {"id": "task_1", "model": "m", "result": {"urls": [URL]}, "error": None},
    "vtrix": {"id": "task_1", "output": [{"content": [{"type": "image", "url": URL}]}]},
}
STATUS_WORDS = [
    "queued", "processing", "in_progress", "completed", "succeeded", "failed", "odd", 7,
    "Pending", "Ready", "Content Moderated", "Error", "IN_QUEUE", "COMPLETED", "starting", "canceled",
]  # fmt: skip
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
            task["request_id" if "request_id" in task else "id"] = "somebody-elses"
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
    check_end(adapter, driven, fates)


def check_end(adapter: Adapter, driven: Driven[Finished], fates: list[str]) -> None:
    """What the caller learns is true: of the job, and of the money."""
    accepted = fates[-1] == "accepted"
    if accepted:
        assert told_before_asked(driven)
    if driven.error is None:
        assert accepted and driven.result is not None and driven.result.blobs
        assert driven.result.job.id == "task_1", "somebody else's picture"
    elif accepted:
        assert driven.error.job is not None and driven.error.job.id == "task_1"
        free = driven.error.job.word in adapter.uncharged
        assert free or driven.error.charged is not Charged.NO, "nobody said that it was free"
    elif "unknown" in fates:
        assert isinstance(driven.error, OutcomeUnknown), f"{fates}: {driven.error!r}"
        assert driven.error.charged is Charged.MAYBE
        assert driven.error.exit_code == 9
    else:
        assert driven.error.charged is Charged.NO, f"{fates}: {driven.error!r}"
