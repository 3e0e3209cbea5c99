"""The whole conversation of one picture's job, as a generator that yields what it wants done.

    upload → submit → poll → fetch

It has no socket, clock, sleep or file: each effect's answer carries `now`, the random source and the
idempotency key are given, and what must survive the process is yielded as a fact. What may be sent
again stands in `retry`; here is the rule that a paid submit whose outcome is unknown is only ever
repeated under its own idempotency key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TypeVar

from unified_flux.adapter import Adapter, charged
from unified_flux.answers import job_of, noted, understood
from unified_flux.contract import Card
from unified_flux.effects import Accepted, Intent, Settled
from unified_flux.errors import (
    Charged,
    DownloadFailed,
    JobTimeout,
    Moderated,
    NotDelivered,
    OutcomeUnknown,
    ProtocolError,
    ProviderError,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.fetching import Finished, collect
from unified_flux.polling import Schedule
from unified_flux.retry import Fate, Pace, Steps, Talk, Verdict, answered
from unified_flux.translation import Translation
from unified_flux.uploading import Uploads, upload
from unified_flux.wire import Job, Output, Phase, WireRequest, WireResponse

# Even a provider that names no pause between polls gets one, in seconds.
LEAST_PAUSE = 0.05
AGAIN = "no good answer yet; sending again"
ONCE_MORE = "nobody knows whether it was taken; sending again"
IN_DOUBT = " may or may not have taken the paid submit: "
_UNPROCESSABLE = 422
PERHAPS_TWICE = "an earlier submit of this picture may have been taken, and paid, as well"


T = TypeVar("T")
Flow = Steps[Finished]


@dataclass(slots=True, kw_only=True)
class Ask:
    """Everything that one flow is given.

    Attributes:
        translation: What is to be sent, allowed and valid; None where a job is only followed.
        id: Our own name of the job, which its facts carry; without one, none is kept.
        uploads: References that providers already have; shared with other flows.
        schedule: When it is asked for; left out, as the card advises.
    """

    adapter: Adapter
    card: Card
    translation: Translation | None = None
    id: str = ""
    idempotency_key: str = ""
    pace: Pace = field(default_factory=Pace)
    rng: random.Random = field(default_factory=random.Random)
    uploads: Uploads = field(default_factory=dict)
    schedule: Schedule = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.schedule = self.schedule or Schedule(self.card.facts["polling"])


def generate(ask: Ask, unknown: UnifiedFluxError | None = None) -> Flow:
    """The flow of one picture, from translation to bytes.

    Args:
        unknown: What left an earlier submit's outcome unknown, where the caller chose to risk another.

    Raises:
        UnifiedFluxError: Whatever the retry table cannot mend, with provider, model and job on it.
    """
    talk = _talk(ask)

    def steps() -> Flow:
        talk.doubted = unknown is not None
        found = yield from _start(talk, ask, unknown)
        return (yield from _finish(talk, found, ask.schedule))

    return _told(talk, steps())


def submit(ask: Ask) -> Steps[Job]:
    """The first half of `generate`: the job, once it is accepted."""
    talk = _talk(ask)

    def steps() -> Steps[Job]:
        return job_of((yield from _start(talk, ask)))

    return _told(talk, steps())


def _start(talk: Talk, ask: Ask, unknown: UnifiedFluxError | None = None) -> Steps[Job | Output]:
    payload = yield from upload(talk, ask.translation, ask.uploads)
    wire = ask.adapter.submit(payload, ask.card, ask.idempotency_key)
    return (yield from _submit(talk, wire, unknown))


def resend(ask: Ask, wire: WireRequest, unknown: UnifiedFluxError, within: float) -> Flow:
    """The flow of a submit whose outcome nobody knows: the same bytes again, then as usual.

    Args:
        unknown: What went wrong the first time; until an answer names a job it stays unknown.
        within: Seconds that are left for sending.
    """
    talk = _talk(ask)

    def steps() -> Flow:
        talk.doubted = True
        found = yield from _submit(talk, wire, unknown, within)
        return (yield from _finish(talk, found, ask.schedule))

    return _told(talk, steps())


def give_up(ask: Ask, unknown: UnifiedFluxError) -> Flow:
    """The flow of a submit whose outcome stays unknown: it sends nothing and says so."""
    talk = _talk(ask)

    def steps() -> Flow:
        talk.doubted = True
        raise _unknown(talk, unknown)
        yield

    return _told(talk, steps())


def follow(ask: Ask, job: Job) -> Flow:
    """The flow of a job that is already accepted: poll and fetch, never submit."""
    talk = _talk(ask)

    def steps() -> Flow:
        talk.job, talk.sending = job, True
        return (yield from _finish(talk, job, ask.schedule, at_once=True))

    return _told(talk, steps())


def rescue(ask: Ask, output: Output) -> Flow:
    """The flow of a job that is done and not on this disk: fetch, and ask anew where the addresses died."""
    talk = _talk(ask)

    def steps() -> Flow:
        talk.job, talk.sending = output.job, True
        try:
            return (yield from collect(talk, output, patience=0.0))
        except DownloadFailed:
            return (yield from _finish(talk, output.job, ask.schedule, at_once=True))

    return _told(talk, steps())


def bring_references(ask: Ask) -> Steps[None]:
    """Upload what several sibling flows will share, once, into `ask.uploads`."""
    talk = _talk(ask)
    talk.id = ""

    def steps() -> Steps[None]:
        yield from upload(talk, ask.translation, ask.uploads)

    return _told(talk, steps())


def inquire(
    adapter: Adapter, request: WireRequest, pace: Pace, rng: random.Random
) -> Steps[WireResponse]:
    """The flow of one question that costs nothing, such as the balance."""
    talk = Talk(adapter, None, pace, rng)
    return _told(talk, answered(talk, request))


def _talk(ask: Ask) -> Talk:
    key = ask.idempotency_key
    return Talk(ask.adapter, ask.card, ask.pace, ask.rng, id=ask.id, idempotency_key=key)


def _told(talk: Talk, steps: Steps[T]) -> Steps[T]:
    """A conversation from its beginning; whatever ends it badly is told in our words."""
    try:
        yield from talk.begin()
        return (yield from steps)
    # Not ours alone: no slip of a plugin or of this library may hide a job that is paid.
    except Exception as cause:
        error = yield from talk.blame(cause)
        raise error from (None if error is cause else cause)


def _finish(talk: Talk, found: Job | Output, schedule: Schedule, at_once: bool = False) -> Flow:
    output = yield from _wait(talk, found, schedule, at_once)
    yield from talk.keep(Settled(Phase.DONE, output.job, id=talk.id, urls=output.urls))
    return (yield from collect(talk, output))


def _submit(
    talk: Talk,
    wire: WireRequest,
    unknown: UnifiedFluxError | None = None,
    within: float | None = None,
) -> Steps[Job | Output]:
    """The one paid exchange, through the retry table, until it is accepted or given up."""
    budget = talk.pace.retry_within if within is None else within
    give_up = min(talk.now + budget, talk.deadline)
    attempt = 0
    if talk.now >= talk.deadline:
        raise NotDelivered("the time was up before the paid submit; nothing was sent")
    while True:
        again = AGAIN if attempt else ONCE_MORE if unknown else None
        repeatable = talk.adapter.idempotent
        give_up += yield from talk.keep(
            Intent(Phase.SENDING, None, again, id=talk.id, wire=wire, repeatable=repeatable)
        )
        verdict = yield from talk.exchange(wire)
        found = understood(talk, verdict)
        if isinstance(found, (Job, Output)):
            if unknown is not None and not talk.adapter.idempotent:
                found = noted(found, PERHAPS_TWICE)
            odd = "; ".join(job_of(found).notes) or None
            yield from talk.keep(Accepted(Phase.ACCEPTED, job_of(found), odd, id=talk.id))
            return found
        verdict = found
        if verdict.fate is Fate.UNKNOWN and unknown is None:
            unknown = verdict.error
            give_up = min(talk.now + talk.pace.resend_within, talk.deadline)
        if unknown is not None and not talk.adapter.idempotent:
            raise _unknown(talk, unknown, verdict.error)
        wait = talk.before_again(attempt)
        if verdict.fate is Fate.DECIDED or talk.now + wait > give_up:
            raise _unknown(talk, unknown, verdict.error) if unknown else verdict.error
        yield from talk.pause(wait)
        attempt += 1


def _unknown(
    talk: Talk, first: UnifiedFluxError, last: UnifiedFluxError | None = None
) -> OutcomeUnknown:
    """The error of a submit that may have been taken."""
    later = ""
    if last is not None and last is not first:
        later = f"; sent again{' under the same key' if talk.adapter.idempotent else ''}: "
        later += "the same again" if last.message == first.message else last.message
    name = talk.adapter.name
    named = f" (its idempotency key: {talk.key})" if talk.adapter.idempotent else ""
    return OutcomeUnknown(
        f"{name}{IN_DOUBT}{first.message}{later}",
        charged=Charged.MAYBE,
        request_id=first.request_id,
        next_step=f"Look at your account at {name} before asking again{named}: it may hold the "
        "picture and have charged for it. Nothing will be sent again by itself.",
    )


def _wait(talk: Talk, found: Job | Output, schedule: Schedule, at_once: bool) -> Steps[Output]:
    """Poll until the job has ended; whatever a poll meets, the job is never submitted again.

    A job that was accepted earlier is asked for `at_once`. How long it has run nobody knows here, so
    from then on it is asked for as its card advises.
    """
    job = talk.job = job_of(found)
    accepted = talk.now
    answer: Job | Output | Verdict = found
    trouble: UnifiedFluxError | None = None
    attempt = polls = 0
    while True:
        answer = yield from _ended(talk, answer)
        if isinstance(answer, Output):
            return answer
        if isinstance(answer, Verdict):
            _give_up_polling(answer)
            trouble, attempt = answer.error, attempt + 1
        else:
            new = answer.notes[len(job.notes) :]
            job, trouble, attempt = answer, None, 0
            if polls:
                yield from talk.tell(Phase.RUNNING, job, "; ".join(new) or None)
        planned = schedule.wait(None if at_once else talk.now - accepted, polls, talk.rng)
        at_pace = talk.at_pace(0.0 if at_once and not polls else planned)
        wait = max(at_pace, LEAST_PAUSE if polls else 0.0)
        if trouble is not None:
            wait = max(wait, talk.before_again(attempt - 1))
        if talk.now >= talk.deadline:
            raise _timeout(talk, job, trouble)
        yield from talk.pause(min(wait, talk.deadline - talk.now))
        answer = understood(talk, (yield from talk.exchange(talk.adapter.poll(job))), job)
        polls += 1


def _ended(talk: Talk, answer: Job | Output | Verdict) -> Steps[Job | Output | Verdict]:
    """An answer as it is while the job goes on; once it is done, with the addresses of its pictures.

    Raises:
        UnifiedFluxError: When the job has ended and brings no picture.
    """
    if isinstance(answer, Verdict):
        return answer
    failure: UnifiedFluxError | None = None
    job, unnamed = job_of(answer), isinstance(answer, Output) and not answer.urls
    bringing = talk.adapter.result(job) if unnamed else None
    if bringing is not None:
        told = understood(talk, (yield from talk.exchange(bringing)), job, bringing=True)
        if not isinstance(told, Verdict):
            answer = told
        elif _is_final(told.error):
            failure = told.error
            failure.charged = Charged.MAYBE
        else:
            return told
    failure = failure or _failure(answer)
    if failure is not None:
        yield from talk.keep(Settled(Phase.FAILED, job_of(answer), id=talk.id, error=failure))
        raise failure
    return answer


def _is_final(error: UnifiedFluxError) -> bool:
    """Whether what a job made is refused for good: for its content, or as what cannot be made."""
    return isinstance(error, ProviderError) and (
        isinstance(error, Moderated) or error.status == _UNPROCESSABLE
    )


def _give_up_polling(verdict: Verdict) -> None:
    """Without a right or an address to ask at, waiting helps nobody; everything else may pass."""
    trouble = verdict.error
    nowhere = verdict.response is None and verdict.fate is Fate.DECIDED
    if nowhere or isinstance(trouble, Unauthorized):
        trouble.charged = Charged.MAYBE
        trouble.message += "; the accepted job goes on without us"
        raise trouble


def _failure(found: Job | Output) -> UnifiedFluxError | None:
    """Why a job that has ended brings no picture, None while it goes on."""
    if isinstance(found, Job) or found.urls:
        return job_of(found).failure
    return ProtocolError(
        f'the job is "{found.job.word}" and names no picture', charged=charged(found.job.charge)
    )


def _timeout(talk: Talk, job: Job, trouble: UnifiedFluxError | None) -> JobTimeout:
    last = f"; the last poll failed: {trouble.message}" if trouble else ""
    return JobTimeout(
        f"the job is not done after {talk.pace.timeout:g} s and goes on at {job.provider}{last}",
        job=job,
        charged=Charged.MAYBE,
    )
