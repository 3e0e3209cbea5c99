"""What every benchmark needs: interleaved rounds, medians, children, servers, one row of the table.

Absolute times drift with the machine and its other guests; ratios of two things measured in turn
within one round hardly do. So a result is always the median of the rounds' own ratios.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
# requests reads the whole environment several times for every call. A bare one makes the baseline
# as quick as it can be, keeps proxies out, and gives the same figures on every machine.
_KEPT = {"HOME", "PATH", "LANG", "TMPDIR"}
for _name in set(os.environ) - _KEPT:
    del os.environ[_name]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. A row without a target is stated, not judged."""

    what: str
    ours: float
    baseline: float | None = None
    unit: str = "ms"
    ratio: float | None = None
    target: float | None = None
    # Whether the target bounds the ratio, or the figure itself; and whether from below.
    absolute: bool = False
    least: bool = False

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        judged = self.ours if self.absolute else self.ratio
        if self.target is None or judged is None:
            return "stated"
        met = judged >= self.target if self.least else judged <= self.target
        return "met" if met else "MISSED"

    def cells(self) -> tuple[str, ...]:
        """The row as the table prints it."""
        times = f"{self.target:g} {self.unit}" if self.absolute else f"{self.target}"
        return (
            self.what,
            f"{self.ours:.2f} {self.unit}",
            "-" if self.baseline is None else f"{self.baseline:.2f} {self.unit}",
            "-" if self.ratio is None else f"{self.ratio:.{2 if self.ratio >= 0.1 else 3}f}",
            "-" if self.target is None else f"{'>=' if self.least else '<='} {times}",
            self.verdict,
        )


def interleave(rounds: int, *contenders: Callable[[], float]) -> list[list[float]]:
    """Each contender's measurements; they take turns, and every other round starts from the end."""
    found: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        order = list(enumerate(contenders))
        for index, measure in order if number % 2 else reversed(order):
            found[index].append(measure())
    return found


def compare(
    what: str, ours: list[float], baseline: list[float], *, unit: str = "ms", **judged: Any
) -> Row:
    """A row from two contenders' rounds."""
    ratio = median(a / b for a, b in zip(ours, baseline, strict=True))
    return Row(
        what=what,
        ours=median(ours),
        baseline=median(baseline),
        unit=unit,
        ratio=ratio,
        **judged,
    )


def cpu_of(act: Callable[[], object], times: int) -> Callable[[], float]:
    """A contender: CPU milliseconds of one `act` in this process, all threads, user and system."""

    def measure() -> float:
        start = time.process_time()
        for _ in range(times):
            act()
        return (time.process_time() - start) * 1000 / times

    act()
    return measure


def _status(field: str) -> int:
    """A memory figure of this process in KB."""
    text = Path("/proc/self/status").read_text("ascii")
    return int(text.partition(f"{field}:")[2].split()[0])


def report_costs(prepare: Callable[[], object], act: Callable[[], object]) -> None:
    """In a fresh child: print CPU and peak memory above the start of one `act`.

    `prepare` imports, connects and makes one small exchange, so that neither is counted.
    """
    prepare()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak starts anew (Linux)
    resident, started = _status("VmRSS"), time.process_time()
    act()
    cpu = time.process_time() - started
    print(json.dumps({"cpu": cpu * 1000, "memory": (_status("VmHWM") - resident) / 1000}))


def in_child(script: str, task: str, *arguments: str) -> dict[str, float]:
    """What `report_costs` prints for one task of a benchmark's file."""
    command = [sys.executable, str(HERE / script), task, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[int]:
    """A peers' server in its own process; its port."""
    command = [sys.executable, str(HERE / "peers_server.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextlib.contextmanager
def crowded(variables: int) -> Iterator[None]:
    """An environment with that many more variables, as shells and desktops leave behind."""
    more = {f"BENCHMARK_VARIABLE_{number}": "/usr/share/some/where" for number in range(variables)}
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


# Folders that go away at the end of all.
_kept = contextlib.ExitStack()
atexit.register(_kept.close)


@contextlib.contextmanager
def scratch(*, keep: bool = False) -> Iterator[Path]:
    """A folder that goes away again.

    Args:
        keep: Not before the end of all. For some minutes after many files were deleted, ext4 looks
            past each of them when it makes a new one, and what is measured next would pay for that.
    """
    made = tempfile.TemporaryDirectory(prefix="unified-flux-benchmark-")
    if keep:
        yield Path(_kept.enter_context(made))
        return
    with made as folder:
        yield Path(folder)
