"""Processes of the command line, looked at from outside: their peak memory and their most threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.1
HOUR = 3600.0


@dataclass(slots=True)
class Seen:
    """What was seen of a process.

    Attributes:
        peak: Its memory at the highest, in MB (`VmHWM`, which forgets nothing between two looks).
        threads: Its threads, where they were most.
    """

    peak: float = 0.0
    threads: int = 0

    def look(self, pid: int) -> None:
        """Look once; a process that is gone has nothing to show."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
            told = dict(line.split(":", 1) for line in lines)
            if "VmHWM" in told:
                self.peak = max(self.peak, int(told["VmHWM"].split()[0]) / 1000)
                self.threads = max(self.threads, int(told["Threads"]))


@contextmanager
def watching(pid: int) -> Iterator[Seen]:
    """Look at a process again and again."""
    seen, over = Seen(), threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            seen.look(pid)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that is over: its wall clock and CPU in seconds, and what was seen of it."""

    seconds: float
    cpu: float
    seen: Seen


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What a command is given: a home in that folder, and nothing of whoever runs this."""
    own = {"HOME": str(folder), "UNIFIED_FLUX_HOME": str(folder / "home")}
    return {**os.environ, **own, **more}


def command(folder: Path, *words: str, **more: str) -> Ran:
    """The command line, from its start to its end, in that folder.

    Raises:
        AssertionError: When it does not end with 0, with what it said.
    """
    said = folder / "said"
    begun, cpu = time.perf_counter(), _children()
    with (
        said.open("wb") as told,
        subprocess.Popen(
            [sys.executable, "-m", "unified_flux", *words],
            cwd=folder,
            env=environment(folder, **more),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
        ) as process,
        watching(process.pid) as seen,
    ):
        try:
            process.wait(HOUR)
        finally:
            process.kill()
    if process.returncode:
        raise AssertionError(f"{' '.join(words)}: {process.returncode}: {said.read_text()[-2000:]}")
    took = time.perf_counter() - begun
    found = Ran(seconds=took, cpu=_children() - cpu, seen=seen)
    print(f"  {' '.join(words)}: {took:.1f} s, {found.cpu:.1f} s CPU, {seen}", file=sys.stderr)
    return found


def bare() -> float:
    """The peak memory of an interpreter that does nothing, in MB."""
    script = "from pathlib import Path; print(Path('/proc/self/status').read_text())"
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return int(said.stdout.partition("VmHWM:")[2].split()[0]) / 1000


def _children() -> float:
    """CPU seconds of the children that are over."""
    times = os.times()
    return times.children_user + times.children_system
