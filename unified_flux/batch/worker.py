"""A worker: lines from the queue, made by asyncio clients; what dead workers began it goes on with."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unified_flux.async_client import AsyncClient
from unified_flux.batch.batch import LASTING
from unified_flux.batch.parcel import Parcel
from unified_flux.batch.queue import LineFailed, Queue, open_queue
from unified_flux.batch.results import Outcome, Status, failed, saved
from unified_flux.config import Config
from unified_flux.errors import Charged, ConfigurationError, JournalError, UnifiedFluxError
from unified_flux.router import Router
from unified_flux.saving import Saving
from unified_flux.scheduler import Stopped

_log = logging.getLogger("unified_flux")
# What says nothing of the line: another try, or another worker, may find it otherwise.
_PASSING = (JournalError, ConfigurationError, Stopped)


@dataclass(slots=True, kw_only=True)
class Worker:
    """Works on lines until it is stopped.

    Attributes:
        concurrency: Lines under way at once.
        lease: Seconds after which a worker that gives no sign counts as dead.
        sandbox: Let emulators answer.
        once: End when nothing is left to fetch.
        tell: Told what became of each line.
    """

    config: Config
    address: str
    concurrency: int
    lease: float
    sandbox: bool = False
    once: bool = False
    tell: Callable[[Outcome], None] = lambda _: None
    _clients: dict[str, AsyncClient] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _mark: str = ""

    async def run(self) -> None:
        """Work. SIGINT and SIGTERM fetch no more lines; what is under way comes to its end.

        Raises:
            ConfigurationError: When the queue cannot be used.
        """
        async with self._stack, open_queue(self.address, self._work) as queue:
            self._mark = f"{time.strftime('%Y%m%d-%H%M%S')}-{id(self) & 0xFFFF:04x}"
            # A line that was given back while it was at work here cannot be ended twice.
            asyncio.get_running_loop().set_exception_handler(
                lambda _, told: _log.info("the queue: %s", told.get("exception"))
            )
            rescuing = asyncio.create_task(self._rescue(queue))
            try:
                await self._serve(queue)
            finally:
                rescuing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await rescuing

    async def _serve(self, queue: Queue) -> None:
        """Fetch and work; a database that is away for a while is waited for."""
        import psycopg
        from procrastinate.exceptions import ProcrastinateException

        while True:
            try:
                await queue.app.run_worker_async(
                    concurrency=self.concurrency,
                    wait=not self.once,
                    fetch_job_polling_interval=1.0,
                    update_heartbeat_interval=self.lease / 4,
                    stalled_worker_timeout=self.lease,
                )
            except (ProcrastinateException, psycopg.Error) as error:
                _log.info("the queue is away: %s", type(error).__name__)
                await asyncio.sleep(1.0)
            else:
                return

    async def _rescue(self, queue: Queue) -> None:
        """Give lines of dead workers back to the queue; the journal knows where each stands."""
        manager = queue.app.job_manager
        while True:
            # The next look finds what this one could not.
            try:
                for job in await manager.get_stalled_jobs(seconds_since_heartbeat=self.lease):
                    await manager.retry_job(job, retry_at=datetime.datetime.now(datetime.UTC))
            except Exception as error:
                _log.info("lines of dead workers were not looked for: %r", error)
            await asyncio.sleep(self.lease / 4)

    async def _work(self, parcel: Parcel, batch: str) -> None:
        """One line, from what was asked to its files.

        Raises:
            LineFailed: When it has not all of its pictures; its outcome is told.
            UnifiedFluxError: When it is not decided yet: the queue brings it again.
        """
        try:
            asked = await asyncio.to_thread(parcel.asked)
            client = await self._client(parcel.settings)
            result = await client.generate(asked)
        except UnifiedFluxError as error:
            if isinstance(error, _PASSING) and error.charged is Charged.NO:
                raise
            outcome = failed(parcel.line, parcel.id, error)
        else:
            saving = Saving(result=result, target=parcel.target, report=result.report)
            resumed = result.records[0].prepared_at is not None
            outcome = await asyncio.to_thread(
                saved, parcel.line, parcel.id, saving, resumed=resumed
            )
        await asyncio.to_thread(self._write, Path(parcel.destination).parent, batch, outcome)
        self.tell(outcome)
        if outcome.status is not Status.DONE:
            raise LineFailed(f"line {parcel.line} of {batch} is {outcome.status}")

    async def _client(self, settings: dict[str, Any]) -> AsyncClient:
        """The client for a batch's settings; this machine's own say the rest, keys above all."""
        name = json.dumps(settings, sort_keys=True)
        if name not in self._clients:
            given = {key: settings.get(key) for key in ("provider", "model")}
            config = self.config.overridden({**LASTING, **given})
            client = AsyncClient.of(
                Router.of(
                    config,
                    sandbox=self.sandbox,
                    allow=settings["allow"],
                    adapt=settings["adapt"],
                    timeout=settings["timeout"],
                )
            )
            self._clients[name] = await self._stack.enter_async_context(client)
        return self._clients[name]

    def _write(self, folder: Path, batch: str, outcome: Outcome) -> None:
        """A line of this worker's own results file: two machines never write the same."""
        path = folder / f"{batch}.results-{self._mark}.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(outcome.to_json(), default=str) + "\n")
