"""What each fact changes in the journal's tables: the statements of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from unified_flux.adapter import charged
from unified_flux.effects import Accepted, Fact, Intent, Saved, Settled
from unified_flux.errors import Charged, JournalError
from unified_flux.journal import redaction
from unified_flux.journal.database import Connection, Row
from unified_flux.journal.pacing import Pace
from unified_flux.journal.tables import charge_columns, dumps, new_row, sayable, words
from unified_flux.money import Charge
from unified_flux.record import Record
from unified_flux.text import safe
from unified_flux.wire import Job, Phase

# What may be sent, the first time or once more.
_SENDABLE = frozenset({Phase.PREPARED, Phase.SENDING, Phase.UNKNOWN})
_STATE = (
    "SELECT number, phase, owner, emulated, destination, provider, sandbox FROM jobs WHERE id = ?"
)
NUMBER = "(SELECT number FROM jobs WHERE id = ?)"
_EVENT = (
    "INSERT INTO events SELECT number, coalesce((SELECT max(turn) FROM events"
    " WHERE number = jobs.number), 0) + 1, ?, ?, ? FROM jobs WHERE id = ?"
)

_FIRST_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
_OUTPUT = (
    "INSERT INTO outputs (number, position, url, sha256, bytes, spooled)"
    f" VALUES ({NUMBER}, ?, ?, ?, ?, ?) ON CONFLICT (number, position) DO UPDATE SET"
    " url = excluded.url, sha256 = coalesce(excluded.sha256, outputs.sha256),"
    " bytes = coalesce(excluded.bytes, outputs.bytes),"
    " spooled = coalesce(excluded.spooled, outputs.spooled)"
)


@dataclass(frozen=True, slots=True)
class Hand:
    """Writes in one transaction.

    Attributes:
        now: Milliseconds since 1970.
        token: This process's mark.
        store_prompts: Whether a person's words are kept.
        pace: How fast providers may be asked.
        slowed: Whether any provider's pace may stand written down.
    """

    connection: Connection
    now: int
    token: str
    store_prompts: bool
    pace: Pace
    slowed: bool

    def insert(self, record: Record, intent: Intent | None = None) -> None:
        """A job that nothing was sent of, or with the intent to send it now."""
        if intent is not None:
            self._turn(record.provider, record.sandbox)
        row = new_row(record) | {"owner": self.token, "prepared_at": self.now}
        kept = words(record if self.store_prompts else redaction.redacted(record))
        if intent is not None:
            row |= self._sending()
            kept |= _submit(intent)
        (found,) = self._insert("jobs", row, " RETURNING number")
        kept["number"] = number = found["number"]
        self._insert("requests", kept)
        self.connection.execute(_FIRST_EVENT, (number, 1, self.now, str(Phase.PREPARED), None))
        if intent is not None:
            told = (number, 2, self.now, str(intent.phase), None)
            self.connection.execute(_FIRST_EVENT, told)

    def update(self, id: str, columns: Mapping[str, Any], tests: str = "true") -> None:
        """Change a job, where the tests hold. Raises JournalError where it was removed meanwhile."""
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        query = f"UPDATE jobs SET {changes} WHERE id = :id AND {tests}"
        if not self.connection.execute(query, {**columns, "id": id}).rowcount:
            self.state(id)

    def state(self, id: str) -> Row:
        """Where a job stands. Raises JournalError where it was removed meanwhile."""
        row: Row | None = self.connection.execute(_STATE, (id,)).fetchone()
        if row is None:
            raise _gone(id)
        return row

    def event(self, id: str, phase: str, note: str | None) -> None:
        """One more line of a job's story; a note may repeat what a provider was told."""
        note = note if self.store_prompts else None
        self.connection.execute(_EVENT, (self.now, str(phase), note, id))

    def cancel(self, id: str) -> None:
        """It was never sent and will not be."""
        self.update(id, {"phase": str(Phase.CANCELLED), "owner": None, "settled_at": self.now})
        self.event(id, Phase.CANCELLED, "nothing was sent")

    def let_go(self, id: str) -> None:
        """Nobody is at work on it any more, where this process was; what was never sent is cancelled."""
        row = self.connection.execute(_STATE, (id,)).fetchone()
        if row is None or row["owner"] != self.token:
            return
        if row["phase"] == Phase.PREPARED:
            self.cancel(id)
        # An emulator goes with its process; a picture may be on its way to its file.
        elif not row["emulated"] and row["phase"] != Phase.SAVED:
            self.update(id, {"owner": None})

    def keep(self, fact: Fact) -> None:
        """Whatever a flow tells."""
        self.event(fact.id, _CHANGES[type(fact)](self, fact), fact.note)

    def delivered(self, id: str, position: int, path: str) -> None:
        """A picture was copied to where it was asked for."""
        row = self.state(id)
        hidden = not self.store_prompts and "{prompt}" in (row["destination"] or "")
        said = "" if hidden else path
        self.connection.execute(
            "UPDATE outputs SET path = ? WHERE number = ? AND position = ?",
            (said, row["number"], position),
        )
        self.event(id, row["phase"], f"written to {safe(said) or 'a file'}")
        left = "SELECT 1 FROM outputs WHERE number = ? AND path IS NULL"
        if not self.connection.execute(left, (row["number"],)).fetchone():
            self.update(id, {"delivered_at": self.now, "owner": None})

    def _intent(self, fact: Intent) -> Phase:
        """Of an outcome that is unknown only an answer or a person decides, no second try."""
        row = self.state(fact.id)
        phase = Phase(row["phase"])
        if phase not in _SENDABLE or row["owner"] != self.token:
            raise JournalError(
                f"the job {fact.id} is {phase} and not this process's to send; nothing was sent",
                next_step="Another process has gone on with it: unified-flux jobs",
            )
        if phase is not Phase.PREPARED:
            return phase
        self._turn(row["provider"], row["sandbox"])
        self.update(fact.id, self._sending())
        columns = _submit(fact)
        if columns:
            changes = ", ".join(f"{name} = :{name}" for name in columns)
            query = f"UPDATE requests SET {changes} WHERE number = {NUMBER.replace('?', ':id')}"
            self.connection.execute(query, {**columns, "id": fact.id})
        return fact.phase

    def _sending(self) -> dict[str, Any]:
        maybe = str(Charged.MAYBE)
        return {"phase": str(Phase.SENDING), "sending_at": self.now, "charged": maybe}

    def _accepted(self, fact: Accepted) -> Phase:
        if fact.job is None:
            raise LookupError("an accepted job has a name")
        columns = {
            "phase": str(fact.phase),
            "job": fact.job.id,
            "accepted_at": self.now,
            "error": None,
            "notes": self._notes(fact.job),
            "links": dumps(fact.job.links) if fact.job.links else None,
            **charge_columns(fact.job.charge, Charged.MAYBE),
        }
        # Who was taken for dead and answers late takes nothing back from the one who went on.
        self.update(fact.id, columns, "phase <> 'done' AND phase <> 'saved'")
        self._wipe(fact.id)
        return fact.phase

    def _settled(self, fact: Settled) -> Phase:
        columns = self._decided(fact)
        if fact.phase is Phase.DONE and self.state(fact.id)["phase"] == Phase.SAVED:
            # It was in hand once: that its provider still has it takes nothing back.
            del columns["phase"]
        self.update(fact.id, columns)
        if fact.phase is not Phase.UNKNOWN:
            self._wipe(fact.id)
        for position, url in enumerate(fact.urls):
            self.connection.execute(_OUTPUT, (fact.id, position, sayable(url), None, None, None))
        return fact.phase

    def finish(self, done: Settled, saved: Saved, at: int) -> None:
        """Both facts of a picture that was fetched as soon as its job was done, in one change.

        Args:
            at: When it was done.
        """
        told = replace(self, now=at)
        self.update(done.id, told._decided(done) | self._in_hand(saved.id))
        self._wipe(done.id)
        for position, (url, blob) in enumerate(zip(done.urls, saved.blobs, strict=True)):
            if blob is not None:
                kept = (blob.sha256, blob.size, str(blob.path))
                self.connection.execute(_OUTPUT, (saved.id, position, sayable(url), *kept))
        told.event(done.id, done.phase, done.note)
        self.event(saved.id, saved.phase, saved.note)

    def _decided(self, fact: Settled) -> dict[str, Any]:
        columns: dict[str, Any] = {"phase": str(fact.phase), "settled_at": self.now}
        if fact.job is not None:
            done = fact.phase is Phase.DONE
            money = charged(fact.job.charge) if done or fact.error is None else fact.error.charged
            columns |= {"job": fact.job.id, "notes": self._notes(fact.job)}
            columns |= charge_columns(fact.job.charge, money)
        if fact.error is not None:
            said = fact.error.to_json() if self.store_prompts else redaction.told(fact.error)
            columns["error"] = dumps(said)
            columns.setdefault("charged", str(fact.error.charged))
            if fact.job is None and fact.error.charged is Charged.NO:
                columns |= charge_columns(Charge(), Charged.NO)
        if fact.phase is not Phase.DONE:
            columns["owner"] = None
        return columns

    def _saved(self, fact: Saved) -> Phase:
        for position, blob in enumerate(fact.blobs):
            if blob is not None:
                self.connection.execute(
                    "UPDATE outputs SET sha256 = ?, bytes = ?, spooled = ?"
                    f" WHERE number = {NUMBER} AND position = ?",
                    (blob.sha256, blob.size, str(blob.path), fact.id, position),
                )
        if None in fact.blobs:
            return Phase.DONE
        self.update(fact.id, self._in_hand(fact.id))
        return fact.phase

    def _in_hand(self, id: str) -> dict[str, Any]:
        """Where a file was asked for, it is this process's until that is written."""
        columns = {"phase": str(Phase.SAVED), "saved_at": self.now}
        return columns if self.state(id)["destination"] else columns | {"owner": None}

    def _notes(self, job: Job) -> str:
        return dumps(job.notes if self.store_prompts else ())

    def _wipe(self, id: str) -> None:
        """What is decided is not sent again: where words are not stored, its bytes go."""
        if not self.store_prompts:
            query = f"UPDATE requests SET submit_body = NULL WHERE number = {NUMBER}"
            self.connection.execute(query, (id,))

    def _insert(self, table: str, row: Mapping[str, Any], returning: str = "") -> Any:
        values = ", ".join(f":{name}" for name in row)
        query = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values}){returning}"
        return self.connection.execute(query, row)

    def _turn(self, provider: str, sandbox: bool) -> None:
        """Raises NotYet, before anything is written, where another submit has to wait."""
        if self.slowed or provider in self.pace.throttles:
            self.pace.turn(self.connection, self.now, provider, sandbox=sandbox)


_CHANGES: Mapping[type[Fact], Callable[[Hand, Any], Phase]] = {
    Intent: Hand._intent,
    Accepted: Hand._accepted,
    Settled: Hand._settled,
    Saved: Hand._saved,
}


def _submit(fact: Intent) -> dict[str, Any]:
    """The submit's exact bytes, where they may be sent again."""
    body = fact.wire.whole_body if fact.repeatable else None
    if body is None:
        return {}
    headers = dumps(dict(fact.wire.headers))
    return {"submit_url": fact.wire.url, "submit_headers": headers, "submit_body": body}


def _gone(id: str) -> JournalError:
    return JournalError(f"the journal has no job {safe(id, 60)} any more")
