"""`unified-flux doctor`: is this installation fit to work? Sends nothing to any provider."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata

import click

from unified_flux.cli.group import COMMANDS, print_json


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    ok: bool
    detail: str


@click.command("doctor", short_help=COMMANDS["doctor"])
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(as_json: bool) -> int:
    """Check versions, settings, folders and plugins, and draw one picture in the sandbox."""
    checks = list(_checks())
    ok = all(check.ok for check in checks)
    if as_json:
        found = [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]
        print_json({"schema_version": 1, "ok": ok, "checks": found})
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
    return 0 if ok else 1


def _checks() -> Iterator[Check]:
    yield Check("python", True, platform.python_version())
    yield _try("packages", _packages)
    for name, probe in (
        ("settings", _settings),
        ("pictures", _home),
        ("journal", _journal),
        ("sandbox", _sandbox),
    ):
        yield _try(name, probe)
    from unified_flux import registry
    from unified_flux.config import network_variables

    for provider in registry.names():
        yield _try(f"plugin {provider}", partial(_plugin, provider))
    for name in network_variables():
        yield Check(name, True, "set; connections use it")


def _try(name: str, probe: Callable[[], str]) -> Check:
    from unified_flux.errors import UnifiedFluxError

    try:
        return Check(name, True, probe())
    except (UnifiedFluxError, OSError) as error:
        return Check(name, False, str(error))
    # What a plugin raises, whatever it is, is a finding.
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _packages() -> str:
    """The versions of all that this distribution needs, by its own list."""
    needed = metadata.requires("unified-flux") or []
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in needed if "extra ==" not in line]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _settings() -> str:
    from unified_flux.cli.session import read_config

    config = read_config({})
    files = ", ".join(str(path) for path in config.files) or "no files"
    keys = ", ".join(config.keys()) or "none"
    return "; ".join([f"read from {files}", f"keys: {keys}", *config.warnings])


def _home() -> str:
    from unified_flux.cli.session import read_config
    from unified_flux.spool import Spool

    folder = read_config({}).home / "spool"
    Spool(folder).take([b"doctor"]).path.unlink()
    return f"{folder} can be written"


def _journal() -> str:
    from unified_flux.access import open_journal
    from unified_flux.cli.session import read_config

    journal = open_journal(read_config({}))
    if journal is None:
        return "off (journal.enabled = false): a job does not outlive its process"
    try:
        left = len(journal.open_jobs())
    finally:
        journal.close()
    return f"{journal.place}, {left or 'no'} open {'job' if left == 1 else 'jobs'}" + (
        ": unified-flux recover" if left else ""
    )


def _sandbox() -> str:
    from unified_flux import registry
    from unified_flux.cli.session import read_config
    from unified_flux.client import Client
    from unified_flux.request import ImageRequest

    # A picture of nobody's wish belongs in no journal, and under no limit.
    config = read_config({}).overridden({"journal.enabled": False}).without("limits.")
    provider = registry.choose_providers(config, sandbox=True)[0][0]
    with Client(provider, sandbox=True, config=config) as client:
        result = client.generate(ImageRequest(prompt="doctor sandbox:ready"))
    image = result.images[0]
    image.blob.path.unlink()
    return f"drew {image.width}x{image.height} {image.format} as {result.provider}/{result.model}"


def _plugin(provider: str) -> str:
    from unified_flux import registry
    from unified_flux.cli.session import read_config

    if provider in read_config({}).barred:
        return "left out by plugins.allow"
    adapter = registry.make_adapter(provider)
    count = len(adapter.cards)
    return f"{count} model{'' if count == 1 else 's'} at {adapter.base}"
