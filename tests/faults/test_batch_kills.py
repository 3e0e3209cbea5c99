"""A batch whose file is edited, whose clock jumps or whose disk is full, killed on the way or not."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest
from faults.disks import small_disks
from faults.providers import KINDS
from faults.troubles import DISKS
from faults.verdicts import judge, marked
from faults.victim import FILLER
from faults.workers import kills
from faults.workers_crew import FILE, Crew, crew_of

from unified_flux.sandbox import drawing

CLOCK = Path(__file__).with_name("workers_clock.py")
JOBS = 24


def _judged(crew: Crew, allowed: frozenset[str] = frozenset()) -> None:
    tellers = crew.tellers()
    unknown = {key: phase for key, phase in crew.scene.phases().items() if phase == "unknown"}
    verdicts = judge(crew.scene, crew.cases, unknown, tellers)
    assert not [one for one in verdicts if set(one.faults) - allowed]
    assert all(one.end in {"in hand", "unknown"} for one in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize(("provider", "journal"), [("rivya", "SQLite"), ("vtrix", "PostgreSQL")])
def test_a_clock_that_jumps_pays_nothing_twice(
    provider: str, journal: str, request: pytest.FixtureRequest
) -> None:
    """Hours ahead and back, while processes die: who cannot tell a submit's age does not send it again."""
    address = request.getfixturevalue("shared") if journal == "PostgreSQL" else None
    with crew_of(provider, JOBS, address) as crew:
        crew.program = (str(CLOCK),)
        with crew:
            kills(3)(crew)
            crew.settle()
        # The key of a submit that seems to be hours old may be forgotten: that is asked, not tried.
        _judged(crew, frozenset({"needless unknown"}))


@pytest.mark.slow
@pytest.mark.parametrize("provider", KINDS)
def test_a_file_that_is_edited_between_runs(provider: str) -> None:
    """A killed run, some lines edited, another run: what was paid stays, what changed is paid anew."""
    with crew_of(provider, JOBS, None) as crew:
        crew.place = "out/{id}-{job}.png"
        with crew:
            kills(1)(crew)
        path = crew.scene.folder / FILE
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in (*lines[:3], *lines[-3:]):
            line["prompt"] += " in snow"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with crew:
            crew.settle()
        # What a line asked for before it was edited no line asks for now; it is paid all the same.
        crew.scene.run("recover")
        rows = crew.scene.rows()
        tasks = [task for found in crew.scene.accepted().values() for task in found]
        assert {str(row.phase) for row in rows} <= {"saved", "unknown", "cancelled"}
        assert len({task.picture.prompt for task in tasks}) == len(tasks) > JOBS
        there = {one.read_bytes() for one in crew.scene.out.glob("*.png")}
        missing = {task.picture.prompt for task in tasks if drawing.draw(task.picture) not in there}
        unknown = {row.request["prompt"] for row in rows if row.phase == "unknown"}
        assert missing <= unknown
        assert provider == "vtrix" or not unknown
        asked = {line["prompt"] for line in lines}
        assert asked <= {task.picture.prompt for task in tasks} | unknown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "disk", "point", "ends"),
    [
        # What does not go into the spool goes into a spare folder; the rest of a log may be enough.
        ("rivya", "home", "before sending 3", {1, 9, 10}),
        ("vtrix", "home", "before accepted 3", {0, 1, 9, 10}),
        ("rivya", "spool", "before fetch 3", {0, 1, 9, 10}),
        ("vtrix", "out", "before link in out .png 3", {1, 9, 10}),
    ],
)
def test_a_disk_that_is_full_in_the_midst_of_a_batch(
    provider: str, disk: str, point: str, ends: set[int]
) -> None:
    """The run comes through or says so; with room again the same command brings the rest, and pays none twice."""
    with small_disks() as scene, patch.object(drawing, "draw", marked):
        if scene is None:
            pytest.skip("no small disk may be mounted here")
        crew = Crew(scene=scene, provider=provider, jobs=8)
        crew.write()
        full = {point: f"fill:{scene.folder / DISKS[disk]}"}
        ended = scene.watched(full, *crew.command())
        assert point in scene.points()
        assert ended.returncode in ends
        assert "Traceback" not in ended.stderr
        scene.view(scene.folder / DISKS[disk] / FILLER).unlink()
        scene.run(*crew.command())
        # A picture may have come while nothing could be written about it: its job is unknown then.
        _judged(crew, frozenset({"journal behind"} if disk == "home" else ()))
