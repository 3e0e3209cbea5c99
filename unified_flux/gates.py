"""One provider's turnstile in this process: whose turn it is to begin a paid submit.

It keeps to the provider's `Throttle`, and to the provider's own word: after a 429 the next submits
come one by one, further apart with each further 429, and closer again as they are taken. Other
providers have turnstiles of their own. What holds between processes the journal decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from unified_flux.throttle import Throttle

Wake = Callable[[], None]
# Seconds between two submits after a first 429, and at most; below the least there is no spacing.
_FIRST, _LONGEST, _LEAST = 0.25, 30.0, 0.05
_CLOSER = 0.8


@dataclass(slots=True, eq=False)
class Gate:
    """Where flows wait for their turn, the first come first.

    Attributes:
        told: Called with the seconds for which the provider wants to be asked less.
    """

    throttle: Throttle = field(default_factory=Throttle)
    told: Callable[[float], object] | None = None
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # Those who were put back, the last first, and then the others.
    _front: list[Wake] = field(default_factory=list)
    _queue: dict[Wake, None] = field(default_factory=dict)
    _inside: int = 0
    _next: float = 0.0
    _spacing: float = 0.0

    def enter(self, wake: Wake) -> float:
        """Zero where it is this one's turn now, else the seconds until it should ask again.

        Endless where `wake` will be called; each `wake` stands in the queue once.
        """
        with self._lock:
            if wake not in self._front:
                self._queue[wake] = None
            if self._first() != wake or self._is_full():
                return inf
            wait = self._next - self.clock()
            if wait > 0:
                return wait
            self._drop(wake)
            self._inside += 1
            self._next = self.clock() + self._apart()
        self._call_first()
        return 0.0

    def leave(self) -> None:
        """One that was inside is over."""
        with self._lock:
            self._inside -= 1
        self._call_first()

    def put_back(self, wake: Wake, seconds: float) -> None:
        """The one that was let in has to wait so long after all, and with it all behind it."""
        with self._lock:
            self._inside -= 1
            self._front.append(wake)
            self._next = max(self._next, self.clock() + seconds)

    def forget(self, wake: Wake) -> None:
        """Who waited wants no more."""
        with self._lock:
            self._drop(wake)
        self._call_first()

    def slow_down(self, seconds: float) -> None:
        """The provider wants to be asked less: nobody for so long, and then one by one."""
        with self._lock:
            self._spacing = min(max(2 * self._spacing, _FIRST), _LONGEST)
            wait = max(seconds, self._spacing)
            self._next = max(self._next, self.clock() + wait)
        if self.told is not None:
            self.told(wait)

    def speed_up(self) -> None:
        """The provider took one."""
        with self._lock:
            closer = self._spacing * _CLOSER
            self._spacing = closer if closer > _LEAST else 0.0

    def _first(self) -> Wake | None:
        return self._front[-1] if self._front else next(iter(self._queue), None)

    def _drop(self, wake: Wake) -> None:
        if wake in self._front:
            self._front.remove(wake)
        self._queue.pop(wake, None)

    def _is_full(self) -> bool:
        most = self.throttle.in_flight
        return most is not None and self._inside >= most

    def _apart(self) -> float:
        rate = self.throttle.per_second
        return max(self._spacing, 1 / rate if rate else 0.0)

    def _call_first(self) -> None:
        with self._lock:
            first = None if self._is_full() else self._first()
        if first is not None:
            first()
