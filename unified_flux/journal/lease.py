"""Which processes are alive, on many machines: each gives a sign of life every few seconds.

The database's clock tells how old a sign is, so that no machine's own clock matters.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from unified_flux.journal.database import Connection

# Signs in a lease: some may fail, and one may take its time.
_BEATS = 5
# Seconds after which it is tried again, where the database did not take a sign.
_AGAIN = 0.5
_BEAT = (
    "INSERT INTO unified_flux.owners VALUES (%s, clock_timestamp())"
    " ON CONFLICT (token) DO UPDATE SET beat_at = excluded.beat_at"
)
# After a restart nobody can have given a sign: all have a whole lease again.
_LIVES = (
    "SELECT 1 FROM owners WHERE token = ? AND greatest(beat_at, pg_postmaster_start_time())"
    " > clock_timestamp() - ? * interval '1 second'"
)
_SWEEP = (
    "DELETE FROM unified_flux.owners WHERE beat_at < clock_timestamp() - interval '1 day'",
    "DELETE FROM unified_flux.writers WHERE at < clock_timestamp() - interval '1 day'",
)


class Lease:
    """This process's mark on the jobs that it works on, kept up by a thread and a connection of its own.

    Args:
        connect: Opens a connection in which each statement is a transaction.
        look: Asks within whatever connection there is.
        seconds: After which a process without a sign is dead.
        writer: The token of this process's transactions, which goes with it.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        look: Callable[[Callable[[Connection], Any]], Any],
        seconds: float,
        writer: str,
    ) -> None:
        self.token = secrets.token_hex(8)
        self.pid = os.getpid()
        self._connect, self._look, self._seconds, self._writer = connect, look, seconds, writer
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: psycopg.Connection[Any] | None = None
        for statement in _SWEEP:
            self._execute(statement)
        self._beat()
        threading.Thread(target=self._live, name="unified-flux-lease", daemon=True).start()

    def lives(self, token: str, connection: Connection | None = None) -> bool:
        """Whether the process with this mark gave a sign lately."""
        if token == self.token:
            return True
        if connection is None:
            return bool(self._look(lambda it: self.lives(token, it)))
        return connection.execute(_LIVES, (token, self._seconds)).fetchone() is not None

    def close(self) -> None:
        """Let go at once; where that cannot be told, the lease runs out."""
        self._stopped.set()
        # A forked child's copy is its parent's.
        if self.pid != os.getpid():
            return
        with contextlib.suppress(psycopg.Error):
            self._execute("DELETE FROM unified_flux.owners WHERE token = %s", self.token)
            self._execute("DELETE FROM unified_flux.writers WHERE token = %s", self._writer)
        with self._lock:
            self._shut()

    def hold_still(self) -> None:
        """A fork is near: no sign is given, and no connection is open."""
        self._lock.acquire()
        self._shut()

    def move_on(self) -> None:
        """The fork is over."""
        self._lock.release()

    def _live(self) -> None:
        pause = self._seconds / _BEATS
        while not self._stopped.wait(pause):
            try:
                self._beat()
                pause = self._seconds / _BEATS
            except Exception:
                # Whatever it is, giving up would hand over jobs that somebody works on.
                pause = min(_AGAIN, self._seconds / _BEATS)

    def _beat(self) -> None:
        self._execute(_BEAT, self.token)

    def _execute(self, statement: str, *values: Any) -> None:
        with self._lock:
            if self._stopped.is_set() and statement is _BEAT:
                return
            try:
                if self._open is None:
                    self._open = self._connect()
                self._open.execute(statement.encode(), values or None)
            except BaseException:
                self._shut()
                raise

    def _shut(self) -> None:
        if self._open is not None:
            with contextlib.suppress(psycopg.Error):
                self._open.close()
        self._open = None
