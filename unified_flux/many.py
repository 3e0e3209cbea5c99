"""Many at once: flows begun as places are free, and what each comes to as soon as it is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from unified_flux.errors import InvalidRequest, UnifiedFluxError
from unified_flux.money import Money
from unified_flux.request import ImageRequest
from unified_flux.result import ImageResult
from unified_flux.scheduler import Scheduler, Steps
from unified_flux.text import safe
from unified_flux.uploading import Uploads
from unified_flux.workers import MOST
from unified_flux.world import World

K = TypeVar("K")
T = TypeVar("T")
CONCURRENCY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call of `generate`, as data.

    Attributes:
        again: Pay for another picture where the same request with the same client_request_id was made
            within `same_within` seconds (the setting `journal.same_within` where none are given).
        destination: A path, folder or template that the pictures are meant for; `force` allows to
            overwrite there.
        max_cost: The most that all its pictures together may cost.
        patient: Where another process has one of its pictures in hand, wait until that is over.
    """

    request: ImageRequest
    again: bool = False
    destination: str | Path | None = None
    force: bool = False
    max_cost: str | Money | None = None
    same_within: float | None = None
    patient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one of many came to: a result or an error.

    Attributes:
        number: Its place among those asked: 1, 2, ...
    """

    number: int
    asked: Asked
    result: ImageResult | None = None
    error: UnifiedFluxError | None = None

    @property
    def request(self) -> ImageRequest:
        """What was asked."""
        return self.asked.request


class Maker(Protocol):
    """What can make pictures: a `Client` or a `Router`."""

    def making(self, asked: Asked, uploads: Uploads | None = None) -> Steps[ImageResult]:
        """The flow of one call of `generate`; `uploads` are shared with other calls."""

    @property
    def world(self) -> World:
        """Where its flows run."""


def check_concurrency(asked: int) -> None:
    """Raises InvalidRequest where it is no number of flows."""
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise InvalidRequest(f"concurrency must be a whole number from 1, not {safe(asked, 40)}")


@dataclass(frozen=True, slots=True)
class Begun(Generic[K, T]):
    """A flow that is to run, and what it is known by."""

    key: K
    flow: Steps[T]
    world: World


class Stream(Iterator[tuple[K, T | UnifiedFluxError]], Generic[K, T]):
    """What flows come to, each as soon as it is over; failures are values. A context manager.

    Args:
        begun: Taken from only as places are free.
        concurrency: How many run at once.
        threads: How many threads they may take.
    """

    def __init__(
        self, begun: Iterable[Begun[K, T]], concurrency: int = CONCURRENCY, threads: int = MOST
    ) -> None:
        check_concurrency(concurrency)
        self._begun = iter(begun)
        self._free = concurrency
        self._concurrency = concurrency
        self._scheduler = Scheduler(threads)
        self._over: SimpleQueue[tuple[K, T, BaseException | None]] = SimpleQueue()
        self._ends = False

    def __next__(self) -> tuple[K, T | UnifiedFluxError]:
        """The next that is over; its place is free again."""
        try:
            self._fill()
            if self._free == self._concurrency:
                raise StopIteration
            key, value, error = self._over.get()
            self._free += 1
            if isinstance(error, UnifiedFluxError):
                return key, error
            if error is not None:
                raise error
            return key, value
        except BaseException:
            self.close()
            raise

    def drain(self) -> None:
        """Send nothing more, and see what is accepted to its end."""
        self._ends = True
        self._scheduler.drain()

    def stop(self) -> None:
        """End everything at its next step; what is accepted stays in the journal."""
        self._ends = True
        self._scheduler.stop()

    def close(self) -> None:
        """Stop what still runs, and wait until it has."""
        self._ends = True
        self._scheduler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self) -> None:
        while self._free and not self._ends:
            begun = next(self._begun, None)
            if begun is None:
                self._ends = True
                return
            self._free -= 1
            self._scheduler.start(begun.flow, begun.world, partial(self._ended, begun.key))

    def _ended(self, key: K, value: T, error: BaseException | None) -> None:
        self._over.put((key, value, error))


class Many(Stream[tuple[int, Asked], ImageResult]):
    """What many requests come to, as they finish: an iterator of `Made`."""

    def __iter__(self) -> Iterator[Made]:  # type: ignore[override]  # of the same, with its names
        return self  # type: ignore[return-value]

    def __next__(self) -> Made:  # type: ignore[override]
        """The next that is over."""
        (number, asked), end = super().__next__()
        return made(number, asked, end)


def made(number: int, asked: Asked, end: ImageResult | UnifiedFluxError) -> Made:
    """An end under its names."""
    if isinstance(end, UnifiedFluxError):
        return Made(number=number, asked=asked, error=end)
    return Made(number=number, asked=asked, result=end)


def begin_all(
    maker: Maker, requests: Iterable[ImageRequest | Asked]
) -> Iterator[Begun[tuple[int, Asked], ImageResult]]:
    """The flows of many requests, one by one as they are wanted; a reference is uploaded once for all."""
    uploads: Uploads = {}
    for number, one in enumerate(requests, 1):
        asked = one if isinstance(one, Asked) else Asked(request=one)
        yield Begun((number, asked), maker.making(asked, uploads), maker.world)
