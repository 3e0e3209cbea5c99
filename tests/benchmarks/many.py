"""Many jobs at once through `generate_many`, beside the barest loop and beside aiohttp.

The provider is `fast_peer.py`, a process of its own, which also tells how late the polls came. Every
run is a fresh process; only what it costs between its first submit and its last picture counts.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from statistics import median

from harness import HERE, Row, compare, in_child, interleave, scratch

ROUNDS = 3
Found = dict[str, float]


@contextlib.contextmanager
def peer(seconds: float, spread: float, delay: float = 0.0) -> Iterator[str]:
    """A fast provider; its address."""
    command = [sys.executable, str(HERE / "fast_peer.py"), str(seconds), str(spread), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def counters(base: str) -> Found:
    """What the provider counted."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"))
    connection.request("GET", "/counters")
    found: Found = json.loads(connection.getresponse().read())
    connection.close()
    return found


def ran(task: str, base: str, number: int, every: float, first: float | None = None) -> Found:
    """One run in a fresh process: its CPU milliseconds, its memory, and what the provider saw."""
    with scratch(keep=True) as folder:
        (folder / "spool").mkdir()
        arguments = (base, folder, number, every, every if first is None else first)
        costs = in_child("many_tasks.py", task, *map(str, arguments))
    seen = counters(base)
    assert seen["submits"] == seen["fetches"] == number, seen
    print(f"  {task} {number}: {costs} {seen}", file=sys.stderr)
    return {**costs, **seen}


def side_by_side(base: str, number: int, every: float, *tasks: str) -> list[list[Found]]:
    """Each task's runs; they take turns."""
    runs: list[list[Found]] = [[] for _ in tasks]

    def contender(index: int, task: str) -> Callable[[], float]:
        def measure() -> float:
            runs[index].append(ran(task, base, number, every))
            return 0.0

        return measure

    interleave(ROUNDS, *(contender(*one) for one in enumerate(tasks)))
    return runs


def _of(runs: list[Found], name: str) -> list[float]:
    return [run[name] for run in runs]


def _thousand() -> Iterator[Row]:
    with peer(5.0, 1.0) as base:
        ours, plain = side_by_side(base, 1000, 1.0, "ours", "plain")
        # Stated only, so once is enough.
        kept = [ran("kept", base, 1000, 1.0)] * ROUNDS
    per_job = [[cpu / 1000 for cpu in _of(runs, "cpu")] for runs in (ours, plain, kept)]
    what = "1,000 jobs of 5 s polled every second, CPU a job / http.client's loop"
    yield compare(what, per_job[0], per_job[1], target=4.0)
    yield compare("the same with the journal", per_job[2], per_job[1])
    lates = [[late * 1000 for late in _of(runs, "late")] for runs in (ours, plain)]
    yield compare("how late its polls are / http.client's loop", *lates)


def _ten_thousand() -> Iterator[Row]:
    number, every = 10_000, 10.0
    with peer(15.0, every) as base:
        found = ran("ours", base, number, every, first=0.0)
    what = f"10,000 jobs of 15 s polled every 10 s, {found['most']:.0f} at once"
    yield Row(what=f"{what}: memory", ours=found["memory"], unit="MB", target=80.0, absolute=True)
    late, half = found["late"], every / 2
    yield Row(
        what="the same, how late its polls are / half the spacing",
        ours=late, baseline=half, unit="s", ratio=late / half, target=1.05,
    )  # fmt: skip


def _far_away() -> Iterator[Row]:
    what = "1,000 jobs of 5 s at 100 ms, how late its polls are / aiohttp's"
    tasks = ("ours", "aio") if find_spec("aiohttp") else ("ours",)
    with peer(5.0, 1.1, 0.1) as base:
        runs = side_by_side(base, 1000, 1.0, *tasks)
    lates = [[late * 1000 for late in _of(one, "late")] for one in runs]
    if len(tasks) == 1:
        yield Row(what=f"{what} (it is not installed)", ours=median(lates[0]))
        return
    yield compare(what, *lates, target=1.05)
    yield compare("the same, CPU / aiohttp's", *(_of(one, "cpu") for one in runs))


def rows() -> Iterator[Row]:
    """A thousand nearby, ten thousand nearby, a thousand far away."""
    yield from _thousand()
    yield from _ten_thousand()
    yield from _far_away()
