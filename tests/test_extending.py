"""What extending takes: two files for a model, a package of one's own for a provider."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outside import fresh, register

from unified_flux import Client, ImageRequest, config, registry
from unified_flux.adapter import Adapter
from unified_flux.cli.group import run
from unified_flux.compare import compare
from unified_flux.sandbox.server import SandboxServer, new_key
from unified_flux.settings import key_name, url_name
from unified_flux.testing.verdicts import examine

HERE = Path(__file__).parent
ROOT = HERE.parent
EXAMPLE = HERE / "example_plugin"
MORE = HERE / "one_more_model"


@pytest.fixture
def with_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cards and conversations of bfl, and those two files beside them: nothing else is new."""
    site = tmp_path / "site"
    cards, golden = site / "more_cards" / "bfl", site / "golden"
    shutil.copytree(ROOT / "schemas" / "bfl", cards)
    shutil.copytree(HERE / "golden" / "bfl", golden)
    (site / "more_cards" / "__init__.py").touch()
    shutil.copy(MORE / "flux-example.json", cards)
    shutil.copy(MORE / "golden.json", golden / "flux-example.json")
    for kind in (registry.adapter_class("bfl"), registry.emulator_class("bfl")):
        monkeypatch.setattr(kind, "card_package", "more_cards")
    with fresh(site, monkeypatch):
        yield golden


def test_one_more_model_is_one_card_and_one_conversation(
    with_one_more: Path, configured: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line of code: it is listed, compared, held to every rule, and the sandbox draws it."""
    assert {path.name for path in MORE.iterdir()} == {"flux-example.json", "golden.json"}
    assert run(["models", "-p", "bfl"]) == 0
    assert "flux-example" in capsys.readouterr().out
    request = ImageRequest(prompt="a fox sandbox:ready", model="flux-example")
    (one,) = compare(request).candidates
    assert (one.provider, one.possible) == ("bfl", True)
    with Client.from_config("bfl") as client:
        assert client.generate(request).images[0].width == 1024
    broken = [one for one in examine("bfl", with_one_more) if not one.ok]
    assert broken == []


@pytest.fixture
def lumen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], SandboxServer]]:
    """The example's package, installed; and a served sandbox that has it too."""
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE, site)
    register(
        site,
        "unified-flux-lumen",
        adapters="lumen = unified_flux_lumen.adapter:Lumen",
        emulators="lumen = unified_flux_lumen.emulator:LumenEmulator",
    )
    started = []

    def serve() -> SandboxServer:
        key = new_key()
        emulators = {name: registry.emulator_class(name)(key=key) for name in registry.names()}
        server = SandboxServer(emulators, key=key)
        server.start()
        started.append(server)
        for name, url in server.providers.items():
            monkeypatch.setenv(key_name(name), key)
            monkeypatch.setenv(url_name(name), url)
        return server

    with fresh(site, monkeypatch):
        yield serve
    for server in started:
        server.stop()


def test_the_example_holds_every_rule(lumen: Callable[[], SandboxServer]) -> None:
    """The code of the tutorial is examined as any stranger's would be."""
    found = list(examine("lumen", EXAMPLE / "tests" / "golden"))
    assert [one for one in found if not one.ok] == []
    assert sum(one.asked for one in found) > 150


def test_an_outside_provider_gets_sandbox_meter_compare_and_switch(
    lumen: Callable[[], SandboxServer],
) -> None:
    """Over real sockets, by nothing but being installed."""
    server = lumen()
    found = config.load(registry.names())
    assert "lumen" in found.providers
    request = ImageRequest(prompt="a fox sandbox:ready", n=2)
    shown = {one.provider: one for one in compare(request, config=found).candidates}
    assert len(shown) == 6
    assert str(shown["lumen"].quote.money) == "6 credits"
    Path("unified-flux.toml").write_text('provider = "lumen"')
    with Client.from_config() as client:
        result = client.generate(request)
    assert [image.index for image in result.images] == [1, 2]
    assert server.emulators["lumen"].meter()["accepted"] == 1
    assert str(result.charge.money) == "6 credits"


def test_a_plugin_meets_no_key_but_its_providers(lumen: Callable[[], SandboxServer]) -> None:
    """Neither the adapter nor what it is given holds a key; only the signer puts on its own."""
    server = lumen()
    with Client.from_config("lumen") as client:
        assert not _holds(client.adapter, server.key)
        assert client.config.secret("lumen").reveal() == server.key


def _holds(adapter: Adapter, key: str) -> bool:
    return any(key in repr(value) for value in vars(adapter).values())


def test_every_file_of_the_example_is_one_that_plugin_new_writes() -> None:
    """The tutorial begins with `plugin new`: what it changes has the names that are there."""
    from unified_flux.scaffold import FILES

    plain = {path.partition("/")[2] or path for path in FILES.values()}
    for path in ("adapter.py", "emulator.py", "__init__.py"):
        assert path in plain
        assert (EXAMPLE / "unified_flux_lumen" / path).is_file()
    assert (EXAMPLE / "setup.cfg").is_file() and (EXAMPLE / "tests" / "test_lumen.py").is_file()
