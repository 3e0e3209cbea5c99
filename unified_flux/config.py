"""Settings and keys: the only room that reads the environment, `.env` and TOML.

argument > shell environment > .env in the working folder > unified-flux.toml, or
[tool.unified-flux] in pyproject.toml > the user's file > default
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from unified_flux.addresses import is_loopback, split_url
from unified_flux.errors import ConfigurationError, InvalidRequest, MissingKey
from unified_flux.limits import Limit
from unified_flux.money import parse_amount
from unified_flux.prices import Rates, Tariff
from unified_flux.report import Policy
from unified_flux.secret import Secret, SecretAddress
from unified_flux.settings import (
    ALIASES,
    BY_NAME,
    CALL,
    PREFIX,
    QUEUE,
    SETTINGS,
    key_name,
    typed,
    url_name,
    variable,
)
from unified_flux.text import did_you_mean, safe
from unified_flux.throttle import Throttle
from unified_flux.toml_settings import project_file, read_file

# In the place of a provider's name: the one whose price in USD is the lowest.
CHEAPEST = "cheapest"
# What the loader or the interpreter obeys: never ours to set, and odd enough in a .env to mention.
_LOADER = (
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
    "PYTHONPATH",
    "PYTHONSTARTUP",
)


_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it came from; `rank` 0 is the strongest source."""

    value: Any
    source: str
    rank: int


@dataclass(slots=True)
class Config:
    """Every setting with its origin.

    Attributes:
        providers: The installed providers that may load.
        values: Setting or variable name → value and source.
        warnings: What was left out and why, for a person to read.
        barred: The installed providers that `plugins.allow` leaves out.
    """

    providers: tuple[str, ...]
    values: dict[str, Sourced] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    barred: tuple[str, ...] = ()

    def overridden(self, arguments: Mapping[str, Any]) -> Config:
        """The same with a caller's own values, which win over all; None counts as not given."""
        given = {name: value for name, value in arguments.items() if value is not None}
        for name in given.keys() & BY_NAME.keys():
            given[name] = typed(BY_NAME[name], given[name], CALL)
        new = replace(self, values={})
        _add(new, given, CALL, 0)
        return replace(self, values=self.values | new.values)

    def without(self, prefix: str) -> Config:
        """The same without the values whose names begin so."""
        kept = {name: value for name, value in self.values.items() if not name.startswith(prefix)}
        return replace(self, values=kept)

    def get(self, name: str) -> Any:
        """A setting's value."""
        found = self.values.get(name)
        return found.value if found else BY_NAME[name].default

    @property
    def policy(self) -> Policy:
        """The losses that the configuration allows."""
        try:
            return Policy.of(self.get("allow"))
        except InvalidRequest as error:
            source = self.values["allow"].source
            raise ConfigurationError(
                f"{source}: {error.message}", problems=error.problems
            ) from None

    @property
    def home(self) -> Path:
        """The folder of the journal and the spool."""
        import platformdirs

        asked = self.get("home")
        return (
            Path(asked).expanduser().absolute()
            if asked
            else Path(platformdirs.user_data_dir("unified-flux"))
        )

    def keys(self) -> tuple[str, ...]:
        """The providers that have a key."""
        return tuple(name for name in self.providers if key_name(name) in self.values)

    def key(self, provider: str) -> Secret | None:
        """A provider's key, None where there is none."""
        found = self.values.get(key_name(provider))
        return found.value if found else None

    def secret(self, provider: str) -> Secret:
        """A provider's key.

        Raises:
            MissingKey: Naming the variable to set.
        """
        key, name = self.key(provider), key_name(provider)
        if key is None:
            raise MissingKey(
                f"{provider} is chosen and {name} is not set",
                provider=provider,
                next_step=f"export {name}=... or put it into .env; --sandbox needs no key.",
            )
        return key

    def base_url(self, provider: str) -> str | None:
        """Another address for a provider, where one is set and trustworthy.

        Raises:
            ConfigurationError: When it is no address for a key, or comes from a weaker source than
                the key: a stray file must not send a key elsewhere.
        """
        found = self.values.get(url_name(provider))
        if found is None:
            return None
        check_base_url(found.value, f"{url_name(provider)} ({found.source})")
        key = self.values.get(key_name(provider))
        if key is not None and found.rank > key.rank:
            raise ConfigurationError(
                f"{url_name(provider)} comes from {found.source} and the key from {key.source}; "
                "a key only goes to an address from the same source",
                next_step=f"Set both in {key.source}, or remove {url_name(provider)}.",
            )
        return str(found.value)

    def options(self, provider: str) -> dict[str, str]:
        """A provider's own settings, such as Vtrix's envelope."""
        return {name: str(value) for name, value in self._below(f"providers.{provider}.").items()}

    @property
    def tariff(self) -> Tariff:
        """The user's own prices, and what credits are worth."""
        return Tariff(rows=self._below("prices."), rates=Rates(self._below("credits.")))

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The spend limits."""
        return tuple(self._below("limits.").values())

    @property
    def queue(self) -> str | None:
        """The address of the queue and journal that many machines share, its password with it."""
        found: SecretAddress | None = self.get(QUEUE)
        return found.reveal() if found else None

    @property
    def throttles(self) -> dict[str, Throttle]:
        """How fast each provider may be asked, where that is set."""
        limits: dict[str, dict[str, Any]] = {}
        for name, value in self._below("throttle.").items():
            provider, _, limit = name.partition(".")
            limits.setdefault(provider, {})[limit] = value
        return {provider: Throttle(**table) for provider, table in limits.items()}

    @property
    def max_increase(self) -> Decimal:
        """How much more than the first a fallback may cost, as a share of its price.

        Raises:
            ConfigurationError: When it is no percentage.
        """
        said = self.get("fallback_max_increase")
        share = parse_amount(said.removesuffix("%")) if said.endswith("%") else None
        if share is None or share < 0:
            source = self.values["fallback_max_increase"].source
            raise ConfigurationError(
                f'{source}: fallback_max_increase must be a percentage such as "20%", not {safe(said, 40)}'
            )
        return share / 100

    def _below(self, prefix: str) -> dict[str, Any]:
        """The values whose names begin so, by the rest of their names."""
        return {
            name.removeprefix(prefix): found.value
            for name, found in self.values.items()
            if name.startswith(prefix)
        }


def check_base_url(url: str, name: str) -> None:
    """Refuse an address that a key should not go to.

    Raises:
        ConfigurationError: When it is not https (http on this machine), or carries credentials.
    """
    parts = split_url(url)
    if parts is None or parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ConfigurationError(f"{name} is not an address such as https://example.com")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"{name} must be an address alone, without credentials or query")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(f"{name} must be https: a key would travel in the open")


def load(
    providers: Iterable[str],
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    user_file: Path | None = None,
) -> Config:
    """Read every source, strongest first.

    Args:
        providers: The installed providers, whose variables are ours.
        folder: The working folder.
        environ: The shell's environment.
        arguments: Settings given by the caller; None values count as not given.
        user_file: The user's file, elsewhere for tests.

    Raises:
        ConfigurationError: For an unknown or mistyped setting, with the nearest name.
    """
    folder = folder or working_folder()
    config = Config(tuple(providers)).overridden(arguments or {})
    shell = os.environ if environ is None else environ
    _add(config, _variables(config, shell, "the environment"), "the environment", 1)
    dotenv = folder / ".env"
    _add(config, _variables(config, _dotenv(config, dotenv), ".env"), ".env", 2)
    project, user = project_file(folder), read_file(user_file or user_config_file())
    for rank, file in ((3, project), (4, user)):
        _add(config, file.settings(config.providers), str(file.path), rank)
    config.files = [path for path in (dotenv, project.path, user.path) if path.is_file()]
    _bar(config)
    return config


def _bar(config: Config) -> None:
    """Leave out the providers that `plugins.allow` does not name, and their keys."""
    allowed = config.get("plugins.allow")
    if allowed is None:
        return
    unknown = [name for name in allowed if name not in config.providers]
    if unknown:
        hint = did_you_mean(unknown[0], config.providers)
        config.warnings.append(f"plugins.allow names {safe(unknown[0], 60)}: not installed{hint}")
    config.barred = tuple(name for name in config.providers if name not in allowed)
    config.providers = tuple(name for name in config.providers if name in allowed)
    for name in config.barred:
        config.values.pop(key_name(name), None)


def working_folder() -> Path:
    """Where `.env` and the project's file are looked for.

    Raises:
        ConfigurationError: When it was deleted under our feet.
    """
    try:
        return Path.cwd()
    except OSError:
        raise ConfigurationError("the working folder does not exist any more") from None


def user_config_file() -> Path:
    """The user's own settings file."""
    import platformdirs

    return Path(platformdirs.user_config_dir("unified-flux")) / "config.toml"


def _add(config: Config, found: Mapping[str, Any], source: str, rank: int) -> None:
    """Keep what no stronger source has set; a key becomes a `Secret` here and stays one."""
    keys = {key_name(provider) for provider in config.providers}
    for name, value in found.items():
        if name not in config.values:
            kept = Secret(value, name, source) if name in keys else value
            if name == QUEUE:
                kept = SecretAddress(value)
            config.values[name] = Sourced(kept, source, rank)


def _known_variables(config: Config) -> dict[str, str]:
    """Variable → the name it is kept under."""
    known = {f"{PREFIX}{s.name.upper()}": s.name for s in SETTINGS if s.variable}
    known |= {alias: key_name(name) for name, alias in ALIASES.items() if name in config.providers}
    for provider in config.providers:
        known |= {key_name(provider): key_name(provider), url_name(provider): url_name(provider)}
    return known


def _variables(config: Config, found: Mapping[str, str], source: str) -> dict[str, Any]:
    """What a source's variables set; one that is nearly ours is a slip, not a stranger."""
    known = _known_variables(config)
    ours = (PREFIX, *(f"{variable(provider)}_" for provider in config.providers))
    for name in found:
        hint = did_you_mean(name, known) if name.startswith(ours) and name not in known else ""
        if hint or (name.startswith(PREFIX) and name not in known):
            raise ConfigurationError(f"{source} sets {safe(name, 80)}, which is no setting{hint}")
    # A variable's own name wins over the one that the provider's own tools know.
    names = sorted((name for name in found if name in known), key=lambda name: name != known[name])
    return {known[name]: found[name] for name in reversed(names) if found[name]}


def _dotenv(config: Config, path: Path) -> dict[str, str]:
    """The names of a .env; nothing is put into the environment and nothing is expanded."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {safe(error, 120)}") from None
    loader = [name for name in found if name in _LOADER]
    if loader:
        config.warnings.append(f".env sets {', '.join(loader)}: not ours to set, ignored")
    return {name: value for name, value in found.items() if value is not None}


def network_variables() -> list[str]:
    """The variables of the environment that steer connections, where they are set."""
    names = (*_PROXIES, *_BUNDLES)
    return [name for name in names if os.environ.get(name) or os.environ.get(name.lower())]


def network_environment() -> tuple[str | None, Callable[[str], Mapping[str, str]]]:
    """The certificates' file and the proxies for a URL that the environment names."""
    from requests.utils import get_environ_proxies

    bundle = next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), None)
    return bundle, lambda url: get_environ_proxies(url, no_proxy=None)


def check_options(
    provider: str, chosen: Mapping[str, str], known: Mapping[str, tuple[str, ...]]
) -> None:
    """Refuse a provider's setting that its adapter does not have.

    Raises:
        ConfigurationError: With the names or values that it has.
    """
    for name, value in chosen.items():
        if name not in known:
            hint = did_you_mean(name, [*known, "base_url"])
            raise ConfigurationError(f"{provider} has no setting {safe(name, 60)}{hint}")
        if value not in known[name]:
            options = ", ".join(known[name])
            raise ConfigurationError(
                f"{provider}.{name} must be one of {options}, not {safe(value, 60)}"
            )
