"""How a job is taken up where it was left: by its phase, one flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from unified_flux import flow
from unified_flux.errors import (
    Charged,
    ConfigurationError,
    InvalidRequest,
    NotDelivered,
    OutcomeUnknown,
    UnifiedFluxError,
)
from unified_flux.fetching import Finished
from unified_flux.flow import Ask, Flow
from unified_flux.outcomes import resume_command
from unified_flux.record import WORDS, Record, rebuilt
from unified_flux.request import ImageRequest
from unified_flux.settings import url_name
from unified_flux.spool import SpooledFile
from unified_flux.wire import Job, Phase

_DIED = "the process ended while the paid submit was on its way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A record that is taken up.

    Attributes:
        place: Where the jobs live that can be reached.
        now: The time of day in milliseconds.
        key_mark: Of the key that is in use now.
        resubmit: The caller's word to risk a second paid submit where the first's outcome is unknown.
    """

    record: Record
    ask: Ask
    place: str
    now: int
    key_mark: str | None
    resubmit: bool = False


def next_flow(taken: Taken) -> Flow:
    """The flow that goes on with a job.

    Raises:
        UnifiedFluxError: Where its end is known already, and brought nothing.
    """
    record = taken.record
    blobs = on_disk(record) if record.phase is Phase.SAVED else None
    if blobs is not None:
        return _at_hand(record, blobs)
    if record.place != taken.place:
        raise _elsewhere(record, taken.place)
    return _NEXT[record.phase](taken)


def _sending(taken: Taken) -> Flow:
    """Nobody saw the answer: the same bytes again where the provider takes them for the same job."""
    record, ask = taken.record, taken.ask
    left = ask.pace.resend_within - _age(taken)
    if not ask.adapter.idempotent or record.submit is None:
        why = f"{record.provider} knows no idempotency keys"
        return flow.give_up(ask, OutcomeUnknown(f"{_DIED}; it is not sent again: {why}"))
    if left <= 0:
        why = "its idempotency key may be forgotten by now"
        return flow.give_up(ask, OutcomeUnknown(f"{_DIED}; it is not sent again: {why}"))
    if record.key_mark != taken.key_mark:
        # Nothing is decided by it: with the right key it can be sent again for a while.
        raise _with_another_key(
            record, f"Recover with the key that it was made with, within {left:.0f} s."
        )
    return flow.resend(ask, record.submit, OutcomeUnknown(_DIED), left)


def _age(taken: Taken) -> float:
    """Seconds since the first sending, without end where a clock that was set back hides it."""
    age = (taken.now - (taken.record.sending_at or 0)) / 1000
    return age if age >= 0 else float("inf")


def _with_another_key(record: Record, next_step: str) -> ConfigurationError:
    """Another account would take the same submit for a new job."""
    return ConfigurationError(
        f"nobody knows whether the paid submit of {record.id} was taken, and {record.provider}'s key "
        "is another one now, perhaps of another account",
        charged=Charged.MAYBE,
        next_step=next_step,
    )


def _unknown(taken: Taken) -> Flow:
    record, ask = taken.record, taken.ask
    first = record.trouble or OutcomeUnknown(_DIED, charged=Charged.MAYBE)
    if not taken.resubmit:
        raise first
    unknown = OutcomeUnknown(first.message.removeprefix(f"{record.provider}{flow.IN_DOUBT}"))
    if record.submit is None:
        return flow.generate(ask, unknown)
    if record.key_mark != taken.key_mark:
        raise _with_another_key(
            record, "Set the key that it was made with, or ask anew: generate --again."
        )
    return flow.resend(ask, record.submit, unknown, ask.pace.retry_within)


def _accepted(taken: Taken) -> Flow:
    return flow.follow(taken.ask, _job(taken.record))


def _done(taken: Taken) -> Flow:
    record = taken.record
    output = record.output
    return flow.rescue(taken.ask, output) if output else _accepted(taken)


def _at_hand(record: Record, blobs: tuple[SpooledFile, ...]) -> Flow:
    took = (record.saved_at or 0) - (record.prepared_at or 0)
    return Finished(job=_job(record), blobs=blobs, seconds=took / 1000)
    yield


def _over(taken: Taken) -> NoReturn:
    record = taken.record
    raise record.trouble or NotDelivered(
        f"the job {record.id} was {record.phase} and nothing was sent", next_step="Ask again."
    )


_NEXT: dict[Phase, Callable[[Taken], Flow]] = {
    Phase.PREPARED: _over,
    Phase.SENDING: _sending,
    Phase.ACCEPTED: _accepted,
    Phase.DONE: _done,
    Phase.SAVED: _done,
    Phase.UNKNOWN: _unknown,
    Phase.REFUSED: _over,
    Phase.FAILED: _over,
    Phase.CANCELLED: _over,
}


def on_disk(record: Record) -> tuple[SpooledFile, ...] | None:
    """Every picture of a job as a file on this disk, None where one is gone or not what it was."""
    blobs = []
    for kept in record.outputs:
        places = [place for place in (kept.spooled, kept.path) if place and kept.sha256]
        found = next((b for p in places if (b := SpooledFile.found(p, str(kept.sha256)))), None)
        if found is None:
            return None
        blobs.append(found)
    return tuple(blobs) or None


def is_missing(record: Record) -> bool:
    """Whether a picture of a job is on no disk here, as far as its name and size tell."""
    return not all(
        any(_has(place, kept.size) for place in (kept.spooled, kept.path))
        for kept in record.outputs
    )


def _has(place: Path | None, size: int | None) -> bool:
    try:
        return place is not None and place.stat().st_size == size
    except OSError:
        return False


def _job(record: Record) -> Job:
    if record.job is None:
        raise LookupError("an accepted job has a name")
    return record.job


def asked_again(record: Record, at_once: int) -> ImageRequest:
    """The request of a record's submit, as it was asked.

    Args:
        at_once: How many pictures one submit can make.

    Raises:
        InvalidRequest: When the journal does not hold all of it.
    """
    if any(isinstance(record.request.get(name), dict) for name in WORDS):
        raise not_again("its prompt was not stored (journal.store_prompts = false)")
    try:
        whole = rebuilt(record.request, record.sources)
    except LookupError:
        raise not_again("a reference was given as bytes, which the journal does not keep") from None
    return whole.submits(at_once)[(record.asked - 1) // at_once]


def not_again(why: str) -> InvalidRequest:
    """The error of a submit that cannot be said once more."""
    return InvalidRequest(
        f"the same submit cannot be made again: {why}",
        next_step="Ask anew with: unified-flux generate --again, and resolve this one.",
    )


def has_died(record: Record, place: str) -> bool:
    """Whether it was an emulator's job in a process that is gone, and nothing of it is here."""
    return record.emulated and record.place != place and on_disk(record) is None


def _elsewhere(record: Record, place: str) -> UnifiedFluxError:
    if not record.emulated:
        return ConfigurationError(
            f"the job {record.name} lives at {record.place}, and {record.provider} is {place} now",
            job=record.job,
            charged=record.charged,
            next_step=f"Set {url_name(record.provider)}={record.place} to go on with it.",
        )
    return ended_with_its_process(record)


def ended_with_its_process(record: Record) -> UnifiedFluxError:
    """The end of a job whose emulator is gone."""
    return NotDelivered(
        "the built-in sandbox that made this job ended with its process; nothing was charged",
        provider=record.provider,
        model=record.model,
    )


class Busy(UnifiedFluxError):
    """A living process has the job in hand."""


def busy(record: Record) -> Busy:
    """The error of a job that a living process has in hand."""
    error = Busy(
        f"another process is at work on the job {record.name}",
        provider=record.provider,
        model=record.model,
        job=record.job,
        charged=record.charged,
        next_step=f"When it has ended: {resume_command(record.name)}",
    )
    error.id = record.id
    return error
