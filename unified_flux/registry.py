"""Which adapters and emulators are installed: the only room that knows stevedore.

Listing goes through `importlib.metadata`, which imports nothing and tells the distribution; stevedore's
`DriverManager` then imports the one plugin that is asked for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from unified_flux.adapter import API_VERSION, Adapter
from unified_flux.config import CHEAPEST, Config
from unified_flux.contract import BUILT_IN, find
from unified_flux.errors import ConfigurationError, MissingKey, UnifiedFluxError
from unified_flux.settings import CALL, PREFIX, key_name, variable
from unified_flux.text import did_you_mean, safe

ADAPTERS = "unified_flux.adapters"
EMULATORS = "unified_flux.emulators"
DISTRIBUTION = "unified-flux"
# Variables are made of names, so that two names never make the same one.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NO_NAME = (
    "can be no provider's name: that is small letters, digits and single hyphens, begins with a "
    f"letter, and is neither {CHEAPEST} nor begins with unified-flux"
)
# Parts of the paths of what imports a plugin.
_LOADERS = {"importlib", "stevedore"}
# Whose emulator draws where nothing is configured.
_SHOWN_FIRST = "rivya"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One registered adapter, not imported."""

    name: str
    value: str
    distribution: str
    version: str

    @property
    def module(self) -> str:
        """The module that is imported when it loads."""
        return self.value.partition(":")[0]

    @property
    def is_built_in(self) -> bool:
        """Whether unified-flux itself brings it."""
        return self.distribution == DISTRIBUTION


def installed(group: str = ADAPTERS) -> tuple[Installed, ...]:
    """Everything registered in a group, by name, with the distribution that brings it."""
    return _registered().get(group, ())


@cache
def _registered() -> dict[str, tuple[Installed, ...]]:
    """Group → what is registered in it, of the groups that are ours.

    Only the few distributions that have something in them are parsed: there may be hundreds.
    """
    found: dict[str, set[Installed]] = {ADAPTERS: set(), EMULATORS: set()}
    seen: set[str] = set()
    for distribution in metadata.distributions():
        text = distribution.read_text("entry_points.txt") or ""
        if not any(f"[{group}]" in text for group in found):
            continue
        facts = distribution.metadata
        name, version = facts["Name"], facts["Version"]
        if name in seen:
            # A second copy further down the path is nobody's to import.
            continue
        seen.add(name)
        for entry in distribution.entry_points:
            if entry.group in found:
                one = Installed(
                    name=entry.name, value=entry.value, distribution=name, version=version
                )
                found[entry.group].add(one)
    return {
        group: tuple(sorted(ours, key=lambda one: (one.name, one.distribution)))
        for group, ours in found.items()
    }


def names() -> tuple[str, ...]:
    """The names of all installed providers that can have variables of their own."""
    return tuple(dict.fromkeys(one.name for one in installed() if fits(one.name)))


def fits(name: str) -> bool:
    """Whether a provider may be called so: its variables are then its alone."""
    own = f"{variable(name)}_".startswith(PREFIX)
    return _NAME.fullmatch(name) is not None and name != CHEAPEST and not own


def check_new(name: str) -> None:
    """Refuse a name that a new provider cannot have.

    Raises:
        ConfigurationError: With the nearest name that would do.
    """
    if not fits(name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        near = near if fits(near) else f"x-{near}"
        hint = f'; "{near}" would do' if fits(near) and near != "x-" else ""
        raise ConfigurationError(f'"{safe(name, 60)}" {_NO_NAME}{hint}')
    for one in installed():
        if one.name == name:
            raise ConfigurationError(
                f"there is a provider {name} already, of {one.distribution}; nothing was written",
                next_step="Choose another name: of two plugins with one name neither loads.",
            )


def check_allowed(name: str, config: Config) -> None:
    """Refuse a provider that the settings leave out, before anything of it is imported.

    Raises:
        ConfigurationError: When `plugins.allow` does not name it.
    """
    if name in config.barred:
        raise ConfigurationError(
            f"{name} is installed, and plugins.allow does not name it",
            next_step=f'Add "{name}" to plugins.allow in {config.values["plugins.allow"].source}.',
        )


@cache
def adapter_class(name: str) -> type[Adapter]:
    """The adapter registered under a name.

    Raises:
        ConfigurationError: When it is not installed, claimed twice, broken, no adapter, or takes
            what is another's.
    """
    found = _load(ADAPTERS, name)
    brings = next(one for one in installed() if one.name == name)
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise ConfigurationError(f"the plugin {name} is not an Adapter but {safe(found, 80)}")
    if found.api_version > API_VERSION:
        raise ConfigurationError(
            f"the plugin {name} was written for adapter API {found.api_version}, "
            f"this unified-flux has {API_VERSION}",
            next_step="pip install --upgrade unified-flux",
        )
    if getattr(found, "name", None) != name:
        called = safe(getattr(found, "name", "nothing"), 60)
        raise ConfigurationError(
            f"the plugin {name} of {brings.distribution} calls itself {called}"
        )
    if found.card_package == BUILT_IN and not brings.is_built_in:
        raise ConfigurationError(
            f"the plugin {name} of {brings.distribution} names no package of cards of its own",
            next_step="Its adapter's card_package must be a package that its distribution brings.",
        )
    return found


def make_adapter(
    name: str, base_url: str | None = None, options: Mapping[str, str] | None = None
) -> Adapter:
    """An adapter, ready to speak.

    Raises:
        ConfigurationError: As `adapter_class`; and when what it makes goes by another name, whose key
            it would be given.
    """
    kind = adapter_class(name)
    try:
        made = kind(base_url, options)
    except UnifiedFluxError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {safe(error, 200)}{_line_of(error)}"
        raise ConfigurationError(f"the plugin {name} makes no adapter: {said}") from error
    if made.name != name:
        raise ConfigurationError(f"the plugin {name} made an adapter of {safe(made.name, 60)}")
    return made


def emulator_class(name: str) -> Any:
    """The emulator of a provider.

    Raises:
        ConfigurationError: When there is none.
    """
    return _load(EMULATORS, name)


def _load(group: str, name: str) -> Any:
    claimed = [one for one in installed(group) if one.name == name]
    if not claimed:
        raise _missing(group, name)
    if not fits(name):
        raise ConfigurationError(f'"{safe(name, 60)}" of {claimed[0].distribution} {_NO_NAME}')
    if len(claimed) > 1:
        who = " and ".join(sorted(one.distribution for one in claimed))
        raise ConfigurationError(
            f"{name} is claimed by {who}", next_step="Uninstall one of them; neither was loaded."
        )
    from stevedore.driver import DriverManager

    class Driver(DriverManager[Any]):
        """Loads what was listed here: a listing of its own would read every distribution again."""

        def list_entry_points(self) -> list[metadata.EntryPoint]:
            return [metadata.EntryPoint(one.name, one.value, group) for one in claimed]

    try:
        manager = Driver(group, name, on_load_failure_callback=_raise)
    # A plugin that exits when it is imported takes nobody with it.
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"the plugin {name} of {claimed[0].distribution} cannot be loaded: "
            f"{type(error).__name__}: {safe(error, 200)}{_line_of(error)}"
        ) from error
    return manager.extensions[0].plugin


def _line_of(error: BaseException) -> str:
    """Where a plugin's own code stood when it failed."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [
        step
        for step in steps
        if not step.filename.startswith((__file__, "<frozen"))
        and not _LOADERS & {*Path(step.filename).parts}
    ]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


def import_seconds(one: Installed, tries: int = 3) -> float:
    """The least that importing a plugin's module takes in a fresh interpreter that has unified-flux."""
    code = (
        "import importlib, sys, time, unified_flux.adapter, unified_flux.money\n"
        "began = time.perf_counter()\n"
        "importlib.import_module(sys.argv[1])\n"
        "print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", code, one.module]
    runs = (
        subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(tries)
    )
    found = [float(run.stdout.split()[-1]) for run in runs if run.returncode == 0 and run.stdout]
    return min(found, default=0.0)


def source_file(one: Installed) -> str | None:
    """The file that a plugin's module is read from; None where none is found."""
    with contextlib.suppress(Exception, SystemExit):
        found = importlib.util.find_spec(one.module)
        return found.origin if found else None
    return None


def _raise(_: Any, __: Any, error: BaseException) -> None:
    raise error


def _missing(group: str, name: str) -> ConfigurationError:
    known = [one.name for one in installed(group)]
    if name == CHEAPEST:
        return ConfigurationError(
            f"{CHEAPEST} is another provider for each request, and this needs one",
            next_step="Say which with -p.",
        )
    if group == EMULATORS and name in names():
        return ConfigurationError(
            f"{name} has no emulator; there is one for {', '.join(known) or 'no provider'}",
            next_step="Its plugin would have to bring one.",
        )
    return ConfigurationError(
        f'there is no provider "{safe(name, 60)}"{did_you_mean(name, known)}; '
        f"installed: {', '.join(known) or 'none'}",
        next_step=f"If it has a plugin: pip install unified-flux-{safe(name, 60)}",
    )


def choose_provider(config: Config, *, sandbox: bool = False) -> str:
    """The provider that the configuration means: the chosen one, or the only one with a key.

    In the sandbox no key is needed, so there the first emulated one that has the model will do.

    Raises:
        MissingKey: When nothing is configured.
        ConfigurationError: When several have keys and none is chosen.
    """
    chosen, keys = config.get("provider"), config.keys()
    if chosen:
        check_allowed(str(chosen), config)
    if chosen or len(keys) == 1:
        return str(chosen or keys[0])
    if sandbox:
        return _first_emulated(config)
    if keys:
        raise ConfigurationError(
            f"there are keys for {' and '.join(keys)}",
            next_step="Choose with -p, or with UNIFIED_FLUX_PROVIDER.",
        )
    raise MissingKey(
        "no provider is configured",
        next_step=f"Set {' or '.join(map(key_name, config.providers))}, "
        "or use the sandbox: --sandbox, Client.from_config(sandbox=True).",
    )


def choose_providers(config: Config, *, sandbox: bool = False) -> tuple[tuple[str, ...], bool]:
    """The providers that a request may go to, in their order, and whether the cheapest comes first.

    One that the caller names is asked alone. Else those of `fallback` follow the configured one; and
    `cheapest` chooses among all that have a key, or in the sandbox an emulator.

    Raises:
        MissingKey: When nothing is configured.
        ConfigurationError: When a name is not installed, or several have keys and none is chosen.
    """
    chosen = config.values.get("provider")
    for name in config.get("fallback"):
        check_allowed(name, config)
        if name not in config.providers:
            raise ConfigurationError(
                f"{config.values['fallback'].source}: fallback names {safe(name, 60)}, which is not "
                f"installed{did_you_mean(name, config.providers)}"
            )
    if chosen is not None and chosen.value == CHEAPEST:
        ready = emulated(config) if sandbox else config.keys()
        if not ready:
            raise MissingKey(
                f"{CHEAPEST} is chosen, and no provider has a key",
                next_step=f"Set {' or '.join(map(key_name, config.providers))}; --sandbox needs none.",
            )
        return ready, True
    first = (chosen.value,) if chosen else ()
    if config.get("fallback") and not (chosen and chosen.source == CALL):
        return tuple(dict.fromkeys((*first, *config.get("fallback")))), False
    return (choose_provider(config, sandbox=sandbox),), False


def emulated(config: Config) -> tuple[str, ...]:
    """The providers that may load and have an emulator."""
    brought = {one.name for one in installed(EMULATORS)}
    return tuple(name for name in config.providers if name in brought)


def _first_emulated(config: Config) -> str:
    """A provider with an emulator that has the model; a plugin that is broken stands in no one's way.

    Raises:
        ConfigurationError: When no emulated provider is allowed.
    """
    names = sorted(emulated(config), key=lambda one: one != _SHOWN_FIRST)
    if not names:
        raise ConfigurationError(
            "no provider that may load has an emulator",
            next_step="plugins.allow says which may; unified-flux plugin list shows them.",
        )
    for name in names:
        with contextlib.suppress(ConfigurationError):
            if find(make_adapter(name).cards, config.get("model")):
                return name
    return names[0]
