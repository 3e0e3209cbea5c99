"""The flow: every row of the retry table, the pace of polling, deadlines; no network, no clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from unified_flux import registry
from unified_flux.contract import choose
from unified_flux.errors import (
    Charged,
    DownloadFailed,
    InsufficientFunds,
    InvalidRequest,
    JobFailed,
    JobTimeout,
    Moderated,
    NotDelivered,
    OutcomeUnknown,
    ProtocolError,
    ProviderError,
    RateLimited,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.fetching import Finished
from unified_flux.flow import Ask, follow, generate
from unified_flux.references import open_references
from unified_flux.request import ImageRequest, Reference
from unified_flux.retry import Pace
from unified_flux.testing.simulation import Clock, Driven, drive, picture, reply
from unified_flux.wire import Job, OpenedReference, Phase, Purpose, WireRequest, WireResponse

from conftest import png  # isort: skip

URL = "https://cdn.example.com/fox.png"


def _rivya(status: str, **more: Any) -> dict[str, Any]:
    done = {"primary_url": URL, "urls": [URL]} if status == "succeeded" else None
    return {
        "id": "task_1", "status": status, "model": "flux-kontext-pro", "reserved_credits": 4,
        "final_credits": 4 if status == "succeeded" else 0, "result": done, "error": None, **more,
    }  # fmt: skip


def _vtrix(status: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": "t1", "status": status, "model": "flux_kontext_pro", **more}
    if status == "completed":
        found["output"] = [{"content": [{"type": "image", "url": URL}]}]
        found.setdefault("usage", {"cost": "0.04", "discount": 1})
    return found


QUEUED = {"rivya": _rivya("queued"), "vtrix": _vtrix("in_progress")}
DONE = {"rivya": _rivya("succeeded"), "vtrix": _vtrix("completed")}


def ask(
    provider: str = "rivya",
    pace: Pace | None = None,
    references: tuple[OpenedReference, ...] = (),
    **fields: Any,
) -> Ask:
    adapter = registry.make_adapter(provider)
    card = choose(adapter.cards, "flux-kontext-pro")
    origins = [Reference(b"") for _ in references]
    request = ImageRequest(**{"prompt": "a fox", "references": origins, **fields})
    return Ask(
        adapter=adapter,
        card=card,
        translation=adapter.translate(request, card, references),
        id="job-1",
        idempotency_key="key-1",
        pace=pace or Pace(),
        rng=random.Random(7),
    )


class Provider:
    """Answers by purpose: a list of scripted answers each, the last of which repeats."""

    def __init__(self, provider: str, **scripts: list[WireResponse | UnifiedFluxError]) -> None:
        self.scripts = {
            "submit": [reply(200, QUEUED[provider])],
            "poll": [reply(200, DONE[provider])],
            "fetch": [picture()],
        } | scripts

    def __call__(self, request: WireRequest) -> WireResponse | UnifiedFluxError:
        script = self.scripts[str(request.purpose)]
        return script.pop(0) if len(script) > 1 else script[0]


def talk(provider: str = "rivya", pace: Pace | None = None, **scripts: Any) -> Driven[Finished]:
    return drive(generate(ask(provider, pace)), Provider(provider, **scripts))


LOST = NotDelivered("no route")
BROKEN = OutcomeUnknown("reset after sending")


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_a_picture_is_submitted_once_polled_and_fetched(provider: str) -> None:
    """The plain conversation: one submit, polls, one unsigned fetch."""
    driven = talk(provider, poll=[reply(200, QUEUED[provider]), reply(200, DONE[provider])])
    finished = driven.outcome()
    purposes = [str(request.purpose) for request in driven.sent]
    assert purposes == ["submit", "poll", "poll", "fetch"]
    assert [request.signed for request in driven.sent] == [True, True, True, False]
    assert len(finished.blobs) == 1
    assert finished.job.charge.money is not None


def test_the_job_is_told_before_the_first_poll() -> None:
    """`accepted` comes with the provider's job id, so that a crash in a poll loses nothing."""
    driven = talk()
    kinds = [effect.phase if hasattr(effect, "phase") else effect for effect in driven.effects]
    first_poll = next(
        i for i, e in enumerate(driven.effects)
        if isinstance(getattr(e, "request", None), WireRequest) and e.request.purpose is Purpose.POLL  # type: ignore[union-attr]
    )  # fmt: skip
    accepted = kinds.index(Phase.ACCEPTED)
    assert accepted < first_poll
    assert driven.effects[accepted].job.id == "task_1"  # type: ignore[union-attr]


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_what_was_never_delivered_is_sent_again(provider: str) -> None:
    """No byte left, so sending again is safe even without an idempotency key."""
    driven = talk(provider, submit=[LOST, LOST, reply(200, QUEUED[provider])])
    assert driven.outcome()
    assert len(driven.of(Purpose.SUBMIT)) == 3


def test_what_stays_undelivered_ends_with_nothing_charged() -> None:
    """Within the time budget, not for ever; and exit 8 may say that nothing was charged."""
    driven = talk("vtrix", submit=[LOST])
    assert isinstance(driven.error, NotDelivered)
    assert driven.error.charged is Charged.NO
    assert driven.error.exit_code == 8
    assert driven.clock.now <= Pace().retry_within


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_a_429_is_sent_again_at_the_pace_it_names(provider: str) -> None:
    """Retry-After is honoured to the second."""
    busy = reply(429, {"error": {"code": "rate_limited"}}, headers={"Retry-After": "13"})
    driven = talk(provider, submit=[busy, reply(200, QUEUED[provider])])
    assert driven.outcome()
    assert driven.pauses[0] == 13


def test_a_429_beyond_the_budget_is_told_at_once() -> None:
    """Waiting an hour for a rate limit is the caller's decision."""
    busy = reply(429, {"error": {"code": "rate_limited"}}, headers={"Retry-After": "3600"})
    driven = talk(submit=[busy])
    assert isinstance(driven.error, RateLimited)
    assert driven.error.retry_after == 3600
    assert driven.error.exit_code == 6
    assert len(driven.of(Purpose.SUBMIT)) == 1
    assert driven.pauses == []


def test_a_503_that_is_documented_as_not_taken_is_sent_again() -> None:
    """Rivya's public_api_disabled comes before any work; the same status from Vtrix says nothing."""
    off = reply(503, {"error": {"code": "public_api_disabled", "message": "off"}})
    assert talk("rivya", submit=[off, reply(200, QUEUED["rivya"])]).outcome()
    always = talk("rivya", submit=[off])
    assert type(always.error) is ProviderError
    assert always.error.charged is Charged.NO
    assert isinstance(talk("vtrix", submit=[off]).error, OutcomeUnknown)


UNKNOWN = {
    "reset": BROKEN,
    "500": reply(500, {"error": {"code": "x"}}),
    "502": reply(502, text="<html>"),
    "503": reply(503, text=""),
    "504": reply(504, {"id": "t", "status": "in_progress", "error": {"code": "SYNC_TIMEOUT"}}),
    "408": reply(408, text=""),
    "302": reply(302, text="", headers={"Location": "https://elsewhere.example/"}),
    "200 html": reply(200, text="<html>ok</html>"),
    "200 empty": reply(200, text=""),
    "200 list": reply(200, []),
    "200 no id": reply(200, {"status": "queued"}),
    "200 NaN": reply(200, text='{"id": NaN}'),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_without_an_idempotency_key_an_unknown_outcome_is_never_sent_again(case: str) -> None:
    """Vtrix: one submit, then stop, and say that money may be gone."""
    driven = talk("vtrix", submit=[UNKNOWN[case]])
    assert isinstance(driven.error, OutcomeUnknown)
    assert driven.error.exit_code == 9
    assert driven.error.charged is Charged.MAYBE
    assert driven.error.next_step
    assert len(driven.of(Purpose.SUBMIT)) == 1


@pytest.mark.parametrize("case", UNKNOWN)
def test_with_a_key_an_unknown_outcome_is_sent_again_word_for_word(case: str) -> None:
    """Rivya: the same bytes under the same key, and the accepted answer decides."""
    driven = talk("rivya", submit=[UNKNOWN[case], reply(200, QUEUED["rivya"])])
    assert driven.outcome()
    first, second = driven.of(Purpose.SUBMIT)
    assert first == second
    assert first.headers["Idempotency-Key"] == "key-1"


def test_sending_again_ends_with_the_window_of_the_key() -> None:
    """`resend_within` bounds it, since no page says how long a key is remembered."""
    pace = Pace(timeout=10_000, resend_within=30)
    driven = talk("rivya", pace, submit=[BROKEN])
    assert isinstance(driven.error, OutcomeUnknown)
    assert driven.clock.now <= 30


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422])
def test_once_unknown_no_refusal_makes_it_known(status: int) -> None:
    """A 4xx to the second sending may come from a first that was taken: still unknown, exit 9."""
    refused = reply(status, {"error": {"code": "some_code", "message": "no"}})
    driven = talk("rivya", submit=[BROKEN, refused])
    assert isinstance(driven.error, OutcomeUnknown)
    assert driven.error.exit_code == 9
    assert "no" in driven.error.message
    assert "its idempotency key: key-1" in str(driven.error)
    assert len(driven.of(Purpose.SUBMIT)) == 2


def test_once_unknown_a_429_only_sets_the_pace() -> None:
    """A rate limit in between neither decides nor stops the sending under the same key."""
    busy = reply(429, {"error": {"code": "rate_limited"}}, headers={"Retry-After": "2"})
    driven = talk("rivya", submit=[BROKEN, busy, reply(200, QUEUED["rivya"])])
    assert driven.outcome()


@pytest.mark.parametrize(
    ("status", "code", "kind", "exit_code"),
    [
        (400, "validation_failed", ProviderError, 8),
        (401, "api_key_invalid", Unauthorized, 4),
        (403, "api_scope_denied", Unauthorized, 4),
        (402, "insufficient_credits", InsufficientFunds, 5),
        (400, "content_policy", Moderated, 7),
        (409, "idempotency_conflict", ProviderError, 8),
        (404, "not_found", ProviderError, 8),
        (418, "brand_new_code", ProviderError, 8),
    ],
)
def test_a_decided_refusal_is_raised_once_with_nothing_charged(
    status: int, code: str, kind: type[UnifiedFluxError], exit_code: int
) -> None:
    """Other 4xx are final: one submit, the right class, and the provider's code in the text."""
    refused = reply(status, {"error": {"code": code, "message": "no", "requestId": "req_9"}})
    driven = talk(submit=[refused])
    assert type(driven.error) is kind
    assert driven.error.exit_code == exit_code
    assert driven.error.request_id == "req_9"
    assert code in driven.error.message
    assert len(driven.of(Purpose.SUBMIT)) == 1


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirected_submit_is_not_followed(status: int) -> None:
    """A key never follows a redirect; these two say that nothing was done."""
    elsewhere = reply(status, text="", headers={"Location": "https://evil.example/"})
    driven = talk("vtrix", submit=[elsewhere])
    assert isinstance(driven.error, ProtocolError)
    assert "https://evil.example/" in driven.error.message
    assert driven.error.exit_code == 8
    assert [request.url.split("/")[2] for request in driven.sent] == ["cloud.vtrix.ai"]


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
@pytest.mark.parametrize(
    "trouble",
    [BROKEN, LOST, reply(500, {}), reply(404, {}), reply(429, {}), reply(200, text="<html>"),
     reply(302, text="", headers={"Location": "https://x.example/"})],
)  # fmt: skip
def test_a_failed_poll_is_asked_again_and_never_submitted_again(
    provider: str, trouble: WireResponse | UnifiedFluxError
) -> None:
    """After acceptance whatever a poll meets leads to another poll."""
    driven = talk(provider, poll=[trouble, trouble, reply(200, DONE[provider])])
    assert driven.outcome()
    assert len(driven.of(Purpose.SUBMIT)) == 1
    assert len(driven.of(Purpose.POLL)) == 3


def test_a_job_that_does_not_end_in_time_is_carried_by_the_error() -> None:
    """The deadline ends the waiting, not the job: the error holds it, and money may be gone."""
    driven = talk(pace=Pace(timeout=100), poll=[reply(200, QUEUED["rivya"])])
    assert isinstance(driven.error, JobTimeout)
    assert str(driven.error.job) == "rivya/flux-kontext-pro/task_1"
    assert driven.error.exit_code == 9
    assert driven.clock.now == 100


def test_polls_that_only_fail_end_in_a_timeout_that_tells_why() -> None:
    """The last trouble stands in the message."""
    driven = talk(pace=Pace(timeout=100), poll=[reply(502, text="")])
    assert isinstance(driven.error, JobTimeout)
    assert "HTTP 502" in driven.error.message


def test_a_poll_without_right_stops_and_says_that_the_job_goes_on() -> None:
    """Asking again with a dead key helps nobody, and the exit code is not "nothing charged"."""
    driven = talk(poll=[reply(401, {"error": {"code": "api_key_revoked", "message": "revoked"}})])
    assert isinstance(driven.error, Unauthorized)
    assert driven.error.exit_code == 9
    assert driven.error.job is not None


@pytest.mark.parametrize(("provider", "first", "every"), [("rivya", (2, 3), (5, 10))])
def test_polls_keep_to_the_documented_spacing(
    provider: str, first: tuple[float, float], every: tuple[float, float]
) -> None:
    """Rivya documents a first poll after 2 to 3 s, then every 5 to 10 s."""
    waiting = [reply(200, QUEUED[provider])] * 8
    driven = talk(provider, poll=[*waiting, reply(200, DONE[provider])])
    assert driven.outcome()
    head, *rest = driven.pauses
    assert first[0] <= head <= first[1]
    assert len(rest) == 8
    assert all(every[0] <= pause <= every[1] for pause in rest)
    assert len(set(rest)) > 1


def test_a_provider_that_names_its_pace_is_polled_at_that_pace() -> None:
    """Retry-After on an ordinary answer is the provider's own advice, which the sandbox gives."""
    paced = reply(200, QUEUED["rivya"], headers={"Retry-After": "0.1"})
    driven = talk(submit=[paced], poll=[paced, paced, reply(200, DONE["rivya"])])
    assert driven.outcome()
    assert driven.pauses == [0.1, 0.1, 0.1]


def test_no_pace_makes_a_tight_loop_of_polls() -> None:
    """Retry-After: 0 may bring the first poll at once; the next ones keep a pause."""
    paced = reply(200, QUEUED["rivya"], headers={"Retry-After": "0"})
    driven = talk(submit=[paced], poll=[paced, paced, reply(200, DONE["rivya"])])
    assert driven.outcome()
    assert driven.pauses == [0.0, 0.05, 0.05]


@pytest.mark.parametrize("purpose", ["submit", "poll", "fetch"])
def test_no_pace_makes_a_tight_loop_of_failures(purpose: str) -> None:
    """What failed is tried again with growing pauses, whatever Retry-After says."""
    busy = reply(429, {}, headers={"Retry-After": "0"})
    driven = talk(**{purpose: [busy]})
    assert driven.error is not None
    assert len(driven.sent) < 60


def test_an_answer_about_another_job_is_not_ours() -> None:
    """A poll that answers with another id is asked again, and the job stays the one that was paid."""
    other = reply(200, {**DONE["rivya"], "id": "task_other"})
    driven = talk(poll=[other, reply(200, DONE["rivya"])])
    assert driven.outcome().job.id == "task_1"
    assert {request.url.rpartition("/")[2] for request in driven.of(Purpose.POLL)} == {"task_1"}


def test_an_unknown_status_word_is_reported_once_and_taken_for_running() -> None:
    """A word that is in no table is kept and waited out."""
    dreaming = reply(200, _rivya("dreaming"))
    driven = talk(poll=[dreaming, dreaming, reply(200, DONE["rivya"])])
    finished = driven.outcome()
    assert [note for note in finished.job.notes if "dreaming" in note] == [
        'unknown status word "dreaming", taken for still running'
    ]
    assert len(driven.notes) == 1


def test_an_answer_of_another_shape_is_noted_and_does_not_cost_the_picture() -> None:
    """Answers are checked leniently: a wrong type is a note, not a failure."""
    odd = _rivya("succeeded", reserved_credits="four", new_field={"any": 1})
    finished = talk(poll=[reply(200, odd)]).outcome()
    assert finished.job.notes == ("answer: reserved_credits must be of type number",)


@pytest.mark.parametrize(
    ("provider", "answer", "kind", "charged", "exit_code"),
    [
        ("rivya", _rivya("failed", error={"code": "generation_failed", "message": "no"}), JobFailed, "no", 8),
        ("rivya", _rivya("failed", error=None), JobFailed, "no", 8),
        ("rivya", _rivya("failed", final_credits=4), JobFailed, "yes", 9),
        ("vtrix", _vtrix("failed", error={"code": "002014001", "message": "no"}), JobFailed, "maybe", 9),
        ("vtrix", _vtrix("failed", error="plain text", usage={"cost": ""}), JobFailed, "maybe", 9),
        ("vtrix", _vtrix("failed", error={"code": 110001, "error_message": "bad"}), Moderated, "maybe", 7),
    ],
)  # fmt: skip
def test_a_failed_job_says_whether_it_was_charged(
    provider: str, answer: Any, kind: type[UnifiedFluxError], charged: str, exit_code: int
) -> None:
    """Only a billed figure of zero is "nothing charged"; no figure is "maybe"."""
    driven = talk(provider, poll=[reply(200, answer)])
    assert type(driven.error) is kind
    assert (str(driven.error.charged), driven.error.exit_code) == (charged, exit_code)
    assert driven.error.job is not None


def test_a_job_that_is_done_at_once_is_not_polled() -> None:
    """Fast tasks may come back finished from the submit."""
    driven = talk("vtrix", submit=[reply(200, DONE["vtrix"])])
    assert driven.outcome()
    assert driven.of(Purpose.POLL) == []


def test_a_finished_job_without_picture_is_a_broken_contract_that_may_have_cost() -> None:
    """ "completed" with no URL is no success."""
    driven = talk("rivya", poll=[reply(200, _rivya("succeeded", result=None))])
    assert isinstance(driven.error, ProtocolError)
    assert driven.error.exit_code == 9


@pytest.mark.parametrize(
    "trouble", [BROKEN, LOST, reply(404, text=""), reply(500, text=""), reply(403, text="")]
)
def test_a_failed_download_is_fetched_again(trouble: WireResponse | UnifiedFluxError) -> None:
    """The picture exists: fetch again, never submit again."""
    driven = talk(fetch=[trouble, trouble, picture()])
    assert driven.outcome()
    assert len(driven.of(Purpose.SUBMIT)) == 1
    assert len(driven.of(Purpose.FETCH)) == 3


def test_a_download_that_never_comes_carries_the_job() -> None:
    """Exit 9: charged, not in hand, and the job can be resumed."""
    driven = talk(fetch=[reply(404, text="")])
    assert isinstance(driven.error, DownloadFailed)
    assert driven.error.exit_code == 9
    assert driven.error.charged is Charged.YES
    assert driven.error.job is not None


def test_a_download_follows_redirects_unsigned_and_not_for_ever() -> None:
    """Each hop is a stranger's URL of its own, without the key; a loop ends."""
    hop = reply(302, text="", headers={"Location": "/elsewhere.png"})
    driven = talk(fetch=[hop, picture()])
    assert driven.outcome()
    assert [request.url for request in driven.of(Purpose.FETCH)] == [
        URL,
        "https://cdn.example.com/elsewhere.png",
    ]
    loop = talk(fetch=[hop])
    assert isinstance(loop.error, DownloadFailed)
    assert not any(request.signed for request in loop.of(Purpose.FETCH))


def test_an_address_that_the_guard_refuses_is_not_tried_again() -> None:
    """A private address will not become public by asking again."""
    driven = talk(fetch=[ProtocolError("leads to a private address")])
    assert isinstance(driven.error, DownloadFailed)
    assert len(driven.of(Purpose.FETCH)) == 1


class Slips(registry.adapter_class("vtrix")):  # type: ignore[misc]
    """Raises what is no error of ours, in the method that it is told."""

    slipping = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "slipping"):
            raise KeyError("a plugin's slip")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("method", "exit_code", "submits"),
    [("submit", 8, 0), ("read", 9, 1), ("poll", 9, 1), ("refusal", 9, 1)],
)
def test_a_slip_of_a_plugin_never_hides_what_may_be_paid(
    method: str, exit_code: int, submits: int
) -> None:
    """Whatever a plugin raises becomes our error: with the job once it is known, and never "no"."""
    given = ask("vtrix")
    given.adapter = Slips()
    Slips.slipping = method
    scripts = {"poll": [reply(500, {}), reply(200, DONE["vtrix"])]} if method == "refusal" else {}
    provider = Provider("vtrix", **scripts)
    if method == "refusal":
        driven = drive(generate(given), Provider("vtrix", submit=[reply(500, {})]))
    else:
        driven = drive(generate(given), provider)
    Slips.slipping = ""
    assert driven.error is not None
    assert driven.error.exit_code == exit_code
    assert len(driven.of(Purpose.SUBMIT)) == submits
    assert (driven.error.job is not None) == (method == "poll")


def test_nothing_paid_is_sent_after_the_deadline() -> None:
    """An upload that used up the time leaves nothing for a picture: stop before paying."""
    clock = Clock()
    given = ask(pace=Pace(timeout=1), references=open_references([Reference(png())]))

    def answers(request: WireRequest) -> WireResponse | UnifiedFluxError:
        clock.now += 2
        return reply(200, {"url": "https://rivya.ai/files/1.png"})

    driven = drive(generate(given), answers, clock=clock)
    assert isinstance(driven.error, NotDelivered)
    assert driven.error.exit_code == 8
    assert driven.error.charged is Charged.NO
    assert driven.of(Purpose.SUBMIT) == []


def test_of_several_pictures_of_one_job_the_good_ones_are_kept() -> None:
    """One address that stays dead does not cost the others."""
    two = _rivya("succeeded", result={"urls": [URL, URL + "?2"]})
    dead = reply(404, text="")

    def answers(request: WireRequest) -> WireResponse | UnifiedFluxError:
        if request.purpose is Purpose.FETCH:
            return dead if request.url.endswith("?2") else picture()
        return reply(200, QUEUED["rivya"] if request.purpose is Purpose.SUBMIT else two)

    finished = drive(generate(ask()), answers).outcome()
    assert [blob is None for blob in finished.blobs] == [False, True]
    assert len(finished.missing) == 1


def test_a_page_in_place_of_a_picture_is_not_delivered_as_one() -> None:
    """What is no picture is kept where it is, and the job can be resumed."""
    driven = talk(fetch=[picture(b"<html>sorry</html>")])
    assert isinstance(driven.error, DownloadFailed)
    assert "it is kept at" in driven.error.message


@pytest.mark.parametrize("location", ["http://[", "", "https://1.1.1.1:99999/"])
def test_a_redirect_that_leads_nowhere_is_a_failed_download(location: str) -> None:
    """No spelling of Location escapes as anything but our error."""
    hop = reply(302, text="", headers={"Location": location})
    refused = ProtocolError("not to be followed")
    driven = talk(fetch=[hop, refused])
    assert isinstance(driven.error, DownloadFailed)


def test_a_failed_job_is_told_as_failed() -> None:
    """Listeners hear `failed`, never `running`, of a job that has ended so."""
    driven = talk(poll=[reply(200, _rivya("failed"))])
    assert [str(event.phase) for event in driven.events][-2:] == ["accepted", "failed"]


@pytest.mark.parametrize("identity", ["a\x1b]0;x\x07", "a\u202eb", "\udc80", "x" * 3000, ""])
def test_an_id_that_could_steer_a_terminal_is_no_id(identity: str) -> None:
    """An answer with such an id tells nothing of the outcome."""
    driven = talk("vtrix", submit=[reply(200, {**QUEUED["vtrix"], "id": identity})])
    assert isinstance(driven.error, OutcomeUnknown)


def test_a_body_that_broke_off_on_our_side_is_not_an_unknown_outcome() -> None:
    """A reference that changed while it was sent cuts the request: it was never whole."""
    driven = talk("vtrix", submit=[InvalidRequest("a reference changed")])
    assert isinstance(driven.error, InvalidRequest)
    assert driven.error.charged is Charged.NO


def test_a_job_can_be_followed_without_submitting() -> None:
    """What was accepted earlier is polled at once and fetched."""
    given = ask()
    job = Job(provider="rivya", model="flux-kontext-pro", id="task_1")
    driven = drive(follow(given, job), Provider("rivya"))
    assert driven.outcome().job.id == "task_1"
    assert driven.of(Purpose.SUBMIT) == []
    assert driven.pauses == [0.0]


@pytest.mark.parametrize("make", [generate])
def test_an_error_knows_provider_model_and_job(make: Callable[..., Any]) -> None:
    """Whatever is raised says where it happened."""
    driven = drive(make(ask()), Provider("rivya", submit=[reply(401, {})]))
    assert driven.error is not None
    assert (driven.error.provider, driven.error.model) == ("rivya", "flux-kontext-pro")
