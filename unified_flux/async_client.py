"""The same for asyncio: it awaits the futures of the same flows, run by the same scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from unified_flux.client import Client
from unified_flux.errors import UnifiedFluxError
from unified_flux.many import (
    CONCURRENCY,
    Asked,
    Begun,
    Made,
    begin_all,
    check_concurrency,
    made,
)
from unified_flux.money import Money
from unified_flux.request import ImageRequest
from unified_flux.result import ImageResult
from unified_flux.router import Router
from unified_flux.scheduler import Scheduler, Steps
from unified_flux.wire import Job
from unified_flux.world import World

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio. No exchange blocks the event loop: threads of its own make them.

    A task that is cancelled, a loop that is closed and an interpreter that ends stop a flow at its next
    step: before its paid submit nothing is sent, after it the job stays in the journal, and
    `unified-flux recover` goes on with it.

    Args:
        provider: The installed adapter's name.
        settings: As for `Client`.

    Raises:
        ConfigurationError: When the provider, the key or the address is not usable.
    """

    def __init__(self, provider: str, **settings: Any) -> None:
        self._begin(Client(provider, **settings))

    def _begin(self, maker: Client | Router) -> None:
        self.maker = maker
        first = maker.clients[0] if isinstance(maker, Router) else maker
        self._scheduler = Scheduler(first.config.get("threads"))

    @classmethod
    def of(cls, maker: Client | Router) -> Self:
        """One that makes its pictures with a client or router, which it closes with itself."""
        one = cls.__new__(cls)
        one._begin(maker)
        return one

    @classmethod
    def from_config(cls, provider: str | None = None, **settings: Any) -> Self:
        """One as the configuration wants it, `cheapest` and `fallback` included; see `Router.from_config`."""
        return cls.of(Router.from_config(provider, **settings))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop what still runs, wait for the answers that are due, close connections and journal."""
        await asyncio.to_thread(self._scheduler.close)
        self.maker.close()

    async def generate(
        self,
        request: ImageRequest | Asked,
        *,
        again: bool = False,
        destination: str | Path | None = None,
        force: bool = False,
        max_cost: str | Money | None = None,
    ) -> ImageResult:
        """Make the pictures, see `Client.generate`."""
        asked = request
        if isinstance(asked, ImageRequest):
            asked = Asked(
                request=asked, again=again, destination=destination, force=force, max_cost=max_cost
            )
        return await self._run(self.maker.making(asked), self.maker.world)

    async def generate_many(
        self, requests: Iterable[ImageRequest | Asked], *, concurrency: int = CONCURRENCY
    ) -> AsyncIterator[Made]:
        """Make the pictures of many requests, and tell of each as it finishes; see `Client.generate_many`.

        Leaving the iteration early, or cancelling its task, stops what is under way.
        """
        check_concurrency(concurrency)
        begun = begin_all(self.maker, requests)
        running: dict[asyncio.Future[ImageResult], Begun[tuple[int, Asked], ImageResult]] = {}
        try:
            while True:
                while len(running) < concurrency and (one := next(begun, None)) is not None:
                    running[self._future(one.flow, one.world)] = one
                if not running:
                    return
                over, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for future in over:
                    end: ImageResult | UnifiedFluxError
                    try:
                        end = future.result()
                    except UnifiedFluxError as error:
                        end = error
                    yield made(*running.pop(future).key, end)
        finally:
            for future in running:
                future.cancel()

    async def wait(self, job: Job | str) -> ImageResult:
        """Poll and fetch a job that is already accepted, see `Client.wait`."""
        client = self._client(job)
        return await self._run(client.waiting(job), client.world)

    async def resume(self, job: Job | str, *, resubmit: bool = False) -> ImageResult:
        """Go on with a job of the journal wherever it stands, see `Client.resume`."""
        client = self._client(job)
        return await self._run(client.resuming(job, resubmit=resubmit), client.world)

    def _client(self, job: Job | str) -> Client:
        """The client whose job it is; the first where its name does not tell."""
        if isinstance(self.maker, Client):
            return self.maker
        found = Job.parse(job) if isinstance(job, str) else job
        wanted = found.provider if found else None
        clients = self.maker.clients
        return next((one for one in clients if one.provider == wanted), clients[0])

    async def _run(self, flow: Steps[T], world: World) -> T:
        return await self._future(flow, world)

    def _future(self, flow: Steps[T], world: World) -> asyncio.Future[T]:
        return asyncio.wrap_future(self._scheduler.submit(flow, world))
