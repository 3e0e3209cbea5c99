"""Jobs taken up again by another client: paid once, never lost, and never sent on a guess."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from unified_flux import (
    Client,
    ConfigurationError,
    ImageRequest,
    ImageResult,
    InvalidRequest,
    JobTimeout,
    OutcomeUnknown,
    Phase,
    UnifiedFluxError,
)
from unified_flux.config import Config
from unified_flux.effects import Event
from unified_flux.images import Header
from unified_flux.output import differences
from unified_flux.sandbox.server import SandboxServer
from unified_flux.wire import Purpose, WireRequest, WireResponse

MakePng = Callable[..., bytes]
READY = "a fox sandbox:ready"


def client(served: SandboxServer, provider: str, **settings: Any) -> Client:
    key = settings.pop("key", served.key)
    on_event = settings.pop("on_event", None)
    config = Config((provider,)).overridden(
        {"home": "home", "retry_within": 0.3, "timeout": 5, **settings}
    )
    url = served.providers[provider]
    return Client(provider, api_key=key, base_url=url, config=config, on_event=on_event)


def paid(served: SandboxServer, provider: str) -> int:
    return int(served.emulators[provider].meter()["accepted"])


def dying(phase: Phase) -> Callable[[Event], None]:
    """A listener that ends everything as soon as it hears of a phase, like Ctrl-C there."""

    def hear(event: Event) -> None:
        if event.phase is phase:
            raise KeyboardInterrupt

    return hear


def dies(served: SandboxServer, provider: str, at: str, **fields: Any) -> None:
    """A process that ends at a phase, or when an answer to its submit was about to come."""
    listener = None if at == "answer" else dying(Phase(at))
    with client(served, provider, on_event=listener) as one:
        if at == "answer":
            send = one._access.transport.send

            def lost(request: WireRequest, within: float | None = None) -> WireResponse:
                answer = send(request, within)
                if request.purpose is Purpose.SUBMIT:
                    raise KeyboardInterrupt
                return answer

            one._access.transport.send = lost  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            one.generate(ImageRequest(prompt=READY, **fields))


def recovered(served: SandboxServer, provider: str, **settings: Any) -> list[Any]:
    with client(served, provider, **settings) as one:
        return one.recover()


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
@pytest.mark.parametrize("at", ["accepted", "done", "fetching", "saved"])
def test_what_was_accepted_is_brought_after_the_process_is_gone(
    provider: str, at: str, served: SandboxServer
) -> None:
    """Whatever the phase it died in: one paid submit, and the picture."""
    dies(served, provider, at)
    found = recovered(served, provider)
    if at == "saved":
        # It lies in the spool and nobody asked for a file: there is nothing to do.
        assert found == []
        with client(served, provider) as one:
            assert one.journal is not None
            result = one.resume(one.journal.jobs({})[0].id)
    else:
        assert found[0].error is None
        result = found[0].result
    assert result.images[0].bytes
    assert result.records[0].request == {"prompt": READY}
    assert paid(served, provider) == 1


@pytest.mark.parametrize(("at", "before"), [("sending", 0), ("answer", 1)])
def test_a_submit_without_an_answer_is_sent_again_under_its_own_key(
    at: str, before: int, served: SandboxServer
) -> None:
    """Rivya takes the same bytes under the same key for the same job: one is paid."""
    dies(served, "rivya", at)
    assert paid(served, "rivya") == before
    (found,) = recovered(served, "rivya")
    assert found.result.images[0].bytes
    assert paid(served, "rivya") == 1


@pytest.mark.parametrize(("at", "before"), [("sending", 0), ("answer", 1)])
def test_a_submit_without_an_answer_is_unknown_where_there_are_no_keys(
    at: str, before: int, served: SandboxServer
) -> None:
    """Vtrix knows no keys: nothing is sent, and the journal says unknown from then on."""
    dies(served, "vtrix", at)
    (found,) = recovered(served, "vtrix")
    assert isinstance(found.error, OutcomeUnknown)
    assert found.error.exit_code == 9
    assert found.record.phase is Phase.UNKNOWN
    assert found.record.id in str(found.error)
    assert recovered(served, "vtrix") == []
    assert paid(served, "vtrix") == before


def later(seconds: float) -> None:
    """Make the journal's jobs older, or younger than the clock says."""
    with contextlib.closing(sqlite3.connect("home/journal.db")) as other:
        other.execute("UPDATE jobs SET sending_at = sending_at - ?", (int(seconds * 1000),))
        other.commit()


@pytest.mark.parametrize("seconds", [601, -5])
def test_a_submit_is_not_sent_again_when_its_key_may_be_forgotten(
    seconds: float, served: SandboxServer
) -> None:
    """Beyond resend_within, or when a clock that was set back hides the age, it is unknown."""
    dies(served, "rivya", "sending")
    later(seconds)
    (found,) = recovered(served, "rivya")
    assert found.record.phase is Phase.UNKNOWN
    assert paid(served, "rivya") == 0


def test_a_submit_is_not_sent_again_with_another_key(served: SandboxServer) -> None:
    """Another account would not know the idempotency key, and pay anew."""
    dies(served, "rivya", "answer")
    emulator: Any = served.emulators["rivya"]
    emulator.add_key("sandbox_other", account="other")
    (found,) = recovered(served, "rivya", key="sandbox_other")
    assert "perhaps of another account" in str(found.error)
    assert found.error.exit_code == 9
    assert paid(served, "rivya") == 1
    # Nothing was decided by it: with the right key it is brought.
    (found,) = recovered(served, "rivya")
    assert found.result.images[0].bytes
    assert paid(served, "rivya") == 1


def test_a_job_is_not_asked_for_at_another_address(served: SandboxServer) -> None:
    """Only where it was accepted is it known; the error names the setting that leads there."""
    dies(served, "rivya", "accepted")
    with contextlib.closing(sqlite3.connect("home/journal.db")) as other:
        other.execute("UPDATE jobs SET place = 'https://elsewhere.example'")
        other.commit()
    (found,) = recovered(served, "rivya")
    assert isinstance(found.error, ConfigurationError)
    assert "RIVYA_BASE_URL=https://elsewhere.example" in str(found.error)
    assert found.error.exit_code == 9
    assert found.error.job is not None


def test_what_a_living_process_works_on_is_left_to_it(served: SandboxServer) -> None:
    """A recovery beside a running client touches none of its jobs."""
    seen: list[Any] = []

    def look(event: Event) -> None:
        if event.phase is Phase.ACCEPTED:
            seen.append(recovered(served, "rivya"))

    with client(served, "rivya", on_event=look) as one:
        one.generate(ImageRequest(prompt=READY))
    assert seen == [[]]


def test_submit_and_wait_are_the_two_halves_of_generate(served: SandboxServer) -> None:
    """The job comes as soon as it is accepted; another client can wait for it, with its request."""
    with client(served, "vtrix") as one:
        job = one.submit(ImageRequest(prompt=READY, seed=7))
        assert paid(served, "vtrix") == 1
    with client(served, "vtrix") as other:
        result = other.wait(job)
    assert result.images[0].seed == 7
    assert result.report["seed"].became == 7
    assert paid(served, "vtrix") == 1
    with client(served, "vtrix") as one, pytest.raises(InvalidRequest, match="one picture"):
        one.submit(ImageRequest(prompt=READY, n=2))


def test_a_timeout_in_this_process_can_be_resumed_in_it(served: SandboxServer) -> None:
    """The same client goes on with what it gave up on."""
    with client(served, "rivya", timeout=0.05) as one:
        with pytest.raises(JobTimeout) as caught:
            one.generate(ImageRequest(prompt="a fox sandbox:polls-2"))
        assert "unified-flux resume rivya/flux-kontext-pro/task_" in str(caught.value)
        assert caught.value.job is not None
    with client(served, "rivya") as one:
        assert one.resume(str(caught.value.job)).images[0].bytes
    assert paid(served, "rivya") == 1


def test_the_same_request_and_id_give_the_first_job(served: SandboxServer) -> None:
    """Within the window nothing is paid again, --again apart; another wish is another job."""
    request = ImageRequest(prompt=READY, client_request_id="order-1", n=2)
    with client(served, "rivya") as one:
        first = one.generate(request)
        second = one.generate(request)
        assert [i.sha256 for i in second.images] == [i.sha256 for i in first.images]
        assert list(map(str, second.jobs)) == list(map(str, first.jobs))
        assert paid(served, "rivya") == 2
        one.generate(ImageRequest(prompt=READY, client_request_id="order-2"))
        one.generate(request, again=True)
        assert paid(served, "rivya") == 5
    with client(served, "rivya", **{"journal.same_within": 1e-6}) as one:
        one.generate(ImageRequest(prompt=READY, client_request_id="order-2"))
    assert paid(served, "rivya") == 6


def test_the_same_request_finishes_what_the_first_one_began(served: SandboxServer) -> None:
    """After a death in between, asking once more brings the job that is paid already."""
    dies(served, "rivya", "answer", client_request_id="order-1")
    with client(served, "rivya") as one:
        result = one.generate(ImageRequest(prompt=READY, client_request_id="order-1"))
    assert result.images[0].bytes
    assert paid(served, "rivya") == 1


def test_a_job_that_failed_and_was_charged_is_not_paid_again(served: SandboxServer) -> None:
    """The same wish gets the same bad news; another picture is the caller's word."""
    request = ImageRequest(prompt="a fox sandbox:no-picture", client_request_id="order-1")
    with client(served, "vtrix") as one:
        for _ in range(3):
            with pytest.raises(UnifiedFluxError) as caught:
                one.generate(request)
            assert caught.value.exit_code == 9
        assert paid(served, "vtrix") == 1


def test_the_same_request_pays_again_where_the_first_gave_nothing(served: SandboxServer) -> None:
    """A job that was refused, or failed and cost nothing, is no job."""
    request = ImageRequest(prompt="a fox sandbox:failed", client_request_id="order-1")
    with client(served, "rivya") as one:
        for _ in range(2):
            with pytest.raises(UnifiedFluxError):
                one.generate(request)
    assert paid(served, "rivya") == 2


@pytest.mark.parametrize(("provider", "accepted"), [("rivya", 1), ("vtrix", 2)])
def test_the_callers_word_sends_an_unknown_submit_again(
    provider: str, accepted: int, served: SandboxServer, make_png: MakePng
) -> None:
    """Under the same key it is the same job; without keys it is rebuilt from the journal and paid."""
    Path("den.png").write_bytes(make_png())
    dies(served, provider, "answer", references=["den.png"], n=1)
    later(601)
    (found,) = recovered(served, provider)
    assert found.record.phase is Phase.UNKNOWN
    with client(served, provider) as one:
        with pytest.raises(OutcomeUnknown):
            one.resume(found.record.id)
        with pytest.raises(InvalidRequest, match="nothing to wait for"):
            one.wait(found.record.id)
        result = one.resume(found.record.id, resubmit=True)
    assert result.images[0].bytes
    assert paid(served, provider) == accepted
    twice = any("may have been taken, and paid, as well" in n for n in result.images[0].notes)
    assert twice is (provider == "vtrix")


def test_a_submit_is_not_rebuilt_from_a_reference_that_changed(
    served: SandboxServer, make_png: MakePng
) -> None:
    """Another picture would be another request; nothing is sent."""
    Path("den.png").write_bytes(make_png())
    dies(served, "vtrix", "sending", references=["den.png"])
    (found,) = recovered(served, "vtrix")
    Path("den.png").write_bytes(make_png(filler=9))
    with client(served, "vtrix") as one, pytest.raises(InvalidRequest, match="has changed"):
        one.resume(found.record.id, resubmit=True)
    assert paid(served, "vtrix") == 0


@pytest.mark.parametrize(
    ("settings", "bytes_given", "says"),
    [({"journal.store_prompts": False}, False, "was not stored"), ({}, True, "given as bytes")],
)
def test_a_submit_is_not_rebuilt_from_what_the_journal_does_not_hold(
    settings: dict[str, Any], bytes_given: bool, says: str, served: SandboxServer, make_png: MakePng
) -> None:
    """The error says what is missing, and how to ask anew."""
    references = [make_png()] if bytes_given else []
    with (
        client(served, "vtrix", on_event=dying(Phase.SENDING), **settings) as one,
        pytest.raises(KeyboardInterrupt),
    ):
        one.generate(ImageRequest(prompt=READY, references=references))
    (found,) = recovered(served, "vtrix", **settings)
    with client(served, "vtrix", **settings) as one, pytest.raises(InvalidRequest, match=says):
        one.resume(found.record.id, resubmit=True)
    assert paid(served, "vtrix") == 0


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_a_picture_that_is_gone_from_this_disk_is_fetched_again(
    provider: str, served: SandboxServer
) -> None:
    """As long as the provider has it; what is on disk is left alone."""
    with client(served, provider) as one:
        image = one.generate(ImageRequest(prompt=READY)).images[0]
        assert list(one.rescuing()) == []
        image.blob.path.unlink()
        (found,) = one.rescuing()
        assert found.result is not None
        assert found.result.images[0].sha256 == image.sha256
        assert list(one.rescuing()) == []
    assert paid(served, provider) == 1


def test_an_address_that_died_is_asked_for_anew(served: SandboxServer) -> None:
    """The job's next poll names where its picture is now."""
    with client(served, "rivya") as one:
        image = one.generate(ImageRequest(prompt=READY)).images[0]
        image.blob.path.unlink()
        with contextlib.closing(sqlite3.connect("home/journal.db")) as other:
            other.execute("UPDATE outputs SET url = 'http://127.0.0.1:1/gone', sha256 = NULL")
            other.commit()
        (found,) = one.rescuing()
        assert found.error is None
        assert found.record.outputs[0].sha256 == image.sha256
        assert found.record.outputs[0].url != "http://127.0.0.1:1/gone"


def test_a_saved_picture_is_known_by_its_path(served: SandboxServer) -> None:
    """`save` tells the journal where; a job with a destination is open until then."""
    with client(served, "rivya") as one:
        result: ImageResult = one.generate(ImageRequest(prompt=READY), destination="fox.png")
        assert one.journal is not None
        (row,) = one.journal.open_jobs()
        saved = result.images[0].save("fox.png")
        assert one.journal.open_jobs() == []
        record = one.journal.get(row["id"])
        assert record.outputs[0].path == saved.absolute()
        assert record.destination == str(Path("fox.png").absolute())


def test_jobs_of_the_sandbox_in_this_process_end_with_it() -> None:
    """Another process closes them: nothing was charged, and nobody can bring them."""
    config = Config(("rivya",)).overridden({"home": "home"})
    listener = dying(Phase.ACCEPTED)
    with (
        Client("rivya", sandbox=True, config=config, on_event=listener) as one,
        pytest.raises(KeyboardInterrupt),
    ):
        one.generate(ImageRequest(prompt=READY))
    with Client("rivya", sandbox=True, config=config) as other:
        (found,) = other.recover()
        assert found.record.phase is Phase.REFUSED
        assert found.record.sandbox
        assert "ended with its process" in str(found.error)
        assert other.recover() == []


def test_without_a_journal_nothing_is_kept_and_recovering_says_so(served: SandboxServer) -> None:
    """A picture is made all the same; no file appears."""
    with client(served, "rivya", **{"journal.enabled": False}) as one:
        assert one.generate(ImageRequest(prompt=READY)).images[0].bytes
        with pytest.raises(ConfigurationError, match="the journal is off"):
            one.recover()
        job = one.submit(ImageRequest(prompt=READY))
        assert one.wait(job).images[0].bytes
    assert not Path("home/journal.db").exists()


def test_another_providers_job_is_not_resumed(served: SandboxServer) -> None:
    """A client speaks to one provider."""
    dies(served, "rivya", "accepted")
    with client(served, "vtrix") as one:
        assert one.journal is not None
        id = one.journal.jobs({})[0].id
        with pytest.raises(InvalidRequest, match="no job of vtrix"):
            one.resume(id)
        with pytest.raises(InvalidRequest, match="no job of vtrix"):
            one.resume("nothing-such")


@pytest.mark.parametrize(
    ("expected", "header", "says"),
    [
        ({"output_format": "png"}, Header("jpeg", 8, 8), "asked for png, got jpeg"),
        ({"width": 1024, "height": 768}, Header("png", 1024, 752), "asked for 1024 x 768, got 1024 x 752"),
        ({"aspect_ratio": "16:9"}, Header("png", 1024, 1024), "asked for the ratio 16:9, got 1024 x 1024"),
        ({"resolution": "2K"}, Header("png", 1024, 1024), "asked for 2K, got 1024 x 1024"),
        ({"aspect_ratio": "16:9", "resolution": "1K"}, Header("png", 1344, 756), None),
        ({"width": 1024, "height": 768}, Header("png"), None),
    ],
)  # fmt: skip
def test_what_a_picture_is_not_is_said(
    expected: dict[str, Any], header: Header, says: str | None
) -> None:
    """Format, pixels, ratio and resolution are compared with the ask, by the picture's own header."""
    assert list(differences(expected, header)) == ([] if says is None else [says])


def test_a_journal_that_fails_after_paying_costs_no_picture(served: SandboxServer) -> None:
    """Locked from acceptance on: the picture is here, the trouble is told, exit 1 is not."""
    others: list[sqlite3.Connection] = []

    def lock(event: Event) -> None:
        if event.phase is Phase.ACCEPTED:
            others.append(sqlite3.connect("home/journal.db", isolation_level=None))
            others[0].execute("BEGIN IMMEDIATE")

    with client(served, "vtrix", on_event=lock, **{"journal.wait": 0.05}) as one:
        image = one.generate(ImageRequest(prompt=READY)).images[0]
    others[0].close()
    assert image.bytes
    assert any("another program has it locked" in note for note in image.notes)


def test_threads_that_wish_the_same_pay_once(served: SandboxServer) -> None:
    """The same request and id from many threads at once is one job; the others are told."""
    with client(served, "rivya") as one, ThreadPoolExecutor(4) as pool:

        def wish(number: int) -> str:
            try:
                request = ImageRequest(prompt=READY, client_request_id=f"order-{number // 4}")
                return str(one.generate(request).jobs[0])
            except UnifiedFluxError as error:
                return error.message

        ends = list(pool.map(wish, range(40)))
    assert paid(served, "rivya") == 10
    assert all("rivya/" in end or "another process is at work" in end for end in ends)


def test_a_picture_on_its_way_to_its_file_is_not_purged(served: SandboxServer) -> None:
    """However old: the journal knows that somebody has still to write it."""
    with client(served, "rivya") as one:
        result = one.generate(ImageRequest(prompt=READY), destination="fox.png")
        loose = one.generate(ImageRequest(prompt=READY))
    waiting, gone = result.images[0].blob.path, loose.images[0].blob.path
    for path in (waiting, gone):
        os.utime(path, (0, 0))
    with client(served, "rivya") as one:
        one.generate(ImageRequest(prompt=READY))
    assert waiting.exists()
    assert not gone.exists()


def test_a_failed_rescue_takes_nothing_back(served: SandboxServer) -> None:
    """A job that was in hand once stays so, though its provider has the picture no more."""
    with client(served, "rivya") as one:
        image = one.generate(ImageRequest(prompt="a fox sandbox:ready")).images[0]
        image.blob.path.unlink()
        emulator: Any = served.emulators["rivya"]
        emulator._files.clear()
        (found,) = one.rescuing()
        assert found.error is not None
        assert one.journal is not None
        assert one.journal.get(found.record.id).phase is Phase.SAVED
        assert one.recover() == []


def test_a_person_resolves_from_the_library_too(served: SandboxServer) -> None:
    """`resolve` says what was found in the account."""
    dies(served, "vtrix", "sending")
    (found,) = recovered(served, "vtrix")
    with client(served, "vtrix") as one:
        assert one.resolve(found.record.id, charged=False).phase is Phase.REFUSED
        with pytest.raises(InvalidRequest, match="nothing to resolve"):
            one.resolve(found.record.id, charged=True)
