"""The whole conversation of one picture's job, as a generator that yields what it wants done.

    translate → check → upload → submit → poll → fetch

It has no socket, clock or sleep: each effect's answer carries `now`, the random source and the
idempotency key are given. What may be sent again stands in `retry`; here is the rule that a
paid submit whose outcome is unknown is only ever repeated under its own idempotency key.
"""

from __future__ import annotations

import random
from collections.abc import Generator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin

from unified_flux.adapter import Adapter, charged
from unified_flux.contract import Card, load_answers
from unified_flux.effects import Answer, Effect
from unified_flux.errors import (
    Charged,
    ContractViolation,
    DownloadFailed,
    JobTimeout,
    OutcomeUnknown,
    Problem,
    ProtocolError,
    ProviderError,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.retry import Fate, Pace, Talk, Verdict, answered, insist, slip
from unified_flux.text import safe
from unified_flux.translation import Translation, fill, require
from unified_flux.wire import (
    Blob,
    Job,
    OpenedReference,
    Output,
    Phase,
    Purpose,
    WireRequest,
    WireResponse,
)

MAX_REDIRECTS = 5
# Even a provider that names no pause between polls gets one, in seconds.
LEAST_PAUSE = 0.05
AT_ONCE = (0.0, 0.0)
AGAIN = "no good answer yet; sending again"


@dataclass(slots=True, kw_only=True)
class Ask:
    """Everything that one flow is given.

    Attributes:
        uploads: sha256 → URL of references that this provider already has; shared by siblings.
    """

    adapter: Adapter
    card: Card
    request: ImageRequest
    references: Sequence[OpenedReference] = ()
    policy: Policy = field(default_factory=Policy)
    idempotency_key: str = ""
    pace: Pace = field(default_factory=Pace)
    rng: random.Random = field(default_factory=random.Random)
    uploads: MutableMapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A picture's job at its end; `translation` is None for a job that was only followed.

    A job may bring several pictures; `missing` tells of those that could not be fetched.
    """

    job: Job
    blobs: tuple[Blob, ...]
    seconds: float
    translation: Translation | None = None
    missing: tuple[DownloadFailed, ...] = ()


Flow = Generator[Effect, Answer, Finished]


def generate(ask: Ask) -> Flow:
    """The flow of one picture, from request to bytes.

    Raises:
        UnifiedFluxError: Whatever the retry table cannot mend, with provider, model and job on it.
    """
    talk = Talk(ask.adapter, ask.card, ask.pace, ask.rng, ask.idempotency_key)
    try:
        translation = _translate(ask)
        yield from talk.begin()
        payload = yield from _upload(talk, translation, ask.uploads)
        wire = ask.adapter.submit(payload, ask.card, ask.idempotency_key)
        found = yield from _submit(talk, wire)
        yield from talk.tell(Phase.ACCEPTED, _job(found), "; ".join(_job(found).notes) or None)
        return (yield from _finish(talk, found, translation))
    # Not ours alone: no slip of a plugin or of this library may hide a job that is paid.
    except Exception as error:
        talk.blame(error)


def follow(adapter: Adapter, card: Card, job: Job, pace: Pace, rng: random.Random) -> Flow:
    """The flow of a job that is already accepted: poll and fetch, never submit."""
    talk = Talk(adapter, card, pace, rng)
    try:
        yield from talk.begin()
        talk.job, talk.sending = job, True
        return (yield from _finish(talk, job, None, first=AT_ONCE))
    except Exception as error:
        talk.blame(error)


def bring_references(ask: Ask) -> Generator[Effect, Answer, None]:
    """Upload what several sibling flows will share, once, into `ask.uploads`."""
    talk = Talk(ask.adapter, ask.card, ask.pace, ask.rng)
    try:
        translation = _translate(ask)
        yield from talk.begin()
        yield from _upload(talk, translation, ask.uploads)
    except Exception as error:
        talk.blame(error)


def inquire(
    adapter: Adapter, request: WireRequest, pace: Pace, rng: random.Random
) -> Generator[Effect, Answer, WireResponse]:
    """The flow of one question that costs nothing, such as the balance."""
    talk = Talk(adapter, None, pace, rng)
    try:
        yield from talk.begin()
        return (yield from answered(talk, request))
    except Exception as error:
        talk.blame(error)


def _translate(ask: Ask) -> Translation:
    return require(ask.adapter.translate(ask.request, ask.card, ask.references), ask.policy)


def _finish(
    talk: Talk,
    found: Job | Output,
    translation: Translation | None,
    first: Sequence[float] | None = None,
) -> Flow:
    output = yield from _wait(talk, found, first or talk.card.facts["polling"]["first"])
    yield from talk.tell(Phase.FETCHING, output.job)
    blobs: tuple[Blob, ...] = ()
    missing: tuple[DownloadFailed, ...] = ()
    for url in output.urls:
        try:
            blobs += ((yield from _fetch(talk, output.job, url)),)
        except DownloadFailed as error:
            missing += (error,)
    if missing and not blobs:
        raise missing[0]
    yield from talk.tell(Phase.DONE, output.job)
    return Finished(
        job=output.job,
        blobs=blobs,
        missing=missing,
        seconds=talk.now - talk.started,
        translation=translation,
    )


def _job(found: Job | Output) -> Job:
    return found.job if isinstance(found, Output) else found


def _upload(
    talk: Talk, translation: Translation, uploads: MutableMapping[str, str]
) -> Generator[Effect, Answer, Any]:
    """Bring local references to a provider that wants them by URL; the filled payload."""
    payload, references = translation.payload, translation.references
    if talk.card.references.get("local") != "upload":
        return payload
    local = {one.sha256: one for one in references if one.source is not None}
    if not local:
        return payload
    for sha256, reference in local.items():
        if sha256 not in uploads:
            yield from talk.tell(Phase.UPLOADING)
            wire = talk.adapter.upload(reference, talk.card)
            response = yield from answered(talk, wire)
            uploads[sha256] = talk.adapter.read_upload(response).url
    filled = fill(payload, dict(uploads))
    broken = talk.card.checker.violations(filled)
    if broken:
        problems = [Problem(field=v.path, message=v.message) for v in broken]
        raise ContractViolation("the uploaded references break the contract", problems=problems)
    return filled


def _submit(talk: Talk, wire: WireRequest) -> Generator[Effect, Answer, Job | Output]:
    """The one paid exchange, through the retry table, until it is accepted or given up."""
    unknown: UnifiedFluxError | None = None
    give_up = min(talk.now + talk.pace.retry_within, talk.deadline)
    attempt = 0
    if talk.now >= talk.deadline:
        raise JobTimeout("the time was up before the paid submit; nothing was sent")
    while True:
        yield from talk.tell(Phase.SENDING, note=AGAIN if attempt else None)
        verdict = yield from talk.exchange(wire)
        found = _understood(talk, verdict)
        if isinstance(found, (Job, Output)):
            return found
        verdict = found
        if verdict.fate is Fate.UNKNOWN and unknown is None:
            unknown = verdict.error
            give_up = min(talk.now + talk.pace.resend_within, talk.deadline)
        if unknown is not None and not talk.adapter.idempotent:
            raise _unknown(talk, unknown)
        wait = talk.before_again(attempt)
        if verdict.fate is Fate.DECIDED or talk.now + wait > give_up:
            raise _unknown(talk, unknown, verdict.error) if unknown else verdict.error
        yield from talk.pause(wait)
        attempt += 1


def _understood(talk: Talk, verdict: Verdict, asked: Job | None = None) -> Job | Output | Verdict:
    """The job that an answer names; a good status around nonsense tells nothing of the outcome."""
    if verdict.fate is not Fate.ANSWERED or verdict.response is None:
        return verdict
    try:
        found = _read(talk, verdict.response)
        if asked is not None and _job(found).id != asked.id:
            raise ProtocolError(f"the answer is about another job, {safe(_job(found).id, 60)}")
    except ProtocolError as error:
        return Verdict(Fate.UNKNOWN, verdict.response, error)
    # A plugin's slip must not hide that money may be gone.
    except Exception as error:
        return Verdict(Fate.UNKNOWN, verdict.response, slip(talk.adapter, error))
    return found


def _unknown(
    talk: Talk, first: UnifiedFluxError, last: UnifiedFluxError | None = None
) -> OutcomeUnknown:
    """The error of a submit that may have been taken."""
    later = ""
    if last is not None and last is not first:
        later = "; sent again under the same key: "
        later += "the same again" if last.message == first.message else last.message
    name = talk.adapter.name
    named = f" (its idempotency key: {talk.key})" if talk.adapter.idempotent else ""
    return OutcomeUnknown(
        f"{name} may or may not have taken the paid submit: {first.message}{later}",
        charged=Charged.MAYBE,
        request_id=first.request_id,
        next_step=f"Look at your account at {name} before asking again{named}: it may hold the "
        "picture and have charged for it. Nothing will be sent again by itself.",
    )


def _read(talk: Talk, response: WireResponse) -> Job | Output:
    """The answer of a submit or poll, with what is odd about it as notes."""
    found = talk.adapter.read(response)
    job = _job(found)
    odd = []
    # Only what ends a job is worth the check: of a running one nothing is read but id and word.
    if job.phase is not Phase.RUNNING:
        answers = load_answers(talk.adapter.name, talk.adapter.card_package)
        odd = [f"answer: {v.path} {v.message}" for v in answers.violations(response.object())]
    if job.word not in talk.adapter.phases:
        odd.append(f'unknown status word "{safe(job.word, 60)}", taken for still running')
    known = talk.job.notes if talk.job else ()
    notes = (*known, *(note for note in odd if note not in known))
    job = replace(job, model=talk.card.model, notes=notes)
    return Output(job=job, urls=found.urls) if isinstance(found, Output) else job


def _wait(
    talk: Talk, found: Job | Output, spacing: Sequence[float]
) -> Generator[Effect, Answer, Output]:
    """Poll until the job has ended; whatever a poll meets, the job is never submitted again."""
    talk.job = _job(found)
    trouble: UnifiedFluxError | None = None
    least = 0.0
    attempt = 0
    while True:
        if isinstance(found, Output):
            return _complete(found)
        if found.failure is not None:
            yield from talk.tell(Phase.FAILED, found)
            raise found.failure
        wait = max(talk.at_pace(talk.rng.uniform(*spacing)), least)
        if trouble is not None:
            wait = max(wait, talk.before_again(attempt))
        if talk.now >= talk.deadline:
            raise _timeout(talk, found, trouble)
        yield from talk.pause(min(wait, talk.deadline - talk.now))
        verdict = yield from talk.exchange(talk.adapter.poll(found))
        spacing, least = talk.card.facts["polling"]["every"], LEAST_PAUSE
        answer = _understood(talk, verdict, found)
        if isinstance(answer, Verdict):
            trouble, attempt = answer.error, attempt + 1
            _give_up_polling(answer)
            continue
        trouble, attempt = None, 0
        new = _job(answer).notes[len(found.notes) :]
        found = answer
        if new or _job(found).phase is Phase.RUNNING:
            yield from talk.tell(Phase.RUNNING, _job(found), "; ".join(new) or None)


def _give_up_polling(verdict: Verdict) -> None:
    """Without a right or an address to ask at, waiting helps nobody; everything else may pass."""
    trouble = verdict.error
    nowhere = verdict.response is None and isinstance(trouble, ProtocolError)
    if nowhere or isinstance(trouble, Unauthorized):
        trouble.charged = Charged.MAYBE
        trouble.message += "; the accepted job goes on without us"
        raise trouble


def _complete(output: Output) -> Output:
    if not output.urls:
        raise ProtocolError(
            f'the job is "{output.job.word}" and names no picture', charged=Charged.MAYBE
        )
    return output


def _timeout(talk: Talk, job: Job, trouble: UnifiedFluxError | None) -> JobTimeout:
    last = f"; the last poll failed: {trouble.message}" if trouble else ""
    return JobTimeout(
        f"the job is not done after {talk.pace.timeout:g} s and goes on at {job.provider}{last}",
        job=job,
        charged=Charged.MAYBE,
    )


def _fetch(talk: Talk, job: Job, url: str) -> Generator[Effect, Answer, Blob]:
    """Download one picture; each redirect is a new stranger's URL that the transport vets."""
    give_up = min(talk.now + talk.pace.retry_within, talk.deadline)
    for _ in range(MAX_REDIRECTS):
        wire = WireRequest(purpose=Purpose.FETCH, url=url, signed=False)
        verdict = yield from insist(talk, wire, give_up, _may_come)
        response = verdict.response
        if verdict.fate is Fate.ANSWERED and response is not None and response.blob is not None:
            return _picture(response.blob, job)
        if response is None or not 300 <= response.status < 400:
            break
        url = _joined(url, response.headers.get("location", ""))
    reason = _why(verdict)
    raise DownloadFailed(
        f"the picture was made and could not be fetched: {reason}",
        job=job,
        charged=charged(job.charge),
    )


def _picture(blob: Blob, job: Job) -> Blob:
    """The blob itself where it is a picture; whoever takes it on may rely on its header."""
    if blob.header is None:
        raise DownloadFailed(
            f"what was fetched is no picture that we know; it is kept at {blob.path}",
            job=job,
            charged=charged(job.charge),
        )
    return blob


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; what cannot be read is left for the guard to refuse."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _may_come(verdict: Verdict) -> bool:
    """A picture that is not there yet may come; a redirect or a forbidden address stays one."""
    return not isinstance(verdict.trouble, (ProtocolError, DownloadFailed))


def _why(verdict: Verdict) -> str:
    if isinstance(verdict.trouble, ProviderError):
        return f"its address answered HTTP {verdict.trouble.status}"
    return verdict.trouble.message if verdict.trouble else "its address answered without a picture"
