"""What became of each line: one JSON object in a file, written as it comes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from unified_flux.batch.checking import Checked
from unified_flux.errors import Charged, OutcomeUnknown, OutputError, UnifiedFluxError
from unified_flux.money import Charge
from unified_flux.pricing import Quote
from unified_flux.report import Report
from unified_flux.saving import Saving
from unified_flux.spool import reason
from unified_flux.text import safe

_encode = json.JSONEncoder(ensure_ascii=True, default=str).encode
# How each line of it begins.
_BEGINNING = b'{"line": '


class Status(StrEnum):
    """How a line ended."""

    CHECKED = "checked"
    DONE = "done"
    PARTLY = "partly"
    FAILED = "failed"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one line.

    Attributes:
        files: The pictures that are in their places.
        jobs: The provider's names of what was accepted.
        charge: What it cost; None where nothing was asked.
        resumed: Whether it was asked by an earlier run.
        sandbox: Whether it was play money.
    """

    line: int
    status: Status
    id: str | None = None
    files: tuple[Path, ...] = ()
    provider: str | None = None
    model: str | None = None
    jobs: tuple[str, ...] = ()
    charge: Charge | None = None
    quote: Quote | None = None
    report: Report | None = None
    error: UnifiedFluxError | None = None
    resumed: bool = False
    sandbox: bool = False

    @classmethod
    def of_check(cls, one: Checked) -> Outcome:
        """What the check pass found of a line."""
        return cls(
            line=one.line.number,
            id=one.line.id,
            status=Status.INVALID if one.error else Status.CHECKED,
            provider=one.client.provider if one.client else None,
            model=one.model,
            quote=None if one.error else one.quote,
            report=one.report,
            error=one.error,
            resumed=one.made,
            sandbox=bool(one.client and one.client.sandbox),
        )

    def to_json(self) -> dict[str, Any]:
        """The line of the results file."""
        return {
            "line": self.line,
            "id": self.id,
            "status": str(self.status),
            "files": [str(path) for path in self.files],
            "provider": self.provider,
            "model": self.model,
            "jobs": list(self.jobs),
            "resumed": self.resumed,
            "sandbox": self.sandbox,
            "charge": self.charge.to_json() if self.charge else None,
            "quote": self.quote.to_json() if self.quote else None,
            "report": self.report.to_json() if self.report else None,
            "error": self.error.to_json() if self.error else None,
        }


def saved(line: int, id: str | None, saving: Saving, *, resumed: bool) -> Outcome:
    """What became of a line whose pictures came: they are written to their files here."""
    error: UnifiedFluxError | None = None
    files: tuple[Path, ...] = ()
    try:
        written, missing = saving.write()
        files = tuple(path for _, path in written)
        error = missing[0].error if missing else None
    except UnifiedFluxError as fault:
        error = fault
    whole = Status.DONE if error is None else Status.PARTLY
    result = saving.result
    return Outcome(
        line=line,
        id=id,
        status=whole if files else Status.FAILED,
        files=files,
        provider=result.provider,
        model=result.model,
        jobs=tuple(map(str, result.jobs)),
        charge=result.charge,
        quote=result.quote,
        report=result.report,
        error=error,
        resumed=resumed,
        sandbox=result.sandbox,
    )


def failed(line: int, id: str | None, error: UnifiedFluxError) -> Outcome:
    """What became of a line without pictures."""
    unknown = isinstance(error, OutcomeUnknown) and error.job is None
    charge = error.job.charge if error.job and error.charged is Charged.YES else Charge()
    return Outcome(
        line=line,
        id=id,
        status=Status.UNKNOWN if unknown else Status.FAILED,
        provider=error.provider,
        model=error.model,
        jobs=(str(error.job),) if error.job else (),
        charge=None if error.charged is Charged.NO else charge,
        error=error,
    )


class ResultsFile:
    """The file of results; one that an earlier run left is replaced, any other file is not.

    Raises:
        OutputError: When it cannot be written, or something else stands there.
    """

    def __init__(self, path: Path, *, source: Path | None = None, force: bool = False) -> None:
        self.path = path
        self.fault: str | None = None
        if source is not None and path.exists() and path.samefile(source):
            raise OutputError(f"{safe(path)} is the batch's own file; results go to another")
        if not force and not _is_ours(path):
            raise OutputError(
                f"{safe(path)} exists already and holds no results of a batch",
                next_step="--force overwrites it, or choose another --results.",
            )
        try:
            self._file: IO[str] = path.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{safe(path)} cannot be written: {reason(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._try(self._file.close)

    def write(self, outcome: Outcome) -> None:
        """One line. A disk that does not take it costs no picture: `fault` says so afterwards."""
        self._try(lambda: self._file.write(_encode(outcome.to_json()) + "\n"))
        if outcome.status is not Status.CHECKED:
            self._try(self._file.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            self.fault = self.fault or f"{safe(self.path)} is not whole: {why}"


def _is_ours(path: Path) -> bool:
    """Whether there is nothing, or nothing in it, or what an earlier run wrote."""
    if not os.path.lexists(path):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(len(_BEGINNING))
    except OSError:
        return False
    return head in {b"", _BEGINNING}
