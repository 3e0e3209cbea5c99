"""A finished job's pictures, brought here: each address is a stranger's, and may need patience."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin

from unified_flux.adapter import charged
from unified_flux.effects import Saved
from unified_flux.errors import DownloadFailed, ProtocolError, ProviderError
from unified_flux.retry import Fate, Steps, Talk, Verdict, insist
from unified_flux.wire import Blob, Job, Output, Phase, Purpose, WireRequest

MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A picture's job at its end.

    A job may bring several pictures; a blob is None where one could not be fetched, and `missing`
    tells why. `notes` tells what went wrong beside it.
    """

    job: Job
    blobs: tuple[Blob | None, ...]
    seconds: float
    missing: tuple[DownloadFailed, ...] = ()
    notes: tuple[str, ...] = ()


def collect(talk: Talk, output: Output, patience: float | None = None) -> Steps[Finished]:
    """Fetch every picture of a job that is done.

    Args:
        patience: Seconds of trying each address; `retry_within` where none are given.

    Raises:
        DownloadFailed: When none came.
    """
    yield from talk.tell(Phase.FETCHING, output.job)
    blobs: list[Blob | None] = []
    missing: list[DownloadFailed] = []
    for url in output.urls:
        try:
            blobs.append((yield from _fetch(talk, output.job, url, patience)))
        except DownloadFailed as error:
            blobs.append(None)
            missing.append(error)
    if len(missing) == len(blobs):
        raise missing[0]
    yield from talk.keep(Saved(Phase.SAVED, output.job, id=talk.id, blobs=tuple(blobs)))
    return Finished(
        job=output.job,
        blobs=tuple(blobs),
        missing=tuple(missing),
        seconds=talk.now - talk.started,
        notes=talk.troubles,
    )


def _fetch(talk: Talk, job: Job, url: str, patience: float | None) -> Steps[Blob]:
    """Download one picture; each redirect is a new stranger's URL that the transport vets."""
    patience = talk.pace.retry_within if patience is None else patience
    give_up = min(talk.now + patience, talk.deadline)
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
    nowhere = verdict.response is None and verdict.fate is Fate.DECIDED
    return not nowhere and not isinstance(verdict.trouble, (ProtocolError, DownloadFailed))


def _why(verdict: Verdict) -> str:
    if isinstance(verdict.trouble, ProviderError):
        return f"its address answered HTTP {verdict.trouble.status}"
    return verdict.trouble.message if verdict.trouble else "its address answered without a picture"
