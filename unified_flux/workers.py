"""Threads that do what is due: a heap of due things, and a pool that grows with need.

What waits costs no thread. Where all that may work do, one more stands by and looks: while something
is due, all have their hands full and the interpreter has time left, twice as many may work from then
on. So there come to be about as many as things fall due in a second times the seconds that one takes,
and no more where it is this machine that is slow: threads that compete for the interpreter make every
step dearer. Polls go before pictures that lie ready, and these before what has not begun: a poll that
comes late makes a flow longer, and new work would only make it later still.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

MOST = 128
# Seconds after which an idle thread goes.
IDLE = 5.0
# Seconds over which the load is measured, and the share of one core that is "busy".
_WINDOW = 0.02
_BUSY = 0.6
# The share of their time that they are at exchanges where it is answers that are waited for.
_AWAY = 0.75
# Seconds that something is overdue where there is more to do than can be done.
_LATE = 0.05
_log = logging.getLogger("unified_flux")
# The ranks of what waits until nothing is due.
READY, NEW = 0, 1


class Doer(Protocol):
    """What something is to be done with."""

    def go(self, turn: int) -> object:
        """Do it, unless this turn is over."""


# When it is due or its rank, in which order it came, what it is, and its turn: a plain tuple, since there
# may be ten thousands.
Entry = tuple[float, int, Doer, int]


class _Room:
    """How many threads may work at once: twice as many after each window in which all had their hands
    full, mostly with exchanges, and this process was not busy. Then it was answers that they waited
    for, and neither the journal nor each other.
    """

    def __init__(self) -> None:
        self._since = self._used = self._gone = 0.0
        self._full = False
        self._at = 0.0
        self._away = 0
        # Seconds that all threads were at exchanges.
        self._total = 0.0
        self.threads = 1

    def note(self, number: int) -> None:
        """So many more are at an exchange from now on."""
        now = time.monotonic()
        self._total += self._away * (now - self._at)
        self._at = now
        self._away += number

    def rest(self) -> None:
        """Somebody had nothing to do: the window begins anew."""
        self._full = False

    def look(self, now: float) -> None:
        """Asked while something is due and all are at work."""
        passed = now - self._since
        if self._full and passed < _WINDOW:
            return
        self.note(0)
        used, gone = time.process_time() - self._used, self._total - self._gone
        if self._full and used < _BUSY * passed and gone >= _AWAY * passed * self.threads:
            self.threads *= 2
        self._since, self._used, self._gone = now, self._used + used, self._total
        self._full = True


class Workers:
    """A pool of threads over a heap.

    Args:
        most: As many threads as there may be; whoever calls `help_until` is one more.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._heap: list[Entry] = []
        self._spare: list[Entry] = []
        self._came = count()
        self._lock = threading.Lock()
        # The one who waits for the next thing to be due, and those who wait for more to do.
        self._first = threading.Condition(self._lock)
        self._others = threading.Condition(self._lock)
        self._has_first = self._looks_out = False
        self._idle = 0
        self._room = _Room()
        self._closed = False
        self._helpers = 0
        self.threads = 0

    def at(self, due: float, doer: Doer, turn: int) -> None:
        """Have something done at a moment of `time.monotonic`, or as soon as possible after it.

        For a thread that comes for more right after, as whoever is at it does: no other is begun.
        """
        with self._lock:
            entry = (due, next(self._came), doer, turn)
            heapq.heappush(self._heap, entry)
            if self._idle and self._heap[0] is entry:
                self._call_one()

    def soon(self, doer: Doer, turn: int) -> None:
        """Have something done by the next who is free."""
        with self._lock:
            heapq.heappush(self._heap, (time.monotonic(), next(self._came), doer, turn))
            self._call_one()

    def later(self, rank: int, doer: Doer, turn: int) -> None:
        """Have something done when nothing in the heap is due, what has a lower rank first."""
        with self._lock:
            heapq.heappush(self._spare, (rank, next(self._came), doer, turn))
            self._call_one()

    def _call_one(self) -> None:
        """Somebody shall look what there is to do."""
        if not self._idle:
            self._grow()
        elif not self._looks_out:
            (self._first if self._has_first else self._others).notify()

    @property
    def is_late(self) -> bool:
        """Whether there is more to do than can be done."""
        # A copy, since nobody is kept from changing it.
        first = self._heap[:1]
        return bool(first) and first[0][0] < time.monotonic() - _LATE

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """This thread waits for an answer meanwhile."""
        with self._lock:
            self._room.note(1)
        try:
            yield
        finally:
            with self._lock:
                self._room.note(-1)

    def help_until(self, is_over: Callable[[], bool]) -> None:
        """Do what is due in the caller's own thread until `is_over`, which `wake` has looked at again."""
        with self._lock:
            self._helpers += 1
        try:
            while (entry := self._take(is_over)) is not None:
                entry[2].go(entry[3])
        finally:
            with self._lock:
                self._helpers -= 1
                if self._heap or self._spare:
                    self._call_one()

    def wake(self) -> None:
        """Have everybody look whether it is over."""
        with self._lock:
            self._first.notify_all()
            self._others.notify_all()

    def close(self) -> None:
        """Do nothing more than what is begun."""
        with self._lock:
            self._closed = True
            self._heap.clear()
            self._spare.clear()
        self.wake()

    def _take(self, is_over: Callable[[], bool] | None = None) -> Entry | None:
        """The next thing that is due; None where it is over, or this thread has been idle for long."""
        with self._lock:
            while not (is_over() if is_over else self._closed):
                now = time.monotonic()
                if self._is_due(now) and not self._may_work(now):
                    self._wait(_WINDOW, may_go=False, looks_out=True)
                    continue
                entry = self._next(now)
                if entry is not None:
                    self._hand_on(now)
                    return entry
                self._room.rest()
                stays = self._wait(self._heap[0][0] - now if self._heap else None, is_over is None)
                if not stays and (self._has_first or not self._heap):
                    return None
            return None

    def _may_work(self, now: float) -> bool:
        """Whether there is room for this thread; whoever helps takes none of it."""
        if self.threads - self._idle > self._room.threads:
            self._room.look(now)
        return self.threads - self._idle <= self._room.threads

    def _next(self, now: float) -> Entry | None:
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)
        return heapq.heappop(self._spare) if self._spare else None

    def _is_due(self, now: float) -> bool:
        return bool(self._spare or (self._heap and self._heap[0][0] <= now))

    def _hand_on(self, now: float) -> None:
        """Whoever goes to work leaves the heap to another."""
        if self._idle > self._has_first:
            if not self._looks_out and (self._heap or self._spare):
                self._others.notify()
        elif not self._idle and self._is_due(now):
            self._grow()

    def _wait(self, seconds: float | None, may_go: bool, *, looks_out: bool = False) -> bool:
        """Be idle until there may be something to do; False where there was nothing for long."""
        self._idle += 1
        try:
            if seconds is not None and not self._has_first:
                self._has_first, self._looks_out = True, looks_out
                try:
                    self._first.wait(min(seconds, threading.TIMEOUT_MAX))
                finally:
                    self._has_first = self._looks_out = False
                return True
            if self._looks_out:
                self._first.notify()
            return self._others.wait(IDLE if may_go else None) or not may_go
        finally:
            self._idle -= 1

    def _grow(self) -> None:
        """One more thread, where it would find something to do; one beyond the room looks out."""
        is_needed = self._is_due(time.monotonic()) or not self.threads + self._helpers
        if (
            is_needed
            and not self._closed
            and self.threads < min(self._most, self._room.threads + 1)
        ):
            self.threads += 1
            threading.Thread(target=self._work, name="unified-flux", daemon=True).start()

    def _work(self) -> None:
        try:
            while (entry := self._take()) is not None:
                # An interrupt came to another thread, and its flow's future tells of it.
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    entry[2].go(entry[3])
        except Exception:
            _log.exception("a thread of unified-flux failed")
        finally:
            with self._lock:
                self.threads -= 1
