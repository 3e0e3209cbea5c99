"""From `plugin new acme` to a picture, in an environment of its own, measured step by step.

    python tests/new_plugin.py

Installs unified-flux as a wheel, and then walks as a newcomer would: begin a plugin in an empty folder,
install it, run its tests, make a picture in the sandbox. At the end the example of the tutorial is built
as a wheel, installed beside it, and its tests are run. The exit code is 1 where a step fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
import venv
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "tests" / "example_plugin"


class Walk:
    """An environment with unified-flux in it, and an empty folder to work in."""

    def __init__(self, place: Path) -> None:
        self.programs = place / "venv" / "bin"
        self.folder = place / "empty"
        self.folder.mkdir()
        self.taken: dict[str, float] = {}
        venv.create(place / "venv", with_pip=True)
        self.pip("install", f"{ROOT}[testing]")

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints."""
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def pip(self, *arguments: str) -> None:
        """Install something, quietly."""
        self.run("pip", "--quiet", "--disable-pip-version-check", *arguments)

    def step(self, what: str, program: str, *arguments: str) -> str:
        """One step of the newcomer's, with its time."""
        began = time.perf_counter()
        if program == "pip":
            self.pip(*arguments)
            printed = ""
        else:
            printed = self.run(program, *arguments)
        self.taken[what] = time.perf_counter() - began
        print(f"{self.taken[what]:6.1f} s  {what}", flush=True)
        return printed


def walk(place: Path) -> None:
    """All steps, and what they take."""
    one = Walk(place)
    one.step("unified-flux plugin new acme", "unified-flux", "plugin", "new", "acme")
    one.step("pip install -e unified-flux-acme", "pip", "install", "-e", "unified-flux-acme")
    passed = one.step("pytest unified-flux-acme", "pytest", "-q", "unified-flux-acme")
    picture = ("generate", "a red fox", "-p", "acme", "--sandbox", "-o", "fox.jpg")
    one.step("unified-flux generate -p acme --sandbox", "unified-flux", *picture)
    with Image.open(one.folder / "fox.jpg") as opened:
        opened.load()
    seconds = sum(one.taken.values())
    print(f"{seconds:6.1f} s  from the command to the picture ({_count(passed)})")
    wheels = place / "wheels"
    # A build writes beside its sources.
    example = shutil.copytree(EXAMPLE, place / "example")
    one.pip("wheel", "--no-deps", "-w", str(wheels), str(example))
    (wheel,) = wheels.glob("unified_flux_lumen-*.whl")
    one.pip("install", str(wheel))
    told = one.run("pytest", "-q", "--import-mode=importlib", str(example / "tests"))
    checked = one.run("unified-flux", "plugin", "check", "lumen")
    print(f"the example's wheel: {_count(told)}; {checked.splitlines()[-2]}")


def _count(printed: str) -> str:
    found = re.findall(r"[0-9]+ passed", printed)
    return found[-1] if found else "nothing passed"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        walk(Path(temporary))
