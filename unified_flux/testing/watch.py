"""Sees whatever a piece of code touches beyond its arguments: files, network, clock, chance.

A profile function sees every call, so it does not matter under which name something was imported.
What the import system itself reads is left out: rooms import libraries where they use them.
"""

from __future__ import annotations

import datetime
import logging
import mimetypes
import os
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# Compiled modules whose every function reaches outside, and the few of `posix` that do not.
_OUTSIDE = {"time", "_socket", "_ssl", "_posixsubprocess", "posix", "nt"}
_INNOCENT = ("fspath", "_path_splitroot", "_path_normpath")
_NOW = {"now", "utcnow", "today"}
_ENVIRONMENT = type(os.environ)
_CODES = {
    _ENVIRONMENT.__getitem__.__code__: "os.environ",
    _ENVIRONMENT.__iter__.__code__: "os.environ",
    _ENVIRONMENT.__setitem__.__code__: "os.environ",
    _ENVIRONMENT.__delitem__.__code__: "os.environ",
    socket.socket.__init__.__code__: "socket",
    logging.Logger._log.__code__: "logging",
    # It reads tables that differ from machine to machine, once, whoever asks first.
    mimetypes.guess_type.__code__: "mimetypes",
}


@contextmanager
def watching(file: str = "") -> Iterator[list[str]]:
    """What the block touched, as names such as `open` or `time.sleep`, in order.

    Args:
        file: Whose line is told, where it was on the way.
    """
    touched: list[str] = []

    def see(frame: FrameType, event: str, function: Any) -> None:
        name = None
        if event == "c_call":
            name = _forbidden(function)
        elif event == "call":
            name = _CODES.get(frame.f_code)
        if name and not _importing(frame):
            touched.append(f"{name}{_line(frame, file)}")

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        yield touched
    finally:
        sys.setprofile(before)


def _forbidden(function: Any) -> str | None:
    if function is open or function is print:
        return str(function.__name__)
    name = getattr(function, "__name__", "")
    module = getattr(function, "__module__", None)
    owner = getattr(function, "__self__", None)
    if module in _OUTSIDE and not name.startswith(_INNOCENT):
        return f"{module}.{name}"
    if isinstance(owner, type) and issubclass(owner, datetime.date) and name in _NOW:
        return f"datetime.{name}"
    if isinstance(owner, (random.Random, socket.socket)):
        return f"{type(owner).__name__}.{name}"
    return None


def _line(frame: FrameType | None, file: str) -> str:
    while frame is not None:
        if file and frame.f_code.co_filename == file:
            return f" at {Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
