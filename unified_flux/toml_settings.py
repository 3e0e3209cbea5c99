"""Settings that stand in a TOML file, and the lines that they stand on.

[limits]
per_day = "5 USD"          →  limits.per_day, unified-flux.toml, line 2
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unified_flux.errors import ConfigurationError
from unified_flux.limits import PROVIDERS, read_limit
from unified_flux.money import Basis
from unified_flux.prices import read_rate, read_rows
from unified_flux.settings import BY_NAME, key_name, typed, url_name
from unified_flux.text import did_you_mean, safe
from unified_flux.throttle import read_throttle

PROJECT_FILE = "unified-flux.toml"
# A few settings take a few lines; hostile TOML of megabytes takes the parser seconds.
MAX_FILE_BYTES = 256 * 1024
# A key under a name of one's own invention would be shown with the settings.
_LIKE_A_KEY = ("key", "token", "secret", "password")


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlFile:
    """One file.

    Attributes:
        table: What it holds for us; it stands below the keys `above`.
    """

    path: Path
    text: str = ""
    table: dict[str, Any] = field(default_factory=dict)
    above: tuple[str, ...] = ()

    def line(self, *keys: str) -> str:
        """The file and the line that a key is set on, or the inline table that it stands in."""
        wanted = (*self.above, *keys)
        near = [
            (min(len(path), len(wanted)), -number)
            for number, path in _paths(self.text)
            if path and path[: len(wanted)] == wanted[: len(path)]
        ]
        return f"{self.path}, line {-max(near)[1]}" if near else str(self.path)

    def settings(self, providers: Sequence[str]) -> dict[str, Any]:
        """Every setting by its dotted name.

        Raises:
            ConfigurationError: For one that is unknown or mistyped, with the nearest name.
        """
        return self._settings(self.table, providers)

    def _settings(self, table: Mapping[str, Any], providers: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in table.items():
            if name == "providers":
                found |= self._providers(value, providers)
            elif name in _TABLES:
                found |= self._own_table(name, value, providers)
            elif name in BY_NAME:
                found[name] = typed(BY_NAME[name], value, str(self.path))
            elif isinstance(value, dict) and any(known.startswith(f"{name}.") for known in BY_NAME):
                inner = {f"{name}.{key}": one for key, one in value.items()}
                found |= self._settings(inner, providers)
            else:
                known = [*BY_NAME, "providers", *_TABLES]
                raise ConfigurationError(
                    f'{self.path} has "{safe(name, 60)}", which is no setting'
                    f"{did_you_mean(name, known)}",
                    next_step=f"Known: {', '.join(known)}.",
                )
        return found

    def _own_table(self, name: str, table: Any, providers: Sequence[str]) -> dict[str, Any]:
        """Prices, rates and limits, of money and of pace: an error names the line."""
        found: dict[str, Any] = {}
        for keys, value in _leaves(table, deep=name in _DEEP):
            below, where = ".".join(keys), self.line(name, *keys)
            try:
                _check_provider(name, keys, providers)
                found[f"{name}.{below}"] = _TABLES[name](below, value, where)
            except ValueError as error:
                raise ConfigurationError(f"{where}: {name}.{safe(below, 80)} {error}") from None
        if not isinstance(table, dict):
            raise ConfigurationError(f"{self.line(name)}: {name} must be a table")
        return found

    def _providers(self, tables: Any, providers: Sequence[str]) -> dict[str, Any]:
        if not isinstance(tables, dict):
            raise ConfigurationError(f"{self.path}: providers must hold a table for each provider")
        found: dict[str, Any] = {}
        for provider, table in tables.items():
            if provider not in providers:
                raise ConfigurationError(
                    f"{self.path} has settings for {safe(provider, 60)}, which is not installed"
                    f"{did_you_mean(provider, providers)}"
                )
            if not isinstance(table, dict):
                raise ConfigurationError(f"{self.path}: providers.{provider} must be a table")
            for name, value in table.items():
                found[self._provider_setting(provider, name, value)] = value
        return found

    def _provider_setting(self, provider: str, name: str, value: Any) -> str:
        """The name that a provider's setting is kept under."""
        if any(word in name.lower() for word in _LIKE_A_KEY):
            raise ConfigurationError(
                f"{self.path} holds a key; keys belong into {key_name(provider)} or .env"
            )
        if not isinstance(value, str):
            raise ConfigurationError(
                f"{self.path}: providers.{provider}.{safe(name, 60)} must be a text"
            )
        return url_name(provider) if name == "base_url" else f"providers.{provider}.{name}"


def _leaves(table: Any, *, deep: bool) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items() if isinstance(table, dict) else ():
        if deep and isinstance(value, dict):
            yield from (((key, *keys), inner) for keys, inner in _leaves(value, deep=True))
        else:
            yield (key,), value


def _check_provider(name: str, keys: tuple[str, ...], providers: Sequence[str]) -> None:
    """A name that is nearly an installed provider's is a slip; others may have been removed since."""
    provider = keys[1] if name == "limits" and len(keys) > 1 else keys[0].partition("/")[0]
    hint = did_you_mean(provider, providers) if provider not in providers else ""
    if (hint and name != "limits") or (hint and keys[0] == PROVIDERS):
        raise ValueError(f"names {safe(provider, 60)}, which is not installed{hint}")


def _price(name: str, value: Any, where: str) -> Any:
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise ValueError('must be named "PROVIDER/MODEL"')
    return read_rows(value, provider, Basis.CONFIGURED, where)


# Table → what reads one of its entries: name, value, and where it stands.
_TABLES: Mapping[str, Callable[[str, Any, str], Any]] = {
    "prices": _price,
    "credits": lambda _, value, __: read_rate(value),
    "limits": read_limit,
    "throttle": lambda name, value, _: read_throttle(name, value),
}
_DEEP = {"limits", "throttle"}


def _paths(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The keys that each line of a file sets, from the top: of a table its head, of a value its name."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            head = _keys(line)
            table = head or table
            yield number, table
        elif "=" in line:
            # A value may go on over several lines: its name alone tells enough.
            yield number, (*table, *_keys(f"{line.partition('=')[0]} = 0"))


def _keys(line: str) -> tuple[str, ...]:
    """The dotted key of one line of TOML, taken apart as TOML does."""
    try:
        found: Any = tomllib.loads(line)
    except (ValueError, RecursionError):
        return ()
    keys = []
    while found:
        found = found[0] if isinstance(found, list) else found
        if not isinstance(found, dict) or not found:
            break
        (key, found), *_ = found.items()
        keys.append(key)
    return tuple(keys)


def read_file(path: Path) -> TomlFile:
    """A file, empty where there is none.

    Raises:
        ConfigurationError: When it is no TOML, or too large to be ours.
    """
    if not path.is_file():
        return TomlFile(path=path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_FILE_BYTES // 1024} KB")
        text = path.read_text("utf-8")
        return TomlFile(path=path, text=text, table=tomllib.loads(text))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read: {safe(error, 160)}") from None


def project_file(folder: Path) -> TomlFile:
    """The project's own file, or its part of pyproject.toml."""
    own = folder / PROJECT_FILE
    shared = folder / "pyproject.toml"
    if own.is_file() or not shared.is_file() or b"unified-flux" not in shared.read_bytes():
        return read_file(own)
    whole = read_file(shared)
    tools = whole.table.get("tool", {})
    table = tools.get("unified-flux", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise ConfigurationError(f"{shared}: tool.unified-flux must be a table")
    if not table:
        return TomlFile(path=own)
    return TomlFile(path=shared, text=whole.text, table=table, above=("tool", "unified-flux"))
