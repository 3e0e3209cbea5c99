"""Money in the journal: what is spent or reserved, day by day, and what bills were like.

Limits are judged, and reports over a million jobs made, by reading sums (see `sums`) and the few jobs
that are not settled yet, in one query: between two, a job could pass from the one to the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from unified_flux.journal.database import Connection, Database, Row
from unified_flux.journal.sums import DAY, NANO, OPEN, add
from unified_flux.limits import Limit, Period, Spent
from unified_flux.money import Basis, Money, decimal_of
from unified_flux.pricing import Observed

# Bills older than this many jobs of a model say little about its price today.
LATEST = 50
# Bills of a model among which pictures of one kind are looked for.
SEARCHED = 500
# Jobs whose quote and bill are compared.
COMPARED = 1000
NO_MARKS: Mapping[str, tuple[Any, Any]] = MappingProxyType({})

_DOUBTED = "jobs.id = :id AND jobs.outcome <> 'nothing'"
_SUMS = ", ".join(f"CAST(sum({it}) AS BIGINT) AS {it}" for it in ("jobs", "whole", "nano"))


def spent(connection: Connection, limit: Limit, now: int, *, sandbox: bool) -> list[Spent]:
    """What a limit counts that is spent or reserved already; the sandbox's money apart."""
    if limit.period is Period.CALL:
        return []
    first, last = _days(limit.period, now)
    tests = "sandbox = :sandbox AND day BETWEEN :first AND :last"
    values = {"sandbox": int(sandbox), "first": first, "last": last, "provider": limit.counts}
    if limit.counts is not None:
        tests = f"{tests} AND provider = :provider"
    rows = connection.execute(
        " UNION ALL ".join(
            f"SELECT unit, basis = 'unknown' AS unknown, {_SUMS} FROM {source} AS one WHERE {tests}"
            " GROUP BY 1, 2 HAVING sum(jobs) > 0"
            for source in ("spending", OPEN)
        ),
        values,
    )
    return [Spent(row["unit"], _exact(row), row["jobs"] if row["unknown"] else 0) for row in rows]


def keep_doubt(connection: Connection, id: str, now: int) -> None:
    """A job of unknown outcome is submitted once more: what the first may have cost stays counted.

    It is counted today. The job keeps its day, and today's limits must see that two were paid.
    """
    for statement in add("jobs", _DOUBTED, day=":day", jobs="jobs"):
        connection.execute(statement, {"id": id, "day": now // DAY})


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
    "tag": "tag",
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
        self._observed: dict[tuple[str, str, bool, str], tuple[Observed, float]] = {}

    def sums(self, by: str, since: int = 0, *, sandbox: bool = False) -> Iterator[Sum]:
        """What was spent, by one of `GROUPS`; a job with several tags counts under each of them.

        Args:
            since: The first day (UTC) that counts, in milliseconds since 1970.
        """
        sources: tuple[tuple[str, str], ...] = tuple(
            (GROUPS[by], f"{it} AS one") for it in ("spending", OPEN)
        )
        if by == "tag":
            opened = f"{OPEN} AS one LEFT JOIN json_each(tags) AS each ON true"
            untagged = "(SELECT * FROM spending WHERE NOT is_tagged) AS one"
            sources = (("tag", "tagged"), ("''", untagged), ("coalesce(each.value, '')", opened))
        # No two of them have an outcome and a group in common.
        rows = self._database.read(
            " UNION ALL ".join(
                f"SELECT {part} AS part, outcome, unit, basis, {_SUMS} FROM {source}"
                " WHERE sandbox = :sandbox AND day >= :day GROUP BY 1, 2, 3, 4 HAVING sum(jobs) > 0"
                for part, source in sources
            )
            + " ORDER BY 1, 2, 3, 4",
            {"sandbox": int(sandbox), "day": since // DAY},
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
            " UNION ".join(
                f"SELECT provider, model FROM {source} AS one WHERE sandbox = :sandbox AND jobs > 0"
                for source in ("spending", OPEN)
            ),
            {"sandbox": int(sandbox)},
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

        Where there are many, one more changes little: then it is looked up once a second.

        Args:
            like: Count only pictures like this one, among the model's latest 500: payload key → its
                value, and the default that holds where a payload says nothing.
        """
        kind = (provider, model, sandbox, repr(sorted(like.items())))
        known = self._observed.get(kind)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        found = self._latest(provider, model, sandbox=sandbox, like=like)
        if found is not None and found.count == LATEST:
            self._observed[kind] = found, time.monotonic() + 1.0
        return found

    def _latest(
        self, provider: str, model: str, *, sandbox: bool, like: Mapping[str, tuple[Any, Any]]
    ) -> Observed | None:
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
        dialect = self._database.dialect
        tests = f" AND {dialect.like}" * len(like)
        asked = [
            part
            for key, (value, default) in like.items()
            for part in dialect.mark(key.split("."), default, value)
        ]
        # Bounded first: for a picture that was never asked for, all bills would be looked through.
        return self._database.read(
            "SELECT charge_nano, charge_unit, quote_nano, quote_unit, quote_basis, prepared_at"
            " FROM (SELECT number, charge_nano, charge_unit, quote_nano, quote_unit,"
            " quote_basis, prepared_at FROM jobs"
            " WHERE charge_basis = 'billed' AND charge_nano IS NOT NULL"
            " AND phase IN ('done', 'saved') AND sandbox = ? AND provider = ? AND model = ?"
            f" ORDER BY number DESC LIMIT {SEARCHED if like else most}) AS latest"
            f"{' JOIN requests USING (number)' if like else ''}"
            f" WHERE true{tests} ORDER BY number DESC LIMIT ?",
            (int(sandbox), provider, model, *asked, most),
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
