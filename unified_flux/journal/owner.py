"""Which processes on this machine are alive: each holds a lock that the system lets go of when it dies.

SQLite's own file locks are used, since they are the same on every system.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from pathlib import Path

# Seconds after which an unlocked mark is surely no process that is just starting.
_STALE = 86_400.0


class FileOwner:
    """This process's mark on the jobs that it works on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = secrets.token_hex(8)
        self.pid = os.getpid()
        for place in (folder.parent, folder):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep()
        self._lock = sqlite3.connect(
            folder / self.token, isolation_level=None, check_same_thread=False
        )
        self._lock.execute("PRAGMA journal_mode = MEMORY")
        self._lock.execute("BEGIN EXCLUSIVE")

    def close(self) -> None:
        """Let go; what is still marked is anyone's."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._lock.close()
            # A forked child's copy is no lock, and the mark is its parent's.
            if self.pid != os.getpid():
                return
            (self._folder / self.token).unlink(missing_ok=True)

    def lives(self, token: str, connection: object = None) -> bool:
        """Whether the process with this mark is alive; a look only, so that many may look at once.

        Locks tell it, whatever connection there is.
        """
        path = self._folder / token
        if token == self.token:
            return True
        if not path.exists():
            return False
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=0, uri=True)
            ) as probe:
                probe.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error:
            # Locked, or not to be told: taking over what is alive would be worse than waiting.
            return path.exists()
        return False

    def _sweep(self) -> None:
        """Remove the marks of processes that died long ago."""
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                old = time.time() - path.stat().st_mtime > _STALE
                if old and not self.lives(path.name):
                    path.unlink()
