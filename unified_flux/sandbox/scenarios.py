"""Words in a prompt that make an emulator act: `a red fox sandbox:500-once sandbox:polls-3`.

A scenario is data: a script of steps for each kind of exchange, and a few settings of the task. The
n-th submit, poll or download meets the n-th step of its script; where the script is over, the
ordinary answer follows.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from unified_flux.text import did_you_mean, safe


class BadScenarioError(ValueError):
    """The prompt names a scenario that does not exist, or two that exclude each other."""


class End(StrEnum):
    """How a task ends."""

    DONE = "done"
    FAILED = "failed"
    MODERATED = "moderated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One scripted answer.

    Attributes:
        kind: A status that the emulator says in its own shape, or a fault of the wire.
        accepted: Whether a submit is taken, and paid, all the same.
        for_ever: Whether the script stays at this step.
    """

    kind: str
    accepted: bool = False
    for_ever: bool = False


Script = tuple[Step, ...]


def due(script: Script, n: int) -> Step | None:
    """The step that the n-th exchange (from 0) meets, None where the ordinary answer is due."""
    if n < len(script):
        return script[n]
    return script[-1] if script and script[-1].for_ever else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a prompt asks of the emulator; left alone, the ordinary course.

    Attributes:
        submit, poll, download: The scripts.
        ready_after: Seconds from acceptance to the end of the task.
        polls: Which poll finds the task ended, whatever the clock says; None leaves it to the clock.
        pace: What Retry-After says while the task runs.
        word: The status word of a running task, in place of the provider's own.
        end: How the task ends.
        retry_after: What Retry-After says beside a 429.
        answer_after: Seconds that a slow answer takes.
        reshaped, recoded, withheld: The picture comes at another ratio, in another format, or not.
    """

    submit: Script = ()
    poll: Script = ()
    download: Script = ()
    ready_after: float = 0.1
    polls: int | None = None
    pace: float = 0.1
    word: str | None = None
    end: End = End.DONE
    retry_after: float = 0.1
    answer_after: float = 30.0
    reshaped: bool = False
    recoded: bool = False
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the table: what it says to people, and what it changes.

    Attributes:
        says: The line in the docs.
        changes: Fields of `Scenario` and their values.
        number: The field that the number at the end of the word sets, and its type.
    """

    says: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    number: tuple[str, Callable[[str], Any]] | None = None


def _once(kind: str, *, accepted: bool = False) -> Script:
    return (Step(kind=kind, accepted=accepted),)


def _always(kind: str) -> Script:
    return (Step(kind=kind, for_ever=True),)


WORDS: Mapping[str, Word] = {
    "ready": Word("the job is ready at once", {"ready_after": 0.0, "pace": 0.0}),
    "polls-N": Word(
        "the Nth poll finds the job ready, however long that takes", {}, ("polls", int)
    ),
    "slow": Word("the job takes 10 s", {"ready_after": 10.0, "pace": 0.5}),
    "slow-answer": Word(
        "accepted; the first answer to the submit takes 30 s",
        {"submit": _once("slow", accepted=True)},
    ),
    "slow-answer-S": Word(
        "the same in S seconds",
        {"submit": _once("slow", accepted=True)},
        ("answer_after", float),
    ),
    "unknown-word": Word(
        'the job says "dreaming", a status word that no page documents, until the third poll',
        {"word": "dreaming", "polls": 3},
    ),
    "failed": Word("accepted, then failed: refunded", {"end": End.FAILED}),
    "moderated": Word("accepted, then failed for its content: refunded", {"end": End.MODERATED}),
    "moderated-at-once": Word(
        "the submit is refused for its content", {"submit": _always("moderated")}
    ),
    "401": Word("the submit is refused: bad key", {"submit": _always("401")}),
    "402": Word("the submit is refused: no funds", {"submit": _always("402")}),
    "403": Word("the submit is refused: no permission", {"submit": _always("403")}),
    "429": Word("the first submit is refused with Retry-After: 0.1", {"submit": _once("429")}),
    "429-S": Word(
        "the same with Retry-After: S (decimals allowed)",
        {"submit": _once("429")},
        ("retry_after", float),
    ),
    "429-for-ever": Word(
        "every submit is refused with Retry-After: 0.1", {"submit": _always("429")}
    ),
    "500-once": Word("the first submit answers 500; no job", {"submit": _once("500")}),
    "500-accepted-once": Word(
        "the first submit answers 500, and its job was made",
        {"submit": _once("500", accepted=True)},
    ),
    "502-once": Word("the first submit answers 502; no job", {"submit": _once("502")}),
    "502": Word("every submit answers 502; no job", {"submit": _always("502")}),
    "503": Word("every submit answers 503; no job", {"submit": _always("503")}),
    "504-once": Word("the first submit answers 504; no job", {"submit": _once("504")}),
    "html": Word("every submit answers 200 with an HTML page; no job", {"submit": _always("html")}),
    "html-once-accepted": Word(
        "the first submit answers 200 with an HTML page, and its job was made",
        {"submit": _once("html", accepted=True)},
    ),
    "empty": Word(
        "every submit answers 200 with an empty body; no job", {"submit": _always("empty")}
    ),
    "reset-before": Word(
        "the first submit's connection is reset before the job is made", {"submit": _once("reset")}
    ),
    "reset-after": Word(
        "the first submit's connection is reset after the job was made",
        {"submit": _once("reset", accepted=True)},
    ),
    "redirect": Word(
        "every submit answers 307 to another host; no job", {"submit": _always("redirect-307")}
    ),
    "poll-500": Word("the first two polls answer 500", {"poll": _once("500") * 2}),
    "poll-404": Word("the first poll answers 404", {"poll": _once("404")}),
    "truncated": Word("the first download breaks off", {"download": _once("truncated")}),
    "truncated-for-ever": Word("every download breaks off", {"download": _always("truncated")}),
    "redirect-download": Word(
        "every download answers 302 to another host", {"download": _always("redirect-302")}
    ),
    "download-404": Word("every download answers 404", {"download": _always("404")}),
    "download-500-once": Word("the first download answers 500", {"download": _once("500")}),
    "wrong-size": Word("the picture comes at another ratio than asked", {"reshaped": True}),
    "wrong-format": Word("the picture comes in another format than asked", {"recoded": True}),
    "no-picture": Word("the job succeeds, and its list of pictures is empty", {"withheld": True}),
}

_IN_PROMPT = re.compile(r"(?<![\w-])sandbox:([a-z0-9-]+(?:\.[0-9]+)?)", re.IGNORECASE)
_STEMS = {name.rpartition("-")[0]: word for name, word in WORDS.items() if word.number}
_NUMBERED = re.compile(r"(.+)-([0-9]{1,5}(?:\.[0-9]{1,3})?)")


def read(prompt: str) -> Scenario:
    """The scenario that the words of a prompt make together.

    Raises:
        BadScenarioError: On a word that is not in the table, or two that set the same thing.
    """
    changes: dict[str, Any] = {}
    for word in dict.fromkeys(found.lower() for found in _IN_PROMPT.findall(prompt)):
        for name, value in _changes(word).items():
            if isinstance(value, tuple):
                changes[name] = changes.get(name, ()) + value
            elif changes.setdefault(name, value) != value:
                raise BadScenarioError(
                    f"sandbox:{word} contradicts another scenario of this prompt"
                )
    return Scenario(**changes)


def _changes(word: str) -> Mapping[str, Any]:
    plain = WORDS.get(word)
    if plain is not None:
        return plain.changes
    numbered = _NUMBERED.fullmatch(word)
    known = _STEMS.get(numbered[1]) if numbered else None
    if numbered and known and known.number:
        name, number = known.number
        with contextlib.suppress(ValueError):
            return {**known.changes, name: number(numbered[2])}
    hint = did_you_mean(word, WORDS)
    known_words = ", ".join(WORDS)
    raise BadScenarioError(f'no scenario "sandbox:{safe(word, 60)}"{hint}; known: {known_words}')
