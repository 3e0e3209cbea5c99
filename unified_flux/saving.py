"""A result's pictures to their files, each with its sidecar; nothing paid is lost by a file that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from unified_flux import __version__
from unified_flux.errors import OutputError
from unified_flux.images import EXTENSION, SUFFIXES
from unified_flux.output import Target, sidecar, told_sha256, write_sidecar
from unified_flux.report import Report
from unified_flux.result import Failed, Image, ImageResult
from unified_flux.spool import SpooledFile
from unified_flux.text import safe


def _unheard(text: str) -> None:
    """Nobody listens."""


def _free(path: Path) -> None:
    """Nobody else writes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """One result and where it goes.

    Attributes:
        note, trouble: Told what is worth noticing about a picture, and what went wrong beside it.
        claim: Asked before a path is written to; what it raises is that picture's error.
        keeps: Whether a picture that an earlier run wrote to such a destination stays there.
    """

    result: ImageResult
    target: Target
    report: Report
    note: Callable[[str], None] = _unheard
    trouble: Callable[[str], None] = _unheard
    claim: Callable[[Path], None] = _free
    keeps: Callable[[str | None], bool] | None = None

    def write(self) -> tuple[list[tuple[Image, Path]], list[Failed]]:
        """Write every picture: those that are where they belong, and what failed.

        Raises:
            OutputError: When no picture could be written; they stay in the spool.
        """
        written: list[tuple[Image, Path]] = []
        failed = list(self.result.failed)
        for image in self.result.images:
            try:
                written.append((image, self._write(image)))
            except OutputError as error:
                failed.append(Failed(index=image.asked, error=error))
        if not written:
            first, *others = (one.error for one in failed)
            first.siblings = (*first.siblings, *others)
            raise first
        return written, failed

    def _write(self, image: Image) -> Path:
        record = self.result.record_of(image)
        there = image.written if self._belongs(record.destination) else None
        if there and SpooledFile.found(there, image.sha256):
            return there
        names = {**record.names(), "job": image.job.id, "index": image.index}
        count = max(record.count, len(self.result.images))
        path = self.target.path(names, EXTENSION[image.format], image.index, count)
        self.claim(path)
        # The picture comes last: where it stands, all of it does, whenever a process dies.
        told = self._tell_beside(path, image)
        try:
            image.save(path, force=self.target.force)
        except OutputError:
            # A process may have died, or be at it, between the file and the note of it.
            if SpooledFile.found(path, image.sha256) is None:
                if told:
                    sidecar(path).unlink(missing_ok=True)
                raise
            if image.on_saved is not None:
                image.on_saved(path.absolute())
        for note in (*image.notes, *self._renamed(path)):
            self.note(f"note: {safe(path.name)}: {note}")
        return path

    def _belongs(self, destination: str | None) -> bool:
        if self.keeps is not None:
            return self.keeps(destination)
        return self.target.absolute == destination

    def _tell_beside(self, path: Path, image: Image) -> bool:
        """Write the sidecar, where none tells of the same picture already; whether one was written."""
        beside = told_sha256(sidecar(path))
        if beside == image.sha256:
            return False
        try:
            # One of ours without its picture was left by a process that died between the two.
            left = beside is not None and not path.exists()
            write_sidecar(path, self._sidecar(image), force=self.target.force or left)
        except FileExistsError:
            return False
        except OSError as error:
            # Of a place that takes nothing at all, the picture tells in better words.
            if path.parent.is_dir():
                self.trouble(f"error: no sidecar beside {safe(path)}: {error.strerror}")
            return False
        return True

    def _renamed(self, path: Path) -> tuple[str, ...]:
        wanted = self.target.wanted_format
        got = SUFFIXES.get(path.suffix.lower())
        return (
            (f"the name asks for {wanted}, the picture is {got}",)
            if wanted and wanted != got
            else ()
        )

    def _sidecar(self, image: Image) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "sandbox": self.result.sandbox,
            "provider": self.result.provider,
            "model": self.result.model,
            "request": self.result.record_of(image).request or None,
            "payload": image.payload,
            "report": self.report.to_json(),
            "defaults": self.report.defaults,
            "job": str(image.job),
            "quote": self.result.record_of(image).quote.to_json(),
            "charge": {**image.charge.to_json(), "raw": image.charge.raw},
            "tags": list(self.result.record_of(image).tags),
            "sha256": image.sha256,
            "bytes": image.blob.size,
            "format": image.format,
            "width": image.width,
            "height": image.height,
            "seed": image.seed,
            "notes": list(image.notes),
            "seconds": round(image.seconds, 3),
            "saved_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": _versions(),
        }


@cache
def _versions() -> dict[str, str]:
    return {"unified-flux": __version__, "Pillow": metadata.version("Pillow")}
