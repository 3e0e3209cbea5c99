"""What is shipped: every plugin registered, every card reachable, and a wheel that works by itself."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from unified_flux import registry
from unified_flux.adapter import Adapter

ROOT = Path(__file__).parent.parent


def test_every_plugin_module_is_registered_and_loads() -> None:
    """A file in plugins/ without an entry point would be dead, an entry point without it broken."""
    modules = {path.stem for path in (ROOT / "plugins").glob("*.py")} - {"__init__"}
    assert modules == set(registry.names())
    for name in registry.names():
        assert issubclass(registry.adapter_class(name), Adapter)
        assert registry.emulator_class(name)


def test_every_card_on_disk_is_reachable_through_its_adapter() -> None:
    """schemas/<provider>/<model>.json belongs to a provider, and its name is the model's id."""
    for folder in (path for path in (ROOT / "schemas").iterdir() if path.is_dir()):
        if folder.name.startswith("__"):
            continue
        files = {path.stem for path in folder.glob("*.json")} - {"answers"}
        assert files == {card.model for card in registry.make_adapter(folder.name).cards}


def test_all_packages_are_listed() -> None:
    """Packages are named one by one in setup.cfg; a forgotten one would be missing from the wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "unified_flux").rglob("__init__.py")
    }
    assert found | {"unified_flux.plugins", "unified_flux.schemas"} == listed


@pytest.mark.slow
def test_the_wheel_makes_a_picture_in_a_clean_environment(tmp_path: Path) -> None:
    """Built, installed alone with its dependencies, and run from a folder that knows nothing of us."""
    wheels = tmp_path / "wheels"
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        str(wheels),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("unified_flux-*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    subprocess.run([home / "bin" / "pip", "install", "--quiet", str(wheel)], check=True)
    work = tmp_path / "empty"
    work.mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def command(*arguments: str) -> str:
        tool = str(home / "bin" / "unified-flux")
        done = subprocess.run(
            [tool, *arguments], cwd=work, env=environ, check=True, capture_output=True, text=True
        )
        return done.stdout

    made = json.loads(command("generate", "a red fox", "-o", "fox.png", "--json"))
    assert (work / made["images"][0]["path"]).read_bytes().startswith(b"\x89PNG")
    cards = [card for name in registry.names() for card in registry.make_adapter(name).cards]
    assert len(json.loads(command("models", "--json"))["models"]) == len(cards)
    assert '"ok": true' in command("doctor", "--json")
