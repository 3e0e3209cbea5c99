"""Many workers on one batch, killed, frozen or cut off from their database at random moments.

    python tests/faults/workers.py --jobs 2000 --kills 100

prints a line for each provider and each journal. Two processes work all the time: `batch run` twice on
one file and one SQLite journal, or two `worker` on a queue in PostgreSQL. Each that ends is started
anew. At the end every line is judged against the emulators' books, as `verdicts` says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.verdicts import PROVIDERS, Case, Ended, Stage, Verdict, judge, marked, stage
from postgres import Postgres, programs

from unified_flux.errors import UnifiedFluxError
from unified_flux.journal import Journal
from unified_flux.record import Record
from unified_flux.sandbox import drawing
from unified_flux.wire import WireRequest

FILE = "foxes.jsonl"
LEASE = 2
AWAY = 6.0
AT_ONCE = 8
COLUMNS = ("provider", "journal", "jobs", "what", "times", "pictures", "submits heard",
           "paid submits", "lost", "double", "flagged", "other faults", "seconds")  # fmt: skip
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
        times: How often something happened to one of them at work.
        heard: Submits that the emulator heard, repetitions under the same key included.
        ends: With what exit codes they ended by themselves.
    """

    scene: Stage
    provider: str
    jobs: int
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
        return [FILE, "-p", self.provider, "--yes", "-q", "--out", "out/{id}.png"]

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

    def tell(self) -> Ended:
        """The same command once more: it pays nothing, and tells of every line what became of it."""
        paid = self.accepted()
        ended = self.scene.run(*self.command())
        if self.accepted() != paid:
            raise AssertionError("what was decided was paid for again")
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
                [sys.executable, "-m", "unified_flux", *self.command()],
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
        told = [json.loads(line)["status"] for line in path.read_text().splitlines()]
        return len(told) == self.jobs and _DECIDED.issuperset(told)


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
        with contextlib.suppress(psycopg.OperationalError):
            with psycopg.connect(self.address, connect_timeout=5) as connection:
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


# What happens to a crew.
Trouble = Callable[[Crew], None]


def kills(count: int, seed: int = 5) -> Trouble:
    """`kill -9` at random moments of the work, each time of the one that has lived longer.

    The other may still be starting, and a death then would prove little.
    """
    chance = random.Random(seed)

    def happen(crew: Crew) -> None:
        for turn, accepted in enumerate(sorted(chance.choices(range(crew.jobs), k=count))):
            _wait_for(crew, accepted)
            time.sleep(chance.uniform(0, 0.3))
            if crew.is_over():
                return
            crew.kill(turn % 2)

    return happen


def freezes(count: int) -> Trouble:
    """One of the two after the other is stopped for longer than its lease, in the midst of work."""

    def happen(crew: Crew) -> None:
        for turn in range(count):
            _wait_for(crew, (turn + 1) * crew.jobs // (count + 2))
            crew.freeze(turn % 2, 2.0 * LEASE)

    return happen


def outage(server: Postgres, count: int = 1) -> Trouble:
    """The database ends in the midst of work, and is there again some seconds later."""

    def happen(crew: Crew) -> None:
        for turn in range(count):
            _wait_for(crew, (turn + 1) * crew.jobs // (count + 2))
            server.stop()
            time.sleep(AWAY)
            server.start()
            crew.times += 1

    return happen


def _wait_for(crew: Crew, accepted: int) -> None:
    while crew.accepted() < accepted and not crew.is_over():
        time.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a proof came to."""

    provider: str
    journal: str
    what: str
    times: int
    heard: int
    paid: int
    seconds: float
    ends: dict[int, int]
    verdicts: tuple[Verdict, ...]

    def of(self, end: str) -> int:
        """How many jobs ended so."""
        return sum(one.end == end for one in self.verdicts)

    def broken(self, *faults: str) -> int:
        """How many jobs have one of these faults."""
        return sum(not set(faults).isdisjoint(one.faults) for one in self.verdicts)

    @property
    def faults(self) -> list[str]:
        """Every broken promise."""
        return [
            f"{fault}: {self.provider} on {self.journal}, {one.case.prompt!r}"
            for one in self.verdicts
            for fault in one.faults
        ]

    def row(self) -> str:
        """A line of the table."""
        whole = sum(set(one.faults).isdisjoint({"lost", "double"}) for one in self.verdicts if one.faults)  # fmt: skip
        cells = (self.provider, self.journal, len(self.verdicts), self.what, self.times,
                 self.of("in hand"), self.heard, self.paid, self.broken("lost"), self.broken("double"),
                 self.of("unknown"), whole, f"{self.seconds:.0f}")  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


@contextmanager
def crew_of(provider: str, jobs: int, address: str | None) -> Iterator[Crew]:
    """A crew that has not begun: on SQLite, or on the PostgreSQL at an address."""
    with patch.object(drawing, "draw", marked), stage() as scene:
        found: Crew
        if address is None:
            found = Crew(scene=scene, provider=provider, jobs=jobs)
        else:
            extra = {"UNIFIED_FLUX_QUEUE": address}
            scene = Shared(server=scene.server, folder=scene.folder, home=scene.home, extra=extra, address=address)  # fmt: skip
            found = Workers(scene=scene, provider=provider, jobs=jobs, address=address)
            (scene.folder / "unified-flux.toml").write_text(f"lease = {LEASE}\n")
        found.write()
        found.listen()
        yield found


def proof(provider: str, jobs: int, what: str, trouble: Trouble, address: str | None = None) -> Outcome:  # fmt: skip
    """A batch under one trouble, judged line by line."""
    with crew_of(provider, jobs, address) as crew:
        begun = time.monotonic()
        with crew:
            trouble(crew)
            crew.settle()
        seconds = time.monotonic() - begun
        told = crew.tell()
        scene = crew.scene
        phases = {place: phase for place, phase in scene.phases().items() if phase == "unknown"}
        paid = crew.accepted()
        verdicts = tuple(judge(scene, crew.cases, phases, [told]))
    journal = "PostgreSQL" if address else "SQLite"
    return Outcome(provider=provider, journal=journal, what=what, times=crew.times, heard=crew.heard, paid=paid,
                   seconds=seconds, ends=dict(crew.ends), verdicts=verdicts)  # fmt: skip


@contextmanager
def postgres() -> Iterator[Postgres | None]:
    """A PostgreSQL of our own; None where its programs are missing."""
    bin = programs()
    # The name is one that its own user may look into.
    with tempfile.TemporaryDirectory(prefix="pytest-") as place:
        if bin is None:
            yield None
            return
        with Postgres(Path(place), bin) as server:
            yield server


def main(arguments: list[str]) -> int:
    """Run the proofs that are asked for, all by default; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--freezes", type=int, default=0, help="on PostgreSQL, in a run of its own")
    parser.add_argument("--outages", type=int, default=0, help="of PostgreSQL, in a run of its own")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--provider", action="append", choices=PROVIDERS)
    parser.add_argument("--journal", action="append", choices=("sqlite", "postgresql"))
    asked = parser.parse_args(arguments)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    broken: list[str] = []
    with postgres() as server:
        for name, what, run in _planned(asked, server):
            try:
                outcome = run()
            except (AssertionError, UnifiedFluxError, OSError, subprocess.SubprocessError) as error:
                broken.append(f"{name}, {what}: {error}")
                continue
            print(outcome.row(), flush=True)
            if outcome.ends:
                print(f"{name}, {what}: ended by themselves: {outcome.ends}", file=sys.stderr)
            broken += outcome.faults
    for line in broken:
        print(f"broken: {line}", file=sys.stderr)
    return 1 if broken else 0


def _planned(
    asked: argparse.Namespace, server: Postgres | None
) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    """Each proof that was asked for."""
    for journal in asked.journal or ("sqlite", "postgresql"):
        if journal == "postgresql" and server is None:
            print("PostgreSQL is not installed: nothing was tried on it", file=sys.stderr)
            continue
        troubles: dict[str, tuple[int, Trouble]] = {
            "kill -9": (asked.kills, kills(asked.kills, asked.seed))
        }
        if journal == "postgresql" and server is not None:
            troubles["frozen"] = (asked.freezes, freezes(asked.freezes))
            troubles["database away"] = (asked.outages, outage(server, asked.outages))
        for what, (count, trouble) in troubles.items():
            for provider in (asked.provider or PROVIDERS) if count else ():
                name = f"{provider}_{what.replace(' ', '_').replace('-', '')}"
                address = server.database(name) if server and journal == "postgresql" else None
                yield (
                    f"{provider} on {journal}",
                    what,
                    lambda a=address, p=provider, w=what, t=trouble: proof(p, asked.jobs, w, t, a),
                )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
