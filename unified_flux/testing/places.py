"""Where things stand: the line of a value in a card's file, of a name in an adapter's module."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from types import TracebackType

_BLANK = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r'[^\s,\]}"]+')


def lines(text: str) -> dict[str, int]:
    """JSON pointer → the line of each value of a JSON document, from 1."""
    found: dict[str, int] = {}
    for pointer, at in _values(text):
        found[pointer] = text.count("\n", 0, at) + 1
    return found


def _values(text: str) -> Iterator[tuple[str, int]]:
    """Every value with where it begins; the text is known to be JSON."""
    above: list[tuple[str, int | None]] = []
    pointer, at = "", 0
    while (at := _skip(text, at)) < len(text):
        letter = text[at]
        if letter in "]}":
            above.pop()
            at += 1
        elif letter == ",":
            name, count = above[-1]
            above[-1] = name, None if count is None else count + 1
            at += 1
        else:
            if above and above[-1][1] is None:
                key, at = scanstring(text, at + 1)
                at = _skip(text, _skip(text, at) + 1)
                pointer = f"{above[-1][0]}/{key}"
            elif above:
                pointer = f"{above[-1][0]}/{above[-1][1]}"
            yield pointer, at
            if text[at] in "[{":
                above.append((pointer, 0 if text[at] == "[" else None))
                at += 1
            else:
                at = _end(text, at)


def _end(text: str, at: int) -> int:
    if text[at] == '"':
        return int(scanstring(text, at + 1)[1])
    scalar = _SCALAR.match(text, at)
    return scalar.end() if scalar else at + 1


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def line_in_card(path: str, pointer: str) -> str:
    """`name.json:12` for a value of a card's file, or for the nearest above it; empty without one."""
    if not path or not Path(path).is_file():
        return ""
    known = lines(Path(path).read_text("utf-8"))
    while pointer and pointer not in known:
        pointer = pointer.rpartition("/")[0]
    return f"{Path(path).name}:{known[pointer]}"


def line_in_class(kind: type, name: str) -> str:
    """`module.py:12` for where a class, or the first of its bases that does, sets a name."""
    owner = next((one for one in kind.__mro__ if name in {**vars(one), **_annotated(one)}), kind)
    try:
        text, first = inspect.getsourcelines(owner)
        file = inspect.getsourcefile(owner) or ""
    except (OSError, TypeError):
        return ""
    setting = re.compile(rf"\s+(?:async\s+def\s+|def\s+)?{re.escape(name)}\b")
    at = next((number for number, line in enumerate(text) if setting.match(line)), 0)
    return f"{Path(file).name}:{first + at}"


def _annotated(kind: type) -> dict[str, object]:
    return dict.fromkeys(vars(kind).get("__annotations__", {}))


def line_in_trace(trace: TracebackType | None, file: str) -> str:
    """`module.py:12` for the last step of a traceback in a file; empty where it never was there."""
    found = ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = f"{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
