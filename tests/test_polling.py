"""When to ask next: never out of bounds, as good as it is said to be, and not led astray by itself."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from unified_flux import registry
from unified_flux.contract import choose
from unified_flux.errors import ConfigurationError
from unified_flux.flow import Ask, follow, generate
from unified_flux.polling import CAP, FLOOR, JITTER, PRICE, Schedule
from unified_flux.request import ImageRequest
from unified_flux.testing.simulation import Clock, Driven, drive, picture, reply
from unified_flux.wire import Job, Purpose, WireRequest, WireResponse

ADVICE = {"first": [4, 5], "every": [3, 5]}
MEDIAN, NORMAL = 8.0, NormalDist()
# Of a lognormal of that median: the least that any schedule without a minimum costs, as
# tests/benchmarks/polling.py works it out.
BEST = {0.2: 0.770, 0.5: 1.164}


def jobs(rng: random.Random, sigma: float, count: int, median: float = MEDIAN) -> list[float]:
    return [median * math.exp(rng.gauss(0, sigma)) for _ in range(count)]


def polled(schedule: Schedule, done: float, rng: random.Random) -> tuple[float, int]:
    """When a job is seen to be done, and after how many polls."""
    now, polls = 0.0, 0
    while now < done:
        now += schedule.wait(now, polls, rng)
        polls += 1
    return now, polls


def learning(
    rng: random.Random, done: Sequence[float], least: float
) -> tuple[list[float], list[tuple[float, int]]]:
    """Jobs one after the other, each asked for as all that were seen before have taught."""
    seen: list[float] = []
    costs = []
    for end in done:
        now, polls = polled(Schedule(ADVICE, seen[:50], least=least), end, rng)
        seen.insert(0, now)
        costs.append((now - end, polls))
    return seen, costs


durations = st.lists(
    st.one_of(st.floats(0, 1e308), st.sampled_from([0.0, 5e-324, 1e-9, 8.0, 8.0, 1e9])),
    min_size=5,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(
    durations,
    st.floats(0.01, 60),
    st.one_of(st.floats(-1e9, 1e9), st.just(0.0)),
    st.integers(0, 1000),
    st.integers(),
)
def test_whatever_was_seen_waits_keep_their_bounds(
    known: list[float], least: float, elapsed: float, polls: int, seed: int
) -> None:
    """Never closer than the least, never farther than the cap, always a number."""
    schedule = Schedule(ADVICE, known, least=least)
    wait = schedule.wait(elapsed, polls, random.Random(seed))
    nearest = least if polls else min(least, ADVICE["first"][0])
    assert nearest <= wait <= max(CAP, least * (1 + JITTER))


@settings(max_examples=30, deadline=None)
@given(durations, st.integers())
def test_however_long_a_job_runs_it_is_asked_for_again(known: list[float], seed: int) -> None:
    """Polls go on for an hour, and they do not crowd together."""
    polls = polled(Schedule(ADVICE, known), 3600.0, random.Random(seed))[1]
    assert 3600 / CAP / (1 + JITTER) < polls <= 3600 / FLOOR


@pytest.mark.parametrize("bad", [-1.0, -1e-9, math.nan, math.inf])
def test_what_is_no_duration_is_refused(bad: float) -> None:
    """In words, and wherever it stands among good ones."""
    with pytest.raises(ConfigurationError, match="no job takes"):
        Schedule(ADVICE, [8.0, bad])


@pytest.mark.parametrize("known", [(), (8.0,) * 4])
def test_until_five_durations_are_known_it_is_the_cards_advice(known: tuple[float, ...]) -> None:
    """Word for word, down to the random number."""
    for polls, span in enumerate((ADVICE["first"], ADVICE["every"], ADVICE["every"])):
        wait = Schedule(ADVICE, known).wait(5.0 * polls, polls, random.Random(3))
        assert wait == random.Random(3).uniform(*span)


def test_the_least_is_the_cards_or_our_own() -> None:
    """Rivya documents 5 s between polls, Vtrix nothing."""
    found = {}
    for provider in ("rivya", "vtrix"):
        card = choose(registry.make_adapter(provider).cards, "flux-kontext-pro")
        found[provider] = Schedule(card.facts["polling"], [1.0] * 9).least
    assert found == {"rivya": 5, "vtrix": FLOOR}


def expected(schedule: Schedule, sigma: float, rng: random.Random) -> float:
    """What the average job costs under it: an integral, so that no draw of jobs is luck."""
    cost = now = ended = idle = 0.0
    polls = 0
    while ended < 1 - 1e-6:
        then = now + schedule.wait(now, polls, rng)
        place = math.log(then / MEDIAN) / sigma
        mean = MEDIAN * math.exp(sigma**2 / 2)
        done = NORMAL.cdf(place)
        idled = then * done - mean * NORMAL.cdf(place - sigma)
        cost += PRICE * (1 - ended) + idled - idle - ended * (then - now)
        now, ended, idle, polls = then, done, idled, polls + 1
    return cost


@pytest.mark.parametrize(("sigma", "bound"), [(0.5, 1.05), (0.2, 1.10)])
def test_twenty_durations_bring_it_near_the_best(sigma: float, bound: float) -> None:
    """Overshoot and polls together cost little more than for one who knows the distribution."""
    rng = random.Random(20)
    learned = [Schedule(ADVICE, jobs(rng, sigma, 20), least=0.001) for _ in range(200)]
    cost = fmean(expected(schedule, sigma, rng) for schedule in learned)
    assert cost <= bound * BEST[sigma]


def test_as_late_as_a_fixed_second_it_takes_three_quarters_of_the_polls() -> None:
    """With a poll's price so low that it is no later; the bound leaves room for the draw."""
    rng, late, polls = random.Random(21), 0.0, 0
    ends = [MEDIAN * math.exp(0.5 * NORMAL.inv_cdf((k + 0.5) / 4000)) for k in range(4000)]
    rng.shuffle(ends)
    known = [Schedule(ADVICE, jobs(rng, 0.5, 20), least=0.001, price=0.075) for _ in range(200)]
    for number, end in enumerate(ends):
        now, asked = polled(known[number % 200], end, rng)
        late, polls = late + now - end, polls + asked
    fixed = sum(math.ceil(end) for end in ends)
    assert late / len(ends) < 0.52
    assert polls < 0.78 * fixed


@pytest.mark.parametrize("sigma", [0.2, 0.5])
@pytest.mark.parametrize("least", [0.05, 5.0])
def test_what_it_sees_of_itself_does_not_lead_it_astray(sigma: float, least: float) -> None:
    """Jobs are seen later than they end; a thousand of them in turn teach no ever later polls."""
    rng = random.Random(5)
    seen, costs = learning(rng, jobs(rng, sigma, 1000), least)
    early, late = costs[100:400], costs[700:]
    for some in (early, late):
        assert fmean(over + PRICE * polls for over, polls in some) < (1.3 if least < 1 else 3.7)
    assert MEDIAN < fmean(seen[:300]) < MEDIAN + (2 if least < 1 else 5)


@pytest.mark.parametrize("sigma", [0.2, 0.5])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_model_that_changed_is_noticed(sigma: float, factor: float) -> None:
    """Fifty jobs after it became twice as fast or slow, waiting costs what it then should."""
    rng = random.Random(9)
    done = [*jobs(rng, sigma, 60), *jobs(rng, sigma, 250, MEDIAN * factor)]
    _, costs = learning(rng, done, 0.05)
    after = fmean(over + PRICE * polls for over, polls in costs[110:])
    assert after < 1.35 * BEST[sigma] * math.sqrt(factor)


def test_a_thousand_jobs_do_not_poll_together() -> None:
    """Accepted in one moment, they never bring a quarter of themselves in one tenth of a second."""
    rng = random.Random(1)
    schedule = Schedule(ADVICE, jobs(rng, 0.5, 20), least=FLOOR)
    asked: Counter[int] = Counter()
    for _ in range(1000):
        now = 0.0
        for polls in range(8):
            now += schedule.wait(now, polls, rng)
            asked[int(now * 10)] += 1
    assert max(asked.values()) < 250


def test_schedules_of_equal_durations_share_one_fit() -> None:
    """Ten thousand flows keep one curve."""
    known = jobs(random.Random(1), 0.5, 20)
    one, other = Schedule(ADVICE, known), Schedule(ADVICE, tuple(known))
    assert one._curve is other._curve


URL = "https://cdn.example.com/fox.png"


def conversation(
    make: Callable[[Ask], Any], known: Sequence[float], done: float, **headers: str
) -> Driven[Any]:
    """A job at Vtrix that is done `done` seconds after the flow began."""
    adapter = registry.make_adapter("vtrix")
    card = choose(adapter.cards, "flux-kontext-pro")
    ask = Ask(
        adapter=adapter,
        card=card,
        translation=adapter.translate(ImageRequest(prompt="a fox"), card),
        rng=random.Random(4),
        schedule=Schedule(card.facts["polling"], known),
    )
    clock = Clock()

    def answer(request: WireRequest) -> WireResponse:
        if request.purpose is Purpose.FETCH:
            return picture()
        output = [{"content": [{"type": "image", "url": URL}]}]
        ended = {"status": "completed", "output": output}
        body = ended if clock.now >= done else {"status": "in_progress"}
        return reply(200, {"id": "t1", "model": card.model, **body}, headers=headers)

    return drive(make(ask), answer, clock=clock)


def test_a_flow_asks_when_past_jobs_say_so() -> None:
    """It waits long before anything can be done, then asks often; without them, as advised."""
    learned = conversation(generate, [60.0, 61.0, 59.0, 60.5, 59.5] * 4, 60.0)
    assert learned.outcome()
    assert learned.pauses[0] > 20
    assert learned.clock.now < 64
    advised = conversation(generate, (), 60.0)
    assert all(3 <= pause <= 5 for pause in advised.pauses)
    assert len(learned.of(Purpose.POLL)) < len(advised.of(Purpose.POLL))


def test_the_providers_own_pace_outweighs_what_was_learned() -> None:
    """Retry-After is kept to the second."""
    driven = conversation(generate, [60.0] * 20, 20.0, **{"Retry-After": "7"})
    assert driven.pauses == [7.0, 7.0, 7.0]


def test_a_job_of_unknown_age_is_asked_for_at_once_and_then_as_advised() -> None:
    """A followed job's time since acceptance is not known to its flow."""
    job = Job(provider="vtrix", model="flux_kontext_pro", id="t1")
    driven = conversation(lambda ask: follow(ask, job), [60.0] * 20, 20.0)
    first, *rest = driven.pauses
    assert first == 0.0
    assert all(3 <= pause <= 5 for pause in rest)


def test_a_bad_duration_is_told_before_anything_is_paid() -> None:
    """The flow is not even made."""
    with pytest.raises(ConfigurationError):
        conversation(generate, [-1.0], 1.0)
