"""What `kill -9` and Ctrl-C cost: real processes end at every step and at any moment, then `recover`.

`table` makes the whole proof; `tests/faults/test_kills.py` a part of it by default.
"""

from __future__ import annotations

import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from faults.providers import KINDS, PROVIDERS, WITH_KEY
from faults.tally import Tally
from faults.verdicts import (
    REFERENCE,
    VICTIM,
    Case,
    Ended,
    Stage,
    Verdict,
    judge,
    side_by_side,
    stage,
)
from faults.victim import JOBS, prompt_of

KILL = "kill -9"
DEATHS = 200
LEAST_SENDING = 50
# Most of a random run is waiting.
_AT_ONCE = 4
_DONE_BEFORE = "exists already"
_NOTHING_LEFT = "nothing is left behind\n"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One `generate` that something ends.

    Attributes:
        more: Further arguments.
        count: How many pictures it asks for; of several, threads take turns, so that a point may
            not be met.
        ends: Point → what happens there.
    """

    provider: str
    more: tuple[str, ...] = ()
    count: int = 1
    ends: dict[str, str] = field(default_factory=dict)

    def begin(self, scene: Stage) -> tuple[list[Case], list[str], Ended]:
        """Run it to its end."""
        cases, arguments = scene.generate(self.provider, *self.more, count=self.count)
        return cases, arguments, scene.watched(self.ends, *arguments)

    def at(self, point: str, action: str) -> Run:
        """The same, ending at a point."""
        return replace(self, ends={point: action})

    def points(self) -> list[str]:
        """Every point that it meets until it ends."""
        with stage() as scene:
            self.begin(scene)
            return _steps(scene)


# Rivya uploads what is sent along, so its job stands in the journal while nothing is paid.
PLAIN = (
    Run(provider="rivya", more=("-i", REFERENCE)),
    *(Run(provider=name) for name in PROVIDERS[1:]),
)
# Until a job is accepted; what follows is the same for all that have no key for repetition.
_UNTIL_ACCEPTED = ("sending", "submit", "accepted")
PAIR = Run(provider="vtrix", count=2)
SAME = tuple(Run(provider=name, more=("--request-id", "order-17")) for name in KINDS)
# Where `generate` ends before `recover` is killed: once in each phase that leaves something to do.
FIRST_ENDS = (
    {"before accepted 1": "kill"},
    {"after accepted 1": "kill"},
    # What is done and not fetched is written down by whoever can still write.
    {"before fetch 1": "interrupt"},
    {"before delivered 1": "kill"},
)


def _steps(scene: Stage) -> list[str]:
    # What is met before the command begins is no step of it.
    return [point for point in scene.points() if point != "start 1"]


def _died(process: Ended, where: str) -> None:
    if process.returncode != -signal.SIGKILL:
        raise AssertionError(f"it did not die at {where}: {process.stdout}{process.stderr}")


def killed(run: Run, point: str) -> list[Verdict]:
    """A `generate` that dies at a point, then `recover`."""
    with stage() as scene:
        cases, _, process = run.at(point, "kill").begin(scene)
        if run.count > 1 and point not in scene.points():
            return []
        _died(process, point)
        before, paid = scene.phases(), scene.accepted()
        verdicts = judge(scene, cases, before, [scene.run("recover")])
        if run.provider not in WITH_KEY and scene.accepted() != paid:
            raise AssertionError("recover paid where no key tells a repetition")
        return verdicts


def killed_twice(run: Run, point: str) -> list[Verdict]:
    """A `generate` that has ended, a `recover` of it that dies at a point, then `recover` again."""
    with stage() as scene:
        cases, _, _ = run.begin(scene)
        before = scene.phases()
        dead = scene.watched({point: "kill"}, "recover")
        _died(dead, point)
        return judge(scene, cases, before, [dead, scene.run("recover")])


def started_again(run: Run, point: str) -> list[Verdict]:
    """A `generate` that dies at a point, and the very same command again: it pays for nothing new.

    What is then not in its place, though it is paid, an exit code of 9 must tell.
    """
    with stage() as scene:
        cases, arguments, process = run.at(point, "kill").begin(scene)
        _died(process, point)
        before = scene.phases()
        there = all(case.path.exists() for case in cases)
        again = scene.run(*arguments)
        # The command's own check comes first: the file that it would write is there.
        there = there and _DONE_BEFORE in again.stderr
        verdicts = judge(scene, cases, before, [again, scene.run("recover")])
        right = {"in hand": again.returncode == 0 or there, "unknown": again.returncode == 9}
        if not all(right.get(one.end, False) for one in verdicts):
            raise AssertionError(f"{verdicts}, and it said {again.returncode}: {again.stderr}")
        return verdicts


def interrupted(run: Run, point: str) -> list[Verdict]:
    """A `generate` that somebody stops with Ctrl-C, then what it said would go on with it."""
    with stage() as scene:
        cases, _, process = run.at(point, "interrupt").begin(scene)
        if run.count > 1 and point not in scene.points():
            return []
        if process.returncode != 130 or "Traceback" in process.stderr:
            raise AssertionError(f"exit {process.returncode}: {process.stderr}")
        before = scene.phases()
        ways = re.findall(r"unified-flux (resume \S+|recover)", process.stderr)
        went_on = [scene.run(*shlex.split(way)) for way in ways]
        is_open = not {"sending", "accepted", "done"}.isdisjoint(scene.phases().values())
        at_last = scene.run("recover")
        verdicts = judge(scene, cases, before, [process, *went_on, at_last])
        left = is_open or at_last.stdout not in {"", _NOTHING_LEFT}
        if left and "recover" not in ways:
            said = f"what it told leaves something behind: {process.stderr}"
            verdicts[0] = replace(verdicts[0], faults=(*verdicts[0].faults, said))
        return verdicts


def interrupted_unheard() -> list[Verdict]:
    """Ctrl-C while the answer about one of two is awaited, which then never comes."""
    with stage() as scene:
        (scene.folder / "unified-flux.toml").write_text("read_timeout = 1\n")
        words = "sandbox:slow-answer-9 sandbox:ready"
        cases, arguments = scene.generate("vtrix", count=2, words=words)
        process = scene.start(str(VICTIM), "cli", str(scene.folder), "--", *arguments)
        # The same words again are answered at once: only one of them is awaited.
        while sorted(scene.phases(living=True).values()) != ["saved", "sending"]:
            if process.poll() is not None:
                raise AssertionError(f"it did not wait: {scene.finish(process)}")
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        ended = scene.finish(process)
        before = scene.phases()
        return judge(scene, cases, before, [ended, scene.run("recover")])


def counted(how: str, tasks: dict[str, Callable[[], list[Verdict]]], at_once: int = 3) -> Tally:
    """What tasks come to; one that cannot be judged is a broken promise."""
    tally = Tally(how)

    def tried(task: Callable[[], list[Verdict]]) -> list[Verdict] | str:
        try:
            return task()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    ends = side_by_side([partial(tried, task) for task in tasks.values()], at_once)
    for what, found in zip(tasks, ends, strict=True):
        if isinstance(found, str):
            tally.faults.append(f"{what}: {found}")
        else:
            tally.add(found, what)
    return tally


Places = Iterable[tuple[Run, str]]
Task = Callable[[Run, str], list[Verdict]]


def _each(how: str, task: Task, places: Places) -> Tally:
    tasks = {
        f"{how}: {run.provider} {run.more or ''} {run.ends or ''} {point}": partial(
            task, run, point
        )
        for run, point in places
    }
    return counted(how, tasks)


def _everywhere(*runs: Run) -> Iterator[tuple[Run, str]]:
    return ((run, point) for run in runs for point in run.points())


def _each_state(places: Places) -> Iterator[tuple[Run, str]]:
    """Without commits, where a dead process leaves what it leaves around the journal's calls."""
    return ((run, point) for run, point in places if " commit " not in point)


def boundaries(places: Places | None = None) -> Tally:
    """A death at every point of `generate`, each followed by `recover`."""
    others = (place for place in _everywhere(*PLAIN[2:]) if place[1].split()[1] in _UNTIL_ACCEPTED)
    every = chain(_everywhere(*PLAIN[:2]), others, _each_state(_everywhere(PAIR)))
    return _each(KILL, killed, places or every)


def repetitions(places: Places | None = None) -> Tally:
    """A death at every point of a `generate` with an id of its own, each followed by the same again."""
    return _each(
        f"{KILL}, the same again", started_again, places or _each_state(_everywhere(*SAME))
    )


def interrupts(places: Places | None = None) -> Tally:
    """Ctrl-C at every point of `generate`."""
    tally = _each("Ctrl-C", interrupted, places or _everywhere(*PLAIN[:2], PAIR))
    tally.merge(counted("Ctrl-C", {"Ctrl-C: never heard": interrupted_unheard}))
    return tally


def _of_recover() -> Iterator[tuple[Run, str]]:
    """A job left in each open phase, and every point of the `recover` that follows."""
    for provider in KINDS:
        # Where nothing is sent again, the providers do not differ.
        for ends in FIRST_ENDS if provider == "rivya" else FIRST_ENDS[:2]:
            run = Run(provider=provider, ends=ends)
            with stage() as scene:
                run.begin(scene)
                scene.watched({}, "recover")
                met = _steps(scene)
            yield from ((run, point) for point in met)


def second_deaths(places: Places | None = None) -> Tally:
    """A death at every point of a `recover`, each followed by another `recover`."""
    return _each(KILL, killed_twice, places or _each_state(_of_recover()))


def fifty_cases(scene: Stage, seed: int) -> list[Case]:
    """The fifty jobs that the victim's run makes."""
    return [
        Case(
            provider=sorted(PROVIDERS)[number % len(PROVIDERS)],
            prompt=prompt_of(number, seed),
            path=scene.out / f"{seed}-{number}.png",
            sidecar=False,
        )
        for number in range(JOBS)
    ]


@contextmanager
def fifty(scene: Stage, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A fifty-job run that has begun; it is dead at the end."""
    process = scene.start(str(VICTIM), "fifty", str(scene.folder), str(seed))
    with process:
        try:
            if process.stdout is None or process.stdout.readline() != "begun\n":
                raise AssertionError(f"it did not begin: {process.communicate()[1]}")
            yield process
        finally:
            process.kill()


def duration(seed: int) -> float:
    """Seconds that a fifty-job run takes where nothing happens; all fifty must be in hand."""
    with stage() as scene, fifty(scene, seed) as process:
        begun = time.monotonic()
        _, err = process.communicate(timeout=60)
        took = time.monotonic() - begun
        missing = [
            one for one in judge(scene, fifty_cases(scene, seed), {}, []) if one.end != "in hand"
        ]
        if missing or process.returncode:
            raise AssertionError(f"{missing} {err}")
        return took


def killed_any_time(seed: int, longest: float) -> list[Verdict]:
    """A fifty-job run that dies at a random moment; every fourth time its `recover` dies as well."""
    chance = random.Random(seed)
    while True:
        with stage() as scene:
            with fifty(scene, seed) as process:
                time.sleep(chance.uniform(0, longest))
                process.kill()
                process.communicate()
            if process.returncode != -signal.SIGKILL:
                # It was done before: that is no death.
                continue
            before = scene.phases()
            tellers = []
            if seed % 4 == 0:
                dying = scene.start("-m", "unified_flux", "recover")
                time.sleep(chance.uniform(0.1, 0.8))
                dying.kill()
                tellers.append(scene.finish(dying))
            tellers.append(scene.run("recover"))
            return judge(scene, fifty_cases(scene, seed), before, tellers)


def any_time(deaths: int = DEATHS, seed: int = 0) -> tuple[Tally, int]:
    """Many deaths at random moments; the count, and how many struck while a submit was on its way."""
    measured = [partial(duration, seed + run) for run in range(_AT_ONCE)]
    longest = max(side_by_side(measured, _AT_ONCE))
    struck: list[int] = []

    def one(run: int) -> list[Verdict]:
        verdicts = killed_any_time(run, longest)
        if any(verdict.phase == "sending" for verdict in verdicts):
            struck.append(run)
        return verdicts

    tasks = {f"random death {run}": partial(one, run) for run in range(seed, seed + deaths)}
    return counted(KILL, tasks, _AT_ONCE), len(struck)


def together(seed: int = 0) -> Tally:
    """Two runs of one home, one of them killed, while `recover` is run again and again."""
    return counted(KILL, {"two at once": partial(_together, seed)})


def _together(seed: int) -> list[Verdict]:
    with stage() as scene, fifty(scene, seed) as lives, fifty(scene, seed + 1) as dies:
        time.sleep(0.4)
        while_both_live = scene.run("recover", "--json")
        dies.kill()
        before = scene.phases(living=True)
        tellers = [while_both_live]
        while lives.poll() is None:
            tellers.append(scene.run("recover"))
        _, err = lives.communicate()
        tellers.append(scene.run("recover"))
        cases = [*fifty_cases(scene, seed), *fifty_cases(scene, seed + 1)]
        verdicts = judge(scene, cases, before, tellers)
        if '"recovered": []' not in while_both_live.stdout or while_both_live.returncode:
            raise AssertionError(f"it took what a living process works on: {while_both_live}")
        if lives.returncode or any(one.end != "in hand" for one in verdicts[:JOBS]):
            raise AssertionError(f"the living run was disturbed: {err} {verdicts[:JOBS]}")
        return verdicts


def table() -> tuple[str, list[str]]:
    """The full proof: its table as Markdown, and every promise that was broken."""
    parts = [boundaries(), second_deaths(), repetitions(), interrupts(), together()]
    steps, recovers, same, stops, _ = (part.total("jobs") for part in parts)
    by_chance, sending = any_time()
    tally = Tally()
    for part in (*parts, by_chance):
        tally.merge(part)
    deaths = by_chance.total("jobs") // JOBS
    if deaths < DEATHS or sending < LEAST_SENDING:
        tally.faults.append(f"{deaths} random deaths, {sending} of them in `sending`: too few")
    text = f"""{tally.markdown()}

- {deaths} deaths at random moments of a run of {JOBS} jobs, eight at a time. {sending} of them struck while at least one
  paid submit was on its way (`sending`), {by_chance.total("jobs", "sending")} such jobs in all. After every fourth, `recover` was killed at a
  random moment too, and run again.
- {steps} jobs whose process died at a single step of `generate`: before and after each call of the journal, each
  commit and each exchange, and before each change of a file.
- {recovers} jobs whose `generate` had ended in each open phase, and whose `recover` died at each step of its own.
- {same} jobs whose process died so, and whose same command with the same `--request-id` was run again.
- {stops} jobs that were stopped with Ctrl-C, each followed by the command that it printed, and then by `recover`.
- Two runs of {JOBS} jobs in one home, one of them killed, and `recover` again and again beside the living one."""
    return text, tally.faults
