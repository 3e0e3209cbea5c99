"""`unified-flux config`: settings, where each came from, and where files are looked for."""

from __future__ import annotations

from typing import Any

import click

from unified_flux.cli.group import COMMANDS, print_json


@click.group("config", short_help=COMMANDS["config"])
def command() -> None:
    """Show settings; secrets are masked."""


@command.command("show")
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(origin: bool, as_json: bool) -> None:
    """Show every setting and its value."""
    from unified_flux.cli.session import read_config
    from unified_flux.secret import SecretAddress
    from unified_flux.settings import SETTINGS, key_name

    config = read_config({})
    keys = {key_name(provider) for provider in config.providers}
    names = [setting.name for setting in SETTINGS]
    names += [name for name in config.values if name not in names]
    names += sorted(keys - set(names))
    helps = {setting.name: setting.help for setting in SETTINGS}
    found: list[dict[str, Any]] = []
    for name in names:
        kept = config.values.get(name)
        value = kept.value if kept else None
        value = str(value) if isinstance(value, SecretAddress) else value
        if kept is None and name in helps:
            value = config.get(name)
        source = kept.source if kept else "default" if name in helps else "not set"
        found.append({"name": name, "value": value, "origin": source, "help": helps.get(name, "")})
    if as_json:
        print_json({"schema_version": 1, "settings": found})
        return
    from unified_flux.cli.tables import draw_table

    heads = ["name", "value", "origin", "help"] if origin else ["name", "value", "help"]
    draw_table(heads, [[one[head] for head in heads] for one in found])


@command.command("path")
def path() -> None:
    """Show the files that settings are read from, the journal, and the folder of fetched pictures."""
    from pathlib import Path

    from unified_flux.cli.session import read_config
    from unified_flux.config import user_config_file
    from unified_flux.journal import FILE as JOURNAL_FILE
    from unified_flux.toml_settings import PROJECT_FILE

    config = read_config({})
    if config.queue:
        click.echo(f"journal   {config.get('queue')}")
    for kind, place in (
        ("project", Path.cwd() / PROJECT_FILE),
        ("project", Path.cwd() / "pyproject.toml"),
        ("dotenv", Path.cwd() / ".env"),
        ("user", user_config_file()),
        ("journal", config.home / JOURNAL_FILE),
        ("pictures", config.home / "spool"),
    ):
        click.echo(f"{kind:8}  {place}{'' if place.exists() else '  (not there)'}")
