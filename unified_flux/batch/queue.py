"""The queue that many machines share: Procrastinate's tables in PostgreSQL, one queue for each batch.

It decides only who works on a line. Whether anything is paid the journal decides, in the same database.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from unified_flux.batch.parcel import Parcel
from unified_flux.errors import ConfigurationError, UnifiedFluxError
from unified_flux.secret import shown_address
from unified_flux.text import safe

if TYPE_CHECKING:
    from procrastinate import App

# Its own corner of the database; the version stands in the schema's comment.
SCHEMA = "unified_flux_queue"
TABLES = "procrastinate 3"
LINE = "unified_flux.line"
# Lines that are put into the queue with one statement.
CHUNK = 500
# Several who come at once to a new database: one makes the tables.
_LOCK = 7_310_593_104
Work = Callable[[Parcel, str], Awaitable[None]]


class LineFailed(UnifiedFluxError):
    """A line ended without all its pictures; its results file says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far a batch is in its queue."""

    name: str
    waiting: int = 0
    working: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def left(self) -> int:
        """Lines that are not at their end."""
        return self.waiting + self.working

    def __str__(self) -> str:
        told = [(self.done, "done"), (self.waiting, "waiting"), (self.working, "at work")]
        told += [(self.failed, "failed"), (self.cancelled, "cancelled")]
        return ", ".join(f"{count} {word}" for count, word in told if count) or "nothing in it"

    def to_json(self) -> dict[str, Any]:
        """The counts as plain JSON."""
        return {
            "batch": self.name,
            "done": self.done,
            "waiting": self.waiting,
            "working": self.working,
            "failed": self.failed,
            "cancelled": self.cancelled,
        }


@dataclass(frozen=True, slots=True)
class Queue:
    """An open queue."""

    app: App

    async def submit(self, name: str, parcels: Iterable[Parcel]) -> int:
        """Put the lines of a batch into the queue, in chunks; how many they were."""
        task = self.app.configure_task(LINE, queue=name)
        waiting, count = iter(parcels), 0
        while chunk := list(islice(waiting, CHUNK)):
            lines: list[Any] = [{"parcel": one.to_json()} for one in chunk]
            await task.batch_defer_async(*lines)
            count += len(chunk)
        return count

    async def counts(self, name: str | None = None) -> list[Counts]:
        """How far each batch is, or the one of that name."""
        return [
            Counts(
                name=row["name"],
                waiting=row["todo"],
                working=row["doing"],
                done=row["succeeded"],
                failed=row["failed"],
                cancelled=row["cancelled"] + row["aborted"],
            )
            for row in await self.app.job_manager.list_queues_async(queue=name)
            if row["name"] != "builtin"
        ]

    async def cancel(self, name: str) -> int:
        """Take the lines out of the queue that nobody works on yet; how many they were."""
        manager = self.app.job_manager
        waiting = await manager.list_jobs_async(queue=name, status="todo")
        return sum([await manager.cancel_job_by_id_async(job.id or 0) for job in waiting])


@asynccontextmanager
async def open_queue(address: str, work: Work | None = None) -> AsyncIterator[Queue]:
    """A queue, its tables made where there are none.

    Args:
        work: What is done with a line, given also the batch's name; None for who only looks.

    Raises:
        ConfigurationError: When it cannot be reached, or holds tables of another version.
    """
    try:
        import procrastinate
        import psycopg
    except ImportError:
        raise ConfigurationError(
            "a queue needs Procrastinate and psycopg, which are not installed",
            next_step="pip install 'unified-flux[batch]'",
        ) from None
    for name in ("procrastinate", "psycopg.pool"):
        # Its own lines repeat what the results files say.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Seen to first, where the pool would go on trying for half a minute.
    with _told(address, psycopg.Error):
        await _prepare(address)
    connector = procrastinate.PsycopgConnector(
        conninfo=address, kwargs={"options": f"-c search_path={SCHEMA}"}, max_size=8
    )
    app = procrastinate.App(connector=connector)
    if work is not None:
        _register(app, work)
    with _told(address, psycopg.Error, procrastinate.exceptions.ProcrastinateException):
        await app.open_async()
    try:
        yield Queue(app)
    finally:
        await app.close_async()


def _register(app: App, work: Work) -> None:
    from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
    from procrastinate.jobs import Job

    class UntilDecided(BaseRetryStrategy):
        """A line that failed stays so; what kept it from being decided passes."""

        def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
            if isinstance(exception, LineFailed):
                return None
            return RetryDecision(retry_in={"seconds": 2})

    @app.task(name=LINE, pass_context=True, retry=UntilDecided())
    async def line(context: JobContext, parcel: dict[str, Any]) -> None:
        await work(Parcel(**parcel), context.job.queue)


async def _prepare(address: str) -> None:
    """The queue's tables: ours to use, or made now, by one of those who come at once."""
    from procrastinate.schema import SchemaManager
    from psycopg import AsyncConnection

    async with await AsyncConnection.connect(
        address, connect_timeout=10, options=f"-c search_path={SCHEMA}"
    ) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        asked = await connection.execute(
            "SELECT to_regnamespace(%(name)s) IS NOT NULL,"
            " obj_description(to_regnamespace(%(name)s), 'pg_namespace')",
            {"name": SCHEMA},
        )
        there, said = await asked.fetchone() or (False, None)
        if not there:
            await connection.execute(f"CREATE SCHEMA {SCHEMA}".encode())
            await connection.execute(SchemaManager.get_schema().encode())
            await connection.execute(f"COMMENT ON SCHEMA {SCHEMA} IS '{TABLES}'".encode())
        elif said != TABLES:
            raise ConfigurationError(
                f"the queue {shown_address(address)} has tables of another version "
                f"({safe(said or 'nobody says which', 60)}; this one uses {TABLES}); nothing was changed",
                next_step="Use the unified-flux that made it, or another database for this one.",
            )


@contextlib.contextmanager
def _told(address: str, *errors: type[Exception]) -> Any:
    """A database's fault in one sentence, without the password of its address."""
    from psycopg import ProgrammingError, conninfo

    from unified_flux.journal.trouble import Trouble

    trouble = Trouble(address, "the queue")
    try:
        conninfo.conninfo_to_dict(address)
        yield
    except ProgrammingError as error:
        raise (trouble.told(error) if error.sqlstate else trouble.bad_address()) from None
    except errors as error:
        raise trouble.told(error) from None
