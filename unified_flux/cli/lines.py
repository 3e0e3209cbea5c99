"""`batch run`: the file checked, the person asked, the lines run, and how far it is shown meanwhile."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click

from unified_flux.batch import Batch, Checked, Outcome, ResultsFile, Run, Status, Tally, Totals
from unified_flux.batch.batch import LASTING
from unified_flux.batch.costs import Ceiling
from unified_flux.cli.board import Board, Pace
from unified_flux.cli.generate import JOURNAL_OFF, NOTHING_CONFIGURED
from unified_flux.cli.group import print_json
from unified_flux.cli.session import Session, open_session
from unified_flux.errors import InvalidRequest, UnifiedFluxError
from unified_flux.text import safe

# Problems that are printed; the results file has them all.
PRINTED = 20
INTERRUPTED = 130


@dataclass(slots=True, kw_only=True)
class Told:
    """What is said of lines, on standard error and at the end."""

    session: Session
    printed: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def fault(self, line: int, error: UnifiedFluxError) -> None:
        """A line that went wrong; after some of them only the file tells."""
        self.count += 1
        if self.count <= PRINTED:
            click.echo(f"error: line {line}: {error}", err=True)
            self.printed.append({"line": line, "error": error.to_json()})

    def rest(self, path: Path) -> None:
        """Where the others stand."""
        if self.count > PRINTED:
            more = self.count - PRINTED
            click.echo(f"and {more} more lines; {safe(path)} has them all", err=True)


def run_batch(file: str, values: dict[str, Any]) -> int:
    """Check, ask, run; the exit code."""
    session = open_session(
        values,
        fallback=NOTHING_CONFIGURED,
        several=True,
        overrides=LASTING,
        allow=values["allow"],
        adapt=values["adapt"],
        timeout=values["timeout"],
    )
    if session.client.journal is None:
        session.note(f"{JOURNAL_OFF}; another run would pay all of it again")
    with Batch(
        _opened(file),
        router=session.router,
        format=values["format"],
        name=values["name"],
        out=values["out"],
        force=values["force"],
        again=values["again"] or not values["resume"],
    ) as batch:
        return _Command(
            batch=batch, values=values, session=session, told=Told(session=session)
        ).run()


def _opened(file: str) -> str | IO[bytes]:
    if file != "-":
        return file
    if sys.stdin is None or sys.stdin.closed:
        raise InvalidRequest("standard input is closed, so - cannot be read")
    return sys.stdin.buffer


@dataclass(slots=True, kw_only=True)
class _Command:
    """One call of the command."""

    batch: Batch
    values: dict[str, Any]
    session: Session
    told: Told
    totals: Totals | None = None

    def run(self) -> int:
        """All of it; the exit code."""
        values = self.values
        ceiling = self.batch.ceiling(values["max_cost"]) if values["max_cost"] else None
        if values["dry_run"]:
            return self._dry_run(ceiling)
        if not values["no_check"]:
            self.totals = self._checked_first()
            if self.totals.invalid:
                return self._unfit(self.totals)
            if ceiling is not None:
                ceiling.require(self.totals.most, self.totals.lines)
        self.batch.require_key()
        self._ask_first()
        if values.get("submit"):
            from unified_flux.cli.queued import submit

            return submit(self.batch, values)
        return self._make(ceiling)

    @property
    def _path(self) -> Path:
        if self.values["results"]:
            return Path(self.values["results"])
        return self.batch.results_path(
            ".check.jsonl" if self.values["dry_run"] else ".results.jsonl"
        )

    def _results(self) -> ResultsFile:
        return ResultsFile(self._path, source=self.batch.source.given, force=self.values["force"])

    def _dry_run(self, ceiling: Ceiling | None) -> int:
        """Every line checked and told, and nothing sent."""
        with self._results() as results:

            def each(one: Checked) -> None:
                results.write(Outcome.of_check(one))
                if one.error is not None:
                    self.told.fault(one.line.number, one.error)

            totals = self.totals = self._check(each)
        self._tell_fault(results)
        if totals.invalid:
            return self._unfit(totals)
        if ceiling is not None:
            ceiling.require(totals.most, totals.lines)
        if self.values["as_json"]:
            self._print_json(None)
        else:
            click.echo(
                f"{_quoted(totals)}; nothing was sent; each line's report is in {safe(self._path)}"
            )
        return 0

    def _checked_first(self) -> Totals:
        """The check before the run: the results file is for what is wrong, as long as nothing is made."""
        with contextlib.ExitStack() as stack:
            opened: list[ResultsFile] = []

            def each(one: Checked) -> None:
                if one.error is None:
                    return
                if not opened:
                    opened.append(stack.enter_context(self._results()))
                opened[0].write(Outcome.of_check(one))
                self.told.fault(one.line.number, one.error)

            totals = self._check(each)
        for results in opened:
            self._tell_fault(results)
        return totals

    def _check(self, each: Any) -> Totals:
        seen, pace = [0], Pace(None)

        def counted(one: Checked) -> None:
            seen[0] += 1
            each(one)

        def text() -> str:
            return f"checked {seen[0]} lines, {pace.said(seen[0])}"

        with Board(text, quiet=self.values["quiet"]):
            return self.batch.check(counted)

    def _unfit(self, totals: Totals) -> int:
        """Lines cannot be asked: which, where they all are, and the exit code of the first."""
        self.told.rest(self._path)
        lines = "1 line" if totals.invalid == 1 else f"{totals.invalid} lines"
        said = f"{lines} of {totals.lines} cannot be asked as they stand; nothing was sent"
        error = InvalidRequest(said, next_step="Mend them and run the same command again.")
        click.echo(f"error: {error}", err=True)
        if self.values["as_json"]:
            self._print_json(None, error)
        return totals.first_error.exit_code if totals.first_error else error.exit_code

    def _ask_first(self) -> None:
        """Paying is the person's own word, given for this total."""
        totals = self.totals
        if totals is None:
            self.session.note("the lines are not checked before: what they cost is not known")
        else:
            self.session.note(_quoted(totals))
        sandbox = all(client.sandbox for client in self.batch.router.clients)
        if self.values["yes"] or sandbox or (totals is not None and not totals.pictures):
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise InvalidRequest(
                "this would be paid, and nobody is here to ask; nothing was sent",
                next_step="--yes says that this is meant; --dry-run only checks.",
            )
        click.confirm("Pay for them?", abort=True, err=True)

    def _make(self, ceiling: Ceiling | None) -> int:
        """The run itself."""
        with self._results() as results:

            def each(one: Outcome) -> None:
                results.write(one)
                if one.error is not None and one.status is not Status.STOPPED:
                    self.told.fault(one.line, one.error)

            run = self.batch.prepare(
                each,
                unchecked=self.values["no_check"],
                ceiling=ceiling,
                concurrency=self.values["concurrency"],
                fail_fast=self.values["fail_fast"],
            )
            total = self.totals.lines if self.totals else None
            pace = Pace(total)
            text = _Progress(run, total, pace).text
            with Board(text, quiet=self.values["quiet"]), _interrupts(run) as pressed:
                tally = run.run()
        self.told.rest(self._path)
        self._tell_fault(results)
        self._tell_end(tally, interrupted=bool(pressed))
        if self.values["as_json"]:
            self._print_json(tally)
        return INTERRUPTED if pressed else tally.exit_code

    def _tell_fault(self, results: ResultsFile) -> None:
        if results.fault:
            click.echo(f"error: {results.fault}", err=True)

    def _tell_end(self, tally: Tally, *, interrupted: bool) -> None:
        if not self.values["as_json"]:
            click.echo(
                f"{_counted(tally)}; {tally.spent.said(sandbox=tally.sandbox)} spent; "
                f"pictures in {safe(self.batch.places.folder)}, results in {safe(self._path)}"
            )
        if tally.why_stopped and not interrupted:
            click.echo(f"stopped: {tally.why_stopped}", err=True)
        if tally.of(Status.DONE) < tally.ended:
            again = "--again pays for all of it once more" if self.values["again"] else None
            click.echo(
                again or "the same command goes on: what is done is not paid again", err=True
            )

    def _print_json(self, tally: Tally | None, error: UnifiedFluxError | None = None) -> None:
        print_json(
            {
                "schema_version": 1,
                "file": self.batch.source.shown,
                "results": str(self._path),
                "folder": str(self.batch.places.folder),
                "checked": self.totals.to_json() if self.totals else None,
                "run": tally.to_json() if tally else None,
                "problems": self.told.printed,
                **({"error": error.to_json()} if error else {}),
            }
        )


@dataclass(frozen=True, slots=True)
class _Progress:
    """The line that shows how far a run is."""

    run: Run
    total: int | None
    pace: Pace

    def text(self) -> str:
        """As it is now."""
        tally = self.run.tally
        parts = [f"{tally.of(Status.DONE)} done"]
        if self.total is not None:
            parts.append(f"{max(self.total - tally.ended, 0)} waiting")
        parts.append(f"{tally.failed} failed")
        parts.append(f"{tally.spent.said(sandbox=tally.sandbox)} spent")
        return ", ".join([*parts, self.pace.said(tally.ended)])


@contextmanager
def _interrupts(run: Run) -> Iterator[list[int]]:
    """Ctrl-C: the first sends nothing more, the second ends everything, the third is Python's own."""
    pressed: list[int] = []

    def press(number: int, _: Any) -> None:
        pressed.append(number)
        # In a thread of its own: the run may hold a lock at the very moment of the signal.
        if len(pressed) == 1:
            click.echo(
                "\nnothing more is sent; what is paid comes in. Ctrl-C again leaves it to the journal",
                err=True,
            )
            threading.Thread(target=run.drain, args=("interrupted",), daemon=True).start()
        elif len(pressed) == 2:
            threading.Thread(target=run.stop, daemon=True).start()
        else:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _quoted(totals: Totals) -> str:
    """The total for a person."""
    pictures = "1 picture" if totals.pictures == 1 else f"{totals.pictures} pictures"
    lines = "1 line" if totals.lines == 1 else f"{totals.lines} lines"
    before = f" ({totals.made} made before)" if totals.made else ""
    cost = totals.cost.said(sandbox=totals.sandbox)
    return f"{lines}{before}: {pictures} to make for {cost}"


def _counted(tally: Tally) -> str:
    parts = [f"{tally.of(Status.DONE)} done"]
    if tally.resumed:
        parts[0] += f" ({tally.resumed} made before)"
    others = (Status.PARTLY, Status.FAILED, Status.UNKNOWN, Status.INVALID, Status.STOPPED)
    parts += [f"{tally.of(status)} {status}" for status in others if tally.of(status)]
    return ", ".join(parts)
