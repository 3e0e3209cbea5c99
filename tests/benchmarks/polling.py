"""When to ask next: what a job costs in waiting and polls, beside the best that any schedule could do.

Cost is the seconds from a picture's being done to the poll that sees it, and 0.1 s for each poll.
Jobs take a lognormal time of median 8 s. The best is worked out by dynamic programming over twentieths
of a second, for one who knows the distribution; ours knows what it has seen. Costs over the
distribution are integrals, not samples; only the seen durations and our jitter are drawn, from fixed
seeds. Nothing is timed but the last rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from statistics import NormalDist, fmean

from harness import Row, cpu_of, interleave

from unified_flux.contract import load_cards
from unified_flux.polling import PRICE, Schedule, _learned

MEDIAN, SIGMAS, TARGETS = 8.0, (0.2, 0.5, 1.0), {0.2: 1.1, 0.5: 1.05}
MODELS, RUNS, STEP = 400, 25, 0.05
ADVICE = {name: load_cards(name)[0].facts["polling"] for name in ("rivya", "vtrix")}
FREE = 0.001  # a least spacing that is none
NORMAL = NormalDist()
Wait = Callable[[float, int, random.Random], float]


@dataclass(frozen=True)
class Times:
    """How long jobs take: lognormal."""

    sigma: float
    median: float = MEDIAN

    def ended(self, time: float) -> float:
        """The share of jobs that are done by then."""
        return NORMAL.cdf(math.log(time / self.median) / self.sigma) if time > 0 else 0.0

    def idle(self, time: float) -> float:
        """How long the average job was done by then: the integral of `ended`."""
        if time <= 0:
            return 0.0
        mean = self.median * math.exp(self.sigma**2 / 2)
        place = math.log(time / self.median) / self.sigma
        return time * NORMAL.cdf(place) - mean * NORMAL.cdf(place - self.sigma)

    def drawn(self, rng: random.Random, number: int) -> list[float]:
        """That many jobs."""
        return [self.median * math.exp(rng.gauss(0, self.sigma)) for _ in range(number)]


@dataclass(frozen=True)
class Cost:
    """What the average job costs."""

    late: float
    polls: float

    @property
    def whole(self) -> float:
        """In seconds."""
        return self.late + PRICE * self.polls


def expected(wait: Wait, times: Times, rng: random.Random) -> Cost:
    """The average job's cost under one schedule."""
    late = polls = now = ended = idle = 0.0
    for number in count():
        if ended > 1 - 1e-6:
            return Cost(late, polls)
        then = now + wait(now, number, rng)
        polls += 1 - ended
        late += times.idle(then) - idle - ended * (then - now)
        now, ended, idle = then, times.ended(then), times.idle(then)
    raise AssertionError


def mean(costs: Sequence[Cost]) -> Cost:
    """The average of costs."""
    return Cost(fmean(cost.late for cost in costs), fmean(cost.polls for cost in costs))


@cache
def best(times: Times, least: float = 0.0, first: float = 0.0) -> float:
    """The least that any schedule costs, polls kept apart, by dynamic programming from the end."""
    points = int(times.median * math.exp(4.5 * times.sigma) / STEP)
    ended = [times.ended(point * STEP) for point in range(points + 1)]
    idle = [times.idle(point * STEP) for point in range(points + 1)]
    costs = [0.0] * (points + 1)
    for here in range(points - 1, -1, -1):
        found = math.inf
        nearest = here + max(1, round((least if here else first) / STEP))
        for then in range(min(nearest, points), points + 1):
            late = idle[then] - idle[here] - ended[here] * (then - here) * STEP
            if late > found:
                break
            found = min(found, late + costs[then])
        costs[here] = found + PRICE * (1 - ended[here])
    return costs[0]


def learned(
    times: Times, seen: int, *, provider: str = "vtrix", least: float | None = FREE,
    price: float = PRICE,
) -> Cost:  # fmt: skip
    """Ours, after so many jobs of which it knows when they were done."""
    rng = random.Random(1)
    costs = []
    for _ in range(MODELS):
        known = times.drawn(rng, seen)
        schedule = Schedule(ADVICE[provider], known, least=least, price=price)
        costs.append(expected(schedule.wait, times, rng))
    return mean(costs)


def living(before: Times, after: Times, jobs: range) -> Cost:
    """Ours, learning from its own polls alone: jobs so many after a change that comes after 60."""
    costs = []
    for run in range(RUNS):
        rng = random.Random(run)
        seen: list[float] = []
        for number, done in enumerate([*before.drawn(rng, 60), *after.drawn(rng, jobs.stop)]):
            schedule = Schedule(ADVICE["vtrix"], seen, least=FREE)
            now, polls = 0.0, 0
            while now < done:
                now += schedule.wait(now, polls, rng)
                polls += 1
            seen = [now, *seen[:49]]
            if number - 60 in jobs:
                costs.append(Cost(now - done, polls))
    return mean(costs)


def row(who: str, cost: Cost, floor: float, target: float | None = None) -> Row:
    """One schedule beside the best."""
    what = f"{who}: {cost.late:.2f} s late, {cost.polls:.2f} polls / the best"
    return Row(
        what=what, ours=cost.whole, baseline=floor, unit="s", ratio=cost.whole / floor,
        target=target,
    )  # fmt: skip


OTHERS: dict[str, Wait] = {
    "every 0.1 s, as fal's client": lambda now, polls, rng: 0.1,
    "every 0.5 s, as replicate's client": lambda now, polls, rng: 0.5,
    "every second": lambda now, polls, rng: 1.0,
    "1 s, each wait 1.5 times the last": lambda now, polls, rng: 1.5**polls,
}


def _known(sigma: float) -> Iterator[Row]:
    """All schedules where jobs stay as they are."""
    times, rng = Times(sigma), random.Random(2)
    floor = best(times)
    yield row(f"sigma {sigma}, 20 durations", learned(times, 20), floor, TARGETS.get(sigma))
    yield row(f"sigma {sigma}, 5 durations", learned(times, 5), floor)
    still = living(times, times, range(120))
    yield row(f"sigma {sigma}, what its own polls saw", still, floor)
    for name, wait in OTHERS.items():
        yield row(f"sigma {sigma}, {name}", expected(wait, times, rng), floor)


def _same_overshoot(sigma: float, target: float | None) -> Row:
    """How many polls ours needs to be as late as a fixed second is: its price is set to that."""
    times = Times(sigma)
    fixed = expected(OTHERS["every second"], times, random.Random(0))
    low, high = 0.01, 0.5
    for _ in range(12):
        price = math.sqrt(low * high)
        ours = learned(times, 20, price=price)
        low, high = (price, high) if ours.late < fixed.late else (low, price)
    what = f"sigma {sigma}, polls where both are {fixed.late:.2f} s late / every second"
    ratio = ours.polls / fixed.polls
    return Row(
        what=what, ours=ours.polls, baseline=fixed.polls, unit="polls", ratio=ratio, target=target
    )


def _kept_apart(sigma: float) -> Iterator[Row]:
    """What the least spacings leave of it, and what the card's advice alone costs."""
    times, rng = Times(sigma), random.Random(3)
    for provider, advice in ADVICE.items():
        least = Schedule(advice).least
        first = min(least, advice["first"][0])
        floor = best(times, least, first)
        where = f"sigma {sigma}, {provider}, {least:g} s apart"
        yield row(where, learned(times, 20, provider=provider, least=None), floor)
        advised = [expected(Schedule(advice).wait, times, rng) for _ in range(MODELS)]
        yield row(f"{where}, its advice", mean(advised), floor)


def _changed(sigma: float) -> Iterator[Row]:
    """A model that becomes twice as fast, or twice as slow."""
    for word, factor in (("fast", 0.5), ("slow", 2.0)):
        after = Times(sigma, MEDIAN * factor)
        for jobs in (range(10), range(10, 30), range(30, 100)):
            name = f"sigma {sigma}, twice as {word}, jobs {jobs.start + 1} to {jobs.stop} after"
            yield row(name, living(Times(sigma), after, jobs), best(after))


def _quick() -> Iterator[Row]:
    """What it costs the processor."""
    rng = random.Random(4)
    known = tuple(Times(0.5).drawn(rng, 50))
    schedule = Schedule(ADVICE["vtrix"], known)
    waits, fits = interleave(
        9,
        cpu_of(lambda: schedule.wait(6.0, 2, rng), 20_000),
        cpu_of(lambda: _learned.__wrapped__(known, 1.0, PRICE), 100),
    )
    for what, taken, target in (
        ("when to poll next, CPU", waits, 20.0),
        ("a fit to 50 durations, CPU", fits, None),
    ):
        absolute = target is not None
        ours = sorted(taken)[4] * 1000
        yield Row(what=what, ours=ours, unit="us", target=target, absolute=absolute)


def rows() -> Iterator[Row]:
    """Judged are the figures of a provider without a least spacing, and the processor's."""
    for sigma in SIGMAS:
        yield from _known(sigma)
    yield _same_overshoot(0.5, 0.75)
    yield _same_overshoot(0.2, None)
    for sigma in (0.2, 0.5):
        yield from _kept_apart(sigma)
        yield from _changed(sigma)
    yield from _quick()
