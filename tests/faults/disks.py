"""What a full, locked, closed or damaged disk costs: it fails under each write of a job in turn.

`table` makes the whole proof; `tests/faults/test_disks.py` a part of it by default. The small disks
are mounted in a namespace of their own, which ends with the process that holds it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from faults.providers import KINDS
from faults.troubles import (
    DELIVERED,
    DISKS,
    KEPT,
    REFUSED,
    TOLD,
    Trial,
    full_disks,
    other_troubles,
    stand_ins,
)
from faults.verdicts import (
    Case,
    Ended,
    Stage,
    bill,
    has_come,
    has_sidecar,
    side_by_side,
    stage,
    told,
)
from faults.victim import FILLER

_MOUNT = """set -e
folder=$1; shift
for name; do
    mkdir -p -m 700 "$folder/$name"
    mount -t tmpfs -o size=1m,mode=700 tmpfs "$folder/$name"
done
echo mounted
exec cat
"""
# Beyond what the settings of a trial allow for waiting, however busy the machine is.
_TOO_LONG = 10.0
_ENTER = 'cd "$0" && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial came to: a line of the table, and every promise that was broken."""

    trial: Trial
    exit_code: int
    paid: int
    at_once: str
    afterwards: str
    broken: tuple[str, ...]


@contextmanager
def small_disks() -> Iterator[Stage | None]:
    """A stage on small disks; None where no such may be mounted."""
    with stage() as scene:
        command = ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", str(scene.folder), *DISKS.values()]
        try:
            holder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            yield None
            return
        # It ends as soon as nobody holds its standard input.
        with holder:
            if holder.stdout is None or holder.stdout.readline() != b"mounted\n":
                yield None
                return
            enter = ("nsenter", "-t", str(holder.pid), "-U", "-m", "--preserve-credentials")
            scene.prefix = (*enter, "sh", "-c", _ENTER, str(scene.folder))
            scene.seen = Path(f"/proc/{holder.pid}/root")
            scene.extra["TMPDIR"] = str(scene.folder / DISKS["spare"])
            yield scene


def can_mount() -> bool:
    """Whether this machine lets us have small disks."""
    with small_disks() as scene:
        return scene is not None


def try_out(trial: Trial) -> Outcome | None:
    """Run a trial; None where it wants small disks and none may be had."""
    with small_disks() if trial.small else stage() as scene:
        if scene is None:
            return None
        scene.extra["TMPDIR"] = str(scene.folder / DISKS["spare"])
        scene.view(scene.folder / DISKS["spare"]).mkdir(exist_ok=True)
        return _run(trial, scene)


def _run(trial: Trial, scene: Stage) -> Outcome:
    cases, arguments = _begin(trial, scene)
    case, paid = cases[-1], _paid(scene)
    with trial.around(scene):
        process, broken = _under_trouble(trial, scene, arguments)
    paid = _paid(scene) - paid
    at_once = _is_in_hand(scene, case)
    broken += _ended_wrong(trial, process, paid, at_once)
    for filler in (scene.view(scene.folder / place / FILLER) for place in DISKS.values()):
        filler.unlink(missing_ok=True)
    ways = [] if at_once else re.findall(r"unified-flux (resume \S+)", process.stderr)
    recovered = scene.run("recover")
    for one in cases:
        told_ways = ways if one is case else []
        afterwards, found = _goes_on(scene, trial, one, recovered, told_ways)
        broken += found
    if any(metered != journalled for metered, journalled in bill(scene).values()):
        broken.append(f"wrong charge: {bill(scene)}")
    return Outcome(
        trial=trial,
        exit_code=process.returncode,
        paid=paid,
        at_once="yes" if at_once else "no",
        afterwards=afterwards,
        broken=tuple(broken),
    )


def _begin(trial: Trial, scene: Stage) -> tuple[list[Case], list[str]]:
    """The jobs of a trial, and the command that meets the trouble: it is about the last of them."""
    cases, arguments = [], ["recover"]
    if trial.earlier is not None:
        earlier, before = scene.generate(trial.provider)
        scene.watched({trial.earlier: "kill"}, *before)
        cases += earlier
    if not trial.recovers:
        asked, arguments = scene.generate(trial.provider, *trial.more)
        cases += asked
    return cases, arguments


def _under_trouble(trial: Trial, scene: Stage, arguments: list[str]) -> tuple[Ended, list[str]]:
    places = {name: str(scene.folder / place) for name, place in DISKS.items()}
    actions = {point: action.format(**places) for point, action in trial.at.items()}
    began = time.monotonic()
    process = scene.watched(actions, *arguments)
    took = time.monotonic() - began
    broken = []
    if set(actions) - set(scene.points()):
        broken.append("the trouble never came")
    if took > _TOO_LONG:
        broken.append(f"it took {took:.0f} s")
    said = [words.format(**places) for words in trial.says]
    broken += [
        f'"{one}" is not said: {process.stderr}' for one in said if one not in process.stderr
    ]
    return process, broken


def _paid(scene: Stage) -> int:
    return sum(len(tasks) for tasks in scene.accepted().values())


def _is_in_hand(scene: Stage, case: Case) -> bool:
    tasks = scene.accepted().get((case.provider, case.prompt), [])
    return bool(tasks) and has_come(scene.view(case.path), tasks[0])


def _ended_wrong(trial: Trial, process: Ended, paid: int, at_once: bool) -> Iterator[str]:
    exit_code, said = process.returncode, process.stderr
    right = {
        REFUSED: exit_code == 1 and not paid and not at_once,
        DELIVERED: exit_code == 0 and paid == 1 and at_once,
        KEPT: exit_code == 9 and paid == 1 and not at_once,
        TOLD: not paid and (exit_code not in {0, 10} or at_once),
    }
    if not right[trial.end]:
        yield f"not {trial.end}: exit {exit_code}, {paid} paid, in hand: {at_once}: {said}"
    if "Traceback" in said or "unexpected" in said:
        yield f"not in our words: {said}"


def _goes_on(
    scene: Stage,
    trial: Trial,
    case: Case,
    recovered: Ended,
    ways: list[str],
) -> tuple[str, list[str]]:
    """What `recover` made of a job once the disk was well, or else the way that had been told."""
    broken = []
    tasks = scene.accepted().get((case.provider, case.prompt), [])
    rows = [row for row in scene.rows() if row.request["prompt"] == case.prompt]
    flagged = bool(rows) and rows[0].phase == "unknown"
    if len(tasks) > 1 or len(rows) > 1:
        broken.append(f"{len(tasks)} paid, {len(rows)} rows")
    how = "yes" if tasks else "nothing was paid"
    if tasks and not _is_in_hand(scene, case):
        how = "by the `resume` that was told"
        for way in ways[:1]:
            scene.run(*shlex.split(way), "-o", str(case.path))
        if not _is_in_hand(scene, case):
            how = "no"
            if not flagged:
                broken.append(f"lost: {recovered.stdout}{recovered.stderr}")
    if flagged:
        how += ", the journal says `unknown`"
        if not told([recovered], rows[0]):
            broken.append(f"unknown, and not told: {recovered.stderr}")
    if how == "yes" and trial.sidecar and not has_sidecar(scene.view(case.path)):
        broken.append("no sidecar")
    return how, broken


# The table.


def run(trials: Iterable[Trial]) -> list[Outcome]:
    """Each trial with each provider; what cannot be judged is a broken promise."""

    def tried(trial: Trial) -> Outcome | None:
        try:
            return try_out(trial)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            return Outcome(
                trial=trial, exit_code=-1, paid=0, at_once="?", afterwards="?", broken=(said,)
            )

    each = [replace(one, provider=name) for one in trials for name in KINDS]
    outcomes = side_by_side([partial(tried, one) for one in each])
    return [one for one in outcomes if one is not None]


def broken(outcomes: Iterable[Outcome]) -> list[str]:
    """Every promise that was broken."""
    return [
        f"{one.trial.write} ({one.trial.provider}): {text}"
        for one in outcomes
        for text in one.broken
    ]


def table() -> tuple[str, list[str]]:
    """The full proof: its table as Markdown, and every promise that was broken."""
    mounted = can_mount()
    outcomes = run([*(full_disks() if mounted else stand_ins()), *other_troubles()])
    means = (
        "Full and read-only disks are small ones (tmpfs, 1 MB each), mounted for the purpose."
        if mounted
        else "No disk may be mounted here: a limit on the size of files (RLIMIT_FSIZE) stands in for a full one."
    )
    heads = ("what is not to be written or read", "provider", "exit", "paid", "picture at once", "picture afterwards", "broken promises")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|---|---:|---:|---|---|---:|"]
    rows: dict[tuple[object, ...], list[Outcome]] = {}
    for one in outcomes:
        key = (one.trial.write, one.exit_code, one.paid, one.at_once, one.afterwards)
        rows.setdefault(key, []).append(one)
    for (write, *numbers), ones in rows.items():
        names = ", ".join(one.trial.provider for one in ones)
        wrong = sum(bool(one.broken) for one in ones)
        lines.append(f"| {' | '.join(map(str, (write, names, *numbers, wrong)))} |")
    return "\n".join([*lines, "", means]), broken(outcomes)
