"""A result on its way to a person: files, sidecars, lines or JSON, and the exit code."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from unified_flux import __version__
from unified_flux.cli.group import print_json
from unified_flux.cli.session import Session
from unified_flux.errors import Charged, OutputError, UnifiedFluxError
from unified_flux.images import EXTENSION, SUFFIXES
from unified_flux.output import Target, sidecar, told_sha256, write_sidecar
from unified_flux.report import Report
from unified_flux.result import Failed, Image, ImageResult
from unified_flux.spool import SpooledFile
from unified_flux.text import safe

PARTLY_DONE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One result and where it goes."""

    session: Session
    result: ImageResult
    target: Target
    report: Report

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

    def deliver(self, as_json: bool) -> int:
        """Write every picture, say so, and return the exit code.

        Raises:
            OutputError: When no picture could be written; they stay in the spool.
        """
        written, failed = self.write()
        try:
            self._print(written, failed, as_json)
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            paths = ", ".join(safe(path) for _, path in written)
            raise UnifiedFluxError(
                f"standard output failed ({type(error).__name__}); the pictures are written: {paths}",
                charged=Charged.YES,
            ) from None
        for one in failed:
            click.echo(f"error: picture {one.index}: {one.error}", err=True)
        return PARTLY_DONE if failed else 0

    def _print(
        self, written: list[tuple[Image, Path]], failed: list[Failed], as_json: bool
    ) -> None:
        if as_json:
            print_json(self._json(written, failed))
            return
        for image, path in written:
            click.echo(self.line(image, path))

    def _write(self, image: Image) -> Path:
        record = self.result.record_of(image)
        there = image.written if self.target.absolute == record.destination else None
        if there and SpooledFile.found(there, image.sha256):
            return there
        names = {**record.names(), "job": image.job.id, "index": image.index}
        count = max(record.count, len(self.result.images))
        path = self.target.path(names, EXTENSION[image.format], image.index, count)
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
            self.session.note(f"note: {safe(path.name)}: {note}")
        return path

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
                click.echo(f"error: no sidecar beside {safe(path)}: {error.strerror}", err=True)
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

    def line(self, image: Image, path: Path) -> str:
        """One picture for a person."""
        where = f"{self.result.provider}/{self.result.model}"
        size = f"{image.width}x{image.height} {image.format}"
        place = f"sandbox {where}" if self.result.sandbox else where
        return f"{safe(path)}  {size}  {place}  {image.charge.said(sandbox=self.result.sandbox)}  {image.seconds:.1f} s"

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
            "versions": {"unified-flux": __version__, "Pillow": metadata.version("Pillow")},
        }

    def _json(self, written: list[tuple[Image, Path]], failed: list[Failed]) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "sandbox": self.result.sandbox,
            "provider": self.result.provider,
            "model": self.result.model,
            "jobs": [str(job) for job in self.result.jobs],
            "images": [image_json(image, path) for image, path in written],
            "failed": [{"index": one.index, "error": one.error.to_json()} for one in failed],
            "quote": self.result.quote.to_json(),
            "charge": self.result.charge.to_json(),
            "steps": [step.to_json() for step in self.result.steps],
            "report": self.report.to_json(),
            "defaults": self.report.defaults,
        }


def image_json(image: Image, path: Path) -> dict[str, Any]:
    """One picture for a script."""
    return {
        "path": str(path),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "job": str(image.job),
        "charge": image.charge.to_json(),
        "notes": list(image.notes),
    }
