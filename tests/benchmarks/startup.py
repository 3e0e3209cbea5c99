"""Start-up: importing the package, and the two command lines that do no work.

The package is laid out in a virtual environment of its own the way a wheel is: an editable install
puts a finder into every start of Python, which would make the baseline slower and us look better.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import HERE, Row, compare, interleave, scratch

ROUNDS = 40


def install(folder: Path) -> tuple[str, str]:
    """Lay the package out as installed; the interpreter and the console script."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    root = HERE.parent.parent
    for source, target in (("unified_flux", ""), ("plugins", "plugins"), ("schemas", "schemas")):
        shutil.copytree(root / source, site / "unified_flux" / target, dirs_exist_ok=True)
    # A line that is a path only lengthens sys.path: no .pth file inside it is run.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    compileall.compile_dir(site, quiet=1)  # as pip does
    script = folder / "bin" / "unified-flux"
    _, _, body = _installed_script().read_text("utf-8").partition("\n")
    script.write_text(f"#!{python}\n{body}", "utf-8")
    script.chmod(0o755)
    return str(python), str(script)


def _installed_script() -> Path:
    """The console script as this environment's installer wrote it; some import `re` in it."""
    return Path(sysconfig.get_path("scripts")) / "unified-flux"


def start(*command: str) -> tuple[float, float]:
    """CPU and wall milliseconds of one whole process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    began = time.perf_counter()
    child = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, nowhere, 1)]
    )
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    os.close(nowhere)
    assert status == 0, command
    return (usage.ru_utime + usage.ru_stime) * 1000, wall * 1000


def contender_of(*command: str) -> Callable[[], float]:
    """CPU milliseconds of one whole process, over and over."""
    return lambda: start(*command)[0]


def rows() -> Iterator[Row]:
    """CPU is judged; wall time is stated beside it."""
    # Away from the checkout, since `python -c` imports from where it stands first.
    with scratch() as folder, contextlib.chdir(folder):
        python, script = install(folder)
        commands = {
            "python -c pass": ((python, "-c", "pass"), None),
            "import unified_flux": ((python, "-c", "import unified_flux"), 1.3),
            "unified-flux --version": ((script, "--version"), 5),
            "unified-flux --help": ((script, "--help"), 5),
        }
        wall: dict[str, list[float]] = {name: [] for name in commands}

        def contender(name: str) -> Callable[[], float]:
            def measure() -> float:
                cpu, passed = start(*commands[name][0])
                wall[name].append(passed)
                return cpu

            start(*commands[name][0])
            return measure

        bare, *others = interleave(ROUNDS, *(contender(name) for name in commands))
        for (name, (_, target)), found in zip(list(commands.items())[1:], others, strict=True):
            yield compare(f"{name}, CPU", found, bare, target=target)
            yield compare(f"{name}, wall", wall[name], wall["python -c pass"])
