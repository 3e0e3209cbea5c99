"""The commands of a queue: `batch submit`, `status`, `watch`, `cancel`, and `worker`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from unified_flux.batch.batch import Batch, queue_name
from unified_flux.batch.queue import Counts, Queue, open_queue
from unified_flux.batch.results import Outcome
from unified_flux.batch.worker import Worker
from unified_flux.cli.group import print_json
from unified_flux.cli.session import log_to_stderr, read_config
from unified_flux.config import Config
from unified_flux.errors import InvalidRequest, MissingKey
from unified_flux.secret import shown_address
from unified_flux.text import did_you_mean, safe

T = TypeVar("T")
PARTLY_DONE = 10
# Seconds between two looks at a queue.
_LOOK = 1.0


def submit(batch: Batch, values: dict[str, Any]) -> int:
    """Put every line of a batch that was checked into the queue."""
    config = batch.router.clients[0].config
    settings = {
        "provider": config.get("provider"),
        "model": config.get("model"),
        "allow": list(values["allow"]),
        "adapt": values["adapt"],
        "timeout": values["timeout"],
    }
    name = batch.queue_name
    count = _with(config, lambda queue: queue.submit(name, batch.parcels(settings)))
    if values["as_json"]:
        print_json({"schema_version": 1, "batch": name, "lines": count})
    else:
        click.echo(f"{count} lines are in the queue as {name}")
        click.echo(
            f"unified-flux worker works on them; unified-flux batch watch {name} shows how far"
        )
    return 0


def status(said: str | None, values: dict[str, Any]) -> int:
    """How far each batch of the queue is, or one of them."""
    found = _with(read_config(values), lambda queue: _counts(queue, said))
    if values["as_json"]:
        print_json({"schema_version": 1, "batches": [one.to_json() for one in found]})
    else:
        for one in found:
            click.echo(f"{one.name}  {one}")
        if not found:
            click.echo("nothing is in the queue")
    return 0


def watch(said: str, values: dict[str, Any]) -> int:
    """How far one batch is, until its end; 10 where not every line is done."""

    async def looking(queue: Queue) -> Counts:
        shown = ""
        while True:
            (now,) = await _counts(queue, said)
            if str(now) != shown and not values["quiet"]:
                shown = str(now)
                click.echo(f"{time.strftime('%H:%M:%S')}  {shown}", err=True)
            if not now.left:
                return now
            await asyncio.sleep(_LOOK)

    end = _with(read_config(values), looking)
    if values["as_json"]:
        print_json({"schema_version": 1, **end.to_json()})
    else:
        click.echo(f"{end.name}  {end}")
    return PARTLY_DONE if end.failed or end.cancelled else 0


def cancel(said: str, values: dict[str, Any]) -> int:
    """Take what nobody works on yet out of the queue."""

    async def cancelling(queue: Queue) -> tuple[Counts, int]:
        (found,) = await _counts(queue, said)
        return found, await queue.cancel(found.name)

    found, count = _with(read_config(values), cancelling)
    if values["as_json"]:
        print_json({"schema_version": 1, "batch": found.name, "cancelled": count})
    else:
        click.echo(f"{found.name}: {count} lines are cancelled; {found.working} are under way")
    return 0


def work(values: dict[str, Any]) -> int:
    """Be a worker."""
    if values["verbose"]:
        log_to_stderr()
    config = read_config(values)
    if not (values["sandbox"] or config.keys()):
        raise MissingKey(
            "a worker needs the key of a provider, and none is set",
            next_step="Set one as for generate, or work with --sandbox.",
        )

    def told(one: Outcome) -> None:
        if not values["quiet"]:
            files = ", ".join(safe(path) for path in one.files) or safe(one.error)
            click.echo(f"line {one.line} {one.status}: {files}", err=True)

    worker = Worker(
        config=config,
        address=_address(config),
        concurrency=values["concurrency"],
        lease=config.get("lease"),
        sandbox=values["sandbox"],
        once=values["once"],
        tell=told,
    )
    if not values["quiet"]:
        click.echo(
            f"working on the queue at {shown_address(worker.address)}; Ctrl-C ends it", err=True
        )
    asyncio.run(worker.run())
    return 0


async def _counts(queue: Queue, said: str | None) -> list[Counts]:
    """The batch that a person means, by its name or its file; all of them where none is said."""
    found = await queue.counts()
    if said is None:
        return found
    names = {said, queue_name(str(Path(said).absolute())), queue_name(said)}
    wanted = [one for one in found if one.name in names]
    if not wanted:
        hint = did_you_mean(said, [one.name for one in found])
        raise InvalidRequest(
            f'the queue has no batch "{safe(said, 80)}"{hint}',
            next_step="unified-flux batch status lists them; batch submit brings one.",
        )
    return wanted


def _address(config: Config) -> str:
    address = config.queue
    if not address:
        raise InvalidRequest(
            "no queue is given",
            next_step="Say --queue postgresql://..., or set UNIFIED_FLUX_QUEUE; without one, "
            "batch run does all of it in one process.",
        )
    return address


def _with(config: Config, act: Callable[[Queue], Awaitable[T]]) -> T:
    """What is done with an open queue."""

    async def main() -> T:
        async with open_queue(_address(config)) as queue:
            return await act(queue)

    return asyncio.run(main())
