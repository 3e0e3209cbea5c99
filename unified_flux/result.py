"""What came back: pictures, charge, report, and what is worth noticing about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_flux.errors import Charged, OutputError, UnifiedFluxError
from unified_flux.money import Charge, total
from unified_flux.report import Report
from unified_flux.wire import Blob, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture, as the provider sent it, kept in the spool until it is saved.

    Attributes:
        blob: The bytes on disk.
        format: `png`, `jpeg`, `webp` or `gif`, sniffed from the bytes; None where they are none.
        width, height: Pixels, read from the header; 0 where it does not say.
        seed: The seed that was sent for this picture, None where none was.
        notes: What differs from the ask.
    """

    blob: Blob
    format: str | None
    width: int
    height: int
    job: Job
    charge: Charge
    index: int = 1
    seed: int | None = None
    payload: dict[str, Any] | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

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
            return self.blob.save(path, force=force)
        except OutputError as error:
            error.job, error.charged = self.job, Charged.YES
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One picture of several that did not come."""

    index: int
    error: UnifiedFluxError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """All pictures of one request, in order, and what became of each field of it.

    Attributes:
        report: Each set field once.
        failed: The pictures that did not come; their paid siblings are in `images`.
        sandbox: True where an emulator answered and nothing was charged.
    """

    provider: str
    model: str
    images: tuple[Image, ...]
    report: Report
    failed: tuple[Failed, ...] = ()
    sandbox: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def charge(self) -> Charge:
        """The sum over all pictures, unknown where one of them is."""
        by_job = {str(image.job): image.charge for image in self.images}
        return total(list(by_job.values()))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every accepted job, those of failed pictures included."""
        jobs = {str(image.job): image.job for image in self.images}
        jobs.update({str(f.error.job): f.error.job for f in self.failed if f.error.job})
        return tuple(jobs.values())
