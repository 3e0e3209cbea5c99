"""What a batch has seen of its file, beside memory: a table that is gone with the process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from unified_flux.errors import JournalError
from unified_flux.text import hashed, safe

# Kilobytes of it that are held in memory; the rest lies in a temporary file. Ten thousand lines fill
# them, so that a million take no more.
_HELD = 1_000
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -{held};
CREATE TABLE seen (name BLOB PRIMARY KEY, first INTEGER, count INTEGER) WITHOUT ROWID;
CREATE TABLE lines (number INTEGER PRIMARY KEY, digest BLOB);
BEGIN;
"""
_SEE = (
    "INSERT INTO seen VALUES (?, ?, 1) ON CONFLICT (name) DO UPDATE SET count = count + 1"
    " RETURNING first, count"
)

T = TypeVar("T")


class Scratch:
    """Names that were seen, and lines that were checked; for many threads, a context manager.

    SQLite keeps it in a file without a name, which no crash leaves behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Autocommit as Python means it: the one transaction is ours, and is never committed.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._tried(lambda: self._file.executescript(_TABLES.format(held=_HELD)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._file.close()

    def see(self, name: str | bytes, line: int) -> tuple[int, int]:
        """Note a name: the line that it was first seen in, and how often it was by now.

        Args:
            name: Kept by its hash; bytes are one already.

        Raises:
            JournalError: When the temporary disk does not take it.
        """
        if isinstance(name, str):
            name = hashed(name)
        first, count = self._tried(lambda: self._file.execute(_SEE, (name, line)).fetchone())
        return first, count

    def checked(self, line: int, digest: bytes) -> None:
        """Note what a line said when it was checked. Raises JournalError as `see`."""
        wish = (line, digest)
        self._tried(lambda: self._file.execute("INSERT OR REPLACE INTO lines VALUES (?, ?)", wish))

    def said(self, line: int) -> bytes | None:
        """What a line said when it was checked, None where it was not."""
        query = "SELECT digest FROM lines WHERE number = ?"
        row: Any = self._tried(lambda: self._file.execute(query, (line,)).fetchone())
        return row[0] if row else None

    def forget_names(self) -> None:
        """Begin anew with names, for another reading of the same file."""
        self._tried(lambda: self._file.execute("DELETE FROM seen"))

    def _tried(self, act: Callable[[], T]) -> T:
        try:
            with self._lock:
                return act()
        except sqlite3.Error as error:
            raise JournalError(
                f"the temporary file of the batch: {safe(error, 120)}; nothing was sent",
                next_step="Free space in the folder for temporary files, or set TMPDIR to another.",
            ) from None
