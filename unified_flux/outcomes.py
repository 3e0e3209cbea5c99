"""From what flows came to, to an `ImageResult`, or to the one error that tells of all."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from unified_flux.errors import OutcomeUnknown, ProtocolError, ProviderError, UnifiedFluxError
from unified_flux.fetching import Finished
from unified_flux.output import differences
from unified_flux.pricing import together
from unified_flux.record import Record
from unified_flux.request import ImageRequest
from unified_flux.result import Failed, Image, ImageResult
from unified_flux.wire import Job, OpenedReference, Phase

Delivered = Callable[[str, int, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What the flows of one call came to, record by record.

    Attributes:
        kept: Whether the journal has the records, so that commands can go on with them by name.
        delivered: Told where a picture was written: record's id, picture's position, path.
    """

    records: Sequence[Record]
    ends: Sequence[Finished | UnifiedFluxError]
    kept: bool
    delivered: Delivered | None = None

    def result(
        self, request: ImageRequest | None = None, references: tuple[OpenedReference, ...] = ()
    ) -> ImageResult:
        """The pictures that came.

        Raises:
            UnifiedFluxError: Where none did, with every error in one.
        """
        images: list[Image] = []
        failed: list[Failed] = []
        for record, end in zip(self.records, self.ends, strict=True):
            if isinstance(end, UnifiedFluxError):
                failed.append(Failed(index=record.asked, error=self._guided(record, end)))
                continue
            images += self._images(record, end, max(len(images), record.asked - 1))
            failed += [
                Failed(index=record.asked, error=self._guided(record, error))
                for error in end.missing
            ]
        if not images:
            raise _one_of([one.error for one in failed])
        first = self.records[0]
        return ImageResult(
            provider=first.provider,
            model=first.model,
            images=tuple(images),
            failed=tuple(failed),
            report=first.report,
            records=tuple(self.records),
            request=request,
            references=references,
            quote=together(
                [one.quote for one in self.records], sum(one.pictures for one in self.records)
            ),
            sandbox=first.sandbox,
            seconds=max(image.seconds for image in images),
        )

    def failed(self) -> NoReturn:
        """Raise the one error that everything ended in."""
        self.result()
        raise LookupError("something came, after all")

    def _images(self, record: Record, finished: Finished, before: int) -> Iterator[Image]:
        came = [(at, blob) for at, blob in enumerate(finished.blobs) if blob is not None]
        other = len(finished.blobs) != record.pictures
        told_apart = f"{record.pictures} {'picture' if record.pictures == 1 else 'pictures'}"
        more = (f"asked for {told_apart}, got {len(finished.blobs)}",) if other else ()
        for index, (position, blob) in enumerate(came, before + 1):
            if blob.header is None:
                raise LookupError("a flow hands on nothing but pictures")
            told = partial(self.delivered, record.id, position) if self.delivered else None
            written = record.outputs[position].path if position < len(record.outputs) else None
            odd = differences(record.expects, blob.header, whole=blob.whole)
            yield Image(
                blob=blob,
                format=blob.header.format,
                width=blob.header.width,
                height=blob.header.height,
                job=finished.job,
                charge=finished.job.charge,
                index=index,
                asked=record.asked,
                seed=record.seed,
                payload=record.payload or None,
                seconds=finished.seconds,
                notes=(*finished.job.notes, *finished.notes, *more, *odd),
                written=written,
                on_saved=told,
            )

    def _guided(self, record: Record, error: UnifiedFluxError) -> UnifiedFluxError:
        """The error with the command that goes on, where something is left behind."""
        if not self.kept:
            error.id = None
        if error.exit_code != 9:
            return error
        if record.emulated and error.job is not None:
            error.next_step = (
                "This was the built-in sandbox: no money was involved, and its jobs end with it."
            )
        elif isinstance(error, OutcomeUnknown) and error.job is None:
            error.next_step = _after_unknown(error)
        elif error.job is not None and error.next_step is None:
            ended = isinstance(error, (ProviderError, ProtocolError)) and _has_ended(error.job)
            error.next_step = (
                f"The job has ended; your account at {record.provider} tells what it cost."
                if ended
                else f"Continue with: {resume_command(error.job)}"
            )
        return error


def _has_ended(job: Job) -> bool:
    return job.phase in {Phase.DONE, Phase.FAILED}


def resume_command(job: Job | str) -> str:
    """The command line that goes on with a job."""
    return f"unified-flux resume {shlex.quote(str(job))}"


def in_doubt(record: Record) -> UnifiedFluxError:
    """The error of a job that is unknown, as long as it is."""
    error = record.trouble or OutcomeUnknown("nobody knows whether it was taken")
    error.next_step = _after_unknown(error)
    return error


def _after_unknown(error: UnifiedFluxError) -> str | None:
    id = error.id
    if id is None:
        return error.next_step
    return (
        f"{error.next_step}\nWhat you find there, say: unified-flux jobs resolve {id} --charged, "
        f"or --not-charged. To risk a second submit: unified-flux resume {id} --resubmit"
    )


def _one_of(errors: list[UnifiedFluxError]) -> UnifiedFluxError:
    """The error to raise for several: one that may have cost, with all the others on it."""
    first = max(errors, key=lambda error: error.exit_code == 9)
    first.siblings = tuple(error for error in errors if error is not first)
    return first
