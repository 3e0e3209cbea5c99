"""`unified-flux batch run` as a person runs it: ten thousand lines, and dry runs up to a million.

A time is the whole command's, from its start in a fresh process to its end; the journal is on. The
provider is `fast_peer.py`, whose picture is ready at once; its card asks for the first poll after
three to five seconds, so many lines are under way together. The barest loop makes the same exchanges
one after another.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Row, scratch
from many import counters, peer
from many_tasks import Plain
from watching import Ran, bare, command

LINES, DRY, MANY = 10_000, 100_000, 1_000_000
AT_ONCE = 1000
FILE = "lines.jsonl"
KEYS = {"VTRIX_API_KEY": "benchmark"}
BOTH = {**KEYS, "RIVYA_API_KEY": "rvya_sk_benchmark"}
# What `cheapest` compares; the amounts are of no matter.
PRICES = """
[credits]
rivya = "0.01"
[prices."vtrix/flux_kontext_pro"]
amount = "0.05"
unit = "USD"
per = "image"
source = "benchmark"
as_of = 2026-11-21
"""


def write(folder: Path, lines: int) -> None:
    """A batch's file, one line after the other."""
    asked = {"model": "flux-kontext-pro", "aspect_ratio": "16:9", "output_format": "png"}
    with (folder / FILE).open("w") as file:
        for number in range(lines):
            file.write(json.dumps({"prompt": f"picture {number}", **asked}) + "\n")


def dry_run(lines: int, provider: str, **keys: str) -> Ran:
    """Every line checked and quoted, and nothing sent."""
    with scratch() as folder:
        write(folder, lines)
        (folder / "unified-flux.toml").write_text(PRICES)
        return command(folder, "batch", "run", FILE, "-p", provider, "--dry-run", "-q", **keys)


def run() -> Iterator[Row]:
    """Ten thousand lines, and the barest loop."""
    with peer(0.0, 0.0) as base:
        with scratch(keep=True) as folder:
            write(folder, LINES)
            words = ("batch", "run", FILE, "-p", "vtrix", "--yes", "-q")
            more = ("--concurrency", str(AT_ONCE))
            ours = command(folder, *words, *more, VTRIX_BASE_URL=base, **KEYS)
            seen = counters(base)
            assert seen["submits"] == seen["fetches"] == LINES, seen
            print(f"  {seen}", file=sys.stderr)
        with scratch(keep=True) as folder:
            plain = Plain(base, folder, 0.0)
            begun = time.perf_counter()
            plain.run(LINES)
            loop = time.perf_counter() - begun
    ours_rate, loop_rate = LINES / ours.seconds, LINES / loop
    yield Row(
        what=f"batch run, {LINES:,} lines, {AT_ONCE:,} at once, journal on / http.client's loop",
        ours=ours_rate, baseline=loop_rate, unit="lines/s", ratio=ours_rate / loop_rate,
        target=150.0, absolute=True, least=True,
    )  # fmt: skip
    yield Row(what="the same, CPU a line", ours=ours.cpu * 1000 / LINES)
    yield Row(what="the same, peak memory of the process", ours=ours.seen.peak, unit="MB")


def dry_runs() -> Iterator[Row]:
    """Lines that are checked in a second."""
    one = dry_run(DRY, "vtrix", **KEYS)
    yield Row(
        what=f"batch run --dry-run, {DRY:,} lines at one provider", ours=DRY / one.seconds,
        unit="lines/s", target=3000.0, absolute=True, least=True,
    )  # fmt: skip
    several = dry_run(DRY, "cheapest", **BOTH)
    yield Row(what="the same with --provider cheapest", ours=DRY / several.seconds, unit="lines/s")


def flat(many: int = MANY) -> Iterator[Row]:
    """Memory of a long file beside that of a short one; last, since it takes some minutes."""
    start = bare()
    few = dry_run(LINES, "vtrix", **KEYS).seen.peak - start
    most = dry_run(many, "vtrix", **KEYS).seen.peak - start
    yield Row(
        what=f"--dry-run, memory above a bare interpreter's, {many:,} lines / {LINES:,}",
        ours=most, baseline=few, unit="MB", ratio=most / few, target=1.2,
    )  # fmt: skip
    yield Row(what="the same, how much more", ours=most - few, unit="MB")


def rows() -> Iterator[Row]:
    """The run, the checks, and the memory of a million lines."""
    yield from run()
    yield from dry_runs()
    yield from flat()
