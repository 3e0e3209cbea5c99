"""The retry table, and the state of one conversation that keeps to it.

What may be sent again is decided here alone: `_FATES` and `judge` say what became of an exchange,
and `Talk` knows the time, the pace that the provider asks for and how long to back off.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from unified_flux.adapter import Adapter
from unified_flux.contract import Card
from unified_flux.effects import (
    Accepted,
    Answer,
    Effect,
    Event,
    Exchange,
    Fact,
    Intent,
    Pause,
    Settled,
)
from unified_flux.errors import (
    Charged,
    NotDelivered,
    OutcomeUnknown,
    ProtocolError,
    ProviderError,
    TransportError,
    UnifiedFluxError,
)
from unified_flux.text import safe
from unified_flux.wire import Job, Phase, Purpose, WireRequest, WireResponse

T = TypeVar("T")
Steps = Generator[Effect, Answer, T]


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


# However late it is, an answer is given this long, in seconds.
LEAST_WAIT = 1.0


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
    refusal = _refusal(adapter, answer.response)
    usual = Fate.DECIDED if status < 500 else Fate.UNKNOWN
    fate = Fate.NOT_TAKEN if refusal.code in adapter.not_taken else _FATES.get(status, usual)
    return Verdict(fate, answer.response, refusal)


def _refusal(adapter: Adapter, response: WireResponse) -> ProviderError:
    """The plugin's reading of a refusal, or the base's where the plugin slips."""
    try:
        return adapter.refusal(response)
    except Exception:
        return Adapter.refusal(adapter, response)


class Talk:
    """The state of one conversation: when it is, when it must end, which job it is about.

    `id` is our own name of the job; a conversation that is about none has none.
    """

    def __init__(
        self,
        adapter: Adapter,
        card: Card | None,
        pace: Pace,
        rng: random.Random,
        *,
        id: str = "",
        idempotency_key: str = "",
    ) -> None:
        self.adapter = adapter
        self.id = id
        self.key = idempotency_key
        self._card = card
        self.pace = pace
        self.rng = rng
        self.started = self.now = 0.0
        self.retry_after: float | None = None
        self.job: Job | None = None
        # Begun to send; decided; an earlier submit may have been taken, whatever comes of this one.
        self.sending = self.settled = self.doubted = False
        self.troubles: tuple[str, ...] = ()

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

    def begin(self) -> Steps[None]:
        """Learn what time it is."""
        yield from self.tell(Phase.PREPARED)
        self.started = self.now

    def tell(self, phase: Phase, job: Job | None = None, note: str | None = None) -> Steps[None]:
        """Tell the caller where the job stands."""
        self.job = job or self.job
        self.now = (yield Event(phase, self.job, note)).now

    def keep(self, fact: Fact) -> Steps[float]:
        """Have a fact put on disk; the seconds that it had to wait for its turn.

        Raises:
            UnifiedFluxError: Where the first intent to pay cannot be kept. Later that is only noted.
        """
        self.job = fact.job or self.job
        self.settled = self.settled or isinstance(fact, Settled)
        answer = yield fact
        self.now = answer.now
        # Standing in a queue is no part of the time that a picture is given.
        self.started += answer.held
        if answer.fault is not None and isinstance(fact, Intent) and not self.sending:
            raise answer.fault
        self.sending = self.sending or isinstance(fact, (Intent, Accepted))
        if answer.fault is not None:
            self.troubles += (answer.fault.message,)
        return answer.held

    def exchange(self, request: WireRequest) -> Steps[Verdict]:
        """Make an exchange and judge it.

        The answer to a paid submit is waited for, whatever the deadline: it is worth more than time.
        """
        paid = request.purpose is Purpose.SUBMIT
        left = None if paid else max(self.deadline - self.now, LEAST_WAIT)
        answer = yield Exchange(request, left)
        self.now = answer.now
        self.retry_after = answer.response.retry_after if answer.response else None
        return judge(self.adapter, answer)

    def pause(self, seconds: float) -> Steps[None]:
        """Let time pass."""
        self.now = (yield Pause(seconds)).now

    def backoff(self, attempt: int) -> float:
        """Full jitter: anything up to a ceiling that doubles."""
        ceiling = min(self.pace.backoff_cap, self.pace.backoff * 2.0 ** min(attempt, 16))
        return self.rng.uniform(0.1, 1.0) * ceiling

    def at_pace(self, wait: float) -> float:
        """The provider's own pace where its last answer named one, else `wait`."""
        return wait if self.retry_after is None else self.retry_after

    def before_again(self, attempt: int) -> float:
        """Before trying again what failed: backing off, and never sooner than the provider asked."""
        return max(self.retry_after or 0.0, self.backoff(attempt))

    def blame(self, cause: Exception) -> Steps[UnifiedFluxError]:
        """An error of ours that knows where it happened, whatever went wrong; what it decides is kept.

        A slip in a plugin or here says that money may be gone as soon as a paid submit was begun.
        """
        if isinstance(cause, UnifiedFluxError):
            error = cause
        else:
            error = slip(self.adapter.name, cause)
            error.charged = Charged.MAYBE if self.sending else Charged.NO
        error.provider = error.provider or self.adapter.name
        error.model = error.model or (self._card.model if self._card else None)
        error.job = error.job or self.job
        error.id = error.id or self.id or None
        if self.doubted and error.charged is Charged.NO:
            error.charged = Charged.MAYBE
        if self.id and self.job is None and not self.settled:
            yield from self.keep(Settled(self._end(error), id=self.id, error=error))
        untold = [trouble for trouble in self.troubles if trouble not in error.message]
        error.message = "; ".join([error.message, *untold])
        return error

    def _end(self, error: UnifiedFluxError) -> Phase:
        """What became of a job that no answer ever named."""
        if self.doubted:
            return Phase.UNKNOWN
        if not self.sending:
            return Phase.CANCELLED
        return Phase.REFUSED if error.charged is Charged.NO else Phase.UNKNOWN


def slip(plugin: str, error: Exception) -> UnifiedFluxError:
    """Something that is no error of ours, as one: a fault in the plugin or in unified-flux."""
    if isinstance(error, UnifiedFluxError):
        return error
    said = safe(repr(error), 200)
    return ProtocolError(f"a fault in the plugin {plugin} or in unified-flux: {said}")


def insist(
    talk: Talk,
    request: WireRequest,
    give_up: float,
    passing: Callable[[Verdict], bool] = lambda verdict: verdict.fate is not Fate.DECIDED,
) -> Steps[Verdict]:
    """Repeat an exchange that costs nothing until it is answered, out of time, or not `passing`."""
    attempt = 0
    while True:
        verdict = yield from talk.exchange(request)
        wait = talk.before_again(attempt)
        final = verdict.fate is Fate.ANSWERED or not passing(verdict)
        if final or talk.now + wait > give_up:
            return verdict
        yield from talk.pause(wait)
        attempt += 1


def answered(talk: Talk, request: WireRequest) -> Steps[WireResponse]:
    """The good answer of an exchange that costs nothing, or its last trouble raised.

    Where its outcome is unknown no money is, so that trouble is told as not delivered.
    """
    give_up = min(talk.now + talk.pace.retry_within, talk.deadline)
    verdict = yield from insist(talk, request, give_up)
    if verdict.fate is Fate.ANSWERED and verdict.response is not None:
        return verdict.response
    error = verdict.error
    raise NotDelivered(error.message) if isinstance(error, OutcomeUnknown) else error
