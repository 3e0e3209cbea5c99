"""The run pass: every line asked once, its pictures saved, its outcome told as it comes.

Lines are read as places are free, so a file of any length takes the memory of what is under way.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unified_flux.batch.checking import Check, most_of
from unified_flux.batch.costs import Ceiling, Sums
from unified_flux.batch.fields import Line
from unified_flux.batch.results import Outcome, Status, failed, saved
from unified_flux.batch.wishes import FOR_EVER
from unified_flux.errors import (
    Charged,
    ConfigurationError,
    InsufficientFunds,
    InvalidRequest,
    JournalError,
    SpendLimitExceeded,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.many import CONCURRENCY, Asked, Made, Many
from unified_flux.money import Charge, Money
from unified_flux.result import ImageResult
from unified_flux.saving import Saving
from unified_flux.scheduler import Stopped

# What stops one line stops every next one: nothing is gained by asking a thousand times.
_FOR_ALL = (
    ConfigurationError,
    Unauthorized,
    InsufficientFunds,
    SpendLimitExceeded,
    JournalError,
)
# Threads that write pictures to their places.
SAVERS = 8
Tell = Callable[[Outcome], None]


@dataclass(slots=True)
class Tally:
    """What a run came to so far.

    Attributes:
        resumed: Lines that an earlier run had asked already.
        spent: By the lines of this run; what may have been charged counts as unknown.
        why_stopped: Why sending ended before the last line.
    """

    counts: dict[Status, int] = field(default_factory=dict)
    resumed: int = 0
    spent: Sums = field(default_factory=Sums)
    sandbox: bool = False
    first_error: UnifiedFluxError | None = None
    why_stopped: str | None = None

    def add(self, one: Outcome) -> None:
        """Count a line."""
        self.counts[one.status] = self.counts.get(one.status, 0) + 1
        self.resumed += one.resumed
        self.sandbox = self.sandbox or one.sandbox
        if one.error is not None and one.status is not Status.STOPPED:
            self.first_error = self.first_error or one.error

    def of(self, *which: Status) -> int:
        """How many lines ended so."""
        return sum(self.counts.get(status, 0) for status in which)

    @property
    def ended(self) -> int:
        """How many lines are told."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """How many lines were asked, or should have been, and have not all of their pictures."""
        return self.of(Status.FAILED, Status.UNKNOWN, Status.INVALID, Status.PARTLY)

    @property
    def exit_code(self) -> int:
        """0 when all is done, 10 when some of it is, and else that of the first error."""
        if self.of(Status.DONE) == self.ended:
            return 0
        if self.of(Status.DONE, Status.PARTLY):
            return 10
        return self.first_error.exit_code if self.first_error else 1

    def to_json(self) -> dict[str, Any]:
        """The tally as `--json` prints it."""
        counted = {str(status): self.of(status) for status in Status if status != Status.CHECKED}
        return {
            **counted,
            "resumed": self.resumed,
            "spent": self.spent.to_json(),
            "sandbox": self.sandbox,
            "why_stopped": self.why_stopped,
        }


@dataclass(slots=True, kw_only=True)
class Run:
    """One run over a file's lines.

    Attributes:
        lines: As they are read.
        checked: Whether the check pass went over the file: then a line must be as it was.
        ceiling: What all of it may cost.
        tell: Told each outcome, never by two threads at once.
    """

    lines: Iterator[Line]
    check: Check
    tell: Tell
    checked: bool = True
    ceiling: Ceiling | None = None
    fail_fast: bool = False
    concurrency: int = CONCURRENCY
    tally: Tally = field(default_factory=Tally)
    _many: Many | None = None
    _under_way: dict[int, tuple[Line, Money | None]] = field(default_factory=dict)
    _asking: Sums = field(default_factory=Sums)
    _sent: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def run(self) -> Tally:
        """Ask every line, and tell what became of each."""
        self.check.scratch.forget_names()
        saved: deque[Future[None]] = deque()
        with (
            ThreadPoolExecutor(SAVERS) as savers,
            self.check.router.generate_many(self._asked(), concurrency=self.concurrency) as many,
        ):
            self._many = many
            for made in many:
                if made.result is None or self.fail_fast or self.ceiling is not None:
                    # What decides whether the next line is sent is known before it is.
                    self._end(made)
                    continue
                # Most of saving is waiting for the disk; a few at a time wait together.
                saved.append(savers.submit(self._end, made))
                if len(saved) > 4 * SAVERS:
                    saved.popleft().result()
            while saved:
                saved.popleft().result()
        for line in self.lines:
            self._told(self._left(line))
        return self.tally

    def drain(self, why: str) -> None:
        """Send nothing more, and finish what was begun."""
        self.tally.why_stopped = self.tally.why_stopped or why
        if self._many is not None:
            self._many.drain()

    def stop(self) -> None:
        """End everything at its next step; what is paid stays in the journal."""
        self.tally.why_stopped = self.tally.why_stopped or "stopped"
        if self._many is not None:
            self._many.stop()

    def _asked(self) -> Iterator[Asked]:
        """The lines that can be asked, one by one as they are pulled."""
        for line in self.lines:
            if self.tally.why_stopped is not None:
                self._told(self._left(line))
                return
            try:
                asked, most = self.ready(line)
            except UnifiedFluxError as error:
                self._refuse(line, error)
                continue
            with self._lock:
                room = self.ceiling is None or self._fits(most)
                if room:
                    self._sent += 1
                    self._under_way[self._sent] = line, most
                    self._asking.add(most)
            if not room:
                self.tally.why_stopped = "the next line would pass --max-cost"
                self._told(self._left(line))
                return
            yield asked

    def ready(self, line: Line) -> tuple[Asked, Money | None]:
        """A line as it is asked, and the most that it may cost where that has to be known.

        Raises:
            UnifiedFluxError: When it cannot be asked, or is not what was checked.
        """
        if self.checked and self.check.scratch.said(line.number) != line.digest:
            raise InvalidRequest(
                "it has changed since the batch was checked; it was not sent",
                next_step="Run the same command again: what is done stays done.",
            )
        most: Money | None = None
        if self.checked and self.ceiling is None:
            request = self.check.ready(line)
        else:
            found = self.check.line(line)
            if found.error is not None or found.request is None:
                raise found.error or InvalidRequest("it holds no request")
            request, most = found.request, most_of(found.quote)
            if found.made and self.ceiling is not None:
                most = self.ceiling.nothing
        target = self.check.places.target(line)
        return Asked(
            request=request,
            again=self.check.again,
            destination=target.absolute,
            force=target.force,
            same_within=FOR_EVER,
            patient=True,
        ), most

    def _fits(self, most: Money | None) -> bool:
        asked = Sums()
        asked.add(most)
        return self.ceiling is None or self.ceiling.takes(
            self.tally.spent.plus(self._asking).plus(asked)
        )

    def _refuse(self, line: Line, error: UnifiedFluxError) -> None:
        self._told(Outcome(line=line.number, id=line.id, status=Status.INVALID, error=error))
        self._weigh(error)

    def _weigh(self, error: UnifiedFluxError) -> None:
        """Go on after an error, or not. Nothing is said to `Many` here: it may be what asks."""
        why = None
        if isinstance(error, _FOR_ALL):
            why = "what stopped one line would stop every next one"
        elif self.fail_fast:
            why = "one line failed (--fail-fast)"
        self.tally.why_stopped = self.tally.why_stopped or why

    def _end(self, made: Made) -> None:
        with self._lock:
            line, most = self._under_way.pop(made.number)
        error = made.error
        if made.result is not None:
            outcome = self._save(line, made.result)
        elif isinstance(error, Stopped):
            outcome = self._left(line, error)
        else:
            outcome = failed(line.number, line.id, error or UnifiedFluxError("it did not come"))
        with self._lock:
            self._asking.add(most, -1)
            if outcome.charge is not None and not outcome.resumed:
                # What an earlier run paid is not paid again.
                self.tally.spent.add(outcome.charge.money)
        self._told(outcome)
        if outcome.error is not None and outcome.status is not Status.STOPPED:
            self._weigh(outcome.error)
            if self.tally.why_stopped:
                self.drain(self.tally.why_stopped)

    def _save(self, line: Line, result: ImageResult) -> Outcome:
        """A result's pictures to their files."""
        places = self.check.places
        resumed = result.records[0].prepared_at is not None
        if resumed:
            result = self._with_files(result)
        saving = Saving(
            result=result,
            target=places.target(line),
            report=result.report,
            claim=lambda path: places.claim(line, path),
            keeps=lambda destination: places.is_same(destination, line),
        )
        return saved(line.number, line.id, saving, resumed=resumed)

    def _with_files(self, result: ImageResult) -> ImageResult:
        """A result of an earlier run, with the files that it was written to."""
        clients = self.check.router.clients
        journal = next((c.journal for c in clients if c.provider == result.provider), None)
        files: dict[int, list[Path | None]] = {}
        for record in result.records if journal else ():
            # Without the note of it, a picture is found by its name, or written once more.
            with contextlib.suppress(JournalError):
                kept = journal.get(record.id).outputs if journal else ()
                files[record.asked] = [one.path for one in kept if one.sha256]
        images = [
            replace(image, written=files[image.asked].pop(0)) if files.get(image.asked) else image
            for image in result.images
        ]
        return replace(result, images=tuple(images))

    def _left(self, line: Line, stopped: Stopped | None = None) -> Outcome:
        """A line that was not sent, or not seen to its end."""
        if stopped is None or stopped.charged is Charged.NO:
            error = UnifiedFluxError(f"not sent: {self.tally.why_stopped or 'stopped'}")
        else:
            error = stopped
        error.next_step = "The same command goes on."
        job = str(error.job) if error.job else None
        return Outcome(
            line=line.number,
            id=line.id,
            status=Status.STOPPED,
            jobs=(job,) if job else (),
            charge=None if error.charged is Charged.NO else Charge(),
            error=error,
        )

    def _told(self, outcome: Outcome) -> None:
        with self._lock:
            self.tally.add(outcome)
            self.tell(outcome)
