"""`unified-flux sandbox`: the emulators of all installed providers behind one local port."""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from unified_flux.cli.group import COMMANDS

if TYPE_CHECKING:
    from unified_flux.sandbox.server import SandboxServer


@click.command("sandbox", short_help=COMMANDS["sandbox"])
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8420,
    show_default=True,
    help="0 takes a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when it is ready.")
def command(port: int, as_json: bool) -> None:
    """Serve the emulators on 127.0.0.1 until Ctrl-C. Nothing is charged and nothing leaves."""
    from unified_flux import registry
    from unified_flux.cli.session import read_config
    from unified_flux.errors import ConfigurationError
    from unified_flux.sandbox.server import SandboxServer, new_key

    key = new_key()
    emulators = {}
    for name in registry.emulated(read_config({})):
        try:
            emulators[name] = registry.emulator_class(name)(key=key)
        except ConfigurationError as error:
            click.echo(f"left out: {error}", err=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    server = _started(SandboxServer(emulators, key=key, port=port))
    try:
        if as_json:
            ready = {"key": server.key, "meter": server.meter_url, "providers": server.providers}
            click.echo(json.dumps(ready))
        else:
            _explain(server.key, server.meter_url, server.providers)
        sys.stdout.flush()
        stopped.wait()
    finally:
        server.stop()


def _started(server: SandboxServer) -> SandboxServer:
    from unified_flux.errors import ConfigurationError

    try:
        server.start()
    except OSError as error:
        raise ConfigurationError(
            f"the port cannot be listened on: {(error.strerror or str(error)).lower()}",
            next_step="--port 0 takes a free one.",
        ) from None
    return server


def _explain(key: str, meter: str, providers: dict[str, str]) -> None:
    from unified_flux.settings import key_name, url_name

    click.echo("the sandbox is ready; Ctrl-C ends it. In another shell:")
    for name, url in providers.items():
        click.echo(f"  export {key_name(name)}={key} {url_name(name)}={url}")
    click.echo(f"what it has charged: curl -H 'Authorization: Bearer {key}' {meter}")
