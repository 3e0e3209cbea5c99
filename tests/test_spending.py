"""The journal's sums of money: whatever happens to jobs, they equal what the jobs come to, exactly."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from faults.bookkeeping import CREDITS, START, Books, paid
from faults.ledger import DAY, NANO, astray, kept
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from unified_flux import Charge, Job, Money
from unified_flux.effects import Accepted, Saved, Settled
from unified_flux.errors import Charged, InvalidRequest, OutcomeUnknown, ProviderError
from unified_flux.journal import Journal, sqlite, tables
from unified_flux.journal.spending import GROUPS
from unified_flux.limits import Limit, Period
from unified_flux.money import Basis
from unified_flux.wire import Phase

from books import PICTURE, billed, quoted, record, sent  # isort: skip
from postgres import Postgres, looking  # isort: skip


class TestBooks(Books.TestCase):  # type: ignore[name-defined,misc]
    """Any facts in any order, of two processes, leave sums that equal the jobs, within every limit."""

    settings = settings(
        derandomize=True, deadline=None, database=None, max_examples=80, stateful_step_count=40
    )


def test_any_facts_leave_the_same_sums_in_postgresql(postgres: Postgres) -> None:
    """The same where many machines share them."""

    class Shared(Books):
        place: Path | str = ""

        def __init__(self) -> None:
            super().__init__()
            for journal in self.journals:
                journal.close()
            self.file.close()
            self.place = postgres.emptied()
            self.journals = [self._opened(), self._opened()]
            self.journals[0].jobs({})
            self.file = looking(self.place)

        def _opened(self) -> Journal:
            return Journal(self.place or self.folder, clock=lambda: self.now / 1000)

    few = settings(
        derandomize=True, deadline=None, database=None, max_examples=4, stateful_step_count=40
    )
    run_state_machine_as_test(Shared, settings=few)


@pytest.fixture
def journal(place: Path | str) -> Iterator[Journal]:
    with contextlib.closing(Journal(place)) as one:
        yield one


def sums(
    journal: Journal, by: str = "provider", **how: Any
) -> list[tuple[str, str, int, str | None]]:
    """Group, outcome, jobs and money of a report."""
    return [
        (one.group, one.outcome, one.jobs, f"{one.money.amount:f}" if one.money else None)
        for one in journal.spending.sums(by, **how)
    ]


def running(journal: Journal, charge: Charge, price: str = "0.04", unit: str = "USD") -> Job:
    """A job that its provider has taken, with its first word on money."""
    one = sent(journal, record(id="job1", quote=quoted(price, unit)))
    job = Job(provider="rivya", model=one.model, id="task_1", charge=charge)
    journal.keep(Accepted(Phase.ACCEPTED, job, id="job1"))
    return job


def exact_sums(place: Path | str, count: int) -> None:
    """So many bills with 19 digits each, in one day, of two units, with and without tags."""
    with contextlib.closing(Journal(place)) as journal:
        row = tables.new_row(record()) | {"phase": "saved", "charged": "yes", "prepared_at": START}
        row |= {"charge_basis": "billed"}
        wanted: dict[tuple[str, str], int] = defaultdict(int)

        def rows() -> Iterator[dict[str, Any]]:
            for number in range(count):
                nano = 9_223_372_036_854_775_807 - 1_000_003 * number
                unit, tags = ("USD", CREDITS)[number % 2], ('["a"]', "[]")[number % 3 == 0]
                wanted[unit, tags] += nano
                yield row | {
                    "id": f"{number}",
                    "charge_nano": nano,
                    "charge_unit": unit,
                    "tags": tags,
                }

        names = [*row, "charge_nano", "charge_unit"]
        places = ", ".join(f":{name}" for name in names)
        insert = f"INSERT INTO jobs ({', '.join(names)}) VALUES ({places})"
        journal.jobs({})
        with contextlib.closing(looking(place)) as other, other:
            other.executemany(insert, rows())
        told: dict[str, Fraction] = defaultdict(Fraction)
        for one in journal.spending.sums("provider"):
            assert one.money is not None
            told[one.money.unit] += Fraction(one.money.amount)
        tagged = {
            one.money.unit: Fraction(one.money.amount)
            for one in journal.spending.sums("tag")
            if one.money and one.group == "a"
        }
    for unit in ("USD", CREDITS):
        assert told[unit] == Fraction(wanted[unit, "[]"] + wanted[unit, '["a"]'], NANO)
        assert tagged[unit] == Fraction(wanted[unit, '["a"]'], NANO)
    assert sum(wanted.values()) > 2**63
    assert float(told["USD"]) != told["USD"]


def test_sums_of_many_rows_are_exact(place: Path | str) -> None:
    """Thousands of bills of 19 digits, which no float holds and whose sum no 64 bits do, add up to the last."""
    exact_sums(place, 20_000 if isinstance(place, Path) else 1_000)


@pytest.mark.slow
def test_sums_of_a_million_rows_are_exact(tmp_path: Path) -> None:
    """The same with a million."""
    exact_sums(tmp_path, 1_000_000)


REFUSED = ProviderError("no")
CHARGED = ProviderError("failed", charged=Charged.YES)
PERHAPS = ProviderError("failed", charged=Charged.MAYBE)


@pytest.mark.parametrize(
    ("first", "phase", "last", "error", "counts"),
    [
        (None, Phase.DONE, "0.02", None, ("done", "0.02")),
        (None, Phase.DONE, "0.07", None, ("done", "0.07")),
        (None, Phase.DONE, "0", None, ("done", "0")),
        (None, Phase.DONE, None, None, ("done", "0.04")),
        (None, Phase.DONE, "-1", None, ("done", "0.04")),
        (None, Phase.DONE, "0.0000000001", None, ("done", "0.04")),
        (None, Phase.DONE, "99999999999", None, ("done", "0.04")),
        ("0.07", Phase.FAILED, "0", REFUSED, None),
        ("0.07", Phase.FAILED, "0.03", CHARGED, ("failed", "0.03")),
        ("0.07", Phase.FAILED, None, PERHAPS, ("failed", "0.04")),
    ],
)
def test_a_bill_takes_the_place_of_what_was_reserved(
    journal: Journal,
    first: str | None,
    phase: Phase,
    last: str | None,
    error: ProviderError | None,
    counts: tuple[str, str] | None,
) -> None:
    """Lower or higher; what is no price leaves the reservation, and a refund leaves nothing."""
    running(journal, paid(first, "USD", Basis.RESERVED))
    job = Job(provider="rivya", id="task_1", charge=paid(last, "USD", Basis.BILLED))
    urls = ("https://pictures.example/1.png",)
    journal.keep(Settled(phase, job, id="job1", urls=urls, error=error))
    journal.release(["job1"])
    assert sums(journal) == ([("rivya", counts[0], 1, counts[1])] if counts else [])


def test_a_later_bill_takes_the_place_of_an_earlier_one(journal: Journal) -> None:
    """A job that is asked about once more, such as by `rescue`, counts as its last answer says."""
    running(journal, paid(None, "USD", Basis.RESERVED))
    for amount in ("0.333333333", "0.000000007", "9000000000.000000001"):
        job = Job(provider="rivya", id="task_1", charge=paid(amount, "USD", Basis.BILLED))
        urls = ("https://pictures.example/1.png",)
        journal.keep(Settled(Phase.DONE, job, id="job1", urls=urls))
        journal.keep(Saved(Phase.SAVED, job, id="job1", blobs=(PICTURE,)))
        assert sums(journal) == [("rivya", "done", 1, amount)]


@pytest.mark.parametrize(
    ("said", "counts"), [(None, "0.04"), ("0", "0.04"), ("0.03", "0.04"), ("0.05", "0.05")]
)
@pytest.mark.parametrize("basis", [Basis.RESERVED, Basis.BILLED])
def test_a_running_job_counts_no_less_than_was_reserved(
    journal: Journal, said: str | None, counts: str, basis: Basis
) -> None:
    """A first figure that is too low, such as a cost of 0 so far, makes no room for other jobs."""
    running(journal, paid(said, "USD", basis))
    assert sums(journal) == [("rivya", "running", 1, counts)]


def test_what_is_forgotten_stays_counted(journal: Journal) -> None:
    """Purging takes jobs, not what they cost; a job that then gets their number counts for itself."""
    billed(journal, "0.333333333", "USD")
    assert journal.purge(2**50) == 1
    assert journal.jobs({}) == []
    assert sums(journal) == [("rivya", "done", 1, "0.333333333")]
    billed(journal, "0.000000007", "USD")
    assert sums(journal) == [("rivya", "done", 2, "0.33333334")]


def test_a_second_submit_counts_today(place: Path | str) -> None:
    """The first stays as unknown and the job keeps its day, so today's sum must have one of the two."""
    now = [START]
    with contextlib.closing(Journal(place, clock=lambda: now[0] / 1000)) as journal:
        one = sent(journal, record(id="job1", quote=quoted("0.04")))
        lost = OutcomeUnknown("reset", charged=Charged.MAYBE)
        journal.keep(Settled(Phase.UNKNOWN, id="job1", error=lost))
        now[0] += DAY
        journal.submit_again(one, None)
        job = Job(provider="rivya", id="task_1", charge=paid("0.05", "USD", Basis.BILLED))
        journal.keep(Accepted(Phase.ACCEPTED, job, id="job1"))
        journal.keep(Settled(Phase.DONE, job, id="job1", urls=("https://pictures.example/1.png",)))
        journal.keep(Saved(Phase.SAVED, job, id="job1", blobs=(PICTURE,)))
        assert sums(journal, "day") == [
            ("2024-10-04", "done", 1, "0.05"),
            ("2024-10-05", "unknown", 1, "0.04"),
        ]


def test_days_are_those_of_utc(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A millisecond before midnight and midnight are two days, wherever this machine is."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    now = [START - 1]
    with contextlib.closing(Journal(place, clock=lambda: now[0] / 1000)) as journal:
        billed(journal, "1", "USD")
        now[0] = START
        billed(journal, "2", "USD")
        both = [("2024-10-03", "done", 1, "1"), ("2024-10-04", "done", 1, "2")]
        assert sums(journal, "day") == both
        assert sums(journal, "day", since=START) == both[1:]
        assert sums(journal, "day", since=START - 1) == both


PHASES = ("prepared", "sending", "accepted", "done", "saved", "refused", "failed", "unknown", "cancelled")  # fmt: skip


def version_1(path: Path) -> int:
    """A journal as the first version wrote it, with a job in each state; how many jobs those are."""
    old = sqlite.SQLite(path, tables.MIGRATIONS[:1], 1.0)
    old.read("SELECT 1")
    old.close()
    one = record()
    later = ("tags", "project", "quote_kind", "quote_source", "quote_as_of", "reserve_nano")
    row = {name: value for name, value in tables.new_row(one).items() if name not in later}
    row |= {"quote_nano": None, "quote_unit": None, "quote_basis": None}
    count = 0
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        for phase in PHASES:
            for charged in ("no", "maybe", "yes"):
                for nano in (None, 0, 4_000_000_000, 333_333_333):
                    job = row | {
                        "number": count,
                        "id": f"job{count}",
                        "phase": phase,
                        "charged": charged,
                        "charge_nano": nano,
                        "charge_unit": None if nano is None else CREDITS,
                        "charge_basis": "unknown" if nano is None else "billed",
                        "prepared_at": START + count * DAY // 7,
                        "sandbox": count % 2,
                    }
                    for table, columns in (
                        ("jobs", job),
                        ("requests", {"number": count} | tables.words(one)),
                    ):
                        names = ", ".join(columns)
                        places = ", ".join(f":{name}" for name in columns)
                        other.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", columns)
                    count += 1
    return count


def test_a_journal_of_the_first_version_gets_its_sums(tmp_path: Path) -> None:
    """Jobs in every phase, charged or not, are summed up exactly, and go on being so."""
    path = tmp_path / "journal.db"
    count = version_1(path)
    with contextlib.closing(Journal(tmp_path)) as journal:
        assert len(journal.jobs({})) == count
        with contextlib.closing(sqlite3.connect(path)) as other:
            assert astray(other) is None
            assert kept(other)
            for id in [row["id"] for row in journal.open_jobs()]:
                with contextlib.suppress(InvalidRequest):
                    journal.resolve(id, charged=True)
            assert astray(other) is None
    assert len(list(tmp_path.glob("journal-version-1-*.db"))) == 1


def test_a_journal_that_an_older_program_still_writes_keeps_its_sums(tmp_path: Path) -> None:
    """One that had the file open when it was led forwards knows none of this; the triggers do."""
    version_1(tmp_path / "journal.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as older:
        older.execute("SELECT * FROM jobs").fetchone()
        with contextlib.closing(Journal(tmp_path)) as journal:
            journal.jobs({})
            older.execute(
                "UPDATE jobs SET phase = 'saved', charged = 'yes', charge_nano = 7,"
                " charge_unit = 'USD', charge_basis = 'billed'"
            )
            older.commit()
            assert astray(older) is None
            assert sum(one.jobs for one in journal.spending.sums("provider")) == 54


def test_what_is_not_settled_is_found_by_an_index(tmp_path: Path) -> None:
    """No limit and no report looks through the jobs: sums are read, and the few that are open."""
    asked: list[str] = []
    with contextlib.closing(Journal(tmp_path)) as journal:
        journal.jobs({})
        connection = journal._database._connection()
        connection.set_trace_callback(asked.append)
        limit = Limit(name="l", most=Money(Decimal(9), "USD"), period=Period.MONTH, source="here")
        journal.spending.spent(limit)
        journal.spending.models()
        for by in GROUPS:
            list(journal.spending.sums(by))
        connection.set_trace_callback(None)
        for query in asked:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            reads = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
            tables_ = [step for step in reads if "VIRTUAL TABLE" not in step]
            assert tables_
            for step in tables_:
                assert "jobs_open" in step or step.split()[1] in {"spending", "tagged", "one"}, step
