"""The whole conversation of one picture's job, as a generator that yields what it wants done.

    translate → check → upload → submit → poll → fetch

It has no socket, clock or sleep: each effect's answer carries `now`, the random source and the
idempotency key are given. What may be sent again is decided by one table, `_FATES`, and the rule
that a paid submit whose outcome is unknown is only ever repeated under its own idempotency key.
"""

from __future__ import annotations

import random
from collections.abc import Generator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, NoReturn
from urllib.parse import urljoin

from unified_flux.adapter import Adapter, charged
from unified_flux.contract import Card, load_answers
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
    TransportError,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """Make this exchange."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Pause:
    """Let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the caller; `ACCEPTED` comes before the first poll, with the job."""

    phase: Phase
    job: Job | None = None
    note: str | None = None


Effect = Exchange | Pause | Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an effect came to, and when. An exchange has a response or a fault."""

    now: float
    response: WireResponse | None = None
    fault: UnifiedFluxError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Time budgets, in seconds.

    Attributes:
        timeout: For the whole flow, until the picture is done.
        retry_within: For getting an unpaid or refused exchange through.
        resend_within: For sending a submit of unknown outcome again under its own key. No provider
            documents how long it remembers a key; ten minutes is far below the 24 hours that are
            usual elsewhere.
        backoff, backoff_cap: First and longest wait between tries, before jitter.
    """

    timeout: float = 300.0
    retry_within: float = 60.0
    resend_within: float = 600.0
    backoff: float = 0.5
    backoff_cap: float = 20.0


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
    """A picture's job at its end. `translation` is None for a job that was only followed."""

    job: Job
    blobs: tuple[Blob, ...]
    seconds: float
    translation: Translation | None = None
    payload: Any = None


Flow = Generator[Effect, Answer, Finished]


class Fate(Enum):
    """What became of an exchange, as the retry table of docs/errors.md distinguishes it."""

    ANSWERED = auto()
    NOT_DELIVERED = auto()
    NOT_TAKEN = auto()
    UNKNOWN = auto()
    DECIDED = auto()


# A 307 or 308 says that nothing was done here; the older redirects may follow work that was.
_FATES = {429: Fate.NOT_TAKEN, 408: Fate.UNKNOWN, 307: Fate.DECIDED, 308: Fate.DECIDED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An exchange's fate, and the answer or the trouble that it came to."""

    fate: Fate
    response: WireResponse | None = None
    trouble: UnifiedFluxError | None = None

    @property
    def error(self) -> UnifiedFluxError:
        """The trouble of an exchange that was not answered well."""
        return self.trouble or ProtocolError("the exchange ended without answer or fault")


def judge(adapter: Adapter, answer: Answer) -> Verdict:
    """Which row of the retry table an answer falls under."""
    if answer.response is None:
        lost = Fate.NOT_DELIVERED if isinstance(answer.fault, NotDelivered) else Fate.UNKNOWN
        known = isinstance(answer.fault, TransportError)
        return Verdict(lost if known else Fate.DECIDED, trouble=answer.fault)
    status = answer.response.status
    if 200 <= status < 300:
        return Verdict(Fate.ANSWERED, response=answer.response)
    if 300 <= status < 400:
        where = safe(answer.response.headers.get("location", "nowhere"), 120)
        trouble: UnifiedFluxError = ProtocolError(
            f"{adapter.name} answered with a redirect to {where}; a key never follows one"
        )
        return Verdict(_FATES.get(status, Fate.UNKNOWN), answer.response, trouble)
    refusal = adapter.refusal(answer.response)
    usual = Fate.DECIDED if status < 500 else Fate.UNKNOWN
    fate = Fate.NOT_TAKEN if refusal.reason in adapter.not_taken else _FATES.get(status, usual)
    return Verdict(fate, answer.response, refusal)


def generate(ask: Ask) -> Flow:
    """The flow of one picture, from request to bytes.

    Raises:
        UnifiedFluxError: Whatever the retry table cannot mend, with provider, model and job on it.
    """
    talk = _Talk(ask.adapter, ask.card, ask.pace, ask.chance)
    try:
        translation = ask.adapter.translate(ask.request, ask.card, ask.references)
        require(translation, ask.policy)
        yield from talk.begin()
        payload = yield from _upload(talk, translation.payload, ask.uploads)
        wire = ask.adapter.submit(payload, ask.card, ask.idempotency_key)
        found = yield from _submit(talk, wire)
        yield from talk.tell(Phase.ACCEPTED, _job(found))
        return (yield from _finish(talk, found, translation, payload))
    except UnifiedFluxError as error:
        talk.blame(error)


def follow(adapter: Adapter, card: Card, job: Job, pace: Pace, chance: random.Random) -> Flow:
    """The flow of a job that is already accepted: poll and fetch, never submit."""
    talk = _Talk(adapter, card, pace, chance)
    try:
        yield from talk.begin()
        talk.asked = 0.0
        return (yield from _finish(talk, job, None, None))
    except UnifiedFluxError as error:
        talk.blame(error)


def bring_references(ask: Ask) -> Generator[Effect, Answer, None]:
    """Upload what several sibling flows will share, once, into `ask.uploads`."""
    talk = _Talk(ask.adapter, ask.card, ask.pace, ask.chance)
    try:
        translation = ask.adapter.translate(ask.request, ask.card, ask.references)
        require(translation, ask.policy)
        yield from talk.begin()
        yield from _upload(talk, translation.payload, ask.uploads)
    except UnifiedFluxError as error:
        talk.blame(error)


def inquire(
    adapter: Adapter, request: WireRequest, pace: Pace, chance: random.Random
) -> Generator[Effect, Answer, WireResponse]:
    """The flow of one question that costs nothing, such as the balance."""
    talk = _Talk(adapter, None, pace, chance)
    try:
        yield from talk.begin()
        verdict = yield from _insist(talk, request, pace.retry_within)
        if verdict.fate is not Fate.ANSWERED or verdict.response is None:
            raise _harmless(verdict.error)
    except UnifiedFluxError as error:
        talk.blame(error)
    return verdict.response


def _finish(
    talk: _Talk, found: Job | Output, translation: Translation | None, payload: Any
) -> Flow:
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
        payload=payload,
    )


class _Talk:
    """The state of one conversation: when it is, when it must end, which job it is about."""

    def __init__(
        self, adapter: Adapter, card: Card | None, pace: Pace, chance: random.Random
    ) -> None:
        self.adapter = adapter
        self._card = card
        self.pace = pace
        self.chance = chance
        self.started = self.now = 0.0
        self.asked: float | None = None
        self.job: Job | None = None

    @property
    def card(self) -> Card:
        """The model that is spoken to; an inquiry has none and asks for none."""
        if self._card is None:
            raise LookupError("this conversation is about no model")
        return self._card

    @property
    def deadline(self) -> float:
        """When the flow gives up, on the answers' clock."""
        return self.started + self.pace.timeout

    def begin(self) -> Generator[Effect, Answer, None]:
        """Learn what time it is."""
        yield from self.tell(Phase.PREPARED)
        self.started = self.now

    def tell(
        self, phase: Phase, job: Job | None = None, note: str | None = None
    ) -> Generator[Effect, Answer, None]:
        """Tell the caller where the job stands."""
        self.job = job or self.job
        self.now = (yield Event(phase, self.job, note)).now

    def exchange(self, request: WireRequest) -> Generator[Effect, Answer, Verdict]:
        """Make an exchange and judge it."""
        answer = yield Exchange(request)
        self.now = answer.now
        self.asked = answer.response.retry_after if answer.response else None
        return judge(self.adapter, answer)

    def pause(self, seconds: float) -> Generator[Effect, Answer, None]:
        """Let time pass."""
        self.now = (yield Pause(seconds)).now

    def backoff(self, attempt: int) -> float:
        """Full jitter: anything up to a ceiling that doubles."""
        ceiling = min(self.pace.backoff_cap, self.pace.backoff * 2.0 ** min(attempt, 16))
        return self.chance.uniform(0.1, 1.0) * ceiling

    def at_pace(self, wait: float) -> float:
        """The provider's own pace where its last answer named one, else `wait`."""
        return wait if self.asked is None else self.asked

    def blame(self, error: UnifiedFluxError) -> NoReturn:
        """Raise an error that knows where it happened."""
        error.provider = error.provider or self.adapter.name
        error.model = error.model or (self._card.model if self._card else None)
        error.job = error.job or self.job
        raise error


def _job(found: Job | Output) -> Job:
    return found.job if isinstance(found, Output) else found


def _insist(talk: _Talk, request: WireRequest, budget: float) -> Generator[Effect, Answer, Verdict]:
    """Repeat an exchange that costs nothing until it is answered, decided or out of time."""
    give_up = talk.now + budget
    attempt = 0
    while True:
        verdict = yield from talk.exchange(request)
        wait = talk.at_pace(talk.backoff(attempt))
        final = verdict.fate in {Fate.ANSWERED, Fate.DECIDED}
        if final or talk.now + wait > give_up:
            return verdict
        yield from talk.pause(wait)
        attempt += 1


def _upload(
    talk: _Talk, payload: Any, uploads: MutableMapping[str, str]
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
            verdict = yield from _insist(talk, wire, talk.pace.retry_within)
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


def _submit(talk: _Talk, wire: WireRequest) -> Generator[Effect, Answer, Job | Output]:
    """The one paid exchange, through the retry table, until it is accepted or given up."""
    unknown: UnifiedFluxError | None = None
    give_up = min(talk.now + talk.pace.retry_within, talk.deadline)
    attempt = 0
    while True:
        yield from talk.tell(Phase.SENDING)
        verdict = yield from talk.exchange(wire)
        found = _accepted(talk, verdict)
        if isinstance(found, (Job, Output)):
            return found
        verdict = found
        if verdict.fate is Fate.UNKNOWN and unknown is None:
            unknown = verdict.error
            give_up = min(talk.now + talk.pace.resend_within, talk.deadline)
        if unknown is not None and not talk.adapter.idempotent:
            raise _unknown(talk, unknown)
        wait = talk.at_pace(talk.backoff(attempt))
        if verdict.fate is Fate.DECIDED or talk.now + wait > give_up:
            raise _unknown(talk, unknown, verdict.error) if unknown else verdict.error
        yield from talk.pause(wait)
        attempt += 1


def _accepted(talk: _Talk, verdict: Verdict) -> Job | Output | Verdict:
    """The job that an answer names; a good status around nonsense tells nothing of the outcome."""
    if verdict.fate is not Fate.ANSWERED or verdict.response is None:
        return verdict
    try:
        return _read(talk, verdict.response)
    except ProtocolError as error:
        return Verdict(Fate.UNKNOWN, verdict.response, error)


def _unknown(
    talk: _Talk, first: UnifiedFluxError, last: UnifiedFluxError | None = None
) -> OutcomeUnknown:
    """The error of a submit that may have been taken."""
    later = f"; sent again under the same key: {last.message}" if last and last is not first else ""
    name = talk.adapter.name
    return OutcomeUnknown(
        f"{name} may or may not have taken the paid submit: {first.message}{later}",
        charged=Charged.MAYBE,
        request_id=first.request_id,
        next_step=f"Look at your account at {name} before asking again: it may hold the picture "
        "and have charged for it. Nothing will be sent again by itself.",
    )


def _read(talk: _Talk, response: WireResponse) -> Job | Output:
    """The answer of a submit or poll, with what is odd about it as notes."""
    found = talk.adapter.read(response, talk.card.model)
    answers = load_answers(talk.adapter.name, talk.adapter.card_package)
    odd = [f"answer: {v.path} {v.message}" for v in answers.violations(response.object())]
    job = _job(found)
    if job.word not in talk.adapter.phases:
        odd.append(f'unknown status word "{safe(job.word, 60)}", taken for still running')
    known = talk.job.notes if talk.job else ()
    job = replace(job, notes=(*known, *(note for note in odd if note not in known)))
    return replace(found, job=job) if isinstance(found, Output) else job


def _wait(talk: _Talk, found: Job | Output) -> Generator[Effect, Answer, Output]:
    """Poll until the job has ended; whatever a poll meets, the job is never submitted again."""
    talk.job = _job(found)
    trouble: UnifiedFluxError | None = None
    spacing = talk.card.facts["polling"]["first"]
    attempt = 0
    while True:
        if isinstance(found, Output):
            return _complete(found)
        if found.failure is not None:
            raise found.failure
        wait = talk.at_pace(talk.chance.uniform(*spacing))
        if trouble is not None:
            wait = max(wait, talk.backoff(attempt))
        if talk.now >= talk.deadline:
            raise _timeout(talk, found, trouble)
        yield from talk.pause(min(wait, talk.deadline - talk.now))
        verdict = yield from talk.exchange(talk.adapter.poll(found))
        spacing = talk.card.facts["polling"]["every"]
        answer = _accepted(talk, verdict)
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
        trouble.next_step = "The job goes on without us; mend the cause, then resume it."
        raise trouble


def _complete(output: Output) -> Output:
    if not output.urls:
        raise ProtocolError(
            f'the job is "{output.job.word}" and names no picture', charged=Charged.MAYBE
        )
    return output


def _timeout(talk: _Talk, job: Job, trouble: UnifiedFluxError | None) -> JobTimeout:
    last = f"; the last poll failed: {trouble.message}" if trouble else ""
    return JobTimeout(
        f"the job is not done after {talk.pace.timeout:g} s and goes on at {job.provider}{last}",
        job=job,
        charged=Charged.MAYBE,
    )


def _fetch(talk: _Talk, job: Job, url: str) -> Generator[Effect, Answer, Blob]:
    """Download one picture; each redirect is a new stranger's URL that the transport vets."""
    give_up = talk.now + talk.pace.retry_within
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
    talk: _Talk, wire: WireRequest, give_up: float
) -> Generator[Effect, Answer, Verdict]:
    """Fetching again is always safe, and a picture that is not there yet may come."""
    attempt = 0
    while True:
        verdict = yield from talk.exchange(wire)
        status = verdict.response.status if verdict.response else None
        wait = talk.at_pace(talk.backoff(attempt))
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
