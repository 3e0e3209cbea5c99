"""The journal in one SQLite file that many threads and processes write: opened, migrated, locked."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unified_flux.errors import JournalError, UnifiedFluxError
from unified_flux.journal.database import OFF, Act, Database, Dialect, Refused, Ticket
from unified_flux.journal.owner import FileOwner
from unified_flux.text import safe

FILE = "journal.db"
Migrations = Sequence[Sequence[str]]
# STRICT tables came with this one.
OLDEST_SQLITE = (3, 37, 0)
# Measured as the cheapest for rows of half a kilobyte (tests/benchmarks/journal.py).
PAGE = 2048
# Pages in the write-ahead log before they are moved into the file: about 160 jobs.
CHECKPOINT = 2000


def _mark(steps: Sequence[str], default: Any, value: Any) -> tuple[Any, Any, Any]:
    return f"$.{'.'.join(json.dumps(step) for step in steps)}", default, value


DIALECT = Dialect(like="coalesce(json_extract(payload, ?), ?) IS ?", mark=_mark)


class SQLite(Database):
    """The file and its one connection.

    Args:
        migrations: What leads from each version of the tables to the next.
        wait: Seconds to wait for another process's transaction.
    """

    dialect = DIALECT
    path: Path

    def __init__(self, path: Path, migrations: Migrations, wait: float) -> None:
        super().__init__()
        self.path, self.place = path, str(path)
        self._migrations = migrations
        self._wait = wait
        self._open: sqlite3.Connection | None = None
        self._synced: bool | None = None

    @property
    def is_open(self) -> bool:
        """Whether the file is open at this moment."""
        return self._open is not None

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def now(self) -> float:
        """This machine's time of day: all who share a file run on it."""
        return time.time()

    def take_owner(self) -> FileOwner:
        """A mark that is a locked file."""
        with self._told():
            return FileOwner(self.path.parent / "owners")

    def _look(self, asking: Act) -> Any:
        return asking(self._connection())

    def _transact(self, batch: list[Ticket]) -> None:
        connection = self._connection()
        durable = any(ticket.durable for ticket in batch)
        if durable is not self._synced:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._synced = durable
        with _transaction(connection):
            for ticket in batch:
                try:
                    ticket.value = ticket.act(connection)
                except Exception as error:
                    raise Refused(error) from error

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._open, self._synced = self._opened(), None
        return self._open

    def _shut(self) -> None:
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open.close()
        self._open = None

    def _opened(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise JournalError(
                f"this Python's SQLite is {sqlite3.sqlite_version}; the journal needs 3.37",
                next_step="Update Python, or turn the journal off (journal.enabled = false).",
            )
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(self.path)
        connection = sqlite3.connect(
            self.path, timeout=self._wait, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA page_size = {PAGE}")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._recognise(connection)
        self._use_wal(connection)
        for pragma in ("secure_delete = ON", f"wal_autocheckpoint = {CHECKPOINT}"):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        if _version(connection) < len(self._migrations):
            self._migrate(connection)

    def _recognise(self, connection: sqlite3.Connection) -> None:
        """Refuse, before anything is changed, what is not ours or not yet ours to understand."""
        # One look at both: another process may make the tables at this very moment.
        connection.execute("BEGIN")
        version = _version(connection)
        foreign = connection.execute("SELECT 1 FROM sqlite_master").fetchone() and not version
        connection.execute("ROLLBACK")
        if foreign:
            raise JournalError(
                f"{self.path} is a database of something else; it was not touched",
                next_step="Move it away, or set another UNIFIED_FLUX_HOME.",
            )
        if version > len(self._migrations):
            raise JournalError(
                f"the journal {self.path} was written by a newer unified-flux (its tables are of "
                f"version {version}, this one knows {len(self._migrations)}); nothing was changed",
                next_step="Update unified-flux, or set another UNIFIED_FLUX_HOME.",
            )

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Several who open a new file at once are told "locked" without any waiting."""
        until = time.monotonic() + self._wait
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise JournalError(
                    f"the disk of {self.path} cannot hold a write-ahead log",
                    next_step="A network drive cannot; set UNIFIED_FLUX_HOME to a local folder.",
                )
            return

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Lead the tables forwards, all steps or none; what was there before is kept beside it."""
        with _transaction(connection):
            version = _version(connection)
            if 0 < version < len(self._migrations):
                self._back_up(version)
            for step in self._migrations[version:]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(self._migrations)}")

    def _back_up(self, version: int) -> None:
        """A copy of the file as it was, for the program that wrote it."""
        day = time.strftime("%Y%m%d-%H%M%S")
        copy = self.path.with_name(f"{self.path.stem}-version-{version}-{day}.db")
        _make(copy)
        with (
            contextlib.closing(sqlite3.connect(self.path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)

    def told(self, error: Exception) -> UnifiedFluxError:
        """SQLite's or the system's fault in our words."""
        return error if isinstance(error, UnifiedFluxError) else _trouble(self.path, error)


def _make(path: Path) -> None:
    """An empty file for this user alone, where there is none.

    One that is there is not opened: closing it would drop every lock that SQLite holds on it for
    this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


# What SQLite or the system says → what is wrong, and what to do.
_TROUBLES = (
    ("locked", "another program has it locked", "Try again when that one is done."),
    ("busy", "another program has it locked", "Try again when that one is done."),
    ("full", "the disk is full", f"Free space there, set another UNIFIED_FLUX_HOME, {OFF}"),
    ("no space", "the disk is full", f"Free space there, set another UNIFIED_FLUX_HOME, {OFF}"),
    ("readonly", "it may not be written", f"Set another UNIFIED_FLUX_HOME, {OFF}"),
    ("read-only", "it may not be written", f"Set another UNIFIED_FLUX_HOME, {OFF}"),
    ("unable to open", "it may not be written", f"Set another UNIFIED_FLUX_HOME, {OFF}"),
    ("permission", "it may not be written", f"Set another UNIFIED_FLUX_HOME, {OFF}"),
    ("not a database", "it is no SQLite file", "Move it away; a new one is begun."),
    ("malformed", "it is damaged", "Move it away, keep it, and look at it with sqlite3's .recover."),
)  # fmt: skip


def _trouble(path: Path, error: Exception) -> JournalError:
    said = str(error).lower()
    for word, what, next_step in _TROUBLES:
        if word in said:
            return JournalError(f"the journal {path}: {what}", next_step=next_step)
    return JournalError(
        f"the journal {path}: {safe(error, 160)}",
        next_step=f"Set another UNIFIED_FLUX_HOME, {OFF}",
    )
