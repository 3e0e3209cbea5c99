"""Regular expressions that may take for ever, told from their parsed form without running them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# The module by which `re` itself reads an expression; it has no public name.
_parser: Any = getattr(re, "_parser")  # noqa: B009 - the checker of types does not know it
# From so many repetitions on they count as many.
_MANY = 100


def endless(pattern: str) -> str | None:
    """Why matching may take exponential time, None where it does not look so.

    A repetition of what is itself repeated, or of alternatives that can begin alike, lets the engine
    cut one text into pieces in exponentially many ways.
    """
    for body in _repeated(_parser.parse(pattern)):
        if next(_repeated(body), None) is not None:
            return "it repeats a repetition"
        if any(_alike(options) for options in _branches(body)):
            return "it repeats alternatives that can begin alike"
    return None


def _repeated(parsed: Any) -> Iterator[Any]:
    """The bodies of all repetitions without a small end."""
    for operator, argument in parsed:
        if str(operator) in {"MAX_REPEAT", "MIN_REPEAT"} and argument[1] > _MANY:
            yield argument[2]
        for inner in _inner(argument):
            yield from _repeated(inner)


def _branches(parsed: Any) -> Iterator[list[Any]]:
    for operator, argument in parsed:
        if str(operator) == "BRANCH":
            yield argument[1]
        for inner in _inner(argument):
            yield from _branches(inner)


def _inner(argument: Any) -> Iterator[Any]:
    """The parsed parts inside an operator's argument."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for one in argument:
            yield from _inner(one)


def _alike(options: list[Any]) -> bool:
    """Whether two of the alternatives may begin with the same letter; anything but letters may."""
    firsts = [str(option[0]) if len(option) else "" for option in options]
    literal = all(first.startswith("(LITERAL") for first in firsts)
    return not literal or len({*firsts}) < len(firsts)
