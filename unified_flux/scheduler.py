"""Runs flows: does what they ask, hands back what came of it and when."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from unified_flux.effects import Answer, Effect, Event, Exchange, Fact, Intent, Pause
from unified_flux.errors import Charged, UnifiedFluxError
from unified_flux.wire import Job, Phase, WireRequest, WireResponse

MAX_WORKERS = 8

T = TypeVar("T")
_log = logging.getLogger("unified_flux")


class Transport(Protocol):
    """Makes one exchange."""

    def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
        """The answer, whatever its status. Raises UnifiedFluxError where no whole answer came."""

    def close(self) -> None:
        """Let go of connections."""


class Keeper(Protocol):
    """Puts facts on disk; the journal does."""

    def keep(self, fact: Fact) -> None:
        """Raises UnifiedFluxError where it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that a flow has no hands for: a transport, a clock, pauses, a journal, and who wants to know.

    Attributes:
        journal: Where facts go; None where jobs are not kept.
        stopped: Once set, every flow ends at its next effect and sends nothing more.
        pause: Replaces waiting, for tests; by default a wait that `stopped` cuts short.
    """

    transport: Transport
    journal: Keeper | None = None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] | None = None
    on_event: Callable[[Event], None] | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def perform(self, effect: Effect) -> Answer:
        """Do what a flow asks."""
        if isinstance(effect, Exchange):
            return self._exchange(effect.request, effect.within)
        if isinstance(effect, Pause):
            (self.pause or self.stopped.wait)(min(effect.seconds, threading.TIMEOUT_MAX))
        else:
            fault = self._keep(effect) if isinstance(effect, Fact) else None
            # An intent that could not be kept is given up: it has not happened.
            if fault is None or not isinstance(effect, Intent):
                self._tell(effect)
            return Answer(now=self.clock(), fault=fault)
        return Answer(now=self.clock())

    def _keep(self, fact: Fact) -> UnifiedFluxError | None:
        """Why a fact could not be put on disk."""
        try:
            if self.journal is not None and fact.id:
                self.journal.keep(fact)
        except UnifiedFluxError as fault:
            _log.info("%s %s is not in the journal: %s", fact.phase, fact.id, fault.message)
            return fault
        return None

    def _tell(self, event: Event) -> None:
        """A listener's own fault is logged: it must not cost a picture that is paid."""
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            _log.exception("on_event failed at %s", event.phase)

    def _exchange(self, request: WireRequest, within: float | None) -> Answer:
        # A query may be a signature that opens the picture to anyone: it stays out of logs.
        place = request.url.partition("?")[0]
        try:
            response = self.transport.send(request, within)
        except UnifiedFluxError as fault:
            _log.info("%s %s: %s", request.method, place, fault.message)
            return Answer(now=self.clock(), fault=fault)
        _log.info("%s %s: HTTP %s", request.method, place, response.status)
        return Answer(now=self.clock(), response=response)


class Stopped(UnifiedFluxError):
    """The run was stopped from outside before this flow's end; carries the job, where there is one."""


def run(flow: Generator[Effect, Answer, T], world: World) -> T:
    """Run one flow to its end.

    Raises:
        Stopped: When the world was stopped; what was begun by then may have been charged.
    """
    job: Job | None = None
    id: str | None = None
    charged = Charged.NO
    try:
        effect = next(flow)
        while not world.stopped.is_set() or _has_happened(effect):
            if isinstance(effect, Event):
                job = effect.job or job
                charged = _AFTER.get(effect.phase, charged)
                id = effect.id if isinstance(effect, Fact) else id
            effect = flow.send(world.perform(effect))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        # Whatever interrupts it, a flow lets go of its job now, not when it is collected.
        flow.close()
    stopped = Stopped("stopped before the picture came", job=job, charged=charged)
    stopped.id = id
    raise stopped


_AFTER = {
    Phase.SENDING: Charged.MAYBE,
    Phase.ACCEPTED: Charged.MAYBE,
}


def _has_happened(effect: Effect) -> bool:
    """What has happened is told even to one who stops; what would come next is not begun."""
    return isinstance(effect, Event) and effect.phase not in {Phase.PREPARED, Phase.SENDING}


def run_all(
    flows: Sequence[Generator[Effect, Answer, T]], world: World
) -> list[T | UnifiedFluxError]:
    """Run several flows side by side; a failure is a value, so that it never costs its siblings."""
    if len(flows) == 1:
        return [_outcome(lambda: run(flows[0], world))]
    with ThreadPoolExecutor(min(len(flows), MAX_WORKERS)) as pool:
        futures = [pool.submit(run, flow, world) for flow in flows]
        try:
            wait(futures)
        except BaseException:
            world.stopped.set()
            raise
    return [_outcome(future.result) for future in futures]


def _outcome(result: Callable[[], T]) -> T | UnifiedFluxError:
    try:
        return result()
    except UnifiedFluxError as error:
        return error


def run_each(tasks: Iterable[Callable[[], T]], world: World) -> Iterator[T]:
    """What tasks come to, as each is done; they are taken up as workers are free, a few at a time."""
    under_way: set[Future[T]] = set()
    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        try:
            for task in tasks:
                under_way.add(pool.submit(task))
                if len(under_way) >= 2 * MAX_WORKERS:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in as_completed(under_way))
        except BaseException:
            world.stopped.set()
            raise
