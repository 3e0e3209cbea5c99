"""What a full, locked, closed or damaged disk costs: a part of the proof; the whole of it is slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from faults import disks
from faults.troubles import Trial, full_disks, other_troubles, stand_ins

# One of each write; the others differ in where in it the disk ran full.
FULL = (
    "journal: the same, at its commit",
    "journal: from `accepted` on",
    "spool",
    "spool and spare folder",
    "target file",
    "sidecar",
    "sidecar alone",
    "home: read-only, with a journal",
)
OTHER = (
    "journal: locked by another program",
    "journal: cut in half",
    "journal: no SQLite file",
    "home: it is a file",
)
LIMITED = ("every file, at the commit before paying", "every file, from `saved` on")


def _some(trials: Callable[[], list[Trial]], names: tuple[str, ...]) -> list[Trial]:
    found = [trial for trial in trials() if trial.write in names]
    assert len(found) == len(names)
    return found


def _kept(trial: Trial) -> None:
    outcome = disks.try_out(trial)
    if outcome is None:
        pytest.skip("no small disk may be mounted here")
    assert not outcome.broken, "\n".join(outcome.broken)


@pytest.mark.parametrize("trial", _some(full_disks, FULL), ids=FULL)
def test_a_full_disk_is_refused_before_paying_and_loses_nothing_after(trial: Trial) -> None:
    """Before the paid submit an error, after it the picture or the way to it."""
    _kept(trial)


@pytest.mark.parametrize("trial", _some(other_troubles, OTHER), ids=OTHER)
def test_a_journal_that_is_locked_or_damaged_is_told_and_left_alone(trial: Trial) -> None:
    """What is no journal is an error before paying, and stays as it is."""
    _kept(trial)


@pytest.mark.parametrize("trial", _some(stand_ins, LIMITED), ids=LIMITED)
def test_a_limit_stands_in_for_a_full_disk(trial: Trial) -> None:
    """Where no disk can be mounted, files that cannot grow show the same."""
    _kept(replace(trial, provider="vtrix"))


@pytest.mark.slow
def test_the_whole_proof_of_disks() -> None:
    """Every write of a job on every disk that it uses, for both providers."""
    text, broken = disks.table()
    assert not broken, "\n".join([text, *broken])
