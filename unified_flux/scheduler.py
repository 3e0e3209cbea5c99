"""Runs flows, thousands at once: does what they ask, hands back what came of it and when.

A flow that waits costs no thread: it lies in the heap of `Workers`, or stands at its provider's
gate. Sync and asyncio are two faces of the same: both wait for the future of a flow.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar

from unified_flux.effects import (
    Accepted,
    Answer,
    Effect,
    Event,
    Exchange,
    Fact,
    Intent,
    Pause,
    Together,
)
from unified_flux.errors import Charged, UnifiedFluxError
from unified_flux.throttle import NotYet
from unified_flux.wire import Job, Phase, Purpose
from unified_flux.workers import MOST, NEW, READY, Workers
from unified_flux.world import World

T = TypeVar("T")
Steps = Generator[Effect, Answer, T]
# Told what a flow came to: its value, or its error.
Over = Callable[[Any, BaseException | None], None]
TOO_MANY_REQUESTS = 429
_AFTER = {Phase.SENDING: Charged.MAYBE, Phase.ACCEPTED: Charged.MAYBE}


class Stopped(UnifiedFluxError):
    """The run was stopped from outside before this flow's end; carries the job, where there is one."""


def run(flow: Steps[T], world: World) -> T:
    """Run one flow to its end, in the caller's own thread; what it runs side by side may take more.

    Raises:
        Stopped: When it was stopped; what was begun by then may have been charged.
    """
    with Scheduler() as scheduler:
        return scheduler.run(flow, world)


class Scheduler:
    """Runs flows until it is closed.

    Args:
        threads: As many as there may be.
    """

    def __init__(self, threads: int = MOST) -> None:
        self.workers = Workers(threads)
        self.lock = threading.Lock()
        self.is_draining = False
        self._tasks: set[Task] = set()
        _EVERY.add(self)

    def start(self, flow: Steps[Any], world: World, over: Over) -> Task:
        """Begin a flow; `over` is called with its value or its error, by whichever thread ends it."""
        task = self._task(flow, world, over)
        task.begin()
        return task

    def submit(self, flow: Steps[T], world: World) -> Future[T]:
        """Begin a flow; its end is the future's. Cancelling that stops the flow at its next step."""
        future: Future[T] = Future()
        task = self.start(flow, world, partial(_settle, future))
        future.add_done_callback(lambda done: task.stop() if done.cancelled() else None)
        return future

    def run(self, flow: Steps[T], world: World) -> T:
        """What a flow comes to; the caller's own thread is the first that works on it."""
        future: Future[T] = Future()
        future.add_done_callback(lambda _: self.workers.wake())
        self._task(flow, world, partial(_settle, future)).go(0)
        self.workers.help_until(future.done)
        return future.result()

    def drain(self) -> None:
        """Send nothing more: flows that have not begun to pay end, the others go on."""
        self.is_draining = True
        for task in self._living():
            task.wake()

    def stop(self) -> None:
        """End every flow at its next step; what was accepted stays in the journal."""
        for task in self._living():
            task.stop()

    def close(self) -> None:
        """Stop what still runs, and wait until it has."""
        self.stop()
        self.workers.help_until(lambda: not self._tasks)
        self.workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def _task(self, flow: Steps[Any], world: World, over: Over) -> Task:
        task = Task(self, flow, world, over)
        with self.lock:
            self._tasks.add(task)
        return task

    def _living(self) -> list[Task]:
        with self.lock:
            return list(self._tasks)

    def is_over(self, task: Task) -> None:
        """A flow has ended."""
        with self.lock:
            self._tasks.discard(task)
            is_last = not self._tasks
        if is_last:
            self.workers.wake()


def _settle(future: Future[Any], value: Any, error: BaseException | None) -> None:
    # Whoever cancelled wants no result.
    with contextlib.suppress(InvalidStateError):
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


# What still runs when the interpreter ends is stopped first: a paid submit gets its answer.
_EVERY: weakref.WeakSet[Scheduler] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for one in list(_EVERY):
        one.close()


class Task:
    """One flow on its way; one thread at a time has it in hand."""

    __slots__ = (
        "_answer", "_asked_at", "_charged", "_children", "_id", "_inside", "_is_parked", "_is_stopped",
        "_is_woken", "_job", "_left", "_over", "_pending", "_scheduler", "_turn", "flow", "world",
    )  # fmt: skip

    def __init__(self, scheduler: Scheduler, flow: Steps[Any], world: World, over: Over) -> None:
        self.flow, self.world = flow, world
        self._scheduler, self._over = scheduler, over
        self._pending: Effect | None = None
        self._children: Sequence[Task] = ()
        self._answer: list[Any] | None = None
        self._left = self._turn = 0
        self._is_parked, self._is_stopped, self._is_woken, self._inside = True, False, False, False
        self._asked_at: float | None = None
        self._job: Job | None = None
        self._id: str | None = None
        self._charged = Charged.NO

    def begin(self) -> None:
        """Have it taken up by the next thread that has nothing else to do."""
        self._scheduler.workers.later(NEW, self, 0)

    def stop(self) -> None:
        """End it at its next step."""
        with self._scheduler.lock:
            self._is_stopped = True
            children = list(self._children)
            turn = self._turn if self._is_parked and not children else None
        for child in children:
            child.stop()
        if turn is not None:
            self._scheduler.workers.soon(self, turn)

    def wake(self) -> None:
        """It may be its turn to pay, or to hear that nobody pays any more."""
        with self._scheduler.lock:
            children = list(self._children)
            self._is_woken = True
            waits = self._is_parked and _waits_to_begin(self._pending)
            turn = self._turn if waits else None
        for child in children:
            child.wake()
        if turn is not None:
            self._scheduler.workers.soon(self, turn)

    def go(self, turn: int) -> None:
        """Do what the flow asks until it has to wait, unless another has taken it up since."""
        try:
            with self._scheduler.lock:
                if not self._is_parked or self._turn != turn:
                    return
                self._is_parked = False
            effect = self._pending
            answer = None if effect is None else self._after(effect)
            while effect is None or answer is not None:
                effect = self.flow.send(answer)  # type: ignore[arg-type]  # None begins it
                answer = self._perform(effect)
        except StopIteration as done:
            self._end(done.value, None)
        except BaseException as error:
            if self._turn == turn:
                # Whatever interrupts it, a flow lets go of its job now, not when it is collected.
                self.flow.close()
                self._end(None, error)
            if not isinstance(error, Exception):
                raise

    def _after(self, effect: Effect) -> Answer | None:
        """The answer of what it was parked at."""
        if isinstance(effect, Together):
            return self._ends()
        if isinstance(effect, Pause):
            if self._is_stopped or (effect.idly and self._scheduler.is_draining):
                raise self._stopped()
            return Answer(now=self.world.clock())
        return self._perform(effect, waited=True)

    def _perform(self, effect: Effect, *, waited: bool = False) -> Answer | None:
        """What an effect came to, None where it takes time; `waited` where it has taken some already."""
        if self._is_stopped and not _has_happened(effect):
            raise self._stopped()
        if isinstance(effect, Pause):
            return self._pause(effect)
        if isinstance(effect, Together):
            self._fan_out(effect)
            return None
        if isinstance(effect, Intent) and not self._inside:
            return self._take_turn(effect)
        if not waited and self._gives_way(effect):
            self._park(effect, None)
            return None
        if isinstance(effect, Exchange):
            with self._scheduler.workers.away():
                answer = self.world.perform(effect)
        else:
            answer = self.world.perform(effect)
        self._notice(effect, answer)
        return answer

    def _gives_way(self, effect: Effect) -> bool:
        """A picture that lies ready can wait its turn behind the polls that are overdue."""
        return (
            isinstance(effect, Exchange)
            and effect.request.purpose is Purpose.FETCH
            and self.world.pause is None
            and self._scheduler.workers.is_late
        )

    def _pause(self, effect: Pause) -> Answer | None:
        if self.world.pause is not None:
            self.world.pause(effect.seconds)
            return Answer(now=self.world.clock())
        self._park(effect, time.monotonic() + effect.seconds)
        return None

    def _park(self, effect: Effect, due: float | None) -> None:
        """Wait, without a moment until nothing else is due; after this another thread may have it."""
        with self._scheduler.lock:
            self._pending = effect
            self._turn += 1
            turn, self._is_parked = self._turn, True
            if self._is_stopped or (self._is_woken and _waits_to_begin(effect)):
                due = 0.0
        if due is None:
            self._scheduler.workers.later(READY, self, turn)
        elif due < inf:
            self._scheduler.workers.at(due, self, turn)

    def _take_turn(self, effect: Intent) -> Answer | None:
        """The first intent to pay: when it is this flow's turn, and where it can be kept."""
        if self._scheduler.is_draining:
            raise self._stopped()
        gate = self.world.gate
        now = self.world.clock()
        self._asked_at = now if self._asked_at is None else self._asked_at
        self._is_woken = False
        wait = gate.enter(self.wake) if gate is not None else 0.0
        if wait > 0:
            self._park(effect, time.monotonic() + wait)
            return None
        answer = self.world.perform(effect)
        if isinstance(answer.fault, NotYet):
            if gate is not None:
                gate.put_back(self.wake, answer.fault.seconds)
            self._park(effect, time.monotonic() + answer.fault.seconds)
            return None
        self._inside = True
        self._notice(effect, answer)
        return replace(answer, held=now - self._asked_at)

    def _notice(self, effect: Effect, answer: Answer) -> None:
        """Keep in mind what a stop would have to tell, and how fast the provider takes submits."""
        if isinstance(effect, Event):
            self._job = effect.job or self._job
            self._charged = _AFTER.get(effect.phase, self._charged)
            self._id = effect.id if isinstance(effect, Fact) else self._id
        gate = self.world.gate
        if gate is None:
            return
        if isinstance(effect, Accepted):
            gate.speed_up()
        elif isinstance(effect, Exchange) and effect.request.purpose is Purpose.SUBMIT:
            response = answer.response
            if response is not None and response.status == TOO_MANY_REQUESTS:
                gate.slow_down(response.retry_after or 0.0)

    def _fan_out(self, effect: Together) -> None:
        world = effect.world if isinstance(effect.world, World) else self.world
        self._left = len(effect.flows)
        self._answer = [None] * self._left
        children = [
            Task(self._scheduler, flow, world, partial(self._child_over, number))
            for number, flow in enumerate(effect.flows)
        ]
        self._children = children
        self._park(effect, inf if children else 0.0)
        if self._is_stopped:
            for child in children:
                child.stop()
        for child in children[1:]:
            child.begin()
        if children:
            children[0].go(0)

    def _child_over(self, number: int, value: Any, error: BaseException | None) -> None:
        with self._scheduler.lock:
            if self._answer is not None:
                self._answer[number] = value if error is None else error
            self._left -= 1
            turn = self._turn if not self._left else None
            if turn is not None:
                self._children = ()
        if turn is not None:
            self.go(turn)

    def _ends(self) -> Answer:
        """What the flows side by side came to; a slip of one is everyone's."""
        ends, self._answer = tuple(self._answer or ()), None
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, UnifiedFluxError):
                raise end
        return Answer(now=self.world.clock(), ends=ends)

    def _stopped(self) -> Stopped:
        error = Stopped("stopped before the picture came", job=self._job, charged=self._charged)
        error.id = self._id
        return error

    def _end(self, value: Any, error: BaseException | None) -> None:
        gate = self.world.gate
        if gate is not None:
            if self._inside:
                gate.leave()
            elif self._asked_at is not None:
                gate.forget(self.wake)
        self._over(value, error)
        self._scheduler.is_over(self)


def _waits_to_begin(effect: Effect | None) -> bool:
    """Whether a flow that is parked here has nothing under way."""
    return isinstance(effect, Intent) or (isinstance(effect, Pause) and effect.idly)


def _has_happened(effect: Effect) -> bool:
    """What has happened is told even to one who stops; what would come next is not begun."""
    return isinstance(effect, Event) and effect.phase not in {Phase.PREPARED, Phase.SENDING}
