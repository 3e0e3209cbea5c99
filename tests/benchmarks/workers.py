"""Workers on a queue in a real PostgreSQL: 2,000 waiting jobs in one, and a limit that two of them keep.

The provider is `fast_peer.py`, which counts jobs that were submitted and that no poll has seen done.
It knows no idempotency keys: a job whose submit was cut off by a kill is flagged, and stays under way
at the provider for ever. Workers are what `tests/faults` has: those that are killed are started anew.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import HERE, Row, scratch
from many import Found, counters, peer
from watching import Seen, command, environment, watching

sys.path.append(str(HERE.parent))

from faults.workers import kills, postgres
from faults.workers_crew import Workers
from postgres import Postgres

WAITING, LASTING = 2000, 90.0
JOBS, SECONDS, LIMIT, KILLS = 500, 2.0, 50, 5
# The first poll comes when a job is done; one that is not is asked for again soon.
POLLS = ("2.05", "0.25")
IDEAL = JOBS * SECONDS / LIMIT
SETTINGS = """lease = 2.0
[throttle.vtrix]
in_flight = {limit}
"""
_UP = "SELECT count(*) FROM unified_flux_queue.procrastinate_workers"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where workers live, and who is asked by them."""

    folder: Path
    base: str
    queue: str

    @property
    def out(self) -> Path:
        """Where pictures go."""
        return self.folder / "out"

    @property
    def variables(self) -> dict[str, str]:
        """The provider and the queue."""
        key = {"VTRIX_API_KEY": "benchmark", "VTRIX_BASE_URL": self.base}
        return {**key, "UNIFIED_FLUX_QUEUE": self.queue}

    @property
    def environment(self) -> dict[str, str]:
        """What a worker is given."""
        return environment(self.folder, **self.variables)


@dataclass(kw_only=True)
class Team(Workers):
    """Workers that are up before the batch is; a context manager.

    Attributes:
        count: How many they are.
        seen: Each of those that were there at the beginning, from outside.
    """

    scene: Scene  # type: ignore[assignment]
    count: int = 2
    at_once: int = LIMIT
    seen: list[Seen] = field(default_factory=list)
    _watched: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def command(self) -> list[str]:
        """The next worker."""
        return ["worker", "-q", "--concurrency", str(self.at_once)]

    def accepted(self) -> int:
        """Submits that the provider took."""
        return int(counters(self.scene.base)["submits"])

    def __enter__(self) -> Team:
        self._processes = [self._started() for _ in range(self.count)]
        self.seen = [self._watched.enter_context(watching(one.pid)) for one in self._processes]
        end = time.monotonic() + 60
        while self._up() < self.count:
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)
        command(self.scene.folder, "batch", "submit", *self.asking, **self.scene.variables)
        return self

    def __exit__(self, *more: object) -> None:
        self._watched.close()
        super().__exit__(*more)

    def told(self) -> Counter[str]:
        """How the lines ended, as the workers' results say; a line that two tell of counts once."""
        ends = {}
        for path in self.scene.out.glob("*.results-*.jsonl"):
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # cut off by a kill
                    found = json.loads(line)
                    ends[found["line"]] = found["status"]
        return Counter(ends.values())

    def _up(self) -> int:
        import psycopg

        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self.address, connect_timeout=5) as connection,
        ):
            (found,) = connection.execute(_UP).fetchone() or (0,)
            return int(found)
        return 0


@contextmanager
def team(server: Postgres, base: str, name: str, *, limit: int, **more: int) -> Iterator[Team]:
    """A team that has not begun."""
    address = server.database(name)
    with scratch(keep=True) as folder:
        scene = Scene(folder=folder, base=base, queue=address)
        scene.out.mkdir()
        (folder / "unified-flux.toml").write_text(SETTINGS.format(limit=limit))
        program = (str(HERE / "workers_tasks.py"), *POLLS)
        found = Team(scene=scene, provider="vtrix", address=address, program=program, **more)
        found.write()
        yield found


def finished(crew: Team, kill: int = 0) -> Found:
    """A team's whole work; what the provider counted."""
    with crew:
        if kill:
            kills(kill)(crew)
        crew.settle()
    seen, told = counters(crew.scene.base), crew.told()
    print(f"  {seen} {told} {crew.seen} killed {crew.times} times", file=sys.stderr)
    assert told["done"] + told["unknown"] == crew.jobs, told
    return {**seen, "unknown": told["unknown"]}


def waiting(server: Postgres) -> Iterator[Row]:
    """One worker with all of a batch under way."""
    more = {"jobs": WAITING, "count": 1, "at_once": WAITING, "limit": 2 * WAITING}
    with peer(LASTING, 0.0) as base, team(server, base, "waiting", **more) as crew:
        # These jobs take as long as a card knows of: it is asked as it advises.
        crew.program = ("-m", "unified_flux")
        found = finished(crew)
    (seen,) = crew.seen
    what = f"one worker, {found['most']:.0f} jobs under way of {WAITING}"
    assert found["most"] == WAITING, found
    yield Row(what=f"{what}: memory", ours=seen.peak, unit="MB", target=200, absolute=True)
    yield Row(what="the same, threads", ours=seen.threads, unit="", target=40, absolute=True)


def limited(server: Postgres) -> Iterator[Row]:
    """Two workers under a limit for both; then the same, and one after the other is killed."""
    rule = f"{JOBS} jobs of {SECONDS:g} s, at most {LIMIT} at once"
    with peer(SECONDS, 0.0) as base, team(server, base, "limited", limit=LIMIT, jobs=JOBS) as crew:
        found = finished(crew)
    yield Row(
        what=f"two workers, {rule}: seconds / the ideal", ours=found["took"], baseline=IDEAL,
        unit="s", ratio=found["took"] / IDEAL, target=1.4,
    )  # fmt: skip
    yield most(found, "the same, most at once as the provider counts")
    with peer(SECONDS, 0.0) as base, team(server, base, "killed", limit=LIMIT, jobs=JOBS) as crew:
        found = finished(crew, KILLS)
    yield most(found, f"the same with {crew.times} times kill -9, most at once")
    yield Row(what="the same, submits of what was submitted before", ours=found["again"], unit="", target=0, absolute=True)  # fmt: skip
    yield Row(what="the same, jobs that are flagged as uncertain", ours=found["unknown"], unit="")
    yield Row(what="the same, seconds / the ideal", ours=found["took"], baseline=IDEAL, unit="s", ratio=found["took"] / IDEAL)  # fmt: skip


def most(found: Found, what: str) -> Row:
    """The limit, judged."""
    return Row(what=what, ours=found["most"], unit="", target=LIMIT, absolute=True)


def rows() -> Iterator[Row]:
    """Where PostgreSQL is installed."""
    with postgres() as server:
        if server is None:
            print("PostgreSQL is not installed: no worker was tried", file=sys.stderr)
            return
        yield from waiting(server)
        yield from limited(server)
