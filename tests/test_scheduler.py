"""Running flows: failures are values, a stop ends every flow before it sends more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from unified_flux.cli.live import Watch
from unified_flux.effects import Answer, Effect, Event, Exchange, Fact, Pause
from unified_flux.errors import Charged, NotDelivered, UnifiedFluxError
from unified_flux.scheduler import Stopped, World, run, run_all
from unified_flux.wire import Job, Phase, Purpose, WireRequest, WireResponse

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


def test_one_failure_is_a_value_beside_its_siblings() -> None:
    """Order is kept, nothing is thrown away."""

    def fail() -> Any:
        raise NotDelivered("no")

    outcomes = run_all([asks(1), asks(1, fail), asks(1)], world(Echo()))
    assert outcomes[0] == outcomes[2] == "done"
    assert isinstance(outcomes[1], NotDelivered)


def test_a_stopped_world_sends_nothing_more() -> None:
    """The flow ends at its next effect, and its `finally` runs."""
    stopped = threading.Event()
    transport = Echo()
    closed = []

    def flow() -> Generator[Effect, Answer, None]:
        try:
            while True:
                yield Exchange(ASK)
                stopped.set()
        finally:
            closed.append(True)

    with pytest.raises(Stopped):
        run(flow(), world(transport, stopped=stopped))
    assert (transport.sent, closed) == (1, [True])


def test_a_stop_during_the_paid_submit_still_tells_the_accepted_job() -> None:
    """What was paid while the stop came is worth knowing; nothing more is sent."""
    stopped = threading.Event()
    heard: list[Event] = []
    job = Job(provider="r", model="m", id="1")

    def flow() -> Generator[Effect, Answer, None]:
        yield Exchange(ASK)
        stopped.set()
        yield Event(Phase.ACCEPTED, job)
        yield Exchange(ASK)

    transport = Echo()
    with pytest.raises(Stopped) as caught:
        run(flow(), world(transport, stopped=stopped, on_event=heard.append))
    assert [event.job for event in heard] == [job]
    assert transport.sent == 1
    assert (caught.value.job, caught.value.charged) == (job, Charged.MAYBE)


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
