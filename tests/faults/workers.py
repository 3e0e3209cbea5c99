"""Many workers on one batch, killed, frozen or cut off from their database at random moments.

    python tests/faults/workers.py --jobs 2000 --kills 100

prints a line for each provider and each journal. Two processes work all the time: `batch run` twice on
one file and one SQLite journal, or two `worker` on a queue in PostgreSQL. Each that ends is started
anew. At the end every line is judged against the emulators' books, as `verdicts` says.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.providers import KINDS
from faults.verdicts import Verdict, judge
from faults.workers_crew import LEASE, Crew, crew_of
from postgres import Postgres, programs

from unified_flux.errors import UnifiedFluxError

AWAY = 6.0
COLUMNS = ("provider", "journal", "jobs", "what", "times", "pictures", "submits heard",
           "paid submits", "lost", "double", "flagged", "other faults", "seconds")  # fmt: skip

# What happens to a crew.
Trouble = Callable[[Crew], None]


def kills(count: int, seed: int = 5) -> Trouble:
    """`kill -9` at random moments of the work, each time of the one that has lived longer.

    The other may still be starting, and a death then would prove little.
    """
    chance = random.Random(seed)

    def happen(crew: Crew) -> None:
        for turn, accepted in enumerate(
            sorted(chance.choices(range(crew.jobs * 9 // 10), k=count))
        ):
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


def proof(provider: str, jobs: int, what: str, trouble: Trouble, address: str | None = None) -> Outcome:  # fmt: skip
    """A batch under one trouble, judged line by line."""
    with crew_of(provider, jobs, address) as crew:
        begun = time.monotonic()
        with crew:
            trouble(crew)
            crew.settle()
        seconds = time.monotonic() - begun
        tellers = crew.tellers()
        scene = crew.scene
        phases = {place: phase for place, phase in scene.phases().items() if phase == "unknown"}
        paid = crew.accepted()
        verdicts = tuple(judge(scene, crew.cases, phases, tellers))
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
    parser.add_argument("--provider", action="append", choices=KINDS)
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
            for provider in (asked.provider or KINDS) if count else ():
                name = f"{provider}_{what.replace(' ', '_').replace('-', '')}"
                address = server.database(name) if server and journal == "postgresql" else None
                yield (
                    f"{provider} on {journal}",
                    what,
                    lambda a=address, p=provider, w=what, t=trouble: proof(p, asked.jobs, w, t, a),
                )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
