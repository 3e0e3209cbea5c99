"""Bad cards and bad plugins: each file in tests/bad_cards and tests/bad_plugins is a case.

A card says what it expects in its `$comment`: the rule, and the words of the verdict. A plugin says it
in comments: `# rule:` and `# says:` where the kit must tell, `# refused:` where it must not even load;
`{file}` and `{line}` are its own and that of the mark `# here`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outside import fresh, register

from unified_flux import ConfigurationError, registry, scaffold
from unified_flux.adapter import Adapter
from unified_flux.cli.group import run
from unified_flux.testing import verdicts

HERE = Path(__file__).parent
CARDS = sorted((HERE / "bad_cards").glob("*.json"))
PLUGINS = sorted((HERE / "bad_plugins").glob("*.py"))


@pytest.fixture
def acme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path | None], Path]]:
    """Installs a plugin acme, as `plugin new` writes it, with a module or a card put in its place."""
    scaffold.begin("acme", tmp_path)
    site = tmp_path / "unified-flux-acme"

    def install(case: Path | None) -> Path:
        module = "unified_flux_acme.adapter"
        if case is not None and case.suffix == ".py":
            (site / "acme_base.py").write_text("from unified_flux_acme.adapter import Acme\n")
            shutil.copy(case, site)
            module = case.stem
        elif case is not None:
            cards = site / "unified_flux_acme" / "acme"
            (cards / "flux-kontext-pro.json").unlink()
            shutil.copy(case, cards)
        emulator = "acme = unified_flux_acme.emulator:AcmeEmulator"
        register(site, "unified-flux-acme", adapters=f"acme = {module}:Acme", emulators=emulator)
        return site

    with fresh(site, monkeypatch):
        yield install


def examined(site: Path, rule: str) -> verdicts.Verdict:
    """The verdict on one rule."""
    found = verdicts.examine("acme", site / "tests" / "golden", [rule])
    return next(one for one in found if rule in one.rule.replace("_", " "))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long to import has a test of its own."""
    monkeypatch.setattr(registry, "import_seconds", lambda one: 0.0)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"x-unified-flux": {"family": "f"}}'])
def test_what_is_no_card_is_told_and_left_out(
    text: str, acme: Callable[[Path | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named with what it lacks; every other provider is shown."""
    card = acme(None) / "unified_flux_acme" / "acme" / "flux-kontext-pro.json"
    card.write_text(text)
    assert run(["plugin", "check", "acme"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"flux-kontext-pro.json (is no JSON: |has no \"x-|has no \"properties)", told)
    for command in (["models"], ["compare", "a fox"]):
        assert run(command) == 0
        out, err = capsys.readouterr()
        assert "rivya" in out and "flux-kontext-pro.json" in " ".join((out + err).split())


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_bad_card_is_told_with_its_rule_and_its_line(
    path: Path, acme: Callable[[Path | None], Path]
) -> None:
    """The rule that the file names does not hold, and the verdict names the file and the line."""
    rule, says = json.loads(path.read_text("utf-8"))["$comment"].split(" | ")
    verdict = examined(acme(path), rule)
    assert not verdict.ok
    assert any(says in one for one in verdict.failures), verdict.failures
    assert re.search(rf"{path.name}:[0-9]+: ", verdict.failures[0]), verdict.failures


def expected(path: Path, word: str) -> str | None:
    text = path.read_text("utf-8")
    found = re.search(rf"^# {word}: (.*)$", text, re.MULTILINE)
    marks = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    filled = {"file": path.name, "line": marks[0] if marks else 0}
    return found[1].format(**filled) if found else None


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_a_bad_plugin_is_told_with_its_rule_and_its_line(
    path: Path, acme: Callable[[Path | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused when it loads, or the rule that the file names does not hold; others go on."""
    site = acme(path)
    refused = expected(path, "refused")
    if refused is not None:
        with pytest.raises(ConfigurationError, match=re.escape(refused)):
            registry.adapter_class("acme")
        assert run(["plugin", "check", "acme"]) == 2
        assert refused in " ".join(capsys.readouterr().err.split())
    else:
        verdict = examined(site, str(expected(path, "rule")))
        says = str(expected(path, "says"))
        assert any(says in one for one in verdict.failures), (says, verdict)
    assert issubclass(registry.adapter_class("rivya"), Adapter)
    for command in (["plugin", "list"], ["models"], ["compare", "a fox"]):
        assert run(command) == 0
        assert "rivya" in capsys.readouterr().out


def test_what_plugin_new_writes_holds_every_rule(
    acme: Callable[[Path | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line, with its conversations; the share of requests is told."""
    golden = acme(None) / "tests" / "golden"
    assert run(["plugin", "check", "acme", "--golden", str(golden)]) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out
    assert "38 of 38 rules hold" in out
    assert "60 of 60 valid by construction requests reach a payload" in out


def test_without_conversations_it_says_what_was_not_asked(
    acme: Callable[[Path | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is examined, and the missing part named."""
    acme(None)
    assert run(["plugin", "check", "acme"]) == 0
    assert "No golden conversations were replayed" in capsys.readouterr().out


def test_json_of_a_check_is_one_object(
    acme: Callable[[Path | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Rule by rule, with failures that name lines."""
    acme(HERE / "bad_plugins" / "no_end_at_all.py")
    assert run(["plugin", "check", "acme", "--json", "--rule", "phases"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    (broken,) = [one for one in found["rules"] if one["rule"] == "the_phases_cover_a_jobs_life"]
    assert "no_end_at_all.py:" in broken["failures"][0]
