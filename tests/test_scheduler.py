"""Running flows: failures are values, a stop ends every flow before it sends more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from unified_flux.cli.live import Watch
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
from unified_flux.errors import Charged, NotDelivered, UnifiedFluxError
from unified_flux.gates import Gate
from unified_flux.scheduler import Scheduler, Stopped, run
from unified_flux.throttle import NotYet, Throttle
from unified_flux.wire import Job, Phase, Purpose, WireRequest, WireResponse
from unified_flux.world import World

ASK = WireRequest(purpose=Purpose.ASK, url="https://x.example/a?signature=secret")


class Echo:
    """Answers 200, or raises what it was given."""

    def __init__(self, fault: UnifiedFluxError | None = None) -> None:
        self.fault = fault
        self.sent = 0

    def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
        self.sent += 1
        if self.fault is not None:
            raise self.fault
        return WireResponse(status=200)

    def close(self) -> None:
        pass


def world(transport: Echo, **more: Any) -> World:
    return World(transport=transport, clock=lambda: 7.0, pause=lambda seconds: None, **more)


def asks(times: int, then: Callable[[], Any] = lambda: "done") -> Generator[Effect, Answer, Any]:
    for _ in range(times):
        answer = yield Exchange(ASK)
        assert answer.now == 7.0
        yield Pause(1)
    return then()


def test_a_flow_is_run_to_its_result() -> None:
    """Exchanges are made, pauses waited, and the return value comes back."""
    transport = Echo()
    assert run(asks(3), world(transport)) == "done"
    assert transport.sent == 3


def test_a_fault_of_the_transport_is_an_answer() -> None:
    """The flow decides what a fault means."""

    def flow() -> Generator[Effect, Answer, Any]:
        return (yield Exchange(ASK)).fault

    fault = NotDelivered("x")
    assert run(flow(), world(Echo(fault))) is fault


def together(*flows: Any) -> Generator[Effect, Answer, tuple[Any, ...]]:
    return (yield Together(flows)).ends


def test_one_failure_is_a_value_beside_its_siblings() -> None:
    """Order is kept, nothing is thrown away."""

    def fail() -> Any:
        raise NotDelivered("no")

    outcomes = run(together(asks(1), asks(1, fail), asks(1)), world(Echo()))
    assert outcomes[0] == outcomes[2] == "done"
    assert isinstance(outcomes[1], NotDelivered)


def test_a_slip_beside_other_flows_is_raised() -> None:
    """What is no error of ours is not taken for an outcome."""

    def slip() -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(together(asks(1), asks(1, slip)), world(Echo()))


def test_flows_side_by_side_may_run_in_another_world() -> None:
    """A router's flow speaks to one provider after the other."""
    here, there = Echo(), Echo()

    def flow() -> Generator[Effect, Answer, Any]:
        answer = yield Together([asks(2)], world(there))
        return answer.ends

    assert run(flow(), world(here)) == ("done",)
    assert (here.sent, there.sent) == (0, 2)


def test_a_stopped_flow_sends_nothing_more() -> None:
    """It ends at its next effect, and its `finally` runs."""
    closed = []
    transport = Echo()

    def flow() -> Generator[Effect, Answer, None]:
        try:
            while True:
                yield Exchange(ASK)
                scheduler.stop()
        finally:
            closed.append(True)

    with Scheduler() as scheduler, pytest.raises(Stopped):
        scheduler.submit(flow(), world(transport)).result(10)
    assert (transport.sent, closed) == (1, [True])


def test_a_stop_during_the_paid_submit_still_tells_the_accepted_job() -> None:
    """What was paid while the stop came is worth knowing; nothing more is sent."""
    heard: list[Event] = []
    job = Job(provider="r", model="m", id="1")

    def flow() -> Generator[Effect, Answer, None]:
        yield Exchange(ASK)
        scheduler.stop()
        yield Event(Phase.ACCEPTED, job)
        yield Exchange(ASK)

    transport = Echo()
    with Scheduler() as scheduler, pytest.raises(Stopped) as caught:
        scheduler.submit(flow(), world(transport, on_event=heard.append)).result(10)
    assert [event.job for event in heard] == [job]
    assert transport.sent == 1
    assert (caught.value.job, caught.value.charged) == (job, Charged.MAYBE)


def test_a_pause_is_cut_short_by_a_stop() -> None:
    """Nobody waits for a flow that is to send nothing more."""
    begun = threading.Event()

    def flow() -> Generator[Effect, Answer, None]:
        begun.set()
        yield Pause(3600)

    with Scheduler() as scheduler:
        future = scheduler.submit(flow(), World(transport=Echo()))
        assert begun.wait(10)
        scheduler.stop()
        with pytest.raises(Stopped):
            future.result(10)


def test_cancelling_a_future_lets_go_of_its_flow() -> None:
    """Its `finally` runs, wherever it was, and the others go on."""
    begun, closed = threading.Event(), threading.Event()

    def flow() -> Generator[Effect, Answer, None]:
        try:
            begun.set()
            yield from together(waits(), waits())
        finally:
            closed.set()

    def waits() -> Generator[Effect, Answer, None]:
        yield Pause(3600)

    with Scheduler() as scheduler:
        future = scheduler.submit(flow(), World(transport=Echo()))
        other = scheduler.submit(asks(3), world(Echo()))
        assert begun.wait(10)
        assert future.cancel()
        assert closed.wait(10)
        assert other.result(10) == "done"


def test_thousands_wait_on_a_few_threads() -> None:
    """Flows that wait cost no thread, and all come to their end."""

    def flow(number: int) -> Generator[Effect, Answer, int]:
        yield Pause(0.2)
        yield Exchange(ASK)
        return number

    transport = Echo()
    with Scheduler() as scheduler:
        futures = [scheduler.submit(flow(n), World(transport=transport)) for n in range(2000)]
        assert [future.result(30) for future in futures] == list(range(2000))
        assert scheduler.workers.threads <= 8
    assert transport.sent == 2000


def test_the_pool_grows_while_answers_are_what_is_waited_for() -> None:
    """With a long round trip there are as many threads as exchanges under way, up to the setting."""
    most = 0
    lock = threading.Lock()

    class Far(Echo):
        def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
            nonlocal most
            with lock:
                self.sent += 1
                most = max(most, self.sent)
            threading.Event().wait(0.3)
            with lock:
                self.sent -= 1
            return WireResponse(status=200)

    far = Far()
    with Scheduler(threads=40) as scheduler:
        futures = [scheduler.submit(asks(1), world(far)) for _ in range(80)]
        for future in futures:
            future.result(30)
    assert 20 <= most <= 40


def test_no_threads_come_to_wait_for_the_journal() -> None:
    """Where it is this machine that is waited for, more threads would only wait for each other."""

    class Slow(World):
        def perform(self, effect: Effect) -> Answer:
            if isinstance(effect, Event):
                threading.Event().wait(0.005)
                return Answer(now=self.clock())
            return super().perform(effect)

    def flow() -> Generator[Effect, Answer, None]:
        yield Event(Phase.PREPARED)
        yield Exchange(ASK)

    with Scheduler() as scheduler:
        slow = Slow(transport=Echo())
        futures = [scheduler.submit(flow(), slow) for _ in range(100)]
        for future in futures:
            future.result(30)
        # One works, and one stands by.
        assert scheduler.workers.threads <= 2


def intents(number: str, then: Callable[[], Any] = lambda: None) -> Generator[Effect, Answer, Any]:
    """A flow that begins to pay and is accepted."""
    yield Event(Phase.PREPARED)
    answer = yield Intent(Phase.SENDING, id=number, wire=ASK, repeatable=False)
    yield Exchange(replace(ASK, purpose=Purpose.SUBMIT))
    then()
    yield Accepted(Phase.ACCEPTED, Job(provider="r", model="m", id=number), id=number)
    yield Pause(0.01)
    return answer.held


def test_no_more_flows_pay_at_once_than_the_gate_lets_in() -> None:
    """The others wait without a thread, first come first served, and say how long they were held."""
    inside: set[str] = set()
    most = 0
    lock = threading.Lock()

    class Counting(Echo):
        def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
            nonlocal most
            with lock:
                self.sent += 1
                most = max(most, self.sent)
            threading.Event().wait(0.02)
            with lock:
                self.sent -= 1
            return WireResponse(status=200)

    gate = Gate(Throttle(in_flight=3))
    place = World(transport=Counting(), gate=gate)
    with Scheduler() as scheduler:
        futures = [scheduler.submit(intents(str(n)), place) for n in range(12)]
        held = [future.result(30) for future in futures]
    assert most == 3
    assert not inside
    assert held[0] < 0.02 < held[-1]


def test_submits_are_spaced_as_the_throttle_says() -> None:
    """Four a second are a quarter of a second apart."""
    now = [0.0]
    gate = Gate(Throttle(per_second=4), clock=lambda: now[0])
    waits = []
    for number in range(3):
        wait = gate.enter(number.__str__)
        waits.append(wait)
        now[0] += wait
        assert wait == 0 or gate.enter(number.__str__) == 0
    assert waits == [0, 0.25, 0.25]


def test_a_429_slows_its_provider_until_submits_are_taken() -> None:
    """Nobody pays before the named time; then they come apart, closer with each that is taken."""
    now = [0.0]
    heard: list[float] = []
    gate = Gate(told=heard.append, clock=lambda: now[0])
    gate.slow_down(2.0)
    wake = object().__str__
    assert gate.enter(wake) == 2.0
    now[0] = 2.0
    assert gate.enter(wake) == 0
    assert gate.enter("next".__str__) == 0.25
    for _ in range(8):
        gate.speed_up()
    now[0] = 2.25
    assert gate.enter("next".__str__) == 0
    assert gate.enter("after".__str__) == 0
    assert heard == [2.0]


def test_a_drained_scheduler_pays_no_more_and_finishes_what_is_paid() -> None:
    """Who waits for its turn is told that it does not come."""
    paid = threading.Event()
    go_on = threading.Event()
    place = World(transport=Echo(), gate=Gate(Throttle(in_flight=1)))

    def wait() -> None:
        paid.set()
        go_on.wait(0.5)

    with Scheduler() as scheduler:
        first = scheduler.submit(intents("1", wait), place)
        assert paid.wait(10)
        second = scheduler.submit(intents("2"), place)
        scheduler.drain()
        with pytest.raises(Stopped) as caught:
            second.result(10)
        go_on.set()
        assert first.result(10) == 0
    assert caught.value.charged is Charged.NO


def test_a_drained_scheduler_does_not_wait_for_others() -> None:
    """A flow that waits for what another process has in hand ends, whether it is parked or not yet."""

    def idle() -> Generator[Effect, Answer, None]:
        while True:
            yield Pause(3600, idly=True)

    def late() -> Generator[Effect, Answer, None]:
        scheduler.drain()
        yield from idle()

    with Scheduler() as scheduler:
        futures = [scheduler.submit(flow(), World(transport=Echo())) for flow in (idle, late)]
        for future in futures:
            with pytest.raises(Stopped):
                future.result(10)


def test_a_submit_that_the_journal_holds_back_asks_again() -> None:
    """NotYet is no failure: the flow waits and never hears of it."""
    asked = []

    class Busy:
        def keep(self, fact: Fact) -> None:
            if isinstance(fact, Intent):
                asked.append(fact.id)
                if len(asked) < 3:
                    raise NotYet("others are ahead", 0.01)

    place = World(transport=Echo(), journal=Busy(), gate=Gate())
    assert run(intents("1"), place) > 0
    assert asked == ["1", "1", "1"]


def test_an_interrupt_in_the_callers_thread_ends_all_flows() -> None:
    """Ctrl-C comes to the caller, and every flow's `finally` has run by then."""
    closed = []

    def flow(number: int) -> Generator[Effect, Answer, None]:
        try:
            yield Exchange(ASK)
            yield Pause(3600)
        finally:
            closed.append(number)

    class Interrupted(Echo):
        def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().send(request, within)

    with pytest.raises(KeyboardInterrupt):
        run(together(flow(1), flow(2), flow(3)), World(transport=Interrupted()))
    assert sorted(closed) == [1, 2, 3]


def test_a_listener_that_fails_costs_no_picture(caplog: pytest.LogCaptureFixture) -> None:
    """Its fault is logged, the flow goes on."""

    def flow() -> Generator[Effect, Answer, str]:
        yield Event(Phase.ACCEPTED, None)
        return "done"

    def listener(_: Event) -> None:
        raise RuntimeError("a listener's own fault")

    assert run(flow(), world(Echo(), on_event=listener)) == "done"
    assert "a listener's own fault" in caplog.text


def test_a_signature_in_an_address_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log shows where, not the query that opens it."""
    with caplog.at_level("INFO", "unified_flux"):
        run(asks(1), world(Echo()))
    assert "https://x.example/a: HTTP 200" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("phases", "emulated", "says"),
    [
        ([], False, ""),
        ([Phase.SENDING], False, "unified-flux recover goes on with what was begun\n"),
        (
            [Phase.ACCEPTED],
            False,
            "r/m/1 is accepted and goes on: unified-flux resume r/m/1\n"
            "unified-flux recover goes on with what was begun\n",
        ),
        (
            [Phase.ACCEPTED, Phase.SAVED],
            False,
            "unified-flux recover goes on with what was begun\n",
        ),
        ([Phase.ACCEPTED], True, ""),
    ],
)
def test_an_interrupted_person_is_told_what_goes_on(
    phases: list[Phase], emulated: bool, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C after acceptance prints the command that continues; before it, nothing was paid."""
    job = Job(provider="r", model="m", id="1")
    with pytest.raises(KeyboardInterrupt), Watch(quiet=False) as watch:
        watch.emulated = emulated
        for phase in phases:
            named = job if phase in {Phase.ACCEPTED, Phase.SAVED} else None
            watch(Fact(phase, named, id="ours"))
        raise KeyboardInterrupt
    assert capsys.readouterr().err == says


@pytest.mark.parametrize(
    ("notes", "says"),
    [([None, None], ""), (["again", "again"], "again\n"), ([None, "again"], "again\n")],
)
def test_only_what_is_sent_again_is_told_and_only_once(
    notes: list[str | None], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two pictures that are sent side by side are no repetition; the flow says which is one."""
    with Watch(quiet=False) as watch:
        for note in notes:
            watch(Event(Phase.SENDING, None, note))
    assert capsys.readouterr().err == says
