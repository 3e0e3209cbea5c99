"""When to ask next whether a job is done: the card's advice first, then what past jobs have taught.

A poll costs something, and so does a picture that lies ready unseen. Where jobs end at the rate h
(the hazard), both together cost least with polls about sqrt(2 * price / h) apart: often while jobs
usually end, seldom before and after. docs/decisions/0022 tells how h is known, and how well.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from unified_flux.errors import ConfigurationError

# How many seconds of waiting one poll is worth.
PRICE = 0.1
# Until so many durations are known, the card's advice is all there is. So many are remembered, and
# each counts for a little less than the one after it.
ENOUGH, REMEMBERED, FADING = 5, 50, 0.96
# How far the logarithms of durations spread before any was seen, and for how many jobs that counts.
SPREAD, SPREAD_WEIGHT = 0.3, 3.0
# A duration is taken for at least and at most so many seconds: a job done at once, one of a day.
SHORTEST, LONGEST = 0.05, 86_400.0
# A job was done some time before a poll saw it: by such a share of the time between polls, and at
# most by such a share of the duration.
UNSEEN, UNSEEN_AT_MOST = 0.25, 0.05
# Where no provider says how close polls may come: half of what the quickest known client waits.
FLOOR = 1.0
# However little is expected of a job, it is asked for after so many seconds.
CAP = 30.0
# The first poll, which ends a wait and divides none, is best a little later than the others.
FIRST_STEP = 1.3
# Waits differ by up to this share, so that jobs of one moment do not poll together.
JITTER = 0.15
# One job in so many asks first at such a share of its wait, to notice that the model became faster.
PROBED, EARLY = 16, (0.4, 0.8)
# Where the curve has its points: so many spreads from the middle of the logarithms.
_POINTS = tuple(-6 + point / 8 for point in range(145))

Curve = tuple[tuple[float, ...], tuple[float, ...]]


class Schedule:
    """When one model's jobs are asked for.

    Args:
        advice: The card's `polling`.
        durations: How many seconds past jobs of this model took, from their acceptance to the poll
            that saw them done, the newest first. Schedules of equal durations share one fit.
        least: Seconds between polls at least; left out, the card's, or `FLOOR` where it has none.
        price: How many seconds of waiting one poll is worth.

    Raises:
        ConfigurationError: For a duration that is none.
    """

    __slots__ = ("_curve", "_every", "_first", "least")

    def __init__(
        self,
        advice: Mapping[str, Any],
        durations: Sequence[float] = (),
        *,
        least: float | None = None,
        price: float = PRICE,
    ) -> None:
        self._first: Sequence[float] = advice["first"]
        self._every: Sequence[float] = advice["every"]
        self.least: float = advice.get("least", FLOOR) if least is None else least
        known = tuple(durations[:REMEMBERED])
        for seconds in known:
            if not 0 <= seconds < math.inf:
                raise ConfigurationError(
                    f"no job takes {seconds:g} s; a duration is from 0 s on, so leave this one out"
                )
        self._curve = _learned(known, self.least, price) if len(known) >= ENOUGH else None

    def wait(self, elapsed: float | None, polls: int, rng: random.Random) -> float:
        """Seconds until the next poll.

        Args:
            elapsed: Seconds since the job was accepted. None where nobody knows; then it is the
                card's advice.
            polls: How many polls there were.
        """
        if self._curve is None or elapsed is None:
            return rng.uniform(*(self._every if polls else self._first))
        times, steps = self._curve
        step = rng.uniform(1 - JITTER, 1 + JITTER) * (1.0 if polls else FIRST_STEP)
        due = _at(times, steps, max(elapsed, 0.0)) + step
        seconds = _at(steps, times, due) - elapsed if due < steps[-1] else math.inf
        # Before the first poll there is no other to keep away from.
        least = self.least if polls else min(self.least, self._first[0])
        if not polls and rng.random() * PROBED < 1:
            seconds *= rng.uniform(*EARLY)
        cap = max(CAP, least * (1 + JITTER))
        seconds = max(seconds, least * rng.uniform(1.0, 1 + JITTER))
        return seconds if seconds < cap else max(least, cap * rng.uniform(1 - JITTER, 1.0))


@lru_cache(maxsize=64)
def _learned(durations: tuple[float, ...], least: float, price: float) -> Curve:
    """The curve of past jobs: fitted to when they were seen done, then to when they were done."""
    seen = [min(max(seconds, SHORTEST), LONGEST) for seconds in durations]
    times, steps = _curve(seen, price)

    def done(at: float) -> float:
        spacing = max(at - _at(steps, times, max(_at(times, steps, at) - UNSEEN, 0.0)), least / 4)
        return max(at - min(spacing, UNSEEN_AT_MOST * at), SHORTEST)

    return _curve([done(at) for at in seen], price)


def _curve(durations: Sequence[float], price: float) -> Curve:
    """After how many seconds how many polls are due, each worth its price.

    The logarithm of the next duration is predicted by a Student distribution. What is left of it
    beyond each point is added up from the far end, where its tail is a power.
    """
    middle, spread, freedom = _predicted([math.log(seconds) for seconds in durations])
    factor = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    factor /= math.sqrt(freedom * math.pi)
    density = [factor * (1 + z * z / freedom) ** (-(freedom + 1) / 2) for z in _POINTS]
    width = _POINTS[1] - _POINTS[0]
    slices = [(one + other) / 2 * width for one, other in pairwise(reversed(density))]
    left = list(accumulate(slices, initial=density[-1] * _POINTS[-1] / freedom))[::-1]
    times = [math.exp(middle + spread * z) for z in _POINTS]
    rates = [
        math.sqrt(here / (beyond * spread * time * 2 * price))
        for here, beyond, time in zip(density, left, times, strict=True)
    ]
    polls = [
        (one + other) / 2 * (end - start)
        for (one, other), (start, end) in zip(pairwise(rates), pairwise(times), strict=True)
    ]
    return tuple(times), tuple(accumulate(polls, initial=0.0))


def _predicted(logs: Sequence[float]) -> tuple[float, float, float]:
    """Middle, spread and degrees of freedom of what comes next, the newest of `logs` first."""
    weights = [FADING**age for age in range(len(logs))]
    whole = sum(weights)
    jobs = whole**2 / sum(weight**2 for weight in weights)
    middle = sum(weight * log for weight, log in zip(weights, logs, strict=True)) / whole
    squares = sum(w * (log - middle) ** 2 for w, log in zip(weights, logs, strict=True)) / whole
    freedom = jobs - 1 + SPREAD_WEIGHT
    variance = (squares * jobs + SPREAD_WEIGHT * SPREAD**2) / freedom
    return middle, math.sqrt(variance * (1 + 1 / jobs)), freedom


def _at(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """The value at a place, on straight lines between the points; the last one's beyond them."""
    after = bisect_right(places, place)
    if after == 0:
        return values[0] * place / places[0]
    if after == len(places):
        return values[-1]
    start, end = places[after - 1], places[after]
    share = (place - start) / (end - start)
    return values[after - 1] + share * (values[after] - values[after - 1])
