"""A stage for processes that die or run out of disk: the sandbox, a folder, and what is judged after.

Each job has a prompt of its own, and equal prompts alone make equal pictures: so a file tells whose
it is, and the emulators' stores tell what was paid for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from faults.ledger import astray
from faults.providers import PROVIDERS, UNBILLED, WITH_KEY
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unified_flux import registry
from unified_flux.errors import Charged
from unified_flux.journal import Journal
from unified_flux.output import sidecar
from unified_flux.record import Record
from unified_flux.sandbox import drawing
from unified_flux.sandbox.drawing import Picture
from unified_flux.sandbox.server import SandboxServer, new_key
from unified_flux.sandbox.tasks import Task

VICTIM = Path(__file__).with_name("victim.py")
PATIENCE = 60.0
# A picture in the stage's folder that may be sent along.
REFERENCE = "reference.png"
T = TypeVar("T")
_OPEN = frozenset({"prepared", "sending", "accepted", "done"})


@lru_cache(256)
def marked(picture: Picture) -> bytes:
    """A picture of the size that was asked with its prompt inside, made ten times as fast."""
    kept, info = io.BytesIO(), PngInfo()
    info.add_text("prompt", picture.prompt)
    # Longer than a page of any disk.
    info.add(b"prVt", bytes(3 * 8192))
    Image.new("1", (picture.width, picture.height)).save(kept, "PNG", pnginfo=info)
    return kept.getvalue()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture that is asked for, and where it belongs.

    Attributes:
        asked: Which of several of one command, None where it is the only one.
    """

    provider: str
    prompt: str
    path: Path
    sidecar: bool = True
    asked: int | None = None


@dataclass(kw_only=True)
class Stage:
    """The served emulators and a folder in which processes of ours live and die."""

    server: SandboxServer
    folder: Path
    home: Path
    # What every command begins with, a way to another view of the disk, and where that is seen here.
    prefix: tuple[str, ...] = ()
    seen: Path = Path("/")
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """Where pictures are meant to go."""
        return self.folder / "out"

    def view(self, path: Path) -> Path:
        """Where this process finds what those of the stage call `path`."""
        return self.seen / path.relative_to("/")

    @property
    def environment(self) -> dict[str, str]:
        """What a process is given: all providers, and nothing of whoever runs this."""
        found = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "UNIFIED_FLUX_HOME": str(self.home),
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
            **self.extra,
        }
        for name, url in self.server.providers.items():
            found |= {f"{name.upper()}_API_KEY": self.server.key, f"{name.upper()}_BASE_URL": url}
        return found

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A process of ours with pipes to it."""
        return subprocess.Popen(
            [*self.prefix, sys.executable, *command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """What a process came to; one that hangs is ended and fails the proof."""
        with process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, undisturbed."""
        return self.finish(self.start("-m", "unified_flux", *arguments))

    def watched(self, actions: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line with something happening at some points."""
        doing = [f"{point}={action}" for point, action in actions.items()]
        (self.folder / "points").unlink(missing_ok=True)
        return self.finish(
            self.start(str(VICTIM), "cli", str(self.folder), *doing, "--", *arguments)
        )

    def points(self) -> list[str]:
        """The points that the last watched process met."""
        return (self.folder / "points").read_text().splitlines()

    def generate(
        self, provider: str, *more: str, count: int = 1, words: str = ""
    ) -> tuple[list[Case], list[str]]:
        """Pictures to ask for, and the arguments that do; `words` go into the prompt."""
        number = len(list(self.folder.glob("case-*")))
        (self.folder / f"case-{number}").touch()
        path = self.out / f"{number}.png"
        case = Case(provider=provider, prompt=f"case {number} {words}".strip(), path=path)
        arguments = ["generate", case.prompt, "-p", provider, "-o", str(path), *more]
        if count == 1:
            return [case], arguments
        several = [
            replace(case, asked=asked, path=path.with_stem(f"{number}-{asked}"))
            for asked in range(1, count + 1)
        ]
        return several, [*arguments, "-n", str(count)]

    def rows(self, *, living: bool = False) -> list[Record]:
        """The journal's jobs; a dead process's own files are copied first, and stay as it left them.

        Raises:
            AssertionError: When the file is damaged, or its sums of money are not its jobs'.
        """
        home = self.view(self.home)
        if not (home / "journal.db").exists():
            return []
        if living:
            with closing(Journal(home)) as journal:
                return journal.jobs({})
        with tempfile.TemporaryDirectory() as place:
            for file in home.glob("journal.db*"):
                # The index of the log is the living's; a copy of the log is read without it.
                if not file.name.endswith("-shm"):
                    shutil.copy(file, place)
            with closing(sqlite3.connect(Path(place, "journal.db"))) as copy:
                (sound,) = copy.execute("PRAGMA integrity_check").fetchone()
            if sound != "ok":
                raise AssertionError(f"the journal is damaged: {sound}")
            with closing(Journal(Path(place))) as copied:
                found = copied.jobs({})
            with closing(sqlite3.connect(Path(place, "journal.db"))) as copy:
                wrong = astray(copy)
            if wrong:
                raise AssertionError(f"the journal's money: {wrong}")
            return found

    def phases(self, *, living: bool = False) -> dict[tuple[str, int], str]:
        """Prompt and number of the picture → the phase that the journal says."""
        rows = reversed(self.rows(living=living))
        return {(row.request["prompt"], row.asked): str(row.phase) for row in rows}

    def accepted(self) -> dict[tuple[str, str], list[Task]]:
        """(provider, prompt) → the paid tasks that the emulator took."""
        found: dict[tuple[str, str], list[Task]] = defaultdict(list)
        for name, emulator in self.server.emulators.items():
            for task in list(emulator._tasks.values()):
                found[name, task.picture.prompt].append(task)
        return found


@contextmanager
def stage(folder: Path | None = None) -> Iterator[Stage]:
    """A fresh stage; nothing of it is left."""
    key = new_key()
    emulators = {name: registry.emulator_class(name)(key=key) for name in PROVIDERS}
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as place,
        SandboxServer(emulators, key=key) as server,
    ):
        root = folder or Path(place)
        (root / "out").mkdir()
        Image.new("RGB", (64, 48), "teal").save(root / REFERENCE)
        yield Stage(server=server, folder=root, home=root / "home")


def side_by_side(tasks: Iterable[Callable[[], T]], at_once: int = 3) -> list[T]:
    """What each task comes to, some at a time."""
    with patch.object(drawing, "draw", marked), ThreadPoolExecutor(at_once) as pool:
        return [done.result() for done in [pool.submit(task) for task in tasks]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one job: `end` is in hand, unknown or nothing; `faults` are broken promises."""

    case: Case
    phase: str
    end: str
    faults: tuple[str, ...]


Rows = dict[tuple[str, str], list[Record]]
Tasks = dict[tuple[str, str], list[Task]]
Ended = subprocess.CompletedProcess[str]


def judge(
    stage: Stage,
    cases: Iterable[Case],
    before: dict[tuple[str, int], str],
    tellers: Sequence[Ended],
) -> list[Verdict]:
    """Every job against the promises, and the whole bill against the journal.

    Args:
        before: Prompt and number → the phase in which its process died.
        tellers: The commands since then; one of them must have told of each unknown job.
    """
    accepted = stage.accepted()
    rows: Rows = defaultdict(list)
    for row in stage.rows():
        rows[row.provider, row.request["prompt"]].append(row)
    verdicts = []
    for case in cases:
        tasks, mine = _own(case, accepted, rows)
        phase = before.get((case.prompt, case.asked or 1), "none")
        verdict = _judged(stage, case, phase, tasks, mine)
        if verdict.end == "unknown" and not told(tellers, mine[0]):
            verdict = replace(verdict, faults=(*verdict.faults, "not told"))
        verdicts.append(verdict)
    if any(accepted.values()) or any(rows.values()):
        raise AssertionError(f"jobs that nobody asked for: {accepted} {rows}")
    for provider, (metered, journalled) in bill(stage).items():
        if metered != journalled:
            raise AssertionError(
                f"{provider} charged {metered}, the journal says {journalled}: "
                f"{[one for one in verdicts if one.faults]}"
            )
    return verdicts


def _own(case: Case, accepted: Tasks, rows: Rows) -> tuple[list[Task], list[Record]]:
    """What was paid for a case, and its rows; both are taken away."""
    key = (case.provider, case.prompt)
    if case.asked is None:
        return accepted.pop(key, []), rows.pop(key, [])
    mine = [row for row in rows[key] if row.asked == case.asked]
    named = {row.job_id for row in mine}
    tasks = [task for task in accepted[key] if task.id in named]
    if not tasks and any(row.phase == "unknown" for row in mine):
        others = {row.job_id for row in rows[key]}
        tasks = [task for task in accepted[key] if task.id not in others][:1]
    rows[key] = [row for row in rows[key] if row not in mine]
    accepted[key] = [task for task in accepted[key] if task not in tasks]
    return tasks, mine


def told(tellers: Iterable[Ended], row: Record) -> bool:
    """Whether one said exit 9 (10 where others came, unless it was ended) and this job's next step."""
    step = f"unified-flux jobs resolve {row.id}"
    return any(
        step in one.stderr and (one.returncode in {9, 10, 130} or one.returncode < 0)
        for one in tellers
    )


def _judged(stage: Stage, case: Case, phase: str, tasks: list[Task], rows: list[Record]) -> Verdict:
    faults = []
    # One that was never sent may stand beside the one that was asked for after it.
    rows = [row for row in rows if row.phase != "cancelled"]
    if len(tasks) > 1:
        faults.append("double")
    if len(rows) > 1:
        faults.append("two rows")
    row = rows[0] if rows else None
    path = stage.view(case.path)
    in_hand = bool(tasks) and has_come(path, tasks[0])
    unknown = row is not None and row.phase == "unknown"
    end = "in hand" if in_hand else "unknown" if unknown else "nothing"
    if in_hand and (row is None or row.phase != "saved" or row.delivered_at is None):
        faults.append("journal behind")
    if tasks and not in_hand and not unknown:
        faults.append("lost")
    if row is not None and row.phase in _OPEN:
        faults.append("left open")
    # Only where the key can be sent no second time, and only while nobody saw the answer.
    if unknown and not (case.provider not in WITH_KEY and phase in {"sending", "unknown"}):
        faults.append("needless unknown")
    if path.exists() and not in_hand:
        faults.append("wrong picture")
    if in_hand and case.sidecar and not has_sidecar(path):
        faults.append("no sidecar")
    if not _charged_right(tasks, row):
        faults.append("wrong charge")
    return Verdict(case=case, phase=phase, end=end, faults=tuple(faults))


def has_come(path: Path, task: Task) -> bool:
    """Whether the file is that task's picture, to the last byte."""
    return path.exists() and path.read_bytes() == drawing.draw(task.picture)


def has_sidecar(path: Path) -> bool:
    """Whether a sidecar that tells of this very picture lies beside it."""
    beside = sidecar(path)
    if not beside.exists():
        return False
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return bool(json.loads(beside.read_bytes())["sha256"] == digest)


def _charged_right(tasks: Sequence[Task], row: Record | None) -> bool:
    """The journal's charge against the emulator's: to the last digit, or honestly not known."""
    if row is None:
        return not tasks
    if row.phase == "unknown":
        return row.charged is Charged.MAYBE and row.charge.money is None
    if tasks and row.provider in UNBILLED:
        return row.charged is Charged.MAYBE and row.charge.money is None
    billed = sum((task.price for task in tasks if not task.refunded), Decimal(0))
    return _said(row) == billed and row.charged is (Charged.YES if billed else Charged.NO)


def _said(row: Record) -> Decimal:
    return row.charge.money.amount if row.charge.money else Decimal(0)


def bill(stage: Stage) -> dict[str, tuple[Decimal, Decimal]]:
    """Provider that bills → what its meter says, and what the journal says and cannot know."""
    found = {}
    rows = stage.rows()
    accepted = stage.accepted()
    for name, emulator in stage.server.emulators.items():
        if name in UNBILLED:
            continue
        mine = [row for row in rows if row.provider == name]
        known = sum((_said(row) for row in mine), Decimal(0))
        unknown = {row.request["prompt"] for row in mine if row.phase == "unknown"}
        named = {row.job_id for row in mine}
        missed = [
            task.price
            for prompt in unknown
            for task in accepted.get((name, prompt), [])
            if task.id not in named
        ]
        found[name] = (Decimal(emulator.meter()["charged"]), known + sum(missed, Decimal(0)))
    return found
