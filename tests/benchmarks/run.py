"""Run the benchmarks and print one table: `python tests/benchmarks/run.py [NAME ...]`.

A figure is the median of the rounds, a ratio the median of the rounds' own ratios. Times are CPU
(user and system) of our process; a target bounds the ratio, or the figure where it has a unit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import batch
import bodies
import compare
import generation
import handshake
import journal
import many
import polling
import report
import startup
import translation
import workers
from harness import Row

import plugins

BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "startup": startup.rows,
    "plugins": plugins.rows,
    "translation": translation.rows,
    "generation": generation.rows,
    "inline": bodies.inline,
    "upload": bodies.upload,
    "download": bodies.download,
    "handshake": handshake.rows,
    "journal": journal.rows,
    "many": many.rows,
    "batch": batch.rows,
    "workers": workers.rows,
    "compare": compare.rows,
    "report": report.rows,
    "polling": polling.rows,
}
HEADINGS = ("what", "ours", "baseline", "ratio", "target", "verdict")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; 1 where a target is missed."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    table = [HEADINGS]
    for name in names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr)
        table += [row.cells() for row in BENCHMARKS[name]()]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    for what, *figures in table:
        right = (text.rjust(width) for text, width in zip(figures, widths[1:], strict=True))
        print(f"{what:<{widths[0]}}  {'  '.join(right)}")
    return int(any(line[-1] == "MISSED" for line in table))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
