"""The journal in PostgreSQL: lost connections, frozen processes, and what is said when it is not to be had."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from unified_flux import JournalError
from unified_flux.effects import Settled
from unified_flux.errors import Charged, OutcomeUnknown
from unified_flux.journal import Journal
from unified_flux.wire import Phase

from facts import accepted, done, intent, record, rows, saved  # isort: skip
from postgres import PASSWORD, Postgres  # isort: skip

psycopg = pytest.importorskip("psycopg", reason="the extra [batch] is not installed")


@pytest.fixture
def place(postgres: Postgres) -> str:
    """One of its databases, with nothing in it."""
    return postgres.emptied()


@pytest.fixture
def journal(place: str) -> Iterator[Journal]:
    """The journal there."""
    with contextlib.closing(Journal(place)) as one:
        yield one


# Lost connections.


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_transaction_whose_end_is_lost_is_made_once(
    when: str, journal: Journal, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the connection broke before it was kept or after: what adds up is added once."""
    one = record()
    journal.prepare([one])
    journal.keep(intent())
    journal.keep(
        Settled(Phase.UNKNOWN, id="job1", error=OutcomeUnknown("x", charged=Charged.MAYBE))
    )
    execute, broken = psycopg.Connection.execute, []

    def breaking(self: Any, query: Any, *values: Any, **how: Any) -> Any:
        if query != "COMMIT" or broken:
            return execute(self, query, *values, **how)
        broken.append(query)
        if when == "after":
            execute(self, query)
        self.close()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(psycopg.Connection, "execute", breaking)
    journal.submit_again(one, None)
    assert broken
    # The job itself, and the doubt about its first submit.
    assert rows(place, "SELECT sum(jobs) FROM spending WHERE outcome = 'unknown'") == [(2,)]


def test_broken_connections_lose_nothing_and_double_nothing(journal: Journal, place: str) -> None:
    """Every backend is killed six times while eight threads write: each fact is there once."""

    def kill() -> None:
        for _ in range(6):
            time.sleep(0.03)
            rows(
                place,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'unified-flux'",
            )

    def make(number: int) -> None:
        for turn in range(5):
            id = f"{number}-{turn}"
            journal.prepare([record(id)])
            for fact in (intent(id), accepted(id), done(id), saved(id)):
                journal.keep(fact)

    with ThreadPoolExecutor(9) as pool:
        killing = pool.submit(kill)
        list(pool.map(make, range(8)))
        killing.result()
    assert rows(place, "SELECT phase, count(*) FROM jobs GROUP BY 1") == [("saved", 40)]
    assert rows(place, "SELECT count(*) FROM events") == [(200,)]


def test_a_server_that_is_away_is_waited_for(place: str, postgres: Postgres) -> None:
    """A fact that is told meanwhile is kept when it is back, and nobody is taken for dead."""
    with (
        contextlib.closing(Journal(place, lease=2)) as one,
        contextlib.closing(Journal(place, lease=2)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        one.prepare([record()])
        one.keep(intent())
        other.jobs({})
        rows(place, "UPDATE owners SET beat_at = now() - interval '1 hour' RETURNING token")
        postgres.stop()
        try:
            keeping = pool.submit(one.keep, accepted())
            time.sleep(0.2)
            assert not keeping.done()
        finally:
            postgres.start()
        assert not other.claim("job1")
        keeping.result()
        assert other.get("job1").phase is Phase.ACCEPTED


def test_a_process_that_stops_in_the_middle_of_a_transaction_holds_nobody_up(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL takes the lock from it; once it goes on, its transaction is made anew."""
    from unified_flux.journal import postgres as database

    monkeypatch.setattr(database, "_SESSION", database._SESSION.replace("'10s'", "'100ms'"))
    stuck, woken = threading.Event(), threading.Event()
    with (
        contextlib.closing(Journal(place)) as one,
        contextlib.closing(Journal(place)) as other,
        ThreadPoolExecutor(1) as pool,
    ):

        def act(connection: Any) -> None:
            connection.execute("INSERT INTO writers VALUES ('stuck', 1, now())")
            stuck.set()
            assert woken.wait(30)
            connection.execute("UPDATE writers SET turn = turn + 1 WHERE token = 'stuck'")

        frozen = pool.submit(one._database.write, act)
        stuck.wait(10)
        other.prepare([record()], at_once=True)
        assert not frozen.done()
        woken.set()
        frozen.result()
    assert rows(place, "SELECT turn FROM writers WHERE token = 'stuck'") == [(2,)]


_FROZEN = """
import sys
sys.path.insert(0, sys.argv[2])
from facts import accepted, intent, record
from unified_flux import JournalError
from unified_flux.journal import Journal
journal = Journal(sys.argv[1], lease=0.8)
journal.prepare([record("waits"), record("left")], at_once=True)
journal.keep(intent("left"))
print("ready", flush=True)
sys.stdin.readline()
try:
    journal.keep(intent("waits"))
except JournalError as error:
    print(error.message)
journal.keep(accepted("left"))
journal.close()
"""


def test_a_process_that_was_frozen_past_its_lease_sends_nothing(place: str) -> None:
    """What another has taken over is no longer its to send; an answer that it still gets is kept."""
    command = [sys.executable, "-c", _FROZEN, place, str(Path(__file__).parent)]
    pipe = subprocess.PIPE
    with (
        contextlib.closing(Journal(place, lease=0.8)) as other,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert not other.claim("waits")
        process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 10
        while not other.claim("waits"):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert other.claim("left")
        other.keep(Settled(Phase.UNKNOWN, id="left", error=OutcomeUnknown("nobody knows")))
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate("\n", timeout=30)
        assert "waits is prepared and not this process's to send; nothing was sent" in told
        assert other.get("waits").phase is Phase.PREPARED
        assert other.get("left").phase is Phase.ACCEPTED
        assert other.get("left").job_id == "task_1"


def test_an_answer_that_comes_late_takes_nothing_back(place: str) -> None:
    """Where another has the picture already, the one who was taken for dead does not undo it."""
    with (
        contextlib.closing(Journal(place)) as one,
        contextlib.closing(Journal(place)) as other,
    ):
        one.prepare([record()])
        one.keep(intent())
        one.release(["job1"])
        assert other.claim("job1")
        for fact in (accepted(), done(), saved()):
            other.keep(fact)
        one.keep(accepted())
        assert other.get("job1").phase is Phase.SAVED


def test_many_may_open_an_empty_database_at_once(shared: str) -> None:
    """Whoever comes first makes the tables; everyone finds them whole."""
    journals = [Journal(shared) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        begun = [
            pool.submit(one.prepare, [record(f"job{number}")], at_once=True)
            for number, one in enumerate(journals)
        ]
        for one in begun:
            one.result()
    assert len(journals[0].jobs({})) == 6
    for journal in journals:
        journal.close()


# What is said when it is not to be had.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("CREATE SCHEMA unified_flux", "has a schema unified_flux of something else"),
        ("UPDATE unified_flux.journal_version SET number = 99", "newer unified-flux"),
    ],
)
def test_tables_that_are_not_to_be_understood_are_left_alone(
    change: str, says: str, shared: str
) -> None:
    """Another program's, or a later one's of ours: one sentence, and they stay as they are."""
    if change.startswith("UPDATE"):
        with contextlib.closing(Journal(shared)) as one:
            one.jobs({})
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'unified_flux'"
    with psycopg.connect(shared, autocommit=True) as own:
        own.execute(change.encode())
        before = own.execute(tables).fetchone()
        with pytest.raises(JournalError, match=says):
            Journal(shared).prepare([record()], at_once=True)
        assert own.execute(tables).fetchone() == before


@pytest.mark.parametrize(
    ("address", "says", "step"),
    [
        ("{0}", "the user or the password is not the one", "postgresql://USER:PASSWORD@HOST"),
        ("{1}/nowhere", "it has no such database", "createdb"),
        ("postgresql://me:hush@127.0.0.1:port/flux", "a port or an option", "HOST:5432/DATABASE"),
        ("postgresql://me:hush@127.0.0.1:99999/flux", "a port or an option", "HOST:5432/DATABASE"),
        ("postgresql://me:hush@127.0.0.1/flux?sslmode=x", "a port or an option", "HOST:5432"),
        ("postgresql://me:hush@127.0.0.1:1/flux", "cannot be reached", "Start it"),
        ("postgresql://me:hush@db.invalid/flux", "cannot be reached", "Start it"),
    ],
)
def test_a_server_that_lets_nobody_in_is_named_in_one_sentence(
    address: str, says: str, step: str, postgres: Postgres
) -> None:
    """Wrong password, no such database or port, nobody there: what is wrong and what to do, no password."""
    good = postgres.emptied()
    address = address.format(good.replace(PASSWORD, "hush"), good.rpartition("/")[0])
    with pytest.raises(JournalError, match=says) as caught:
        Journal(address, wait=0.1).prepare([record()], at_once=True)
    assert caught.value.next_step is not None
    assert step in caught.value.next_step
    assert "\n" not in caught.value.message
    assert not any(secret in str(caught.value) for secret in ("hush", PASSWORD))


@pytest.mark.parametrize(
    "address",
    [
        "http://me:hush@db.example/flux",
        "postgresql://me:hush@db.example",
        "postgresql://me:hush@db.example/flux?color=hush",
        "me:hush",
    ],
)
def test_what_is_no_address_is_told_at_once(address: str) -> None:
    """Before anything is connected to, with the form that it must have."""
    with pytest.raises(JournalError, match="no address that PostgreSQL takes") as caught:
        Journal(address)
    assert "postgresql://USER:PASSWORD@HOST:5432/DATABASE" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_without_psycopg_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, and the command that brings it."""
    monkeypatch.delitem(sys.modules, "unified_flux.journal.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalError, match="psycopg") as caught:
        Journal("postgresql://me:hush@db.example/flux")
    assert caught.value.next_step == "pip install 'unified-flux[batch]'"
    assert "hush" not in str(caught.value)
