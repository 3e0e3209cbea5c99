"""`unified-flux plugin`: list the plugins of providers, examine one, begin a new one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unified_flux.cli.group import COMMANDS, print_json

if TYPE_CHECKING:
    from unified_flux.config import Config
    from unified_flux.registry import Installed
    from unified_flux.testing.verdicts import Verdict


@click.group("plugin", short_help=COMMANDS["plugin"])
def command() -> None:
    """List the plugins of providers, check one, begin a new one. Sends nothing to anybody."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def list_(as_json: bool) -> None:
    """Show every installed plugin, where it is from, and what is wrong with it.

    Those that may load are imported; one that cannot be is told, and stops no other.
    """
    from unified_flux import registry
    from unified_flux.cli.session import read_config

    config = read_config({})
    found = [_looked_at(one, config) for one in registry.installed()]
    if as_json:
        print_json({"schema_version": 1, "plugins": found})
        return
    from unified_flux.cli.tables import draw_table

    heads = ["name", "distribution", "adapter API", "key", "entry point", "file"]
    rows = [
        [
            one["name"],
            f"{one['distribution']} {one['version']}",
            one["adapter_api"] or "?",
            f"from {one['key']}" if one["key"] else "no",
            one["entry_point"],
            one["file"] or "?",
        ]
        for one in found
    ]
    draw_table(heads, rows)
    for one in found:
        if one["problem"]:
            click.echo(f"{one['name']}: {one['problem']}")


def _looked_at(one: Installed, config: Config) -> dict[str, Any]:
    """What is known of a plugin; nothing of one that may not load is imported."""
    from unified_flux import registry
    from unified_flux.errors import ConfigurationError
    from unified_flux.settings import key_name
    from unified_flux.testing.verdicts import SLOW

    key = config.values.get(key_name(one.name))
    api = file = problem = None
    try:
        registry.check_allowed(one.name, config)
        began = time.perf_counter()
        file = registry.source_file(one)
        api = registry.adapter_class(one.name).api_version
        # A slow disk is no fault of the plugin: a fresh interpreter has the last word.
        if time.perf_counter() - began > SLOW and (took := registry.import_seconds(one)) > SLOW:
            problem = f"takes {took * 1000:.0f} ms to import; more than {SLOW * 1000:.0f} ms make every command slow"
    except ConfigurationError as error:
        problem = " ".join(str(error).split())
    return {
        "name": one.name,
        "distribution": one.distribution,
        "version": one.version,
        "entry_point": one.value,
        "file": file,
        "adapter_api": api,
        "key": key.source if key else None,
        "problem": problem,
    }


@command.command("check")
@click.argument("name")
@click.option(
    "--golden",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of its golden conversations.",
)
@click.option("--rule", "rules", multiple=True, help="Only rules with these words (repeatable).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(name: str, golden: Path | None, rules: tuple[str, ...], as_json: bool) -> int:
    """Put a plugin through the conformance kit: no key, no network. Exit 1 where a rule does not hold."""
    from importlib.util import find_spec

    from unified_flux import registry
    from unified_flux.cli.faults import UsageError
    from unified_flux.cli.session import read_config
    from unified_flux.errors import ConfigurationError
    from unified_flux.testing.verdicts import examine
    from unified_flux.text import safe

    if find_spec("hypothesis") is None:
        raise ConfigurationError(
            "the conformance kit needs hypothesis, which is not installed",
            next_step="pip install 'unified-flux[testing]'",
        )
    registry.check_allowed(name, read_config({}))
    registry.adapter_class(name)
    verdicts = []
    for verdict in examine(name, golden, rules):
        verdicts.append(verdict)
        if not as_json:
            _say(verdict)
    if not verdicts:
        raise UsageError(f'no rule has the words "{safe(", ".join(rules), 80)}"')
    broken = [one for one in verdicts if not one.ok]
    if as_json:
        print_json({"schema_version": 1, "ok": not broken, "rules": [_json(v) for v in verdicts]})
    else:
        asked = sum(one.asked for one in verdicts)
        click.echo(
            f"{len(verdicts) - len(broken)} of {len(verdicts)} rules hold ({asked} questions)"
        )
        if golden is None:
            click.echo("No golden conversations were replayed; --golden FOLDER names them.")
    return 1 if broken else 0


def _say(verdict: Verdict) -> None:
    from unified_flux.text import safe

    click.echo(
        f"{'ok  ' if verdict.ok else 'FAIL'}  {verdict.rule.replace('_', ' ')} ({verdict.asked})"
    )
    for line in (*verdict.failures, *verdict.notes):
        click.echo(f"      {safe(line, 400)}")


def _json(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "says": verdict.says,
        "ok": verdict.ok,
        "asked": verdict.asked,
        "failures": list(verdict.failures),
        "notes": list(verdict.notes),
    }


@command.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder to write it into; the working folder by default.",
)
def new(name: str, into: Path) -> None:
    """Write a distribution unified-flux-NAME that installs and passes its own tests."""
    from unified_flux import registry
    from unified_flux.scaffold import begin

    registry.check_new(name)
    root = into / f"unified-flux-{name}"
    for path in begin(name, into):
        click.echo(path)
    click.echo("\nIt depends on unified-flux, which this environment has. Next:")
    for line in (
        f"pip install -e {root}",
        f"pytest {root}",
        f'unified-flux generate "a red fox" -p {name} --sandbox',
    ):
        click.echo(f"  {line}")
