"""The kit's questions asked without pytest, each rule with one verdict."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from unified_flux import registry
from unified_flux.testing.conformance import Conformance, WithoutGolden
from unified_flux.testing.kit import Kit
from unified_flux.testing.places import line_in_trace

SLOW = 0.05
QUICK = "the_plugin_is_quick_to_import"
_MOST = 5
Asked = tuple[str, Callable[[], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule came to.

    Attributes:
        rule: The question's name.
        says: The rule as a sentence.
        asked: How often it was asked: for each model, field, conversation.
        failures: Why it does not hold, with file and line where one is to blame; at most five.
        notes: What the question told beside.
    """

    rule: str
    says: str
    asked: int = 1
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return not self.failures


def examine(name: str, golden: Path | None = None, rules: Sequence[str] = ()) -> Iterator[Verdict]:
    """Every verdict about an installed adapter; the questions of conversations need their folder.

    Args:
        rules: Only those whose names contain one of these words.

    Raises:
        ConfigurationError: When the plugin cannot be loaded; the error says why.
    """
    wanted = [rule.replace(" ", "_") for rule in rules]

    def is_asked(rule: str) -> bool:
        return not wanted or any(word in rule for word in wanted)

    base = Conformance if golden else WithoutGolden
    kit: Kit = type("Examined", (base,), {"name": name, "golden": golden})()
    if is_asked(QUICK):
        yield _quick(name)
    try:
        questions = list(kit.questions())
    # Nothing can be asked of an adapter that cannot even be put together; that is its verdict.
    except Exception as error:
        says = "An adapter can be made, and its cards and conversations can be read."
        yield Verdict(rule="the_adapter_can_be_read", says=says, failures=(_reason(kit, error),))
        return
    for rule, asked in groupby(questions, key=lambda one: one[0].partition("[")[0]):
        if is_asked(rule):
            yield _verdict(kit, rule, list(asked))


def _quick(name: str) -> Verdict:
    found = next(one for one in registry.installed() if one.name == name)
    seconds = registry.import_seconds(found)
    slow = f"{found.module} takes {seconds * 1000:.0f} ms" if seconds > SLOW else ""
    return Verdict(
        rule=QUICK,
        says=f"Importing its module takes at most {SLOW * 1000:.0f} ms beyond unified-flux.",
        failures=(slow,) if slow else (),
        notes=(f"{seconds * 1000:.0f} ms",),
    )


def _verdict(kit: Kit, rule: str, asked: list[Asked]) -> Verdict:
    failures, said = [], io.StringIO()
    for question, ask in asked:
        try:
            with contextlib.redirect_stdout(said):
                ask()
        # Whatever a plugin raises is a fault of it, told like any other.
        except Exception as error:
            failures.append(f"{_about(question)}{_reason(kit, error)}")
    text = (getattr(kit, rule).__doc__ or "").strip()
    return Verdict(
        rule=rule.removeprefix("test_"),
        says=" ".join(text.split()),
        asked=len(asked),
        failures=tuple(dict.fromkeys(failures))[:_MOST],
        notes=tuple(dict.fromkeys(said.getvalue().splitlines())),
    )


def _about(question: str) -> str:
    words = question.partition("[")[2].rstrip("]")
    return f"[{words}] " if words else ""


def _reason(kit: Kit, error: Exception) -> str:
    file = inspect.getsourcefile(registry.adapter_class(kit.name)) or ""
    place = line_in_trace(error.__traceback__, file)
    message = str(error) or type(error).__name__
    if not isinstance(error, AssertionError):
        message = f"{type(error).__name__}: {message}"
    return f"{place}: {message}" if place else message
