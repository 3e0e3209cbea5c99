"""The command line under a clock that jumps: every quarter of a second it is another day.

workers_clock.py ARGUMENTS
"""

from __future__ import annotations

import time

EVERY = 0.25
# Seconds that the clock is wrong by, in turn: hours and weeks, ahead and back.
JUMPS = (0, 3600, -7200, 30 * 86_400, -86_400, 60)


def jump() -> None:
    """From now on `time.time` is not to be relied on; `time.monotonic` is."""
    real, begun = time.time, time.monotonic()

    def wrong() -> float:
        return real() + JUMPS[int((time.monotonic() - begun) / EVERY) % len(JUMPS)]

    time.time = wrong


if __name__ == "__main__":
    jump()
    from unified_flux.cli import main

    main()
