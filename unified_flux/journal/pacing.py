"""Whose turn it is: jobs in flight and submits a second, of all who share a journal together.

Judged in the transaction that writes down the intent to pay, so no two pass a limit together, and
whoever dies leaves nothing that must be cleared away: jobs in flight are counted where they stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from unified_flux.journal.database import Connection
from unified_flux.text import safe
from unified_flux.throttle import NotYet, Throttle

# Millionths of a second: at 300 submits a second, whole milliseconds would be a quarter off.
SECOND = 1_000_000
# The journal tells time in milliseconds; a turn comes in the one that it falls into.
_TICK = 1_000
# No pace reaches further ahead than this: what stands there was written by a clock that was wrong.
_FURTHEST_TURN = 60 * SECOND
# The longest that one word of a provider slows its submits; then they ask again.
_FURTHEST_SLOWNESS = 3600 * SECOND
# Seconds after which it is worth asking again whether a job has ended.
_LOOK_AGAIN = 0.2

_TURN = "SELECT next_at, slow_until FROM throttles WHERE provider = ? AND sandbox = ?"
_IN_FLIGHT = (
    "SELECT count(*) AS jobs FROM jobs WHERE provider = ? AND sandbox = ?"
    " AND phase IN ('sending', 'accepted', 'unknown') AND sending_at BETWEEN ? AND ?"
)
_KEEP = (
    "INSERT INTO throttles (provider, sandbox, next_at, slow_until) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (provider, sandbox)"
    " DO UPDATE SET next_at = excluded.next_at, slow_until = excluded.slow_until"
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast providers may be asked.

    Attributes:
        throttles: By a provider's name.
        held_for: Seconds after its submit in which a job counts as being in flight.
    """

    throttles: Mapping[str, Throttle]
    held_for: float

    def turn(self, connection: Connection, now: int, provider: str, *, sandbox: bool) -> None:
        """Let one more submit pass; `now` is in milliseconds.

        Raises:
            NotYet: When it has to wait; then nothing is written.
        """
        micros = now * _TICK
        throttle = self.throttles.get(provider, Throttle())
        step = math.ceil(SECOND / throttle.per_second) if throttle.per_second else 0
        next_at, slow_until = _found(connection, micros, provider, sandbox, step)
        wait = max(next_at if step else 0, slow_until) - micros
        if wait >= _TICK:
            raise NotYet(f"{safe(provider, 40)} is not to be asked yet", wait / SECOND)
        if throttle.in_flight is not None:
            self._count(connection, now, provider, sandbox, throttle.in_flight)
        if step:
            kept = (provider, int(sandbox), max(next_at, micros) + step, slow_until)
            connection.execute(_KEEP, kept)

    def _count(
        self, connection: Connection, now: int, provider: str, sandbox: bool, most: int
    ) -> None:
        held = int(self.held_for * 1000)
        values = (provider, int(sandbox), now - held, now + held)
        if connection.execute(_IN_FLIGHT, values).fetchone()["jobs"] >= most:
            raise NotYet(f"{safe(provider, 40)} has {most} jobs in flight already", _LOOK_AGAIN)


def slow_down(
    connection: Connection, now: int, provider: str, seconds: float, *, sandbox: bool
) -> None:
    """No submit passes for so long, unless one word before has said longer."""
    micros = now * _TICK
    next_at, slow_until = _found(connection, micros, provider, sandbox)
    until = micros + min(max(int(seconds * SECOND), 0), _FURTHEST_SLOWNESS)
    connection.execute(_KEEP, (provider, int(sandbox), next_at, max(slow_until, until)))


def _found(
    connection: Connection, micros: int, provider: str, sandbox: bool, step: int = 0
) -> tuple[int, int]:
    """When the next turn is and until when a provider is slowed; nothing that a wrong clock wrote."""
    row = connection.execute(_TURN, (provider, int(sandbox))).fetchone()
    if row is None:
        return 0, 0
    next_at, slow_until = row["next_at"], row["slow_until"]
    return (
        next_at if next_at - micros <= max(_FURTHEST_TURN, 2 * step) else 0,
        slow_until if slow_until - micros <= _FURTHEST_SLOWNESS else 0,
    )
