"""`Journal`: what is told of jobs is written down, in whatever database."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from unified_flux.effects import Fact, Intent, Saved, Settled
from unified_flux.errors import (
    Charged,
    InvalidRequest,
    JournalError,
    ProviderError,
    UnifiedFluxError,
)
from unified_flux.journal import pacing
from unified_flux.journal.changes import Hand
from unified_flux.journal.database import Connection, Database, Owner
from unified_flux.journal.reader import SAME, Reader
from unified_flux.journal.spending import Spending, keep_doubt, spent
from unified_flux.journal.sqlite import FILE, SQLite
from unified_flux.journal.tables import MIGRATIONS, OPEN, read_row, reserved
from unified_flux.limits import Limits
from unified_flux.record import UNDECIDED, Record
from unified_flux.secret import shown_address
from unified_flux.throttle import NotYet, Throttle
from unified_flux.wire import Phase

# Seconds after which a process that gives no sign is taken for dead, where many machines share the
# journal: long enough for a database that is away for some seconds, short enough to wait for.
LEASE = 20.0
NO_THROTTLES: Mapping[str, Throttle] = MappingProxyType({})
# Whoever comes to one of these is worked on by nobody any more.
_ENDS = frozenset({Phase.SAVED, Phase.REFUSED, Phase.FAILED, Phase.UNKNOWN, Phase.CANCELLED})
_PREPARED = f"SELECT id, owner FROM jobs WHERE {OPEN} AND phase = 'prepared'"


class Journal(Reader):
    """The record of jobs in one folder or one PostgreSQL; for many threads and processes at once.

    Args:
        place: The folder of the file `journal.db`; both are made, open to this user alone. Or the
            address of a PostgreSQL database that many machines share, `postgresql://...`.
        store_prompts: Whether prompts are kept, or only their SHA-256 and length.
        wait: Seconds to wait for another process; for a PostgreSQL that was there before at least 30.
        clock: Seconds since 1970; by default the clock of the machine that has the database.
        throttles: How fast a provider may be asked by all who share the journal together.
        held_for: Seconds after its submit in which a job counts as being in flight.
        lease: Seconds after which a process without a sign of life is dead, in PostgreSQL.

    Every method raises JournalError where the database cannot be read or written.
    """

    def __init__(
        self,
        place: Path | str,
        *,
        store_prompts: bool = True,
        wait: float = 5.0,
        clock: Callable[[], float] | None = None,
        throttles: Mapping[str, Throttle] = NO_THROTTLES,
        held_for: float = 300.0,
        lease: float = LEASE,
    ) -> None:
        super().__init__(_database(place, wait, lease), clock)
        self._store_prompts = store_prompts
        self._pace = pacing.Pace(throttles, held_for)
        self.spending = Spending(self._database, self.now)
        self._held: set[str] = set()
        # What waits for the next fact of the same job, and when it was told.
        self._drafts: dict[str, Record] = {}
        self._done: dict[str, tuple[Settled, int]] = {}
        self._owner: Owner | None = None
        self._opening = threading.Lock()

    def close(self) -> None:
        """Let go of the database, and of every job that this process worked on."""
        self._database.close()
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    # What happens to a job.

    def prepare(
        self,
        records: Sequence[Record],
        *,
        same_within: float | None = None,
        at_once: bool = False,
        limits: Limits | None = None,
    ) -> list[Record]:
        """Write down what is about to be asked for, and reserve what it may cost.

        Args:
            same_within: Where a record with the same request and client_request_id is younger than
                so many seconds, that one is returned in the place of the new one.
            at_once: Whether something comes before the submit. If not, and where nobody can ask for
                the same twice, a job is written with its intent to pay: till then nothing is lost.
            limits: Limits that must hold for all new ones together, in the same transaction.

        Raises:
            SpendLimitExceeded: When a limit does not hold; then nothing is written.
        """
        self._take_owner()
        wished = any(record.client_request_id is not None for record in records)
        if not (at_once or wished or limits):
            self._drafts.update({record.id: record for record in records})
            self._held.update(record.id for record in records)
            return list(records)

        since = None if same_within is None else self.now() - int(same_within * 1000)
        try:
            # A power cut may take it: nothing was sent.
            kept: list[Record] = self._database.write(
                lambda connection: self._reserve(self._hand(connection), records, since, limits),
                durable=False,
            )
        except BaseException:
            self._held.difference_update(record.id for record in records)
            raise
        return kept

    def _reserve(
        self, hand: Hand, records: Sequence[Record], since: int | None, limits: Limits | None
    ) -> list[Record]:
        made = {record.id: self._same(hand, record, since) for record in records}
        new = [record for record in records if made[record.id] is None]
        self._hold_to(limits, hand, new)
        for record in new:
            hand.insert(record)
            # Before anyone else in this process looks: it is in hand.
            self._held.add(record.id)
        return [made[record.id] or record for record in records]

    def submit_again(self, record: Record, limits: Limits | None) -> None:
        """A job of unknown outcome is about to be submitted as a new one, which may cost once more.

        Raises:
            SpendLimitExceeded: When a limit does not hold for the second submit.
        """

        def act(connection: Connection) -> None:
            hand = self._hand(connection)
            self._hold_to(limits, hand, [record])
            keep_doubt(connection, record.id, hand.now)

        self._database.write(act)

    def keep(self, fact: Fact) -> None:
        """Write a fact of a flow down; what costs money to forget is on the disk when this returns.

        Raises:
            NotYet: When an intent to pay has to wait for its turn: nothing is written, and the same
                intent may be told again.
        """
        if isinstance(fact, Settled) and fact.phase is Phase.DONE:
            # That a job is done its next poll tells as well: this waits for the picture.
            self._done[fact.id] = (fact, self.now())
            return
        draft = self._drafts.get(fact.id)
        if draft is not None and fact.phase is Phase.CANCELLED:
            del self._drafts[fact.id]
            return
        refusal = self._database.write(lambda connection: self._kept(connection, fact, draft))
        if refusal is not None:
            raise refusal
        self._drafts.pop(fact.id, None)
        self._done.pop(fact.id, None)
        if fact.phase in _ENDS and not (isinstance(fact, Saved) and None in fact.blobs):
            self._held.discard(fact.id)

    def _kept(self, connection: Connection, fact: Fact, draft: Record | None) -> NotYet | None:
        """What an intent has to wait for, told before anything is written: others are in this too."""
        hand = self._hand(connection)
        done, at = self._done.get(fact.id, (None, 0))
        try:
            if isinstance(fact, Intent) and draft is not None:
                hand.insert(draft, fact)
            elif isinstance(fact, Saved) and done is not None and None not in fact.blobs:
                hand.finish(done, fact, at)
            else:
                if done is not None:
                    replace(hand, now=at).keep(done)
                hand.keep(fact)
        except NotYet as wait:
            return wait
        return None

    def slow_down(self, provider: str, seconds: float, *, sandbox: bool) -> None:
        """A provider wants no more for so long: no first submit to it passes before, anybody's."""

        def act(connection: Connection) -> None:
            pacing.slow_down(connection, self.now(), provider, seconds, sandbox=sandbox)

        self._database.write(act, durable=False)

    def delivered(self, id: str, position: int, path: Path) -> None:
        """A picture was copied to where it was asked for."""

        def act(connection: Connection) -> None:
            self._hand(connection).delivered(id, position, str(path))

        # Whoever finds the file and not this note sees by its bytes that it is the one.
        if self._owner is None:
            # It was closed before.
            self._database.write(act)
            self.close()
        elif self.path is not None and self._database.is_open:
            self._database.later(act)
        else:
            # A worker ends its line next, and nobody takes that up again to write this.
            self._database.write(act, durable=False)

    def claim(self, id: str) -> bool:
        """Take a job over, where no living process works on it; False where one does."""
        token = self._take_owner().token

        def act(connection: Connection) -> bool:
            hand = self._hand(connection)
            if self._works_on(hand.state(id)["owner"], id, connection):
                return False
            hand.update(id, {"owner": token})
            self._held.add(id)
            return True

        return bool(self._database.write(act, durable=False))

    def release(self, ids: Iterable[str]) -> None:
        """Let go of jobs that this process did not bring to an end; what was never sent is cancelled."""
        mine = self._held & set(ids)
        self._held.difference_update(mine)
        # Of a draft nothing was sent, and nothing is on disk.
        left = [id for id in mine if self._drafts.pop(id, None) is None]
        if not left:
            return
        done = [self._done.pop(id) for id in left if id in self._done]

        def act(connection: Connection) -> None:
            hand = self._hand(connection)
            for fact, at in done:
                replace(hand, now=at).keep(fact)
            for id in left:
                hand.let_go(id)

        self._database.write(act, durable=False)

    def close_job(self, id: str, error: UnifiedFluxError) -> None:
        """Nobody will ever bring it; `error` says why, and whether it was charged."""
        phase = Phase.REFUSED if error.charged is Charged.NO else Phase.FAILED
        self.keep(Settled(phase, None, error.message, id=id, error=error))

    def resolve(self, id: str, *, charged: bool) -> Record:
        """The person's own word on a job that nobody here can decide; the job as it is then.

        Raises:
            InvalidRequest: When it is decided, or a living process works on it.
        """
        record = self.get(id)
        if record.phase not in UNDECIDED:
            raise InvalidRequest(
                f"the job {record.name} is {record.phase}: there is nothing to resolve"
            )
        if not self.claim(id):
            raise InvalidRequest(f"a process is at work on the job {record.name}")
        word = "charged, and no picture came" if charged else "not charged"
        error = ProviderError(
            f"resolved by hand: {word}",
            charged=Charged.YES if charged else Charged.NO,
            next_step="Nothing is left to do here; ask anew for another picture.",
        )
        self.close_job(id, error)
        return self.get(id)

    def purge(self, before: int) -> int:
        """Remove what ended before that time (milliseconds); how many jobs that were."""

        def act(connection: Connection) -> int:
            gone = [
                row["number"]
                for row in connection.execute(
                    f"SELECT number FROM jobs WHERE prepared_at < ? AND phase <> 'unknown' AND NOT {OPEN}",
                    (before,),
                )
            ]
            for number in gone:
                for table in ("requests", "outputs", "jobs", "events"):
                    connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))
            return len(gone)

        count: int = self._database.write(act)
        return count

    def works_on(self, record: Record) -> bool:
        """Whether a living process works on it at this moment."""
        return self._works_on(record.owner, record.id)

    # What these share.

    def _works_on(self, owner: str | None, id: str, connection: Connection | None = None) -> bool:
        if owner is None:
            return False
        mine = self._take_owner()
        return id in self._held if owner == mine.token else mine.lives(owner, connection)

    def _take_owner(self) -> Owner:
        """This process's mark; a forked child begins with one of its own, and holds nothing."""
        with self._opening:
            if self._owner is not None and self._owner.pid != os.getpid():
                self._owner, self._held, self._drafts, self._done = None, set(), {}, {}
            if self._owner is None:
                self._owner = self._database.take_owner()
            return self._owner

    def _hold_to(self, limits: Limits | None, hand: Hand, new: Sequence[Record]) -> None:
        """Nobody else reserves while this looks: the transaction has the file to itself."""
        if limits is None or not new:
            return
        connection = hand.connection
        prepared = connection.execute(_PREPARED).fetchall()
        # Nothing is reserved for who died before it sent anything; each process is asked after once.
        others = {row["owner"] for row in prepared} - {None, hand.token}
        alive = {owner for owner in others if self._take_owner().lives(owner, connection)}
        for row in prepared:
            id, owner = row["id"], row["owner"]
            if not (id in self._held if owner == hand.token else owner in alive):
                hand.cancel(id)
        asked = [reserved(record.quote) for record in new]
        for limit in limits.limits:
            before = spent(connection, limit, hand.now, sandbox=new[0].sandbox)
            limits.check(limit, before, asked)

    def _same(self, hand: Hand, record: Record, since: int | None) -> Record | None:
        """The record that was made before for the same wish, as long as something may come of it."""
        if since is None or record.client_request_id is None:
            return None
        wish = (record.client_request_id, record.digest, record.asked, since)
        rows = hand.connection.execute(SAME, wish).fetchall()
        for row in rows:
            if row["phase"] != Phase.PREPARED or self._works_on(
                row["owner"], row["id"], hand.connection
            ):
                return read_row(row, [])
            hand.cancel(row["id"])
        return None

    def _hand(self, connection: Connection) -> Hand:
        return Hand(
            connection,
            now=self.now(),
            token=self._take_owner().token,
            store_prompts=self._store_prompts,
            pace=self._pace,
            slowed=self._database.slowed,
        )


def _database(place: Path | str, wait: float, lease: float) -> Database:
    if isinstance(place, Path):
        return SQLite(place / FILE, MIGRATIONS, wait)
    try:
        from unified_flux.journal.postgres import PostgreSQL
    except ImportError:
        raise JournalError(
            f"the journal {shown_address(place)} is in PostgreSQL, and psycopg, which speaks to it, "
            "is not installed",
            next_step="pip install 'unified-flux[batch]'",
        ) from None
    return PostgreSQL(place, wait, lease)
