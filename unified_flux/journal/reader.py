"""`Reader`: what commands and clients ask of a journal; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unified_flux.errors import InvalidRequest, JournalError
from unified_flux.journal.changes import NUMBER
from unified_flux.journal.database import Database, Row
from unified_flux.journal.tables import JOBS, OPEN, read_row
from unified_flux.record import Record
from unified_flux.text import safe
from unified_flux.wire import Job

# Jobs among which the latest of a model are looked for: a model that nobody asked for costs no more.
SEARCHED = 500
# A job that ended so gave nothing and cost nothing: asking once more is no double.
_NOTHING = "(phase IN ('refused', 'failed', 'cancelled') AND charged = 'no')"
_OUTPUTS = "SELECT * FROM outputs WHERE number = ? ORDER BY position"
# The records of one wish from which something may come, the oldest first.
SAME = (
    f"{JOBS} WHERE client_request_id = ? AND request_sha256 = ? AND asked = ?"
    f" AND prepared_at >= ? AND NOT {_NOTHING} ORDER BY number"
)


class Reader:
    """What is in a journal, in whatever database.

    Args:
        clock: Seconds since 1970; by default the clock of the machine that has the database.
    """

    def __init__(self, database: Database, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._clock = clock or database.now

    @property
    def path(self) -> Path | None:
        """Its file, None where it is in PostgreSQL."""
        return self._database.path

    @property
    def place(self) -> str:
        """Where it is, for a person to read: its file, or its address without the password."""
        return self._database.place

    def exists(self) -> bool:
        """Whether there is anything to read; looking makes nothing."""
        return self._database.exists()

    def now(self) -> int:
        """The time of day in milliseconds, as the journal writes it."""
        return int(self._clock() * 1000)

    def find(self, name: str) -> Record | None:
        """The job that a person means: our id or its beginning, or `provider/model/id`.

        Raises:
            InvalidRequest: When several begin so.
        """
        job = Job.parse(name)
        if job is not None:
            query = "SELECT id FROM jobs WHERE job = ? AND provider = ? LIMIT 2"
            found = self._database.read(query, (job.id, job.provider))
        else:
            query = "SELECT id FROM jobs WHERE id = ? OR (id > ? AND id < ?) LIMIT 2"
            id = name.lower()
            found = self._database.read(query, (id, id, f"{id}~")) if name else []
        if len(found) > 1:
            raise InvalidRequest(
                f"several jobs of the journal are called {safe(name, 80)}",
                next_step="unified-flux jobs lists them; say more letters.",
            )
        return self.get(found[0]["id"]) if found else None

    def get(self, id: str) -> Record:
        """One job by its whole id."""
        rows = self._database.read(f"{JOBS} WHERE id = ?", (id,))
        if not rows:
            raise JournalError(f"the journal has no job {safe(id, 60)} any more")
        return read_row(rows[0], self._outputs_of(rows[0]["number"]))

    def events(self, id: str) -> list[Row]:
        """What happened to a job, in order: at, phase, note."""
        query = "SELECT at, phase, note FROM events WHERE number = ? ORDER BY turn"
        return self._database.read(query.replace("?", NUMBER), (id,))

    def open_jobs(self) -> list[Row]:
        """What has to be gone on with, oldest first: id, provider, place."""
        return self._database.read(
            f"SELECT id, provider, place FROM jobs WHERE {OPEN} ORDER BY number"
        )

    def undelivered(self) -> set[str]:
        """The files in the spool that somebody has still to write to their places."""
        rows = self._database.read(
            f"SELECT spooled FROM outputs JOIN jobs USING (number) WHERE {OPEN} AND spooled IS NOT NULL"
        )
        return {row["spooled"] for row in rows}

    def done_jobs(self, since: int = 0) -> list[Row]:
        """What has pictures at addresses that are known: id, provider, place."""
        return self._database.read(
            "SELECT id, provider, place FROM jobs WHERE phase IN ('done', 'saved')"
            " AND prepared_at >= ? ORDER BY number",
            (since,),
        )

    def jobs(self, wanted: Mapping[str, Any], *, since: int = 0, limit: int = -1) -> list[Record]:
        """The newest jobs whose columns `phase`, `provider`, `model`, `sandbox` are as wanted."""
        tests = "".join(f" AND {column} = :{column}" for column in sorted(wanted))
        rows = self._database.read(
            f"{JOBS} WHERE prepared_at >= :since{tests} ORDER BY number DESC"
            f"{'' if limit < 0 else ' LIMIT :limit'}",
            {**wanted, "since": since, "limit": limit},
        )
        return [read_row(row, self._outputs_of(row["number"])) for row in rows]

    def durations(
        self, provider: str, model: str, *, sandbox: bool, latest: int = 50
    ) -> list[float]:
        """Seconds from accepted to done of a model's latest pictures, the newest first."""
        rows = self._database.read(
            "SELECT settled_at - accepted_at AS took FROM (SELECT number, provider, model, sandbox,"
            " phase, accepted_at, settled_at FROM jobs ORDER BY number DESC LIMIT ?) AS newest"
            " WHERE provider = ? AND model = ? AND sandbox = ? AND phase IN ('done', 'saved')"
            " AND settled_at >= accepted_at ORDER BY number DESC LIMIT ?",
            (SEARCHED, provider, model, int(sandbox), latest),
        )
        return [row["took"] / 1000 for row in rows]

    def has_same(self, record: Record, within: float) -> bool:
        """Whether a record for the same wish is younger than so many seconds, see `prepare`."""
        since = self.now() - int(within * 1000)
        wish = (record.client_request_id, record.digest, record.asked, since)
        return bool(self._database.read(SAME, wish))

    def knows_wish(self, client_request_id: str) -> bool:
        """Whether anything was ever asked for under this id: most often not, and soon told."""
        query = "SELECT 1 FROM jobs WHERE client_request_id = ? LIMIT 1"
        return bool(self._database.read(query, (client_request_id,)))

    def _outputs_of(self, number: int) -> list[Row]:
        return self._database.read(_OUTPUTS, (number,))
