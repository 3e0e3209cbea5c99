"""The import layers hold, and the linter that says so bites: in every room, mapped packages included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = ROOT / ".importlinter"
# Each room with an import that is forbidden to it: upwards, sideways into a plugin, or out to the world.
PLANTED = {
    **dict.fromkeys(
        (
            "unified_flux/text.py",
            "unified_flux/errors.py",
            "unified_flux/money.py",
            "unified_flux/geometry.py",
            "unified_flux/secret.py",
            "unified_flux/addresses.py",
            "unified_flux/images.py",
            "unified_flux/report.py",
            "unified_flux/wire.py",
            "unified_flux/request.py",
            "unified_flux/result.py",
            "unified_flux/contract.py",
            "unified_flux/draft.py",
            "unified_flux/sizing.py",
            "unified_flux/translation.py",
            "unified_flux/adapter.py",
            "unified_flux/effects.py",
            "unified_flux/retry.py",
            "unified_flux/polling.py",
            "unified_flux/flow.py",
            "unified_flux/fetching.py",
            "unified_flux/answers.py",
            "unified_flux/uploading.py",
            "unified_flux/throttle.py",
            "unified_flux/record.py",
            "unified_flux/prices.py",
            "unified_flux/limits.py",
            "unified_flux/pricing.py",
            "unified_flux/published.py",
        ),
        "requests",
    ),
    "unified_flux/config.py": "unified_flux.client",
    "unified_flux/settings.py": "unified_flux.config",
    "unified_flux/toml_settings.py": "unified_flux.config",
    "unified_flux/budget.py": "unified_flux.compare",
    "unified_flux/compare.py": "unified_flux.client",
    "unified_flux/router.py": "unified_flux.reports.page",
    "unified_flux/registry.py": "plugins.rivya",
    "unified_flux/output.py": "unified_flux.scheduler",
    "unified_flux/scaffold.py": "unified_flux.world",
    "unified_flux/drift.py": "unified_flux.cli.group",
    "unified_flux/testing/stand.py": "unified_flux.cli.group",
    "unified_flux/saving.py": "unified_flux.client",
    "unified_flux/batch/checking.py": "sqlite3",
    "unified_flux/spool.py": "unified_flux.output",
    "unified_flux/references.py": "unified_flux.transports.http",
    "unified_flux/transports/signing.py": "unified_flux.client",
    "unified_flux/scheduler.py": "unified_flux.client",
    "unified_flux/workers.py": "unified_flux.world",
    "unified_flux/gates.py": "unified_flux.world",
    "unified_flux/world.py": "unified_flux.scheduler",
    "unified_flux/many.py": "unified_flux.access",
    "unified_flux/async_client.py": "unified_flux.reports.page",
    "unified_flux/journal/sqlite.py": "unified_flux.scheduler",
    "unified_flux/access.py": "sqlite3",
    "unified_flux/outcomes.py": "unified_flux.jobs",
    "unified_flux/recovery.py": "unified_flux.jobs",
    "unified_flux/orders.py": "unified_flux.jobs",
    "unified_flux/jobs.py": "unified_flux.client",
    "unified_flux/client.py": "unified_flux.cli.group",
    "unified_flux/reports/page.py": "unified_flux.cli.group",
    "unified_flux/cli/live.py": "stevedore",
    "unified_flux/sandbox/rivya.py": "unified_flux.flow",
    "plugins/rivya.py": "socket",
    "plugins/bfl.py": "unified_flux.registry",
    "plugins/fal.py": "requests",
    "plugins/replicate.py": "unified_flux.config",
    "plugins/vtrix.py": "unified_flux.flow",
}


def lint(folder: Path) -> str:
    """What import-linter prints for a tree."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code and its contracts."""
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("unified_flux", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=skip)
    shutil.copy(CONTRACTS, tmp_path / "tree")
    return tmp_path / "tree"


def test_every_layer_is_kept(tree: Path) -> None:
    """As it stands, no import points up or out."""
    assert re.search(r"Contracts: [0-9]+ kept, 0 broken", lint(tree))


def test_a_forbidden_import_is_reported_in_each_room(tree: Path) -> None:
    """One forbidden import planted in every room at once: the linter names each of them."""
    for place, module in PLANTED.items():
        with (tree / place).open("a") as file:
            file.write(f"\nimport {module}\n")
    said = lint(tree)
    for place, module in PLANTED.items():
        room = place.removesuffix(".py").replace("/", ".")
        assert re.search(rf"{re.escape(room)} -> {re.escape(module)}\b", said), (room, said)


def test_every_room_is_planted() -> None:
    """No module outside the servers, the kit and the commands is forgotten above."""
    rooms = {f"unified_flux/{path.name}" for path in (ROOT / "unified_flux").glob("*.py")}
    plugins = {f"plugins/{path.name}" for path in (ROOT / "plugins").glob("*.py")}
    known = {"unified_flux/__init__.py", "unified_flux/__main__.py", "plugins/__init__.py"}
    assert rooms | plugins <= set(PLANTED) | known
