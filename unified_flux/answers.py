"""What the answer of a submit or a poll says of its job, held against what is known already."""

from __future__ import annotations

from dataclasses import replace

from unified_flux.contract import load_answers
from unified_flux.errors import ProtocolError
from unified_flux.retry import Fate, Talk, Verdict, slip
from unified_flux.text import safe
from unified_flux.wire import Job, Output, Phase, WireResponse


def job_of(found: Job | Output) -> Job:
    return found.job if isinstance(found, Output) else found


def understood(
    talk: Talk, verdict: Verdict, asked: Job | None = None, *, bringing: bool = False
) -> Job | Output | Verdict:
    """The job that an answer names; a good status around nonsense tells nothing of the outcome.

    Args:
        asked: The job that was asked for, None for a submit.
        bringing: Whether what it made was asked for.
    """
    if verdict.fate is not Fate.ANSWERED or verdict.response is None:
        return verdict
    try:
        found = _told_by(talk, verdict.response, asked, bringing=bringing)
        if asked is not None and job_of(found).id != asked.id:
            raise ProtocolError(f"the answer is about another job, {safe(job_of(found).id, 60)}")
    except ProtocolError as error:
        return Verdict(Fate.UNKNOWN, verdict.response, error)
    # A plugin's slip must not hide that money may be gone.
    except Exception as error:
        return Verdict(Fate.UNKNOWN, verdict.response, slip(talk.adapter.name, error))
    return found


def _told_by(
    talk: Talk, response: WireResponse, asked: Job | None, *, bringing: bool
) -> Job | Output:
    """What an answer says, with what is odd about it as notes.

    What earlier answers said of addresses and of money stands until another says otherwise; of a job
    that failed the money is open again.
    """
    adapter = talk.adapter
    if asked is not None and bringing:
        found: Job | Output = adapter.read_result(response, asked)
    else:
        found = adapter.read(response, asked)
    job, known = job_of(found), talk.job or job_of(found)
    odd = []
    # Only what ends a job is worth the check: of a running one nothing is read but id and word.
    if job.phase is not Phase.RUNNING:
        answers = load_answers(adapter.name, adapter.card_package)
        odd = [f"answer: {v.path} {v.message}" for v in answers.violations(response.object())]
    if job.word not in adapter.phases:
        odd.append(f'unknown status word "{safe(job.word, 60)}", taken for still running')
    notes = (*known.notes, *(note for note in odd if note not in known.notes))
    untold = job.charge.money is None and job.phase is not Phase.FAILED
    job = replace(
        job,
        model=talk.card.model,
        notes=notes,
        links={**known.links, **job.links},
        charge=known.charge if untold and known.charge.money else job.charge,
    )
    return Output(job=job, urls=found.urls) if isinstance(found, Output) else job


def noted(found: Job | Output, note: str) -> Job | Output:
    job = replace(job_of(found), notes=(*job_of(found).notes, note))
    return Output(job=job, urls=found.urls) if isinstance(found, Output) else job
