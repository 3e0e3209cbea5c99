"""Plugins that are missing, doubled, broken or too new: each told plainly, none breaks the others."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import fresh, register

from unified_flux import Client, ConfigurationError, ImageRequest, registry
from unified_flux.adapter import API_VERSION
from unified_flux.cli.group import run
from unified_flux.compare import compare
from unified_flux.config import Config, load
from unified_flux.registry import Installed
from unified_flux.settings import ALIASES, key_name, url_name

PLUGIN = """
from unified_flux.plugins.rivya import Rivya
class Acme(Rivya):
    name = "acme"
    card_package = "acme_cards"
    api_version = {version}
NotOne = 7
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that counts as a place of installed distributions; every cache is emptied."""
    folder = tmp_path / "site"
    folder.mkdir()
    with fresh(folder, monkeypatch):
        yield folder


def install(site: Path, distribution: str, value: str, code: str | None = None) -> None:
    """A distribution with one entry point, and perhaps its module."""
    register(site, distribution, adapters=f"acme = {value}")
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


def test_an_adapter_that_changes_its_name_gets_nobodys_key(site: Path) -> None:
    """A name that is taken on later would be given that provider's key."""
    code = (
        PLUGIN.format(version=API_VERSION)
        + """
class Turncoat(Acme):
    def __init__(self, *args):
        super().__init__(*args)
        self.name = "fal"
"""
    )
    install(site, "unified-flux-acme", "acme_plugin:Turncoat", code)
    with pytest.raises(ConfigurationError, match="made an adapter of fal"):
        registry.make_adapter("acme")


@pytest.mark.parametrize(
    "name", ["Acme", "a_cme", "a--b", "1st", "cheapest", "unified-flux", "unified-flux-x", "-a"]
)
def test_a_name_whose_variables_could_be_anothers_does_not_load(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It claims no variable, and is told with what a name is."""
    one = Installed(name=name, value="x:Y", distribution="d", version="1")
    monkeypatch.setattr(registry, "installed", lambda group="": (one,))
    assert registry.names() == ()
    with pytest.raises(ConfigurationError, match="can be no provider's name"):
        registry.adapter_class(name)


def test_no_two_names_have_the_same_variables() -> None:
    """What may be a name is told apart by its variables too."""
    names = ["acme", "acme-images", "acme-api-key", "acmeimages", "fal-key"]
    assert all(map(registry.fits, names))
    variables = [word(name) for name in names for word in (key_name, url_name)]
    assert len({*variables, *ALIASES.values()}) == len(variables) + len(ALIASES)


def test_what_is_not_allowed_is_never_imported(site: Path, tmp_path: Path) -> None:
    """A plugin beyond `plugins.allow` runs no code, and its key is not even kept."""
    install(site, "unified-flux-acme", "acme_plugin:Acme", "raise RuntimeError('boom')")
    Path("unified-flux.toml").write_text('plugins.allow = ["rivya", "vtrix"]')
    found = load(
        registry.names(), environ={"ACME_API_KEY": "k1", "FAL_KEY": "k2", "VTRIX_API_KEY": "k3"}
    )
    assert found.providers == ("rivya", "vtrix")
    assert found.keys() == ("vtrix",)
    with pytest.raises(ConfigurationError, match=r"plugins\.allow does not name it") as caught:
        Client("acme", config=found)
    assert 'Add "acme" to plugins.allow' in str(caught.value)
    shown = compare(ImageRequest(prompt="a fox"), config=found)
    assert {one.provider for one in shown.candidates} == {"rivya", "vtrix"}
    assert "acme_plugin" not in sys.modules


def test_an_allowed_name_that_is_not_installed_is_mentioned() -> None:
    """A slip in the list is no error, since less loads, but it is told."""
    Path("unified-flux.toml").write_text('plugins.allow = ["rivia"]')
    found = load(registry.names(), environ={})
    assert found.providers == ()
    assert found.warnings == ['plugins.allow names rivia: not installed (did you mean "rivya"?)']


@pytest.mark.parametrize("name", ["fal", "replicate"])
def test_the_key_that_a_providers_own_tools_read_is_read(name: str) -> None:
    """Its alias counts where its own variable is not set, and only for the built-in."""
    alias, own = ALIASES[name], key_name(name)
    found = load(registry.names(), environ={alias: "from-the-alias"})
    assert found.secret(name).reveal() == "from-the-alias"
    found = load(registry.names(), environ={own: "its-own", alias: "from-the-alias"})
    assert found.secret(name).reveal() == "its-own"
    found = load(["acme"], environ={alias: "from-the-alias"})
    assert found.keys() == ()


def test_a_slow_plugin_is_told_with_its_time(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in a fresh interpreter, since a slow disk is no fault of the plugin."""
    code = "import time\ntime.sleep(0.08)\n" + PLUGIN.format(version=API_VERSION)
    install(site, "unified-flux-acme", "acme_plugin:Acme", code)
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert run(["plugin", "list"]) == 0
    assert re.search(r"acme: takes [0-9]+ ms to import; more than 50 ms", capsys.readouterr().out)
    (one,) = [one for one in registry.installed() if one.name == "acme"]
    assert registry.import_seconds(one) > 0.08


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


def test_the_list_shows_both_who_claim_a_name_and_goes_on(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two distributions, one name: each has its line, the reason stands below, the others are well."""
    code = PLUGIN.format(version=API_VERSION)
    install(site, "unified-flux-acme", "acme_plugin:Acme", code)
    install(site, "acme-for-flux", "acme_plugin:Acme")
    assert run(["plugin", "list"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "unified-flux-acme 1.0" in out and "acme-for-flux 1.0" in out
    assert out.count("acme: acme is claimed by acme-for-flux and unified-flux-acme") == 2
    assert "unified_flux.plugins.vtrix:Vtrix" in out
    assert "acme_plugin" not in sys.modules


def test_a_missing_provider_names_the_nearest_and_the_package() -> None:
    """What is installed, what was probably meant, what to install."""
    with pytest.raises(ConfigurationError) as caught:
        registry.adapter_class("vtrx")
    assert 'did you mean "vtrix"' in str(caught.value)
    assert "pip install unified-flux-vtrx" in str(caught.value)
