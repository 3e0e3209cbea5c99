"""What came back: pictures, charge, report, and what is worth noticing about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unified_flux.errors import Charged, OutputError, UnifiedFluxError
from unified_flux.money import Charge, total
from unified_flux.pricing import Quote
from unified_flux.record import Record
from unified_flux.report import Report
from unified_flux.request import ImageRequest
from unified_flux.wire import Blob, Job, OpenedReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture, as the provider sent it, kept in the spool until it is saved.

    Attributes:
        blob: The bytes on disk.
        format: `png`, `jpeg`, `webp` or `gif`, sniffed from the bytes.
        width, height: Pixels, read from the header; 0 where it does not say.
        index: 1, 2, ... among the pictures that came.
        asked: Which of the `n` asked pictures it belongs to; a job may bring several.
        seed: The seed that was sent for this picture, None where none was.
        seconds: From request to bytes.
        notes: What differs from the ask.
        written: Where it was written already, for a job that was taken up again.
        on_saved: Told the path of each file that it is saved to.
    """

    blob: Blob
    format: str
    width: int
    height: int
    job: Job
    charge: Charge
    index: int = 1
    asked: int = 1
    seed: int | None = None
    payload: dict[str, Any] | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    written: Path | None = None
    on_saved: Callable[[Path], None] | None = field(default=None, repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """Of the bytes, as hex."""
        return self.blob.sha256

    @property
    def bytes(self) -> bytes:
        """The provider's bytes, read from disk."""
        return self.blob.read()

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the provider's bytes, untouched, to `path` and return it.

        Raises:
            OutputError: When the file exists and `force` is off, or the place cannot be written;
                the picture stays in the spool and the error names it.
        """
        try:
            saved = self.blob.save(path, force=force)
        except OutputError as error:
            error.job, error.charged = self.job, Charged.YES
            raise
        if self.on_saved is not None:
            self.on_saved(saved.absolute())
        return saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One picture of several that did not come; `index` is its place among those asked."""

    index: int
    error: UnifiedFluxError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What became of one job that was taken up again: a result or an error."""

    record: Record
    result: ImageResult | None = None
    error: UnifiedFluxError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One provider on the way to a result: asked, or passed over.

    Attributes:
        taken: Whether its pictures are the result.
        why: Why it was passed over, or how its refusal read.
    """

    provider: str
    model: str
    quote: Quote
    taken: bool = False
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The step as plain JSON."""
        return {
            "provider": self.provider,
            "model": self.model,
            "quote": self.quote.to_json(),
            "taken": self.taken,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """All pictures of one request, in order, and what became of each field of it.

    Attributes:
        report: Each set field once.
        records: The pictures' jobs, in the order asked, as they were before this call.
        request, references: What was asked; None and empty for a job that was only resumed.
        failed: The pictures that did not come; their paid siblings are in `images`.
        quote: What it was said to cost before.
        steps: The providers that were considered, in their order, where there was a choice.
        sandbox: True where an emulator answered and nothing was charged.
        seconds: Of the slowest picture.
    """

    provider: str
    model: str
    images: tuple[Image, ...]
    report: Report
    records: tuple[Record, ...] = ()
    request: ImageRequest | None = None
    references: tuple[OpenedReference, ...] = ()
    failed: tuple[Failed, ...] = ()
    quote: Quote = field(default_factory=Quote)
    steps: tuple[Step, ...] = ()
    sandbox: bool = False
    seconds: float = 0.0

    def record_of(self, image: Image) -> Record:
        """The record of the job that brought a picture."""
        return next(record for record in self.records if record.asked == image.asked)

    @property
    def charge(self) -> Charge:
        """The sum over all jobs that may have cost; unknown where one of them is."""
        by_job = {str(image.job): image.charge for image in self.images}
        for error in (one.error for one in self.failed):
            if error.charged is not Charged.NO:
                billed = error.charged is Charged.YES and error.job
                by_job[str(error.job or error)] = (
                    error.job.charge if billed and error.job else Charge()
                )
        return total(list(by_job.values()))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every accepted job, those of failed pictures included."""
        jobs = {str(image.job): image.job for image in self.images}
        jobs.update({str(f.error.job): f.error.job for f in self.failed if f.error.job})
        return tuple(jobs.values())
