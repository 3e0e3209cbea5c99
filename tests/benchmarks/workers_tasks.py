"""The command line with polls at fixed times, whatever a provider's card advises and its jobs have taught.

    python tests/benchmarks/workers_tasks.py FIRST EVERY ARGUMENTS

FIRST and EVERY are seconds; a job that is as quick as a benchmark's is nothing that a card knows of.
"""

from __future__ import annotations

import random
import sys

from unified_flux.cli import main
from unified_flux.polling import Schedule


def fixed(first: float, every: float) -> None:
    """Poll at these times from now on."""

    def wait(_: Schedule, elapsed: float | None, polls: int, rng: random.Random) -> float:
        return every if polls else max(first - (elapsed or 0.0), 0.0)

    Schedule.wait = wait  # type: ignore[method-assign]


if __name__ == "__main__":
    fixed(float(sys.argv.pop(1)), float(sys.argv.pop(1)))
    main()
