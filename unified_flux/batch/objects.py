"""A line of JSON as fields: strict where Python's reader is not, and pointing at what is wrong."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from unified_flux.errors import InvalidRequest
from unified_flux.text import safe

DEEPEST = 100
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)|([\[{])|([\]}])')


class _Constant(ValueError):
    """NaN or an infinity."""


class _Twice(ValueError):
    """A key that an object says twice."""


def _refuse(constant: str) -> NoReturn:
    raise _Constant(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


_decode = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once).decode


def read_object(line: bytes) -> dict[str, Any] | InvalidRequest:
    """The fields of one line, or what is wrong with it and in which column."""
    text = ""
    try:
        text = line.decode().rstrip()
        found = _decode(text)
    except UnicodeDecodeError as error:
        return InvalidRequest(f"it is not UTF-8 text at byte {error.start + 1}")
    except json.JSONDecodeError as error:
        wrong = error.msg[:1].lower() + error.msg[1:]
        return InvalidRequest(
            f"it is not JSON at column {error.colno}: {wrong}", next_step=_hint(text)
        )
    except _Constant as error:
        return InvalidRequest(f"{error} at column {_column(text)} is no value of JSON")
    except _Twice as error:
        return InvalidRequest(f'it says "{safe(error, 60)}" twice')
    except RecursionError:
        return InvalidRequest(f"it is nested too deeply at column {_column(text)}")
    except ValueError:
        return InvalidRequest("a number in it has more digits than any provider takes")
    if isinstance(found, dict):
        return found
    return InvalidRequest(
        'it is not an object such as {"prompt": "a red fox"}', next_step=_hint(text)
    )


def _hint(text: str) -> str | None:
    """How the two usual ways of writing JSON become lines."""
    if text.startswith("["):
        return "Write one object per line, without the list around them: jq -c '.[]' FILE"
    if text in {"{", "}"}:
        return "Each object stands on one line: jq -c . FILE"
    return None


def _column(text: str) -> int:
    """Where a constant stands, or where it goes too deep."""
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += bool(token[2]) - bool(token[3])
        if token[1] or depth > DEEPEST:
            return token.start() + 1
    return 1
