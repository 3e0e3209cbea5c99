"""The journal in a PostgreSQL database that many machines share.

One writes at a time: every transaction takes one lock first, so that what it reads stays true until
it is committed. A connection that is lost is opened anew, and the transaction is looked for or made
again, until the patience is over.
"""

from __future__ import annotations

import contextlib
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from json import dumps
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg.types.numeric import Int8Dumper

from unified_flux.errors import UnifiedFluxError
from unified_flux.journal import trouble
from unified_flux.journal.database import Act, Database, Dialect, Refused, Ticket
from unified_flux.journal.lease import Lease
from unified_flux.journal.postgres_tables import MIGRATIONS, SCHEMA
from unified_flux.secret import shown_address
from unified_flux.throttle import NotYet

T = TypeVar("T")
# The first bytes of "unified-flux" as a number: the lock of the one who writes.
_LOCK = 0x756E_6966_6965_6400
# Seconds to hold on to a database that was there before, at the least.
PATIENCE = 30.0
_OLDEST = 12
# Of one try to connect; and libpq's words for finding out that a machine is gone.
_CONNECTION = {
    "connect_timeout": "5",
    "application_name": "unified-flux",
    "client_encoding": "utf8",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
# A process that stops in the middle of a transaction loses it, and with it the lock.
_SESSION = (
    f"SET search_path = {SCHEMA}; SET idle_in_transaction_session_timeout = '10s';"
    " SET lock_timeout = '15s'; SET standard_conforming_strings = on"
)


def _mark(steps: Sequence[str], default: Any, value: Any) -> tuple[Any, Any, Any]:
    return list(steps), None if default is None else dumps(default), dumps(value)


DIALECT = Dialect(
    like="coalesce(nullif(CAST(CAST(payload AS json) #> CAST(? AS text[]) AS jsonb), 'null'),"
    " CAST(? AS jsonb)) IS NOT DISTINCT FROM nullif(CAST(? AS jsonb), 'null')",
    mark=_mark,
)
_PLACES = re.compile(r"'[^']*'|\?|(?<!:):([a-z_]\w*)|%")


@lru_cache(maxsize=512)
def said(query: str) -> bytes:
    """A statement with psycopg's marks in the place of `?` and `:name`."""

    def mark(found: re.Match[str]) -> str:
        if found[1]:
            return f"%({found[1]})s"
        return "%s" if found[0] == "?" else found[0].replace("%", "%%")

    return _PLACES.sub(mark, query).encode()


def _plain(value: Any) -> Any:
    """PostgreSQL's texts hold anything but a zero byte."""
    return value.replace("\0", "\\x00") if isinstance(value, str) and "\0" in value else value


class Session:
    """A connection that takes the journal's statements."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.own = connection

    def execute(self, query: str, values: Any = (), /) -> Any:
        """A cursor whose rows are mappings."""
        if isinstance(values, Mapping):
            values = {name: _plain(value) for name, value in values.items()}
        else:
            values = [_plain(value) for value in values]
        return self.own.execute(said(query), values)


class PostgreSQL(Database):
    """The database and this process's connection to it.

    Args:
        address: `postgresql://user:password@host/database`.
        wait: Seconds to wait for one that never answered.
        lease: Seconds after which a process that gives no sign is dead.

    Raises:
        JournalError: When it is no such address.
    """

    dialect = DIALECT

    def __init__(self, address: str, wait: float, lease: float) -> None:
        super().__init__()
        self.place = shown_address(address)
        self._trouble = trouble.Trouble(address)
        try:
            asked = conninfo_to_dict(address) if "://" in address else {}
        except psycopg.Error:
            asked = {}
        if not asked.get("dbname"):
            raise self._trouble.bad_address()
        self._parameters: dict[str, Any] = {**_CONNECTION, **asked}
        self._wait, self._lease_seconds = wait, lease
        self._open: Session | None = None
        self._was_there = False
        self._lease: Lease | None = None
        self._writer, self._turn = secrets.token_hex(8), 0
        # What is added to this machine's steady clock to tell the database's time of day.
        self._ahead: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._open is not None

    def exists(self) -> bool:
        """A database that many share is there, whether anything was written or not."""
        return True

    def now(self) -> float:
        """The database's time of day, as it was heard with the latest transaction."""
        return time.time() if self._ahead is None else time.monotonic() + self._ahead

    def take_owner(self) -> Lease:
        """A mark that stands for as long as signs of life are given."""
        with self._told():

            def begin() -> Lease:
                # The tables come first.
                if self._open is None:
                    self._session()
                return Lease(self._connect, self.look, self._lease_seconds, self._writer)

            with self._lock:
                self._lease = self._patiently(begin)
        return self._lease

    def hold_still(self) -> None:
        """A fork is near: nobody uses a connection, and none is open."""
        super().hold_still()
        if self._lease is not None:
            self._lease.hold_still()

    def move_on(self) -> None:
        """The fork is over."""
        if self._lease is not None:
            self._lease.move_on()
        super().move_on()

    def told(self, error: Exception) -> UnifiedFluxError:
        """PostgreSQL's fault in our words, and without its password."""
        return error if isinstance(error, UnifiedFluxError) else self._trouble.told(error)

    def _look(self, asking: Act) -> Any:
        return self._patiently(lambda: asking(self._session()))

    def _transact(self, batch: list[Ticket]) -> None:
        self._turn += 1
        begun = False

        def attempt() -> None:
            nonlocal begun
            session = self._session()
            again, begun = begun, True
            with self._transaction(session, any(ticket.durable for ticket in batch)) as own:
                if again and self._was_kept(session):
                    return
                for ticket in batch:
                    try:
                        ticket.value = ticket.act(session)
                    except Exception as error:
                        if self._is_passing(error):
                            raise
                        raise Refused(error) from error
                if all(isinstance(ticket.value, NotYet) for ticket in batch):
                    # Nothing was written: nothing waits for the disk.
                    own.execute("ROLLBACK")

        self._patiently(attempt)

    @contextlib.contextmanager
    def _transaction(self, session: Session, durable: bool) -> Iterator[psycopg.Connection[Any]]:
        own = session.own
        try:
            # In one message: on the way to another machine each takes its time.
            cursor = own.execute(
                f"BEGIN; SET LOCAL synchronous_commit = {'on' if durable else 'off'};"
                f" SELECT pg_advisory_xact_lock({_LOCK});"
                f" SELECT extract(epoch FROM clock_timestamp())::float8 AS now,"
                f" EXISTS (SELECT 1 FROM throttles) AS slowed,"
                f" (SELECT turn FROM writers WHERE token = '{self._writer}') AS turn;"
                f" INSERT INTO writers VALUES ('{self._writer}', {self._turn}, clock_timestamp())"
                " ON CONFLICT (token) DO UPDATE SET turn = excluded.turn, at = excluded.at"
            )
            for _ in range(3):
                cursor.nextset()
            row: Any = cursor.fetchone()
            self._hear(row["now"])
            self.slowed, self._kept_turn = row["slowed"], row["turn"]
            yield own
            if own.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                own.execute("COMMIT")
        except Exception:
            with contextlib.suppress(psycopg.Error):
                own.execute("ROLLBACK")
            raise
        except BaseException:
            # Interrupted in the middle of a message, it may be anywhere.
            self._shut()
            raise

    def _was_kept(self, session: Session) -> bool:
        """Whether the transaction whose answer was lost is there: the lock tells that it has ended."""
        return bool(self._kept_turn == self._turn)

    def _hear(self, now: float) -> None:
        self._ahead = now - time.monotonic()

    def _patiently(self, act: Callable[[], T]) -> T:
        """Do it, and once more where the database was away, until the patience is over."""
        wait = max(self._wait, PATIENCE) if self._was_there else self._wait
        until, pause = time.monotonic() + wait, 0.05
        while True:
            try:
                return act()
            except Exception as error:
                if not self._is_passing(error):
                    raise
                if self._is_lost(error):
                    self._shut()
                # Not all at the same moment.
                delay = pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
                if time.monotonic() + delay > until:
                    raise
                time.sleep(delay)
                pause = min(2 * pause, 1.0)

    def _is_passing(self, error: Exception) -> bool:
        return isinstance(error, psycopg.Error) and trouble.is_passing(error)

    def _is_lost(self, error: Exception) -> bool:
        return self._open is None or self._open.own.closed or self._open.own.broken

    def _session(self) -> Session:
        if self._open is not None and self._open.own.closed:
            self._shut()
        if self._open is None:
            own = self._connect()
            try:
                self._prepare(own)
            except BaseException:
                own.close()
                raise
            self._open, self._was_there = Session(own), True
        return self._open

    def _connect(self) -> psycopg.Connection[Any]:
        own: psycopg.Connection[Any] = psycopg.connect(
            **self._parameters, autocommit=True, row_factory=dict_row
        )
        # One type for all whole numbers: a statement is planned once.
        own.adapters.register_dumper(int, Int8Dumper)
        try:
            own.execute(_SESSION)
        except BaseException:
            own.close()
            raise
        return own

    def _prepare(self, own: psycopg.Connection[Any]) -> None:
        """Refuse what cannot hold a journal, and lead its tables forwards."""
        if own.info.server_version < _OLDEST * 10_000:
            raise self._trouble.too_old(own.info.server_version // 10_000, _OLDEST)
        if own.info.parameter_status("server_encoding") != "UTF8":
            raise self._trouble.no_unicode()
        if self._version(own) < len(MIGRATIONS):
            with own.transaction():
                own.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
                self._migrate(own, self._version(own))
        row: Any = own.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"
        ).fetchone()
        self._hear(row["now"])

    def _version(self, own: psycopg.Connection[Any]) -> int:
        """Of the tables that are there; 0 for none."""
        row: Any = own.execute(
            "SELECT to_regnamespace(%s) IS NOT NULL AS schema, to_regclass(%s) IS NOT NULL AS ours",
            (SCHEMA, f"{SCHEMA}.journal_version"),
        ).fetchone()
        if not row["ours"]:
            if row["schema"]:
                raise self._trouble.foreign(SCHEMA)
            return 0
        found = own.execute(f"SELECT number FROM {SCHEMA}.journal_version").fetchone()
        version = int(found["number"]) if found else 0
        if version > len(MIGRATIONS):
            raise self._trouble.newer(version, len(MIGRATIONS))
        return version

    def _migrate(self, own: psycopg.Connection[Any], version: int) -> None:
        if version == 0:
            own.execute(f"CREATE SCHEMA {SCHEMA}")
            own.execute("CREATE TABLE journal_version (number BIGINT NOT NULL)")
            own.execute("INSERT INTO journal_version VALUES (0)")
        for step in MIGRATIONS[version:]:
            for statement in step:
                own.execute(statement.encode())
        own.execute("UPDATE journal_version SET number = %s", (len(MIGRATIONS),))

    def _shut(self) -> None:
        if self._open is not None:
            with contextlib.suppress(psycopg.Error):
                self._open.own.close()
        self._open = None
