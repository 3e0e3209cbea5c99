"""Plugins of other distributions, installed for one test: metadata in a folder on the path."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unified_flux import contract, registry

CACHES: tuple[Any, ...] = (
    registry._registered,
    registry.adapter_class,
    contract.load_cards,
    contract.load_answers,
)


@contextlib.contextmanager
def fresh(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that counts as a place of installed distributions; afterwards nobody knows of it."""
    monkeypatch.syspath_prepend(str(site))
    known = set(sys.modules)
    for cached in CACHES:
        cached.cache_clear()
    yield site
    for cached in CACHES:
        cached.cache_clear()
    for name in set(sys.modules) - known:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def register(site: Path, distribution: str, **groups: str) -> None:
    """A distribution whose metadata has one entry point in each group: `adapters="acme = m:Acme"`."""
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"[unified_flux.{group}]\n{entry}\n" for group, entry in groups.items()]
    (info / "entry_points.txt").write_text("".join(lines))
