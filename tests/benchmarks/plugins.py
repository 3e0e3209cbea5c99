"""Start-up among many installed distributions: help, and the loading of one adapter by its name.

Five adapters are unified-flux's own; eighty more distributions lie beside what is installed anyway, as
in an environment that was lived in. What an adapter costs is told beyond stevedore's own import.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness import Row, compare, interleave, scratch
from startup import contender_of, install

ROUNDS = 30
DISTRIBUTIONS = 80
LOAD = """
import time
import unified_flux.registry as registry
from stevedore import driver
began = time.perf_counter()
registry.adapter_class("fal")
print((time.perf_counter() - began) * 1000)
"""


def crowd(site: Path) -> None:
    """Eighty distributions of no meaning, each with a console script and a group of its own."""
    for number in range(DISTRIBUTIONS):
        info = site / f"crowd_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: crowd-{number}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(
            f"[console_scripts]\ncrowd-{number} = crowd_{number}:main\n\n"
            f"[crowd.plugins]\none = crowd_{number}:One\ntwo = crowd_{number}:Two\n"
        )


def load(python: str) -> float:
    """Milliseconds that loading one adapter by its name takes once stevedore is imported."""
    done = subprocess.run([python, "-c", LOAD], check=True, capture_output=True, text=True)
    return float(done.stdout)


def rows() -> Iterator[Row]:
    """CPU of the whole command beside a bare Python; wall time of the loading."""
    with scratch() as folder, contextlib.chdir(folder):
        python, script = install(folder)
        (site,) = Path(folder).glob("lib/*/site-packages")
        crowd(site)
        bare, *others = interleave(
            ROUNDS,
            contender_of(python, "-c", "pass"),
            contender_of(script, "generate", "--help"),
            contender_of(script, "--help"),
        )
        for name, found in zip(("generate --help", "--help"), others, strict=True):
            yield compare(f"unified-flux {name}, 80 distributions", found, bare, target=5)
        times = sorted(load(python) for _ in range(ROUNDS))
        yield Row(
            what="one adapter by name, wall", ours=times[ROUNDS // 2], target=15, absolute=True
        )
