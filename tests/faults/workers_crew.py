"""Two processes at work on one batch: `batch run` twice on one SQLite journal, or two workers of a queue.

Each that ends before the batch is decided is started anew.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from faults.verdicts import Case, Ended, Stage, marked, stage

from unified_flux.journal import Journal
from unified_flux.record import Record
from unified_flux.sandbox import drawing
from unified_flux.wire import WireRequest

FILE = "foxes.jsonl"
LEASE = 2
AT_ONCE = 8
# Late answers, so that many die while a paid submit is on its way.
WORDS = ("sandbox:ready", "sandbox:slow-answer-0.2 sandbox:ready", "sandbox:polls-1")
_PATIENCE = 900.0
_DECIDED = frozenset({"done", "unknown"})
_LEFT = (
    "SELECT count(*) FROM unified_flux_queue.procrastinate_jobs WHERE status IN ('todo', 'doing')"
)


def prompt_of(number: int) -> str:
    """What a line asks for; no other line says the same."""
    return f"picture {number} {WORDS[number % len(WORDS)]}"


@dataclass(kw_only=True)
class Shared(Stage):
    """A stage whose journal lies in PostgreSQL."""

    address: str

    def rows(self, *, living: bool = False) -> list[Record]:
        """The journal's jobs."""
        with closing(Journal(self.address)) as journal:
            return journal.jobs({})


@dataclass(kw_only=True)
class Crew:
    """Two processes at work on one batch; a context manager that leaves none alive.

    Attributes:
        place: Where pictures go.
        program: What each of them runs.
        times: How often something happened to one of them at work.
        heard: Submits that the emulator heard, repetitions under the same key included.
        ends: With what exit codes they ended by themselves.
    """

    scene: Stage
    provider: str
    jobs: int
    place: str = "out/{id}.png"
    program: tuple[str, ...] = ("-m", "unified_flux")
    times: int = 0
    heard: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _turn: int = 0

    @property
    def cases(self) -> list[Case]:
        """What the batch's lines ask for, and where it belongs."""
        return [
            Case(
                provider=self.provider,
                prompt=prompt_of(number),
                path=self.scene.out / f"{number}.png",
            )
            for number in range(self.jobs)
        ]

    def write(self) -> None:
        """The batch's file."""
        lines = (
            {"id": str(number), "prompt": prompt_of(number), "output_format": "png"}
            for number in range(self.jobs)
        )
        text = "".join(f"{json.dumps(one)}\n" for one in lines)
        (self.scene.folder / FILE).write_text(text)

    @property
    def asking(self) -> list[str]:
        """What `batch run` and `batch submit` are told alike."""
        return [FILE, "-p", self.provider, "--yes", "-q", "--out", self.place]

    def command(self) -> list[str]:
        """The next process: it has results of its own, since two run side by side."""
        own = ["--results", f"results-{self._turn}.jsonl"]
        return ["batch", "run", *self.asking, "--concurrency", str(AT_ONCE), *own]

    def accepted(self) -> int:
        """Paid submits that the emulator took."""
        return int(self.scene.server.emulators[self.provider].meter()["accepted"])

    def listen(self) -> None:
        """Count the submits from now on."""
        emulator = self.scene.server.emulators[self.provider]
        handle = emulator.handle

        def counting(request: WireRequest, *more: Any) -> Any:
            self.heard += request.method == "POST"
            return handle(request, *more)

        emulator.handle = counting  # type: ignore[method-assign]

    def __enter__(self) -> Crew:
        self._processes = [self._started(), self._started()]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def is_over(self) -> bool:
        """Whether every line is decided; who has ended before that is started anew."""
        for slot, process in enumerate(self._processes):
            if process.poll() is not None:
                if self._has_decided(process):
                    return True
                self.ends[process.returncode] += 1
                self._processes[slot] = self._started()
        return False

    def kill(self, slot: int) -> None:
        """End one at once, and start it anew."""
        process = self._processes[slot]
        process.kill()
        # One that had ended by itself is no death.
        self.times += process.wait() == -signal.SIGKILL
        self._processes[slot] = self._started()

    def freeze(self, slot: int, seconds: float) -> None:
        """Stop one where it is, and wake it again."""
        process = self._processes[slot]
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        self.times += process.poll() is None

    def settle(self) -> None:
        """Let them work until all is decided.

        Raises:
            AssertionError: When that takes too long.
        """
        end = time.monotonic() + _PATIENCE
        while not self.is_over():
            if time.monotonic() > end:
                raise AssertionError(f"not decided after {_PATIENCE:.0f} s: {self.said()}")
            time.sleep(0.2)
        self._part()

    def tellers(self) -> list[Ended]:
        """What tells of every line how it ended, and `recover`: nothing of it pays.

        A note that a picture was delivered is written a moment later and may die with its process;
        `recover` finds the file.
        """
        paid = self.accepted()
        found = [self.tell(), self.scene.run("recover")]
        if self.accepted() != paid:
            raise AssertionError("what was decided was paid for again")
        return found

    def tell(self) -> Ended:
        """The same command once more, and its results."""
        ended = self.scene.run(*self.command())
        return _with_results(ended, [self.scene.folder / f"results-{self._turn}.jsonl"])

    def said(self) -> str:
        """The end of what the last of them said."""
        return (self.scene.folder / f"said-{self._turn}").read_text()[-2000:]

    def _part(self) -> None:
        """The other comes to its end, too."""
        for process in self._processes:
            process.wait(_PATIENCE)

    def _started(self) -> subprocess.Popen[bytes]:
        self._turn += 1
        with (self.scene.folder / f"said-{self._turn}").open("wb") as said:
            return subprocess.Popen(
                [sys.executable, *self.program, *self.command()],
                cwd=self.scene.folder,
                env=self.scene.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def _has_decided(self, process: subprocess.Popen[bytes]) -> bool:
        path = self.scene.folder / str(list(process.args)[-1])  # type: ignore[arg-type]
        if process.returncode not in {0, 10} or not path.exists():
            return False
        told = [json.loads(line) for line in path.read_text().splitlines()]
        return len(told) == self.jobs and all(one["status"] in _DECIDED for one in told)


@dataclass(kw_only=True)
class Workers(Crew):
    """The same with workers on a queue."""

    address: str

    def command(self) -> list[str]:
        """The next process."""
        return ["worker", "-q", "--concurrency", str(AT_ONCE)]

    def __enter__(self) -> Crew:
        ended = self.scene.run("batch", "submit", *self.asking)
        if ended.returncode:
            raise AssertionError(ended.stderr)
        return super().__enter__()

    def is_over(self) -> bool:
        """Whether the queue has nothing left; a database that is away has not said so."""
        import psycopg

        super().is_over()
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(self.address, connect_timeout=5) as connection,
        ):
            return connection.execute(_LEFT).fetchone() == (0,)
        return False

    def tell(self) -> Ended:
        """What `batch watch` says, and every worker's results."""
        ended = self.scene.run("batch", "watch", FILE, "-q")
        return _with_results(ended, sorted(self.scene.out.glob("*.results-*.jsonl")))

    def _part(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGINT)
        super()._part()

    def _has_decided(self, process: subprocess.Popen[bytes]) -> bool:
        return False


def _with_results(ended: Ended, files: Sequence[Path]) -> Ended:
    """A command and the results files that tell what it leaves out."""
    told = [ended.stderr, *(path.read_text() for path in files)]
    return subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout, "".join(told))


@contextmanager
def crew_of(provider: str, jobs: int, address: str | None) -> Iterator[Crew]:
    """A crew that has not begun: on SQLite, or on the PostgreSQL at an address."""
    with patch.object(drawing, "draw", marked), stage() as scene:
        found = Crew(scene=scene, provider=provider, jobs=jobs)
        if address is not None:
            (scene.folder / "unified-flux.toml").write_text(f"lease = {LEASE}\n")
            parts = {name: getattr(scene, name) for name in ("server", "folder", "home")}
            shared = Shared(address=address, extra={"UNIFIED_FLUX_QUEUE": address}, **parts)
            found = Workers(scene=shared, provider=provider, jobs=jobs, address=address)
        found.write()
        found.listen()
        yield found
