"""Which processes are alive: each holds a lock that the system lets go of when it dies.

SQLite's own file locks are used, since they are the same on every system.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path


class Owner:
    """This process's mark on the jobs that it works on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = secrets.token_hex(8)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = sqlite3.connect(
            folder / self.token, isolation_level=None, check_same_thread=False
        )
        self._lock.execute("BEGIN EXCLUSIVE")

    def close(self) -> None:
        """Let go; what is still marked is anyone's."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._lock.close()
            (self._folder / self.token).unlink(missing_ok=True)

    def lives(self, token: str) -> bool:
        """Whether the process with this mark is alive; of a dead one the mark is removed."""
        path = self._folder / token
        if token == self.token:
            return True
        if not path.exists():
            return False
        try:
            with contextlib.closing(
                sqlite3.connect(path, timeout=0, isolation_level=None)
            ) as probe:
                probe.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return True
        path.unlink(missing_ok=True)
        return False
