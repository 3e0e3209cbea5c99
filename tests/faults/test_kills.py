"""What `kill -9` and Ctrl-C cost: a part of the proof; the whole of it is slow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

import pytest
from faults import kills
from faults.kills import PAIR, PLAIN, SAME, Run
from faults.tally import Tally
from faults.verdicts import stage

# One step in each phase, and what lies between the steps that cost money.
STEPS = (
    "before sending 1",
    "after submit 1",
    "after accepted 1",
    "before link in out .png 1",
    "before link in out .json 1",
)


def _kept(tally: Tally, jobs: int) -> None:
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.total("jobs") == jobs, tally.markdown()
    assert not sum(tally.total(name) for name in ("lost", "double", "wrong charge", "other"))


def test_a_process_that_dies_at_a_step_has_paid_once_and_lost_nothing() -> None:
    """After `kill -9`, `recover` brings what was accepted, or calls it unknown and says so."""
    rivya, *others = PLAIN
    # What follows acceptance is the same for all.
    places = [(rivya, point) for point in STEPS]
    places += [(one, point) for one in others for point in STEPS[1:3]]
    _kept(kills.boundaries(places), len(STEPS) + 8)


def test_one_of_two_pictures_that_dies_beside_the_other() -> None:
    """Two pictures of one command are two jobs: each is brought or unknown, whatever the other was."""
    _kept(kills.boundaries([(PAIR, "before accepted 1")]), 2)


def test_a_recover_that_dies_is_made_good_by_the_next() -> None:
    """A second death loses nothing either, and pays nothing."""
    first = {"before accepted 1": "kill"}
    steps = ("before submit 1", "before saved 1")
    run = Run(provider="rivya", ends=first)
    _kept(kills.second_deaths([(run, point) for point in steps]), 2)


def test_an_unknown_job_is_told_by_the_recover_after_the_one_that_died() -> None:
    """A `recover` that dies right after it wrote `unknown` down leaves nobody without a word."""
    run = Run(provider="vtrix", ends={"before accepted 1": "kill"})
    _kept(kills.second_deaths([(run, "after commit 2")]), 1)


def test_the_same_command_again_goes_on_with_the_job_of_the_dead_one() -> None:
    """With an id of its own, a command that died is gone on with by running it again."""
    rivya, vtrix = SAME
    places = [
        (rivya, "before accepted 1"),
        (vtrix, "before accepted 1"),
        (vtrix, "before delivered 1"),
    ]
    _kept(kills.repetitions(places), 3)


@pytest.mark.parametrize("step", ["after submit 1", "before fetch 1", "before link in out .json 1"])
def test_an_interrupt_tells_what_goes_on(step: str) -> None:
    """After Ctrl-C the command that it printed brings the picture, sidecar and all."""
    task = partial(kills.interrupted, PLAIN[1], step)
    _kept(kills.counted("Ctrl-C", {step: task}), 1)


def test_an_interrupt_tells_of_a_submit_that_is_never_heard_of() -> None:
    """Whoever stops two pictures is told of the one that became unknown while it was awaited."""
    _kept(kills.counted("Ctrl-C", {"never heard": kills.interrupted_unheard}), 2)


def test_a_run_of_fifty_that_dies_at_any_moment() -> None:
    """A process with eight jobs under way dies, and each of the fifty is told as what it is."""
    task = partial(kills.killed_any_time, 1, longest=1.0)
    _kept(kills.counted("kill -9", {"at random": task}), kills.JOBS)


def test_recover_beside_a_living_run() -> None:
    """`recover` takes what a dead process left, and nothing of a living one in the same home."""
    _kept(kills.together(), 2 * kills.JOBS)


def test_a_sum_of_money_that_is_not_its_jobs_would_be_seen() -> None:
    """Whoever looks at a journal here looks at its sums too: one nano-unit more is a broken promise."""
    with stage() as scene:
        _, arguments = scene.generate("rivya")
        assert scene.run(*arguments).returncode == 0
        assert len(scene.rows()) == 1
        with closing(sqlite3.connect(scene.home / "journal.db")) as journal, journal:
            journal.execute("UPDATE spending SET nano = nano + 1")
        with pytest.raises(AssertionError, match="the journal's money"):
            scene.rows()


@pytest.mark.slow
def test_the_whole_proof_of_kills() -> None:
    """Every step of every command, 200 random moments: nothing lost, nothing paid twice."""
    text, broken = kills.table()
    assert not broken, "\n".join([text, *broken])
