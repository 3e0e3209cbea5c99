"""A result on its way to a person: files, sidecars, lines or JSON, and the exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from unified_flux.cli.group import print_json
from unified_flux.cli.session import Session
from unified_flux.errors import Charged, UnifiedFluxError
from unified_flux.output import Target
from unified_flux.report import Report
from unified_flux.result import Failed, Image, ImageResult
from unified_flux.saving import Saving
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
        return Saving(
            result=self.result,
            target=self.target,
            report=self.report,
            note=self.session.note,
            trouble=lambda text: click.echo(text, err=True),
        ).write()

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

    def line(self, image: Image, path: Path) -> str:
        """One picture for a person."""
        where = f"{self.result.provider}/{self.result.model}"
        size = f"{image.width}x{image.height} {image.format}"
        place = f"sandbox {where}" if self.result.sandbox else where
        together = sum(other.job.id == image.job.id for other in self.result.images)
        charge = image.charge.said(sandbox=self.result.sandbox)
        charge += f" for {together}" if together > 1 else ""
        return f"{safe(path)}  {size}  {place}  {charge}  {image.seconds:.1f} s"

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
