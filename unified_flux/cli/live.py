"""The live line while waiting, and what to say when a person interrupts it."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

import click

from unified_flux.effects import Event, Fact
from unified_flux.outcomes import resume_command
from unified_flux.text import safe
from unified_flux.wire import Phase

_WORDS = {
    Phase.PREPARED: "preparing",
    Phase.UPLOADING: "uploading the references",
    Phase.SENDING: "sending",
    Phase.ACCEPTED: "accepted, waiting",
    Phase.RUNNING: "waiting",
    Phase.FETCHING: "fetching the picture",
    Phase.DONE: "done, fetching the picture",
    Phase.SAVED: "done",
    Phase.FAILED: "failed",
}
_log = logging.getLogger("unified_flux")


class Watch:
    """Listens to events: draws the live line on a terminal, remembers the jobs that are open."""

    def __init__(self, quiet: bool) -> None:
        self._line: Any = None
        self._quiet, self._told = quiet, False
        self._drawn = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._phase = Phase.PREPARED
        self._progress: float | None = None
        self._started = time.monotonic()
        self._open: dict[str, None] = {}
        self._sending: set[str] = set()
        self._unknown: list[str] = []
        self._begun = False
        self.emulated = False
        self.journalled = True

    def __call__(self, event: Event) -> None:
        """An event of a flow."""
        if event.phase is Phase.SENDING and event.note and not self._quiet and not self._told:
            click.echo(event.note, err=True)
            self._told = True
        self._phase, self._begun = event.phase, True
        self._progress = event.job.progress if event.job else None
        job = str(event.job) if event.job else None
        _log.info(
            "%s%s%s", event.phase, f" {job}" if job else "", f": {event.note}" if event.note else ""
        )
        if event.phase is Phase.UNKNOWN and isinstance(event, Fact):
            self._unknown.append(event.id)
        if isinstance(event, Fact):
            (self._sending.add if event.phase is Phase.SENDING else self._sending.discard)(event.id)
        if job and event.phase in {Phase.SAVED, Phase.FAILED}:
            self._open.pop(job, None)
        elif job:
            self._open[job] = None

    def __enter__(self) -> Self:
        if self._drawn:
            from rich.console import Console
            from rich.live import Live

            self._line = Live(
                self, console=Console(stderr=True), transient=True, refresh_per_second=8
            )
            self._line.start()
        return self

    def __rich__(self) -> Any:
        from rich.text import Text

        done = "" if self._progress is None else f"  {self._progress:.0%}"
        elapsed = time.monotonic() - self._started
        return Text(f"{_WORDS.get(self._phase, '')}{done}  {elapsed:.1f} s")

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()
        if isinstance(error, KeyboardInterrupt):
            self._tell_what_goes_on()
            error.args = (*self._open, *self._sending, *self._unknown)

    def stop(self) -> None:
        """Take the live line away: what is printed next stays."""
        if self._line is not None:
            self._line.stop()
            self._line = None

    def _tell_what_goes_on(self) -> None:
        """What was paid goes on without us; an emulator in this process ends with it."""
        if self.emulated:
            return
        for job in self._open:
            click.echo(f"{safe(job)} is accepted and goes on: {resume_command(job)}", err=True)
        for id in self._unknown:
            known = f"unified-flux jobs resolve {id} says what you find in your account"
            click.echo(f"nobody knows whether {id} was taken; {known}", err=True)
        if self._sending and not self.journalled:
            click.echo("a paid submit was on its way: look at your account", err=True)
        elif self._begun and self.journalled:
            click.echo("unified-flux recover goes on with what was begun", err=True)
