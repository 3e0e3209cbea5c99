"""`unified-flux generate`: make pictures and write them to files."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import click

from unified_flux.cli.group import COMMANDS
from unified_flux.cli.options import again_option, max_cost_option, request_options

NOTHING_CONFIGURED = (
    "no provider is configured: using the built-in sandbox (a drawn picture, nothing is charged)"
)
JOURNAL_OFF = (
    "the journal is off: should this process die, nothing here will know of a picture that is paid"
)


@click.command("generate", short_help=COMMANDS["generate"])
@request_options
@again_option
@max_cost_option
def command(**values: Any) -> int:
    """Make pictures of PROMPT: text, @file, or - for standard input.

    With no provider configured, the built-in sandbox draws a picture and nothing is charged.
    """
    from unified_flux.cli.delivery import Delivery
    from unified_flux.cli.live import Watch
    from unified_flux.cli.session import ask

    with Watch(values["quiet"]) as watch:
        asked = ask(values, fallback=NOTHING_CONFIGURED, on_event=watch)
        target = asked.target
        with asked.session.router as router:
            client = asked.session.client
            watch.emulated, watch.journalled = client.emulated, client.journal is not None
            if client.journal is None:
                asked.session.note(JOURNAL_OFF)
            asked.check_target()
            result = router.generate(
                asked.request,
                again=values["again"],
                destination=target.absolute,
                force=target.force,
                max_cost=values["max_cost"],
            )
            watch.stop()
            for step in takewhile(lambda one: not one.taken, result.steps):
                asked.session.note(f"{step.provider} is passed over: {step.why}")
            delivery = Delivery(
                session=asked.session,
                result=result,
                target=target,
                report=asked.explain(result.report),
            )
            return delivery.deliver(values["as_json"])
