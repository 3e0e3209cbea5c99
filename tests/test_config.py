"""Settings: which source wins, what is refused, and that no stray file can send a key elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from unified_flux import ConfigurationError, MissingKey, config as configuration
from unified_flux.config import Config
from unified_flux.settings import SETTINGS

PROVIDERS = ("rivya", "vtrix")


def load(environ: dict[str, str] | None = None, **arguments: Any) -> Config:
    return configuration.load(
        PROVIDERS, environ=environ or {}, arguments=arguments, user_file=Path("user.toml")
    )


def test_the_strongest_source_wins_one_by_one() -> None:
    """Argument, environment, .env, project file, user's file, default: taking each away shows the next."""
    Path("user.toml").write_text('provider = "user"\n')
    Path("pyproject.toml").write_text('[tool.unified-flux]\nprovider = "pyproject"\n')
    Path("unified-flux.toml").write_text('provider = "project"\n')
    Path(".env").write_text("UNIFIED_FLUX_PROVIDER=dotenv\n")
    shell = {"UNIFIED_FLUX_PROVIDER": "shell"}
    assert load(shell, provider="call").get("provider") == "call"
    assert load(shell).get("provider") == "shell"
    assert load().get("provider") == "dotenv"
    Path(".env").unlink()
    assert load().get("provider") == "project"
    Path("unified-flux.toml").unlink()
    assert load().get("provider") == "pyproject"
    Path("pyproject.toml").unlink()
    assert load().get("provider") == "user"
    Path("user.toml").unlink()
    assert load().get("provider") is None
    assert load().get("model") == "flux-kontext-pro"


def test_a_dotenv_reaches_no_environment_and_expands_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only names we know are taken, as they stand; the process's environment stays as it was."""
    monkeypatch.setenv("SECRET", "leaked")
    Path(".env").write_text(
        "RIVYA_API_KEY='k-${SECRET}'\nLD_PRELOAD=/tmp/evil.so\nDATABASE_URL=x\nPATH=/evil\n"
    )
    before = dict(os.environ)
    config = load()
    assert dict(os.environ) == before
    assert config.secret("rivya").reveal() == "k-${SECRET}"
    assert "LD_PRELOAD" not in config.values
    assert config.warnings == [".env sets LD_PRELOAD: not ours to set, ignored"]


def test_a_dotenv_of_a_parent_folder_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the working folder's file counts."""
    Path(".env").write_text("RIVYA_API_KEY=k\n")
    Path("below").mkdir()
    monkeypatch.chdir("below")
    assert load().keys() == ()


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("unified-flux.toml", 'providr = "rivya"', 'did you mean "provider"'),
        ("unified-flux.toml", "timeout = true", "timeout must be a number above 0"),
        ("unified-flux.toml", "timeout = -1", "timeout must be a number above 0"),
        ("unified-flux.toml", 'allow = "drop:seed"', "allow must be a list of texts"),
        ("unified-flux.toml", "provider = 3", "provider must be a text"),
        ("unified-flux.toml", "not toml", "cannot be read"),
        ("unified-flux.toml", "[providers.vtrx]\n", 'did you mean "vtrix"'),
        ("unified-flux.toml", '[providers.rivya]\napi_key = "k"', "RIVYA_API_KEY or .env"),
        ("unified-flux.toml", '[providers.rivya]\nmyToken = "k"', "RIVYA_API_KEY or .env"),
        ("unified-flux.toml", "[providers.rivya]\nbase_url = 5", "must be a text"),
        ("unified-flux.toml", 'providers = "x"', "must hold a table for each provider"),
        ("unified-flux.toml", '[providers]\nrivya = "x"', "must be a table"),
        ("pyproject.toml", '[tool]\nunified-flux = "x"', "must be a table"),
        ("unified-flux.toml", "#" * 300_000, "larger than"),
        ("user.toml", "modl = 1", 'did you mean "model"'),
        ("pyproject.toml", "[tool.unified-flux]\nseed = 7", "which is no setting"),
        (".env", "UNIFIED_FLUX_PROVIDR=rivya", 'did you mean "UNIFIED_FLUX_PROVIDER"'),
        (".env", "RIVYA_API_KY=k", 'did you mean "RIVYA_API_KEY"'),
    ],
)
def test_a_setting_that_is_none_is_an_error_that_names_its_file(
    file: str, text: str, says: str
) -> None:
    """A misspelt setting would otherwise do nothing, unnoticed."""
    Path(file).write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert says in str(caught.value)
    assert file in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_address_with_a_password_is_never_shown() -> None:
    """Neither by the settings' own repr nor by the error about one that is no text."""
    address = "postgresql://me:hush@db.example/flux"
    said = repr(Config(("rivya",)).overridden({"queue": address}))
    assert "postgresql://me:***@db.example/flux" in said
    Path("unified-flux.toml").write_text(f'queue = ["{address}"]')
    with pytest.raises(ConfigurationError, match="queue must be a text") as caught:
        load()
    assert "hush" not in said + str(caught.value)


def test_a_misspelt_variable_of_the_shell_is_an_error() -> None:
    """Names under our prefix are ours; a foreign name that merely begins like a provider is not."""
    with pytest.raises(ConfigurationError, match="which is no setting"):
        load({"UNIFIED_FLUX_NONSENSE": "1"})
    assert load({"RIVYA_DEPLOYMENT_TARGET_REGION": "1"}).values == {}


def test_an_allowed_loss_in_a_file_is_checked_where_it_stands() -> None:
    """A wrong word in `allow` is a broken configuration, exit 2, with the file's name."""
    Path("unified-flux.toml").write_text('allow = ["drop:sed"]')
    with pytest.raises(ConfigurationError, match="unified-flux") as caught:
        _ = load().policy
    assert 'did you mean "drop:seed"' in str(caught.value)


def test_a_missing_key_is_told_by_its_variable() -> None:
    """The error names the variable and exits with 4."""
    with pytest.raises(MissingKey, match="VTRIX_API_KEY") as caught:
        load().secret("vtrix")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("key", ["a b", "a\nb", " "])
def test_a_key_with_blanks_is_refused_with_its_source(key: str) -> None:
    """The variable and where it came from are named, the key is not."""
    with pytest.raises(ConfigurationError, match=r"RIVYA_API_KEY \(the environment\)"):
        load({"RIVYA_API_KEY": key}).secret("rivya")


def test_a_newline_at_the_end_of_a_key_is_no_fault() -> None:
    """Key files end with one."""
    assert load({"RIVYA_API_KEY": "rvya_sk_1\n"}).secret("rivya").reveal() == "rvya_sk_1"


def test_an_address_from_a_weaker_source_than_the_key_is_refused() -> None:
    """A project's file cannot send the shell's key to another host; from the same source it may."""
    Path("unified-flux.toml").write_text('[providers.rivya]\nbase_url = "https://evil.example"')
    with pytest.raises(ConfigurationError, match="same source"):
        load({"RIVYA_API_KEY": "k"}).base_url("rivya")
    both = {"RIVYA_API_KEY": "k", "RIVYA_BASE_URL": "https://other.example"}
    assert load(both).base_url("rivya") == "https://other.example"


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "ftp://example.com", "example.com", "https://u:p@example.com",
     "https://example.com/?a=1", "https://exa mple.com"],
)  # fmt: skip
def test_an_address_that_no_key_should_go_to_is_refused(url: str) -> None:
    """https everywhere but on this machine, and an address alone."""
    with pytest.raises(ConfigurationError, match="RIVYA_BASE_URL"):
        load({"RIVYA_BASE_URL": url}).base_url("rivya")


def test_plain_http_is_fine_on_this_machine() -> None:
    """The sandbox is served there."""
    local = {"RIVYA_BASE_URL": "http://127.0.0.1:8420/rivya"}
    assert load(local).base_url("rivya") == "http://127.0.0.1:8420/rivya"


def test_every_setting_has_a_default_of_its_kind() -> None:
    """The table of settings is consistent."""
    for setting in SETTINGS:
        assert setting.default is None or isinstance(setting.default, setting.kind)
        assert setting.help


def test_a_foreign_pyproject_is_nobodys_business() -> None:
    """A file that does not speak of us is not even parsed, however large or broken."""
    Path("pyproject.toml").write_text("#" * 300_000 + "\nnot toml")
    assert load().values == {}


def test_a_working_folder_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Deleted under our feet."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="does not exist any more"):
        load()
