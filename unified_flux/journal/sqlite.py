"""`Journal` in SQLite: what a flow's facts change, and what commands ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from unified_flux.adapter import charged
from unified_flux.effects import Accepted, Fact, Intent, Saved, Settled
from unified_flux.errors import Charged, InvalidRequest, JournalError, UnifiedFluxError
from unified_flux.journal.database import Database, Row
from unified_flux.journal.owner import Owner
from unified_flux.journal.redaction import redacted
from unified_flux.journal.tables import (
    MIGRATIONS,
    OPEN,
    charge_columns,
    dumps,
    new_row,
    read_row,
)
from unified_flux.record import Record
from unified_flux.text import safe
from unified_flux.wire import Job, Phase

FILE = "journal.db"
# Whoever comes to one of these is worked on by nobody any more.
_ENDS = frozenset({Phase.REFUSED, Phase.FAILED, Phase.UNKNOWN, Phase.CANCELLED})
# A job that ended so gave nothing: asking once more is no double.
_NOTHING = "('refused', 'failed', 'cancelled')"


class Journal:
    """The record of jobs in one folder; for many threads and processes at once.

    Args:
        folder: Where the file `journal.db` is; both are made, open to this user alone.
        store_prompts: Whether prompts are kept, or only their SHA-256 and length.
        wait: Seconds to wait for another process.
        clock: Seconds since 1970.

    Every method raises JournalError where the file cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        store_prompts: bool = True,
        wait: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = folder / FILE
        self._store_prompts = store_prompts
        self._clock = clock
        self._database = Database(self.path, MIGRATIONS, wait)
        self._held: set[str] = set()
        self._opening = threading.Lock()

    def now(self) -> int:
        """The time of day in milliseconds, as the journal writes it."""
        return int(self._clock() * 1000)

    def close(self) -> None:
        """Let go of the file, and of every job that this process worked on."""
        self._database.close()
        if "_owner" in self.__dict__:
            self._owner.close()
            del self.__dict__["_owner"]

    # What happens to a job.

    def prepare(self, records: Sequence[Record], same_within: float | None = None) -> list[Record]:
        """Write down what is about to be asked for.

        Args:
            same_within: Where a record with the same request and client_request_id is younger than
                so many seconds, that one is returned in the place of the new one.
        """
        token = self._take_owner().token

        def act(connection: Connection) -> list[Record]:
            since = None if same_within is None else self.now() - int(same_within * 1000)
            return [
                self._same(connection, record, since) or self._insert(connection, record, token)
                for record in records
            ]

        # Nothing is lost with a job that was never sent: its first fact takes it along to the disk.
        kept: list[Record] = self._database.write(act, durable=False)
        self._held |= {new.id for new, old in zip(kept, records, strict=True) if new is old}
        return kept

    def keep(self, fact: Fact) -> None:
        """Write a fact of a flow down; what costs money to forget is on the disk when this returns."""
        durable = not (isinstance(fact, Settled) and fact.phase in {Phase.DONE, Phase.CANCELLED})
        change = _CHANGES[type(fact)]

        def act(connection: Connection) -> None:
            columns = change(self, connection, fact)
            if fact.phase in _ENDS:
                columns["owner"] = None
            self._update(connection, fact.id, columns)
            self._event(connection, fact.id, columns.get("phase", str(fact.phase)), fact.note)

        self._database.write(act, durable=durable)
        if fact.phase in _ENDS:
            self._held.discard(fact.id)

    def delivered(self, id: str, position: int, path: Path) -> None:
        """A picture was copied to where it was asked for."""

        def act(connection: Connection) -> None:
            record = self._read(connection, id)
            hidden = not self._store_prompts and "{prompt}" in (record.destination or "")
            said = "" if hidden else str(path)
            connection.execute(
                "UPDATE outputs SET path = ? WHERE job = ? AND position = ?", (said, id, position)
            )
            self._event(connection, id, str(record.phase), f"written to {safe(said) or 'a file'}")
            left = "SELECT 1 FROM outputs WHERE job = ? AND path IS NULL"
            if not connection.execute(left, (id,)).fetchone():
                self._update(connection, id, {"delivered_at": self.now(), "owner": None})

        self._database.write(act, durable=False)
        self._held.discard(id)

    def claim(self, id: str) -> bool:
        """Take a job over, where no living process works on it; False where one does."""
        token = self._take_owner().token

        def act(connection: Connection) -> bool:
            owner = self._read(connection, id).owner
            if self._works_on(owner, id):
                return False
            self._update(connection, id, {"owner": token})
            return True

        taken: bool = self._database.write(act, durable=False)
        if taken:
            self._held.add(id)
        return taken

    def release(self, ids: Iterable[str]) -> None:
        """Let go of jobs that this process did not bring to an end; what was never sent is cancelled."""
        left = self._held & set(ids)
        if not left:
            return

        def act(connection: Connection) -> None:
            for id in left:
                record = self._read(connection, id)
                if record.phase is Phase.PREPARED:
                    self._cancel(connection, id)
                elif not (record.emulated or (record.phase is Phase.SAVED and record.destination)):
                    # An emulator goes with its process; a picture on its way to its file is in hand.
                    self._update(connection, id, {"owner": None})

        self._database.write(act, durable=False)
        self._held -= left

    def resolve(self, id: str, error: UnifiedFluxError) -> None:
        """The person's own word on a job that nobody could decide; `error.charged` is that word."""
        phase = Phase.REFUSED if error.charged is Charged.NO else Phase.FAILED
        self.keep(Settled(phase, None, error.message, id=id, error=error))

    def purge(self, before: int) -> int:
        """Remove what ended before that time (milliseconds); how many jobs that were."""

        def act(connection: Connection) -> int:
            gone = [
                row["id"]
                for row in connection.execute(
                    f"SELECT id FROM jobs WHERE prepared_at < ? AND phase <> 'unknown' AND NOT {OPEN}",
                    (before,),
                )
            ]
            for id in gone:
                connection.execute("DELETE FROM jobs WHERE id = ?", (id,))
                connection.execute("DELETE FROM events WHERE job = ?", (id,))
            return len(gone)

        count: int = self._database.write(act)
        return count

    # What is asked.

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
            query = "SELECT id FROM jobs WHERE id = ?1 OR (id > ?1 AND id < ?1 || '~') LIMIT 2"
            found = self._database.read(query, (name.lower(),)) if name else []
        if len(found) > 1:
            raise InvalidRequest(
                f"several jobs of the journal are called {safe(name, 80)}",
                next_step="unified-flux jobs lists them; say more letters.",
            )
        return self.get(found[0]["id"]) if found else None

    def get(self, id: str) -> Record:
        """One job by its whole id."""
        rows = self._database.read("SELECT * FROM jobs WHERE id = ?", (id,))
        if not rows:
            raise JournalError(f"the journal has no job {safe(id, 60)} any more")
        return read_row(rows[0], self._outputs_of(id))

    def events(self, id: str) -> list[Row]:
        """What happened to a job, in order: at, phase, note."""
        query = "SELECT at, phase, note FROM events WHERE job = ? ORDER BY id"
        return self._database.read(query, (id,))

    def open_jobs(self) -> list[Row]:
        """What has to be gone on with, oldest first: id, provider, place."""
        return self._database.read(
            f"SELECT id, provider, place FROM jobs WHERE {OPEN} ORDER BY prepared_at"
        )

    def done_jobs(self, since: int = 0) -> list[Row]:
        """What has pictures at addresses that are known: id, provider, place."""
        return self._database.read(
            "SELECT id, provider, place FROM jobs WHERE phase IN ('done', 'saved')"
            " AND prepared_at >= ? ORDER BY prepared_at",
            (since,),
        )

    def jobs(self, wanted: Mapping[str, Any], *, since: int = 0, limit: int = -1) -> list[Record]:
        """The newest jobs whose columns `phase`, `provider`, `model`, `sandbox` are as wanted."""
        tests = "".join(f" AND {column} = :{column}" for column in sorted(wanted))
        rows = self._database.read(
            f"SELECT * FROM jobs WHERE prepared_at >= :since{tests}"
            " ORDER BY prepared_at DESC, rowid DESC LIMIT :limit",
            {**wanted, "since": since, "limit": limit},
        )
        return [read_row(row, self._outputs_of(row["id"])) for row in rows]

    def works_on(self, record: Record) -> bool:
        """Whether a living process works on it at this moment."""
        return self._works_on(record.owner, record.id)

    # What these share.

    def _works_on(self, owner: str | None, id: str) -> bool:
        if owner is None:
            return False
        mine = self._take_owner()
        return id in self._held if owner == mine.token else mine.lives(owner)

    def _take_owner(self) -> Owner:
        with self._opening:
            return self._owner

    @cached_property
    def _owner(self) -> Owner:
        try:
            return Owner(self.path.parent / "owners")
        except Exception as error:
            raise self._database.told(error) from error

    def _outputs_of(self, id: str) -> list[Row]:
        return self._database.read("SELECT * FROM outputs WHERE job = ? ORDER BY position", (id,))

    def _read(self, connection: Connection, id: str) -> Record:
        row = connection.execute("SELECT * FROM jobs WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise JournalError(f"the journal has no job {safe(id, 60)} any more")
        return read_row(row, [])

    def _same(self, connection: Connection, record: Record, since: int | None) -> Record | None:
        if since is None or record.client_request_id is None:
            return None
        rows = connection.execute(
            "SELECT * FROM jobs WHERE client_request_id = ? AND request_sha256 = ? AND asked = ?"
            f" AND prepared_at >= ? AND phase NOT IN {_NOTHING} ORDER BY prepared_at",
            (record.client_request_id, record.digest, record.asked, since),
        ).fetchall()
        for row in rows:
            found = read_row(row, [])
            if found.phase is not Phase.PREPARED or self._works_on(found.owner, found.id):
                return found
            self._cancel(connection, found.id)
        return None

    def _insert(self, connection: Connection, record: Record, token: str) -> Record:
        row = new_row(record if self._store_prompts else redacted(record))
        row |= {"owner": token, "prepared_at": self.now()}
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO jobs ({names}) VALUES ({values})", row)
        self._event(connection, record.id, str(Phase.PREPARED), None)
        return record

    def _cancel(self, connection: Connection, id: str) -> None:
        columns = {"phase": str(Phase.CANCELLED), "owner": None, "settled_at": self.now()}
        self._update(connection, id, columns)
        self._event(connection, id, str(Phase.CANCELLED), "nothing was sent")

    def _update(self, connection: Connection, id: str, columns: Mapping[str, Any]) -> None:
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        done = connection.execute(
            f"UPDATE jobs SET {changes} WHERE id = :id", {**columns, "id": id}
        )
        if not done.rowcount:
            raise JournalError(f"the journal has no job {safe(id, 60)} any more")

    def _event(self, connection: Connection, id: str, phase: str, note: str | None) -> None:
        connection.execute(
            "INSERT INTO events (job, at, phase, note) VALUES (?, ?, ?, ?)",
            (id, self.now(), phase, note),
        )

    # What each fact changes.

    def _intent(self, connection: Connection, fact: Intent) -> dict[str, Any]:
        query = "SELECT phase, sending_at FROM jobs WHERE id = ?"
        row = connection.execute(query, (fact.id,)).fetchone()
        if row is not None and row["sending_at"] is not None:
            return {"phase": row["phase"]}
        columns = {"phase": str(Phase.SENDING), "sending_at": self.now()}
        body = fact.wire.whole_body if fact.repeatable else None
        if body is not None:
            columns |= {
                "submit_url": fact.wire.url,
                "submit_headers": dumps(dict(fact.wire.headers)),
                "submit_body": body,
            }
        return columns

    def _accepted(self, connection: Connection, fact: Accepted) -> dict[str, Any]:
        job = _job(fact)
        return {
            "phase": str(Phase.ACCEPTED),
            "job": job.id,
            "accepted_at": self.now(),
            "error": None,
            **charge_columns(job.charge, Charged.MAYBE),
            **self._wiped(),
        }

    def _settled(self, connection: Connection, fact: Settled) -> dict[str, Any]:
        columns: dict[str, Any] = {"phase": str(fact.phase), "settled_at": self.now()}
        if fact.job is not None:
            done = fact.phase is Phase.DONE
            said = charged(fact.job.charge) if done or fact.error is None else fact.error.charged
            columns |= {"job": fact.job.id, "notes": dumps(fact.job.notes)}
            columns |= charge_columns(fact.job.charge, said)
        if fact.error is not None:
            columns["error"] = dumps(fact.error.to_json())
            columns.setdefault("charged", str(fact.error.charged))
        if fact.phase is not Phase.UNKNOWN:
            columns |= self._wiped()
        for position, url in enumerate(fact.urls):
            connection.execute(
                "INSERT INTO outputs (job, position, url) VALUES (?, ?, ?)"
                " ON CONFLICT (job, position) DO UPDATE SET url = excluded.url",
                (fact.id, position, url),
            )
        return columns

    def _saved(self, connection: Connection, fact: Saved) -> dict[str, Any]:
        for position, blob in enumerate(fact.blobs):
            if blob is not None:
                connection.execute(
                    "UPDATE outputs SET sha256 = ?, bytes = ?, spooled = ? WHERE job = ? AND position = ?",
                    (blob.sha256, blob.size, str(blob.path), fact.id, position),
                )
        if None in fact.blobs:
            return {"phase": str(Phase.DONE)}
        kept = self._read(connection, fact.id)
        columns: dict[str, Any] = {"phase": str(Phase.SAVED), "saved_at": self.now()}
        return columns if kept.destination else columns | {"owner": None}

    def _wiped(self) -> dict[str, Any]:
        return {} if self._store_prompts else {"submit_body": None}


def _job(fact: Fact) -> Job:
    if fact.job is None:
        raise LookupError("an accepted job has a name")
    return fact.job


_CHANGES: Mapping[type[Fact], Callable[[Journal, Connection, Any], dict[str, Any]]] = {
    Intent: Journal._intent,
    Accepted: Journal._accepted,
    Settled: Journal._settled,
    Saved: Journal._saved,
}
