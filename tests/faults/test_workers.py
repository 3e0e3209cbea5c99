"""Two workers on one batch, in the midst of trouble: each line is paid once, and none is lost."""

from __future__ import annotations

import pytest
from faults.providers import KINDS
from faults.workers import Outcome, freezes, kills, outage, proof
from postgres import Postgres

JOBS = 90
KILLS = 6


def _kept(outcome: Outcome, jobs: int, times: int) -> None:
    assert not outcome.faults, "\n".join([outcome.row(), *outcome.faults])
    # One that had just ended by itself is no death.
    assert len(outcome.verdicts) == jobs, outcome.row()
    assert times - 1 <= outcome.times <= times, outcome.row()
    assert outcome.paid <= jobs
    # Whatever is not in hand is said to be unknown, and only where no key tells a repetition.
    assert outcome.of("in hand") + outcome.of("unknown") == jobs, outcome.row()
    assert outcome.provider == "vtrix" or outcome.of("in hand") == jobs == outcome.paid


@pytest.mark.slow
@pytest.mark.parametrize("provider", KINDS)
def test_two_runs_of_one_batch_on_one_journal_die_again_and_again(provider: str) -> None:
    """Two `batch run` share one SQLite file, one of them is killed, then the other, until all is done."""
    _kept(proof(provider, JOBS, "kill -9", kills(KILLS)), JOBS, KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("provider", KINDS)
def test_two_workers_of_one_queue_die_again_and_again(provider: str, shared: str) -> None:
    """What the dead had in hand another goes on with after their lease."""
    _kept(proof(provider, JOBS, "kill -9", kills(KILLS), shared), JOBS, KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("provider", KINDS)
def test_a_worker_that_is_frozen_past_its_lease_and_woken(provider: str, shared: str) -> None:
    """Its lines went to the other meanwhile; awake again it pays for none of them."""
    _kept(proof(provider, 60, "frozen", freezes(2), shared), 60, 2)


@pytest.mark.slow
@pytest.mark.parametrize("provider", KINDS)
def test_a_database_that_is_away_for_six_seconds(
    provider: str, shared: str, postgres: Postgres
) -> None:
    """Nothing is paid that cannot be written down, and what was accepted before is brought."""
    _kept(proof(provider, 60, "database away", outage(postgres), shared), 60, 1)
