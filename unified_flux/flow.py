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
    NotDelivered,
    OutcomeUnknown,
    Problem,
    ProtocolError,
    ProviderError,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.retry import Fate, Pace, Talk, Verdict, insist
from unified_flux.text import safe
from unified_flux.translation import Translation, fill, require
from unified_flux.wire import (
    Blob,
    Job,
    OpenedReference,
    Output,
    Phase,
    Placeholder,
    Purpose,
    WireRequest,
    WireResponse,
)

MAX_REDIRECTS = 5
# Even a provider that names no pause between polls gets one, in seconds.
LEAST_PAUSE = 0.05


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
    chance: random.Random = field(default_factory=random.Random)
    uploads: MutableMapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A picture's job at its end; `translation` is None for a job that was only followed."""

    job: Job
    blobs: tuple[Blob, ...]
    seconds: float
    translation: Translation | None = None


Flow = Generator[Effect, Answer, Finished]


def generate(ask: Ask) -> Flow:
    """The flow of one picture, from request to bytes.

    Raises:
        UnifiedFluxError: Whatever the retry table cannot mend, with provider, model and job on it.
    """
    talk = Talk(ask.adapter, ask.card, ask.pace, ask.chance)
    try:
        translation = _translate(ask)
        yield from talk.begin()
        payload = yield from _upload(talk, translation.payload, ask.uploads)
        wire = ask.adapter.submit(payload, ask.card, ask.idempotency_key)
        found = yield from _submit(talk, wire)
        yield from talk.tell(Phase.ACCEPTED, _job(found), "; ".join(_job(found).notes) or None)
        return (yield from _finish(talk, found, translation))
    except UnifiedFluxError as error:
        talk.blame(error)


def follow(adapter: Adapter, card: Card, job: Job, pace: Pace, chance: random.Random) -> Flow:
    """The flow of a job that is already accepted: poll and fetch, never submit."""
    talk = Talk(adapter, card, pace, chance)
    try:
        yield from talk.begin()
        talk.asked = 0.0
        return (yield from _finish(talk, job, None))
    except UnifiedFluxError as error:
        talk.blame(error)


def bring_references(ask: Ask) -> Generator[Effect, Answer, None]:
    """Upload what several sibling flows will share, once, into `ask.uploads`."""
    talk = Talk(ask.adapter, ask.card, ask.pace, ask.chance)
    try:
        translation = _translate(ask)
        yield from talk.begin()
        yield from _upload(talk, translation.payload, ask.uploads)
    except UnifiedFluxError as error:
        talk.blame(error)


def inquire(
    adapter: Adapter, request: WireRequest, pace: Pace, chance: random.Random
) -> Generator[Effect, Answer, WireResponse]:
    """The flow of one question that costs nothing, such as the balance."""
    talk = Talk(adapter, None, pace, chance)
    try:
        yield from talk.begin()
        verdict = yield from insist(talk, request, pace.retry_within)
        if verdict.fate is not Fate.ANSWERED or verdict.response is None:
            raise _harmless(verdict.error)
    except UnifiedFluxError as error:
        talk.blame(error)
    return verdict.response


def _translate(ask: Ask) -> Translation:
    return require(ask.adapter.translate(ask.request, ask.card, ask.references), ask.policy)


def _finish(talk: Talk, found: Job | Output, translation: Translation | None) -> Flow:
    output = yield from _wait(talk, found)
    yield from talk.tell(Phase.FETCHING, output.job)
    blobs: tuple[Blob, ...] = ()
    for url in output.urls:
        blobs += ((yield from _fetch(talk, output.job, url)),)
    yield from talk.tell(Phase.DONE, output.job)
    return Finished(
        job=output.job,
        blobs=blobs,
        seconds=talk.now - talk.started,
        translation=translation,
    )


def _job(found: Job | Output) -> Job:
    return found.job if isinstance(found, Output) else found


def _upload(
    talk: Talk, payload: Any, uploads: MutableMapping[str, str]
) -> Generator[Effect, Answer, Any]:
    """Bring local references to a provider that wants them by URL; the filled payload."""
    if talk.card.references.get("local") != "upload":
        return payload
    references = {p.reference.sha256: p.reference for p in _placeholders(payload)}
    if not references:
        return payload
    for sha256, reference in references.items():
        if sha256 not in uploads:
            yield from talk.tell(Phase.UPLOADING)
            wire = talk.adapter.upload(reference, talk.card)
            verdict = yield from insist(talk, wire, talk.pace.retry_within)
            if verdict.fate is not Fate.ANSWERED or verdict.response is None:
                raise _harmless(verdict.error)
            uploads[sha256] = talk.adapter.read_upload(verdict.response).url
    filled = fill(payload, dict(uploads))
    broken = talk.card.checker.violations(filled)
    if broken:
        problems = [Problem(field=v.path, message=v.message) for v in broken]
        raise ContractViolation("the uploaded references break the contract", problems=problems)
    return filled


def _harmless(error: UnifiedFluxError) -> UnifiedFluxError:
    """Uploads and questions cost nothing: where their outcome is unknown, no money is."""
    return NotDelivered(error.message) if isinstance(error, OutcomeUnknown) else error


def _placeholders(payload: Any) -> list[Placeholder]:
    if isinstance(payload, Placeholder):
        return [payload]
    inner = payload.values() if isinstance(payload, dict) else payload
    if not isinstance(payload, (dict, list)):
        return []
    return [placeholder for value in inner for placeholder in _placeholders(value)]


def _submit(talk: Talk, wire: WireRequest) -> Generator[Effect, Answer, Job | Output]:
    """The one paid exchange, through the retry table, until it is accepted or given up."""
    unknown: UnifiedFluxError | None = None
    give_up = min(talk.now + talk.pace.retry_within, talk.deadline)
    attempt = 0
    while True:
        yield from talk.tell(Phase.SENDING)
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
    except Exception as error:
        slip = ProtocolError(
            f"the plugin {talk.adapter.name} cannot read the answer: {error!r:.200}"
        )
        return Verdict(Fate.UNKNOWN, verdict.response, slip)
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
    return OutcomeUnknown(
        f"{name} may or may not have taken the paid submit: {first.message}{later}",
        charged=Charged.MAYBE,
        request_id=first.request_id,
        next_step=f"Look at your account at {name} before asking again: it may hold the picture "
        "and have charged for it. Nothing will be sent again by itself.",
    )


def _read(talk: Talk, response: WireResponse) -> Job | Output:
    """The answer of a submit or poll, with what is odd about it as notes."""
    found = talk.adapter.read(response, talk.card.model)
    job = _job(found)
    odd = []
    # Only what ends a job is worth the check: of a running one nothing is read but id and word.
    if job.phase is not Phase.RUNNING:
        answers = load_answers(talk.adapter.name, talk.adapter.card_package)
        odd = [f"answer: {v.path} {v.message}" for v in answers.violations(response.object())]
    if job.word not in talk.adapter.phases:
        odd.append(f'unknown status word "{safe(job.word, 60)}", taken for still running')
    known = talk.job.notes if talk.job else ()
    job = replace(job, notes=(*known, *(note for note in odd if note not in known)))
    return replace(found, job=job) if isinstance(found, Output) else job


def _wait(talk: Talk, found: Job | Output) -> Generator[Effect, Answer, Output]:
    """Poll until the job has ended; whatever a poll meets, the job is never submitted again."""
    talk.job = _job(found)
    trouble: UnifiedFluxError | None = None
    spacing, least = talk.card.facts["polling"]["first"], 0.0
    attempt = 0
    while True:
        if isinstance(found, Output):
            return _complete(found)
        if found.failure is not None:
            raise found.failure
        wait = max(talk.at_pace(talk.chance.uniform(*spacing)), least)
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
        verdict = yield from _insist_fetch(talk, wire, give_up)
        response = verdict.response
        if verdict.fate is Fate.ANSWERED and response is not None and response.blob is not None:
            return response.blob
        if response is None or not 300 <= response.status < 400:
            break
        url = urljoin(url, response.headers.get("location", ""))
    reason = _why(verdict)
    raise DownloadFailed(
        f"the picture was made and could not be fetched: {reason}",
        job=job,
        charged=charged(job.charge),
    )


def _insist_fetch(
    talk: Talk, wire: WireRequest, give_up: float
) -> Generator[Effect, Answer, Verdict]:
    """Fetching again is always safe, and a picture that is not there yet may come."""
    attempt = 0
    while True:
        verdict = yield from talk.exchange(wire)
        status = verdict.response.status if verdict.response else None
        wait = talk.before_again(attempt)
        passing = verdict.fate is not Fate.ANSWERED and (status is None or status >= 400)
        final = isinstance(verdict.trouble, (ProtocolError, DownloadFailed)) or not passing
        if final or talk.now + wait > give_up:
            return verdict
        yield from talk.pause(wait)
        attempt += 1


def _why(verdict: Verdict) -> str:
    if isinstance(verdict.trouble, ProviderError):
        return f"its address answered HTTP {verdict.trouble.status}"
    return verdict.trouble.message if verdict.trouble else "its address answered without a picture"
