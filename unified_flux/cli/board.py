"""How far a batch is: a live line on a terminal, elsewhere a plain line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import click

EVERY = 5.0


class Board:
    """Shows what `text` says until it is closed.

    Args:
        text: The line as it is at this moment.
    """

    def __init__(self, text: Callable[[], str], *, quiet: bool) -> None:
        self._text, self._quiet = text, quiet
        self._live: Any = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._quiet or sys.stderr is None:
            return self
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                self, console=Console(stderr=True), transient=True, refresh_per_second=4
            )
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()
        return self

    def __rich__(self) -> Any:
        from rich.text import Text

        return Text(self._text())

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        while not self._closed.wait(EVERY):
            click.echo(self._text(), err=True)


class Pace:
    """How fast lines come, and how long the rest will take at that."""

    def __init__(self, total: int | None) -> None:
        self._total, self._started = total, time.monotonic()

    def said(self, ended: int) -> str:
        """Rate and time left for a person."""
        elapsed = max(time.monotonic() - self._started, 0.001)
        rate = ended / elapsed
        if self._total is None or not ended:
            return f"{rate:.1f} a second"
        left = (self._total - ended) / rate
        return f"{rate:.1f} a second, {_time(left)} left"


def _time(seconds: float) -> str:
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
