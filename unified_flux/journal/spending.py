"""Money in the journal: what is spent or reserved, day by day, and what bills were like.

The table `spending` holds sums: one row for each day, provider, model, project, set of tags, outcome,
unit and basis. Triggers move a job's money between rows whenever the job changes, in the same
transaction, so the sums cannot differ from the jobs; and they stay when old jobs are purged. So
a limit is judged, and a report over a million jobs made, by reading a few rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from sqlite3 import Connection
from types import MappingProxyType
from typing import Any

from unified_flux.journal.database import Database, Row
from unified_flux.limits import Limit, Period, Spent
from unified_flux.money import Basis, Money, decimal_of
from unified_flux.pricing import Observed

DAY = 86_400_000
NANO = 10**9
# Bills older than this many jobs of a model say little about its price today.
LATEST = 50
# Jobs whose quote and bill are compared.
COMPARED = 1000
NO_MARKS: Mapping[str, tuple[Any, Any]] = MappingProxyType({})

_KEY = ("sandbox", "day", "provider", "model", "project", "tags", "outcome", "unit", "basis")
# A job's key in `spending`, from its own columns; those below are worked out by SQLite.
_OF_JOB = (
    "sandbox", "day", "provider", "model", "coalesce({0}.project, '')", "tags", "outcome",
    "cost_unit", "cost_basis",
)  # fmt: skip
_ADDED = (
    "project TEXT",
    "tags TEXT NOT NULL DEFAULT '[]'",
    "quote_kind TEXT",
    "quote_source TEXT",
    "quote_as_of TEXT",
    "reserve_nano INTEGER",
    f"day INTEGER GENERATED ALWAYS AS (prepared_at / {DAY}) VIRTUAL",
    "outcome TEXT GENERATED ALWAYS AS (CASE"
    " WHEN phase IN ('done', 'saved') THEN 'done'"
    " WHEN phase = 'prepared' THEN 'reserved'"
    " WHEN phase = 'cancelled' OR charged = 'no' THEN 'nothing'"
    " WHEN phase IN ('unknown', 'failed') THEN phase ELSE 'running' END) VIRTUAL",
    # Of a job that still runs a first figure may be too low: then what was reserved stays.
    "held INTEGER GENERATED ALWAYS AS (charge_nano IS NULL OR (phase = 'accepted'"
    " AND charge_unit IS quote_unit AND charge_nano < coalesce(reserve_nano, 0))) VIRTUAL",
    "cost_nano INTEGER GENERATED ALWAYS AS"
    " (CASE WHEN held THEN reserve_nano ELSE charge_nano END) VIRTUAL",
    "cost_unit TEXT GENERATED ALWAYS AS (CASE WHEN NOT held THEN charge_unit"
    " WHEN reserve_nano IS NOT NULL THEN quote_unit ELSE '' END) VIRTUAL",
    "cost_basis TEXT GENERATED ALWAYS AS (CASE WHEN NOT held THEN charge_basis"
    " WHEN reserve_nano IS NOT NULL THEN quote_basis ELSE 'unknown' END) VIRTUAL",
)


def _of(row: str) -> list[str]:
    return [name.format(row) if "{0}" in name else f"{row}.{name}" for name in _OF_JOB]


_MOVED = " OR ".join(
    f"{old} IS NOT {new}"
    for old, new in zip((*_of("OLD"), "OLD.cost_nano"), (*_of("NEW"), "NEW.cost_nano"), strict=True)
)
# Sums in whole units and billionths apart: no sum of either leaves SQLite's integers.
_COUNTED = """
    ON CONFLICT DO UPDATE SET jobs = jobs + 1, whole = whole + excluded.whole,
      nano = nano + excluded.nano
"""


def _parts(row: str, day: str | None = None) -> str:
    """The columns of a job's own row in `spending`, perhaps of another day."""
    key, cost = _of(row), f"coalesce({row}.cost_nano, 0)"
    key[_KEY.index("day")] = day or f"{row}.day"
    return f"{', '.join(key)}, 1, {cost} / {NANO}, {cost} % {NANO}"


_ADD = f"INSERT INTO spending SELECT {_parts('NEW')} WHERE NEW.outcome <> 'nothing' {_COUNTED};"
_TAKE = f"""
    UPDATE spending SET jobs = jobs - 1, whole = whole - coalesce(OLD.cost_nano, 0) / {NANO},
      nano = nano - coalesce(OLD.cost_nano, 0) % {NANO}
    WHERE OLD.outcome <> 'nothing'
      AND {" AND ".join(f"{k} = {v}" for k, v in zip(_KEY, _of("OLD"), strict=True))};
"""

MIGRATION = (
    *(f"ALTER TABLE jobs ADD COLUMN {column}" for column in _ADDED),
    """
    CREATE TABLE spending (
      sandbox INTEGER NOT NULL,
      day INTEGER NOT NULL,
      provider TEXT NOT NULL,
      model TEXT NOT NULL,
      project TEXT NOT NULL,
      tags TEXT NOT NULL,
      outcome TEXT NOT NULL,
      unit TEXT NOT NULL,
      basis TEXT NOT NULL,
      jobs INTEGER NOT NULL,
      whole INTEGER NOT NULL,
      nano INTEGER NOT NULL,
      PRIMARY KEY (sandbox, day, provider, model, project, tags, outcome, unit, basis)
    ) STRICT, WITHOUT ROWID
    """,
    f"""
    INSERT INTO spending SELECT {", ".join(_of("jobs"))}, count(*),
      sum(coalesce(cost_nano, 0) / {NANO}), sum(coalesce(cost_nano, 0) % {NANO})
    FROM jobs WHERE outcome <> 'nothing' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    """,
    f"CREATE TRIGGER spending_begins AFTER INSERT ON jobs BEGIN {_ADD} END",
    f"CREATE TRIGGER spending_moves AFTER UPDATE ON jobs WHEN {_MOVED} BEGIN {_TAKE} {_ADD} END",
    "CREATE INDEX jobs_billed ON jobs (sandbox, provider, model, number)"
    " WHERE charge_basis = 'billed' AND charge_nano IS NOT NULL AND phase IN ('done', 'saved')",
)

_SUMS = "sum(jobs) AS jobs, sum(whole) AS whole, sum(nano) AS nano"


def spent(connection: Connection, limit: Limit, now: int, *, sandbox: bool) -> list[Spent]:
    """What a limit counts that is spent or reserved already; the sandbox's money apart."""
    if limit.period is Period.CALL:
        return []
    first, last = _days(limit.period, now)
    tests = "sandbox = ? AND day BETWEEN ? AND ?"
    values: list[int | str] = [int(sandbox), first, last]
    if limit.counts is not None:
        tests, values = f"{tests} AND provider = ?", [*values, limit.counts]
    rows = connection.execute(
        f"SELECT unit, basis = 'unknown' AS unknown, {_SUMS} FROM spending WHERE {tests}"
        " GROUP BY 1, 2 HAVING sum(jobs) > 0",
        values,
    )
    return [Spent(row["unit"], _exact(row), row["jobs"] if row["unknown"] else 0) for row in rows]


def keep_doubt(connection: Connection, id: str, now: int) -> None:
    """A job of unknown outcome is submitted once more: what the first may have cost stays counted.

    It is counted today. The job keeps its day, and today's limits must see that two were paid.
    """
    connection.execute(
        f"INSERT INTO spending SELECT {_parts('jobs', '?')} FROM jobs WHERE id = ? {_COUNTED}",
        (now // DAY, id),
    )


def _days(period: Period, now: int) -> tuple[int, int]:
    """The first and last day that a period counts, since 1970."""
    today = now // DAY
    if period is Period.MONTH:
        day = datetime.fromtimestamp(now / 1000, UTC).day
        return today - day + 1, today
    return (today, today) if period is Period.DAY else (0, 2**40)


def _exact(row: Row) -> Fraction:
    return Fraction(row["whole"]) + Fraction(row["nano"], NANO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """One line of a report.

    Attributes:
        group: The provider, model, day, tag or project; the empty text where it has none.
        outcome: `done`, `running`, `reserved`, `failed` (and charged, or perhaps) or `unknown`.
        money: The sum, None where nobody knows what these cost.
    """

    group: str
    outcome: str
    jobs: int
    money: Money | None
    basis: Basis


GROUPS = {
    "provider": "provider",
    "model": "provider || '/' || model",
    "day": "day",
    "tag": "coalesce(tag.value, '')",
    "project": "project",
}


class Spending:
    """What a journal knows of money.

    Args:
        now: The time of day in milliseconds.
    """

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def sums(self, by: str, since: int = 0, *, sandbox: bool = False) -> Iterator[Sum]:
        """What was spent, by one of `GROUPS`; a job with several tags counts under each of them.

        Args:
            since: The first day (UTC) that counts, in milliseconds since 1970.
        """
        tags = " LEFT JOIN json_each(tags) AS tag ON true" if by == "tag" else ""
        rows = self._database.read(
            f"SELECT {GROUPS[by]} AS part, outcome, unit, basis, {_SUMS} FROM spending{tags}"
            " WHERE sandbox = ? AND day >= ? GROUP BY 1, 2, 3, 4 HAVING sum(jobs) > 0"
            " ORDER BY 1, 2, 3, 4",
            (int(sandbox), since // DAY),
        )
        for row in rows:
            known = row["basis"] != Basis.UNKNOWN
            yield Sum(
                group=_said_day(row["part"]) if by == "day" else row["part"],
                outcome=row["outcome"],
                jobs=row["jobs"],
                money=Money(decimal_of(_exact(row)), row["unit"]) if known else None,
                basis=Basis(row["basis"]),
            )

    def spent(self, limit: Limit, *, sandbox: bool = False) -> list[Spent]:
        """What a limit counts at this moment."""
        now = self._now()
        found: list[Spent] = self._database.look(lambda c: spent(c, limit, now, sandbox=sandbox))
        return found

    def models(self, *, sandbox: bool = False) -> list[tuple[str, str]]:
        """Provider and model of everything that was ever paid for."""
        rows = self._database.read(
            "SELECT DISTINCT provider, model FROM spending WHERE sandbox = ? AND jobs > 0",
            (int(sandbox),),
        )
        return [(row["provider"], row["model"]) for row in rows]

    def observed(
        self,
        provider: str,
        model: str,
        *,
        sandbox: bool = False,
        like: Mapping[str, tuple[Any, Any]] = NO_MARKS,
    ) -> Observed | None:
        """What a model's latest bills were, in the unit of the newest; None where there is none.

        Args:
            like: Count only pictures like this one: payload key → its value, and the default that
                holds where a payload says nothing.
        """
        rows = self._billed(provider, model, LATEST, sandbox=sandbox, like=like)
        if not rows:
            return None
        unit, newest = rows[0]["charge_unit"], rows[0]["prepared_at"]
        bills = sorted(row["charge_nano"] for row in rows if row["charge_unit"] == unit)
        half = len(bills) // 2
        return Observed(
            unit=unit,
            median=_nanos(Fraction(bills[half] + bills[-half - 1], 2)),
            low=_nanos(bills[0]),
            high=_nanos(bills[-1]),
            count=len(bills),
            newest=_said_day(newest // DAY),
            age=max(self._now() - newest, 0) // DAY,
        )

    def drift(self, provider: str, model: str, *, sandbox: bool = False) -> Drift | None:
        """Quotes against bills of a model's latest jobs; None where no job has both."""
        found = self._billed(provider, model, COMPARED, sandbox=sandbox)
        # A quote from earlier bills was never more than an estimate.
        rows = [row for row in found if row["quote_basis"] != Basis.OBSERVED]
        unit = rows[0]["charge_unit"] if rows else ""
        pairs = [
            (row["quote_nano"], row["charge_nano"])
            for row in rows
            if row["quote_nano"] is not None and row["quote_unit"] == row["charge_unit"] == unit
        ]
        if not pairs:
            return None
        quoted, billed = (Money(_nanos(sum(side)), unit) for side in zip(*pairs, strict=True))
        newest = [Money(_nanos(nanos), unit) for nanos in pairs[0]]
        return Drift(
            compared=len(pairs),
            differing=sum(one != other for one, other in pairs),
            quoted=quoted,
            billed=billed,
            newest_quoted=newest[0],
            newest_billed=newest[1],
        )

    def _billed(
        self,
        provider: str,
        model: str,
        most: int,
        *,
        sandbox: bool,
        like: Mapping[str, tuple[Any, Any]] = NO_MARKS,
    ) -> list[Row]:
        marks = [
            (f"$.{'.'.join(json.dumps(step) for step in key.split('.'))}", default, value)
            for key, (value, default) in like.items()
        ]
        tests = " AND coalesce(json_extract(payload, ?), ?) IS ?" * len(marks)
        return self._database.read(
            "SELECT charge_nano, charge_unit, quote_nano, quote_unit, quote_basis, prepared_at"
            f" FROM jobs{' JOIN requests USING (number)' if marks else ''}"
            " WHERE charge_basis = 'billed' AND charge_nano IS NOT NULL"
            " AND phase IN ('done', 'saved') AND sandbox = ? AND provider = ? AND model = ?"
            f"{tests} ORDER BY number DESC LIMIT ?",
            (int(sandbox), provider, model, *(part for mark in marks for part in mark), most),
        )


def _said_day(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def _nanos(count: int | Fraction) -> Decimal:
    return decimal_of(Fraction(count) / NANO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a model's bills differ from what was quoted for the same pictures.

    Attributes:
        compared: Jobs with both, in one unit; `differing` of them were billed otherwise.
        quoted, billed: Their sums.
        newest_quoted, newest_billed: Of the newest of them.
    """

    compared: int
    differing: int
    quoted: Money
    billed: Money
    newest_quoted: Money
    newest_billed: Money


def tags_text(tags: tuple[str, ...]) -> str:
    """Tags as the tables hold them: the same text for the same set."""
    return json.dumps(sorted(tags), ensure_ascii=False)
