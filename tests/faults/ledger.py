"""The sums of money that a journal must hold, worked out from its jobs once more, in plain Python.

It knows the columns that facts write and nothing of the triggers that keep the sums.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

DAY = 86_400_000
NANO = 10**9


class Key(NamedTuple):
    """What is summed up together.

    Each job is in the books once, with the word whether it has tags; and once for each of its tags,
    for whatever provider, model and project.
    """

    sandbox: int
    day: int
    provider: str
    model: str
    project: str
    tag: str | bool
    outcome: str
    unit: str
    basis: str

    @property
    def is_tag(self) -> bool:
        """Whether it is a tag's sum, and so counted elsewhere already."""
        return isinstance(self.tag, str)


@dataclass(frozen=True, slots=True)
class Sum:
    """So many jobs and so much money, in 1e-9 of its unit."""

    jobs: int = 0
    nano: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.jobs + other.jobs, self.nano + other.nano)

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.jobs - other.jobs, self.nano - other.nano)


Sums = dict[Key, Sum]


def together(*parts: Mapping[Key, Sum]) -> Sums:
    """Several books as one, without what comes to nothing."""
    found: Sums = {}
    for part in parts:
        for key, one in part.items():
            found[key] = found.get(key, Sum()) + one
    return {key: one for key, one in found.items() if one != Sum()}


def without(all_: Mapping[Key, Sum], part: Mapping[Key, Sum]) -> Sums:
    """The one less the other."""
    return together(all_, {key: Sum() - one for key, one in part.items()})


def owed(file: sqlite3.Connection) -> Sums:
    """What the jobs in a journal come to."""
    return together(*({key: one} for key, one in _entries(file)))


def settled(books: Mapping[Key, Sum]) -> Sums:
    """The part that a journal keeps sums of; the rest it reads from the jobs."""
    return {key: one for key, one in books.items() if key.outcome not in {"reserved", "running"}}


def owed_for(file: sqlite3.Connection, id: str, *, day: int) -> Sums:
    """What one job comes to, booked on a day."""
    return {key._replace(day=day): one for key, one in _entries(file, id)}


def kept(file: sqlite3.Connection) -> Sums:
    """What the journal says that the settled ones come to."""
    found = {}
    for *key, is_tagged, outcome, unit, basis, jobs, whole, nano in file.execute(
        "SELECT * FROM spending"
    ):
        place = Key(*key, bool(is_tagged), outcome, unit, basis)
        found[place] = Sum(jobs, whole * NANO + nano)
    for sandbox, tag, *rest, day, jobs, whole, nano in file.execute("SELECT * FROM tagged"):
        found[Key(sandbox, day, "", "", "", tag, *rest)] = Sum(jobs, whole * NANO + nano)
    return {key: one for key, one in found.items() if one != Sum()}


def astray(file: sqlite3.Connection) -> str | None:
    """How the sums differ from the jobs, None where they do not."""
    owes, keeps = settled(owed(file)), kept(file)
    return None if owes == keeps else f"the sums are {keeps}, the jobs come to {owes}"


_COLUMNS = (
    "sandbox, prepared_at, provider, model, project, tags, phase, charged, charge_nano, charge_unit,"
    " charge_basis, reserve_nano, quote_unit, quote_basis"
)


def _entries(file: sqlite3.Connection, id: str | None = None) -> Iterator[tuple[Key, Sum]]:
    rows = file.execute(f"SELECT {_COLUMNS} FROM jobs WHERE ? IN (id, '')", (id or "",))
    names = [column[0] for column in rows.description]
    for values in rows:
        job = dict(zip(names, values, strict=True))
        outcome = _outcome(job["phase"], job["charged"])
        if outcome is None:
            continue
        nano, unit, basis = _cost(job)
        key = Key(
            sandbox=job["sandbox"],
            day=job["prepared_at"] // DAY,
            provider=job["provider"],
            model=job["model"],
            project=job["project"] or "",
            tag=job["tags"] != "[]",
            outcome=outcome,
            unit=unit,
            basis=basis,
        )
        yield key, Sum(1, nano)
        for tag in json.loads(job["tags"]):
            yield key._replace(provider="", model="", project="", tag=tag), Sum(1, nano)


def _outcome(phase: str, charged: str) -> str | None:
    """What became of a job, None where it costs nothing."""
    if phase in {"done", "saved"}:
        return "done"
    if phase == "prepared":
        return "reserved"
    if phase == "cancelled" or charged == "no":
        return None
    if phase in {"sending", "accepted"}:
        return "running"
    return "unknown" if phase == "unknown" else "failed"


def _cost(job: Mapping[str, Any]) -> tuple[int, str, str]:
    """The bill, else what was reserved; of what still runs the larger of the two."""
    bill = (job["charge_nano"], job["charge_unit"], job["charge_basis"])
    reserve = (job["reserve_nano"], job["quote_unit"], job["quote_basis"])
    if bill[0] is None:
        return reserve if reserve[0] is not None else (0, "", "unknown")
    runs = job["phase"] == "accepted" and reserve[0] is not None and reserve[1] == bill[1]
    return max(bill, reserve, key=lambda one: one[0]) if runs else bill
