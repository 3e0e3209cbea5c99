"""Plugins that are missing, doubled, broken or too new: each told plainly, none breaks the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unified_flux import ConfigurationError, registry
from unified_flux.adapter import API_VERSION
from unified_flux.config import Config
from unified_flux.registry import Installed

PLUGIN = """
from unified_flux.plugins.rivya import Rivya
class Acme(Rivya):
    name = "acme"
    api_version = {version}
NotOne = 7
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that counts as a place of installed distributions; every cache is emptied."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    # stevedore remembers the entry points of a group for the life of the process.
    monkeypatch.setattr("stevedore.extension.ExtensionManager.ENTRY_POINT_CACHE", {})
    caches = (registry.installed, registry.adapter_class)
    for cached in caches:
        cached.cache_clear()
    yield folder
    for cached in caches:
        cached.cache_clear()
    sys.modules.pop("acme_plugin", None)


def install(site: Path, distribution: str, value: str, code: str | None = None) -> None:
    """A distribution with one entry point, and perhaps its module."""
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[unified_flux.adapters]\nacme = {value}\n")
    if code is not None:
        (site / "acme_plugin.py").write_text(code)


def test_an_outside_adapter_is_found_with_its_distribution(site: Path) -> None:
    """Listing imports nothing; loading goes through stevedore."""
    install(site, "unified-flux-acme", "acme_plugin:Acme", PLUGIN.format(version=API_VERSION))
    assert "acme" in registry.names()
    assert "acme_plugin" not in sys.modules
    found = next(one for one in registry.installed() if one.name == "acme")
    assert (found.distribution, found.version) == ("unified-flux-acme", "1.0")
    assert registry.make_adapter("acme").name == "acme"


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ("acme_plugin:Acme", PLUGIN.format(version=API_VERSION + 1), "adapter API"),
        ("acme_plugin:NotOne", PLUGIN.format(version=API_VERSION), "is not an Adapter"),
        ("acme_plugin:Gone", PLUGIN.format(version=API_VERSION), "cannot be loaded"),
        ("acme_plugin:Acme", "raise RuntimeError('boom')", "cannot be loaded"),
        ("acme_gone:Acme", None, "cannot be loaded"),
    ],
)
def test_a_broken_plugin_is_told_and_the_others_still_load(
    value: str, code: str | None, says: str, site: Path
) -> None:
    """The error names the plugin and its distribution; rivya is not affected."""
    install(site, "unified-flux-acme", value, code)
    with pytest.raises(ConfigurationError, match=says):
        registry.adapter_class("acme")
    assert registry.adapter_class("rivya").name == "rivya"


def test_a_plugin_without_emulator_stands_in_nobodys_way(site: Path) -> None:
    """With nothing configured the sandbox is one of an emulated provider; the other is told plainly."""
    install(site, "unified-flux-acme", "acme_plugin:Acme", "raise RuntimeError('boom')")
    assert registry.choose_provider(Config(registry.names()), sandbox=True) == "rivya"
    with pytest.raises(ConfigurationError, match="acme has no emulator"):
        registry.emulator_class("acme")


def test_a_name_claimed_twice_loads_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both distributions are named, and no code of either runs."""
    twice = tuple(
        Installed(name="acme", value="x:Y", distribution=name, version="1")
        for name in ("one", "two")
    )
    monkeypatch.setattr(registry, "installed", lambda group="": twice)
    with pytest.raises(ConfigurationError, match="claimed by one and two"):
        registry.adapter_class("acme")


def test_a_missing_provider_names_the_nearest_and_the_package() -> None:
    """What is installed, what was probably meant, what to install."""
    with pytest.raises(ConfigurationError) as caught:
        registry.adapter_class("vtrx")
    assert 'did you mean "vtrix"' in str(caught.value)
    assert "pip install unified-flux-vtrx" in str(caught.value)


def test_a_plugin_that_stevedores_cache_hides_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata lists it, stevedore does not: the folder to delete is named."""
    one = Installed(name="acme", value="x:Y", distribution="d", version="1")
    monkeypatch.setattr(registry, "installed", lambda group="": (one,))
    registry.adapter_class.cache_clear()
    with pytest.raises(ConfigurationError, match="python-entrypoints"):
        registry.adapter_class("acme")
