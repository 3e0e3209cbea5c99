"""`unified-flux providers`: what is installed, from which distribution, and whether a key is there."""

from __future__ import annotations

import click

from unified_flux.cli.group import COMMANDS, print_json


@click.command("providers", short_help=COMMANDS["providers"])
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(as_json: bool) -> None:
    """Show the installed providers. Imports none of them and sends nothing."""
    from unified_flux import registry
    from unified_flux.cli.session import read_config
    from unified_flux.settings import key_name, url_name

    config = read_config({})
    found = []
    for one in registry.installed():
        key = config.values.get(key_name(one.name))
        url = config.values.get(url_name(one.name))
        found.append(
            {
                "name": one.name,
                "distribution": one.distribution,
                "version": one.version,
                "entry_point": one.value,
                "variable": key_name(one.name),
                "key": key.source if key else None,
                "base_url": url.value if url else None,
            }
        )
    if as_json:
        print_json({"schema_version": 1, "providers": found})
        return
    from unified_flux.cli.tables import draw_table

    rows = [
        [
            one["name"],
            f"{one['distribution']} {one['version']}",
            one["variable"],
            f"from {one['key']}" if one["key"] else "no",
            one["base_url"] or "",
        ]
        for one in found
    ]
    draw_table(["provider", "distribution", "variable", "key", "address"], rows)
