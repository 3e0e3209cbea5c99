"""What a database does for the journal, in whatever dialect: many threads' changes, committed together.

Facts that are ready at the same moment share one transaction and one wait for the disk: whoever holds
the lock commits for all who wait. What nobody could miss rides along with the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from unified_flux.errors import JournalError, UnifiedFluxError
from unified_flux.text import safe

Row = Mapping[str, Any]
Values = Sequence[Any] | Mapping[str, Any]
OFF = "or turn the journal off (journal.enabled = false)."
log = logging.getLogger("unified_flux")


class Connection(Protocol):
    """Takes statements with `?` or `:name` in the place of values, in either dialect."""

    def execute(self, query: str, values: Any = ..., /) -> Any:
        """A cursor whose rows are mappings."""


Act = Callable[[Connection], Any]


class Owner(Protocol):
    """This process's mark on the jobs that it works on."""

    token: str
    pid: int

    def lives(self, token: str, connection: Connection | None = None) -> bool:
        """Whether the process with this mark is alive, asked within a transaction where there is one."""

    def close(self) -> None:
        """Let go; what is still marked is anyone's."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two say differently in queries.

    Attributes:
        like: The test of one payload key against a value, with a default where it says nothing.
        mark: The three values of that test, from the key's steps, the default and the value.
    """

    like: str
    mark: Callable[[Sequence[str], Any, Any], tuple[Any, Any, Any]]


@dataclass(slots=True, eq=False)
class Ticket:
    """One change that waits for its transaction."""

    act: Act
    durable: bool
    done: bool = False
    value: Any = None
    error: Exception | None = None


# Every database that is open in this process, for the moment of a fork.
_EVERY: weakref.WeakSet[Database] = weakref.WeakSet()
_forking: list[Database] = []


def _before_fork() -> None:
    """No connection may be open across a fork: they are opened anew on either side."""
    _forking[:] = _EVERY
    for one in _forking:
        one.hold_still()


def _after_fork() -> None:
    for one in _forking:
        one.move_on()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


class Refused(Exception):
    """One change of a transaction was not possible."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Database(ABC):
    """One connection, opened when it is first needed.

    Attributes:
        place: Where it is, as a person may read it.
        path: Its file, None where it is none.
        slowed: Whether any provider's pace may stand written down in it.
    """

    dialect: Dialect
    place: str
    path: Path | None = None
    slowed = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._waiting: deque[Ticket] = deque()
        _EVERY.add(self)

    def write(self, act: Act, *, durable: bool = True) -> Any:
        """Change something in a transaction and return what `act` returns.

        Args:
            durable: Whether it must survive a power cut; the death of the process it survives anyhow.

        Raises:
            JournalError: When the database does not take it; then nothing of it is there.
        """
        ticket = Ticket(act, durable)
        self._waiting.append(ticket)
        try:
            with self._lock:
                if not ticket.done:
                    self._catch_up()
        except BaseException:
            # Who was interrupted before it was written wants it no more.
            with contextlib.suppress(ValueError):
                self._waiting.remove(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.value

    def later(self, act: Act) -> None:
        """Change something with the next transaction, at the latest when it is read or closed.

        Only for what may be forgotten with the process; its faults are logged.
        """
        self._waiting.append(Ticket(act, durable=False))

    def read(self, query: str, values: Values = ()) -> list[Row]:
        """The rows that a query finds.

        Raises:
            JournalError: When the database cannot be read.
        """
        rows: list[Row] = self.look(lambda connection: list(connection.execute(query, values)))
        return rows

    def look(self, asking: Act) -> Any:
        """What several queries find together, `asking` being given the connection."""
        with self._lock, self._told():
            self._catch_up()
            return self._look(asking)

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            if self.is_open:
                self._catch_up()
            self._shut()

    def hold_still(self) -> None:
        """A fork is near: nobody uses a connection, and none is open."""
        self._lock.acquire()
        self._shut()

    def move_on(self) -> None:
        """The fork is over."""
        self._lock.release()

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether a connection is open at this moment."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything to read; looking makes nothing."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since 1970, by the clock that all who share it go by."""

    @abstractmethod
    def take_owner(self) -> Owner:
        """A new mark for this process. Raises JournalError where none can be made."""

    @abstractmethod
    def told(self, error: Exception) -> UnifiedFluxError:
        """A fault of the database or the system in our words."""

    @abstractmethod
    def _look(self, asking: Act) -> Any:
        """`asking` with the connection, the lock being held."""

    @abstractmethod
    def _transact(self, batch: list[Ticket]) -> None:
        """All changes in one transaction, each ticket given its value. Raises Refused for one's fault."""

    @abstractmethod
    def _shut(self) -> None:
        """Close the connection; it is opened anew when it is needed."""

    def _catch_up(self) -> None:
        """Write what was left for later."""
        if self._waiting:
            self._commit([self._waiting.popleft() for _ in range(len(self._waiting))])

    def _commit(self, batch: list[Ticket]) -> None:
        try:
            self._transact(batch)
        except Refused as refused:
            if len(batch) > 1:
                # The fault of one must not be the others'.
                for ticket in batch:
                    self._commit([ticket])
            else:
                batch[0].error = self.told(refused.error)
        except Exception as error:
            for ticket in batch:
                ticket.error = self.told(error)
            log.info("the journal did not take a change: %s", safe(self.told(error), 200))
        except BaseException:
            for ticket in batch:
                ticket.error = JournalError("the journal was interrupted while it was written")
            raise
        finally:
            for ticket in batch:
                ticket.done = True

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self.told(error) from error
