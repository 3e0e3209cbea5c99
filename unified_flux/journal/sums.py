"""The tables of sums of money, and the triggers that keep them equal to the jobs.

`spending` holds sums of the jobs whose money is settled: one row for each day, provider, model,
project, outcome, unit and basis; `tagged` the same for each tag. A trigger adds a job when it is
settled, and takes it back when that changes, in the same transaction; the sums stay when old jobs are
purged. What is reserved or under way is added up from the jobs themselves, which an index has at
hand: sums of it would cost every job four more writes.
"""

from __future__ import annotations

from collections.abc import Mapping

DAY = 86_400_000
NANO = 10**9

# A row's key, column by column, and where a job's own comes from; `tag` is each of its tags.
_SPENDING = {
    "sandbox": "{0}.sandbox",
    "day": "{0}.day",
    "provider": "{0}.provider",
    "model": "{0}.model",
    "project": "coalesce({0}.project, '')",
    "is_tagged": "{0}.tags <> '[]'",
    "outcome": "{0}.outcome",
    "unit": "{0}.cost_unit",
    "basis": "{0}.cost_basis",
}
# In the order of a report by tag, which so reads a million tags without sorting them.
_TAGGED = {
    "sandbox": "{0}.sandbox",
    "tag": "tag.value",
    "outcome": "{0}.outcome",
    "unit": "{0}.cost_unit",
    "basis": "{0}.cost_basis",
    "day": "{0}.day",
}
PLAIN = (
    "project TEXT",
    "tags TEXT NOT NULL DEFAULT '[]'",
    "quote_kind TEXT",
    "quote_source TEXT",
    "quote_as_of TEXT",
    "reserve_nano INTEGER",
)
# What the database works out: kind and expression; {same} is how it compares what may be null.
WORKED_OUT: Mapping[str, tuple[str, str]] = {
    "day": ("INTEGER", f"prepared_at / {DAY}"),
    "outcome": (
        "TEXT",
        "CASE WHEN phase IN ('done', 'saved') THEN 'done'"
        " WHEN phase = 'prepared' THEN 'reserved'"
        " WHEN phase = 'cancelled' OR charged = 'no' THEN 'nothing'"
        " WHEN phase IN ('sending', 'accepted') THEN 'running'"
        " WHEN phase = 'unknown' THEN 'unknown' ELSE 'failed' END",
    ),
    # One comparison after the other: SQLite makes a table of every list of more than two.
    "settled": (
        "INTEGER",
        "phase <> 'prepared' AND phase <> 'sending' AND phase <> 'accepted'"
        " AND phase <> 'cancelled' AND (charged <> 'no' OR phase IN ('done', 'saved'))",
    ),
    # Of a job that still runs a first figure may be too low: then what was reserved stays.
    "held": (
        "INTEGER",
        "charge_nano IS NULL OR (phase = 'accepted' AND charge_unit {same} quote_unit"
        " AND charge_nano < coalesce(reserve_nano, 0))",
    ),
    "cost_nano": ("INTEGER", "CASE WHEN held THEN reserve_nano ELSE charge_nano END"),
    "cost_unit": (
        "TEXT",
        "CASE WHEN NOT held THEN charge_unit"
        " WHEN reserve_nano IS NOT NULL THEN quote_unit ELSE '' END",
    ),
    "cost_basis": (
        "TEXT",
        "CASE WHEN NOT held THEN charge_basis"
        " WHEN reserve_nano IS NOT NULL THEN quote_basis ELSE 'unknown' END",
    ),
}

# The first test is what the index `jobs_open` begins with: so SQLite sees that it has all of these.
_UNSETTLED = (
    "phase IN ('prepared', 'sending', 'accepted', 'done')"
    " AND phase <> 'done' AND outcome <> 'nothing'"
)
# The columns that a job's row in the sums is made of.
BASES = (
    "phase, charged, charge_nano, charge_unit, charge_basis, reserve_nano, quote_unit, quote_basis,"
    " sandbox, prepared_at, provider, model, project, tags"
)
# Sums in whole units and billionths apart: no sum of either leaves SQLite's integers.
_COUNTED = """
    ON CONFLICT ({keys}) DO UPDATE SET jobs = {table}.jobs + 1,
      whole = {table}.whole + excluded.whole, nano = {table}.nano + excluded.nano
"""


def moved(differs: str) -> str:
    """Whether a job counts otherwise than it did; `differs` compares what may be null."""
    return " OR ".join(
        f"({said.format('OLD')}) {differs} ({said.format('NEW')})"
        for said in ("{0}.settled", *_SPENDING.values(), "{0}.tags", "{0}.cost_nano")
    )


def _parts(key: Mapping[str, str], row: str) -> str:
    """The columns of a job's own row in a table of sums."""
    cost = f"coalesce({row}.cost_nano, 0)"
    return f"{', '.join(key.values())}, 1, {cost} / {NANO}, {cost} % {NANO}".replace("{0}", row)


def add(row: str, tests: str, day: str = "{0}.day", jobs: str = "") -> tuple[str, str]:
    """The two statements that add a job to both tables.

    Args:
        row: What its columns are called by.
        tests: Whether it is added.
        day: In the place of its own day.
        jobs: The table to read it from, where it is not at hand.
    """
    spending, tagged = _SPENDING | {"day": day}, _TAGGED | {"day": day}
    source = f" FROM {jobs}" if jobs else ""
    tags = f"{source}{',' if jobs else ' FROM'} json_each({row}.tags) AS tag"
    sources = {"spending": (spending, source), "tagged": (tagged, tags)}
    one, other = (
        f"INSERT INTO {table} SELECT {_parts(key, row)}{read} WHERE {tests}"
        f" {_COUNTED.format(table=table, keys=', '.join(key))}"
        for table, (key, read) in sources.items()
    )
    return one, other


def _take(table: str, key: Mapping[str, str]) -> str:
    """What takes a job as it was out of a table."""
    tests = [
        f"{name} IN (SELECT value FROM json_each(OLD.tags))"
        if name == "tag"
        else f"{name} = ({said.format('OLD')})"
        for name, said in key.items()
    ]
    return f"""
        UPDATE {table} SET jobs = jobs - 1, whole = whole - coalesce(OLD.cost_nano, 0) / {NANO},
          nano = nano - coalesce(OLD.cost_nano, 0) % {NANO}
        WHERE OLD.settled AND {" AND ".join(tests)};
    """


def _table(name: str, key: Mapping[str, str]) -> str:
    whole = {"sandbox", "day", "is_tagged"}
    columns = [f"{column} {'INTEGER' if column in whole else 'TEXT'} NOT NULL" for column in key]
    return (
        f"CREATE TABLE {name} ({', '.join(columns)}, jobs INTEGER NOT NULL, whole INTEGER NOT NULL,"
        f" nano INTEGER NOT NULL, PRIMARY KEY ({', '.join(key)})) STRICT, WITHOUT ROWID"
    )


TABLES = (_table("spending", _SPENDING), _table("tagged", _TAGGED))
# What the triggers do for a job as it is now, and for the same as it was.
ADD = "; ".join(add("NEW", "NEW.settled")) + ";"
TAKE = _take("spending", _SPENDING) + _take("tagged", _TAGGED)
BILLED = (
    "CREATE INDEX jobs_billed ON jobs (sandbox, provider, model, number)"
    " WHERE charge_basis = 'billed' AND charge_nano IS NOT NULL AND phase IN ('done', 'saved')"
)
MIGRATION = (
    *(f"ALTER TABLE jobs ADD COLUMN {column}" for column in PLAIN),
    *(
        f"ALTER TABLE jobs ADD COLUMN {name} {kind}"
        f" GENERATED ALWAYS AS ({said.format(same='IS')}) VIRTUAL"
        for name, (kind, said) in WORKED_OUT.items()
    ),
    *TABLES,
    *add("jobs", "jobs.settled", jobs="jobs"),
    f"CREATE TRIGGER spending_begins AFTER INSERT ON jobs WHEN NEW.settled BEGIN {ADD} END",
    f"CREATE TRIGGER spending_moves AFTER UPDATE OF {BASES} ON jobs"
    f" WHEN (OLD.settled OR NEW.settled) AND ({moved('IS NOT')})"
    f" BEGIN {TAKE} {ADD} END",
    BILLED,
)

# What is not settled, as rows of `spending` and of `tagged`.
OPEN = (
    f"(SELECT {', '.join(f'{said} AS {name}' for name, said in _SPENDING.items())}, tags, 1 AS jobs,"
    f" coalesce(cost_nano, 0) / {NANO} AS whole, coalesce(cost_nano, 0) % {NANO} AS nano"
    f" FROM jobs WHERE {_UNSETTLED})"
).replace("{0}", "jobs")
