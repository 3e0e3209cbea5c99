"""Every error as words and an exit code; imported when there is one."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence

import click

from unified_flux.cli.group import print_json
from unified_flux.errors import UnifiedFluxError
from unified_flux.text import safe

INTERRUPTED = 130


class UsageError(UnifiedFluxError):
    """A flag or command that is none of ours."""

    usual_exit_code = 2


def say(error: Exception, *, as_json: bool) -> int:
    """Tell a person, and a script that asked for JSON, what went wrong; the exit code."""
    known = _in_our_words(error)
    # A full disk or a closed pipe behind one stream must not silence the other.
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"error: {known}", err=True)
    with contextlib.suppress(OSError, ValueError):
        if as_json:
            print_json({"schema_version": 1, "error": known.to_json()})
            sys.stdout.flush()
    return known.exit_code


def interrupted(jobs: Sequence[str], *, as_json: bool) -> int:
    """Tell that a person stopped it; `jobs` go on without us, or may. The exit code."""
    click.echo("interrupted", err=True)
    if as_json:
        error = {"type": "Interrupted", "message": "interrupted", "exit_code": INTERRUPTED}
        charged = "maybe" if jobs else "no"
        print_json(
            {"schema_version": 1, "error": {**error, "charged": charged, "jobs": list(jobs)}}
        )
    return INTERRUPTED


def _in_our_words(error: Exception) -> UnifiedFluxError:
    if isinstance(error, UnifiedFluxError):
        return error
    if isinstance(error, click.UsageError):
        return _usage(error)
    if isinstance(error, click.ClickException):
        return UnifiedFluxError(error.format_message())
    logging.getLogger("unified_flux").debug("unexpected", exc_info=True)
    return UnifiedFluxError(
        f"unexpected {type(error).__name__}: {safe(error, 200)}",
        next_step="This is a fault of unified-flux; -v shows where it happened.",
    )


def _usage(error: click.UsageError) -> UsageError:
    if isinstance(error, click.NoSuchOption) or error.ctx is None:
        step = None
    else:
        step = f"{error.ctx.command_path} --help shows how."
    return UsageError(error.format_message().rstrip("."), next_step=step)
