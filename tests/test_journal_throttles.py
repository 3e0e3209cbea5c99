"""Turns: jobs in flight and submits a second, of everyone who shares a journal together."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from unified_flux.effects import Settled
from unified_flux.errors import Charged, InvalidRequest, OutcomeUnknown
from unified_flux.journal import Journal
from unified_flux.throttle import NotYet, Throttle
from unified_flux.wire import Phase

from facts import accepted, done, intent, record, rows, saved  # isort: skip

Opener = Callable[..., Journal]


@pytest.fixture
def now() -> list[float]:
    """The time of day."""
    return [1_796_000_000.0]


@pytest.fixture
def opened(place: Path | str, now: list[float]) -> Iterator[Opener]:
    """Opens one more journal at the same place."""
    with contextlib.ExitStack() as every:

        def make(
            in_flight: int | None = None, per_second: float | None = None, **how: Any
        ) -> Journal:
            throttle = Throttle(in_flight=in_flight, per_second=per_second)
            one = Journal(place, clock=lambda: now[0], throttles={"rivya": throttle}, **how)
            return every.enter_context(contextlib.closing(one))

        yield make


def begun(journal: Journal, *ids: str, **known: Any) -> None:
    """Jobs whose paid submit is on its way."""
    for id in ids:
        journal.prepare([record(id, **known)])
        journal.keep(intent(id))


@pytest.mark.parametrize("at_once", [False, True])
def test_no_more_are_in_flight_than_may_be(
    at_once: bool, opened: Opener, place: Path | str
) -> None:
    """A third has to wait, in whatever process; nothing of it is written, and it may ask again."""
    one, other = opened(in_flight=2), opened(in_flight=2)
    begun(one, "a")
    begun(other, "b")
    other.prepare([record("c")], at_once=at_once)
    for _ in range(2):
        with pytest.raises(NotYet) as caught:
            other.keep(intent("c"))
        assert 0 < caught.value.seconds <= 1
    left = rows(place, "SELECT phase FROM jobs WHERE id = 'c'")
    assert left == ([("prepared",)] if at_once else [])
    one.keep(intent("a"))
    one.keep(Settled(Phase.REFUSED, id="a", error=InvalidRequest("no")))
    other.keep(intent("c"))
    assert other.get("c").phase is Phase.SENDING


def test_what_waits_may_be_given_up(opened: Opener) -> None:
    """A draft that never had its turn leaves nothing behind."""
    one = opened(in_flight=1)
    begun(one, "a")
    one.prepare([record("b")])
    with pytest.raises(NotYet):
        one.keep(intent("b"))
    one.release(["b"])
    assert one.find("b") is None


@pytest.mark.parametrize("end", ["accepted", "unknown", "done"])
def test_a_job_is_in_flight_until_it_is_decided(end: str, opened: Opener) -> None:
    """Accepted or unknown it is, with its picture it is not; money of the sandbox is another's."""
    one = opened(in_flight=1)
    begun(one, "a")
    if end == "unknown":
        error = OutcomeUnknown("reset", charged=Charged.MAYBE)
        one.keep(Settled(Phase.UNKNOWN, id="a", error=error))
    else:
        for fact in (accepted("a"), *((done("a"), saved("a")) if end == "done" else ())):
            one.keep(fact)
    begun(one, "sandboxed", sandbox=True)
    if end == "done":
        begun(one, "b")
        return
    with pytest.raises(NotYet):
        begun(one, "b")


def test_a_job_that_nobody_decides_is_in_flight_for_a_while(
    opened: Opener, now: list[float]
) -> None:
    """After `held_for` seconds it makes room, and a clock that jumped back keeps none for ever."""
    one = opened(in_flight=1, held_for=60.0)
    begun(one, "a")
    now[0] += 59
    with pytest.raises(NotYet):
        begun(one, "b")
    now[0] += 2
    begun(one, "c")
    now[0] -= 3600
    begun(one, "d")


def test_submits_keep_their_distance(opened: Opener, now: list[float]) -> None:
    """Four a second are a quarter of a second apart, over two processes; who waits is told how long."""
    journals = [opened(per_second=4), opened(per_second=4)]
    passed: list[float] = []
    start, number = now[0], 0
    while now[0] < start + 2:
        number += 1
        try:
            begun(journals[number % 2], f"job{number}")
            passed.append(round(now[0] - start, 3))
        except NotYet as wait:
            assert wait.seconds <= 0.25
        now[0] += 0.0625
    assert passed == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]


def test_a_slow_pace_is_kept_over_minutes(opened: Opener, now: list[float]) -> None:
    """One in a hundred seconds means that."""
    one = opened(per_second=0.01)
    begun(one, "a")
    now[0] += 99
    with pytest.raises(NotYet):
        begun(one, "b")
    now[0] += 1
    begun(one, "c")


@pytest.mark.parametrize("throttled", [True, False])
def test_a_provider_that_wants_no_more_is_left_alone_by_all(
    throttled: bool, opened: Opener, place: Path | str, now: list[float]
) -> None:
    """After a 429 nobody submits before its time, throttle or not; the first word is not shortened."""
    one = opened(per_second=1000)
    with contextlib.closing(Journal(place, clock=lambda: now[0])) as plain:
        other = opened(in_flight=9) if throttled else plain
        begun(other, "before")
        one.slow_down("rivya", 30, sandbox=False)
        one.slow_down("rivya", 5, sandbox=False)
        with pytest.raises(NotYet) as caught:
            begun(other, "a")
        assert caught.value.seconds == pytest.approx(30)
        begun(other, "sandboxed", sandbox=True)
        # A submit that was begun before is sent again all the same.
        other.keep(intent("before"))
        now[0] += 30
        begun(other, "b")


def test_a_clock_that_was_wrong_stops_nobody_for_long(opened: Opener, now: list[float]) -> None:
    """What it wrote far ahead of now does not count once it is right again."""
    one = opened(per_second=1)
    now[0] += 86_400
    begun(one, "a")
    one.slow_down("rivya", 30, sandbox=False)
    now[0] -= 86_400
    begun(one, "b")
    with pytest.raises(NotYet):
        begun(one, "c")


def test_one_that_has_to_wait_costs_no_other_its_transaction(opened: Opener) -> None:
    """Of facts that are committed together, those that may pass do."""
    one = opened(in_flight=4)
    one.prepare([record(f"job{number}") for number in range(12)])

    def keep(number: int) -> bool:
        try:
            one.keep(intent(f"job{number}"))
        except NotYet:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(keep, range(12))) == 4


_RACER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from facts import intent, record
from unified_flux.journal import Journal
from unified_flux.throttle import NotYet, Throttle
place = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
journal = Journal(place, throttles={"rivya": Throttle(in_flight=10)})
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    id = f"{sys.argv[3]}-{number}"
    try:
        journal.prepare([record(id)])
        journal.keep(intent(id))
    except NotYet:
        pass
import os
os._exit(9)
"""


def test_processes_that_race_and_die_never_pass_the_limit(place: Path | str) -> None:
    """Three of them ask for thirty at once, ten pass, and their death makes no room."""
    folder, pipe = str(Path(__file__).parent), subprocess.PIPE
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(place), folder, str(number)],
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        for number in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate()
        assert racer.returncode == 9
    assert rows(place, "SELECT phase, count(*) FROM jobs GROUP BY 1") == [("sending", 10)]


def test_the_count_is_found_by_an_index(tmp_path: Path) -> None:
    """Ten thousand jobs that are over make no turn slower."""
    asked: list[str] = []
    throttles = {"rivya": Throttle(in_flight=9)}
    with contextlib.closing(Journal(tmp_path, throttles=throttles)) as journal:
        journal.jobs({})
        connection = journal._database._connection()
        connection.set_trace_callback(asked.append)
        begun(journal, "a")
        connection.set_trace_callback(None)
        (count,) = (query for query in asked if "count(*)" in query)
        (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {count}")
        assert "jobs_under_way (provider=? AND sandbox=? AND sending_at>?" in plan[3]
