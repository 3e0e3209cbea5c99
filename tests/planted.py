"""Faults planted in adapters, each with the question of the kit that must catch it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from unified_flux import registry
from unified_flux.adapter import Adapter
from unified_flux.contract import Card
from unified_flux.report import Report
from unified_flux.testing import Conformance

GOLDEN = Path(__file__).parent / "golden"


def kit_for(adapter: type[Adapter], name: str) -> Conformance:
    """The kit, examining `adapter` as what stands behind an entry point."""

    class Examined(Conformance):
        golden = GOLDEN / name

        def make_adapter(
            self, base_url: str | None = None, options: Mapping[str, str] | None = None
        ) -> Adapter:
            return adapter(base_url, options)

    Examined.name = name
    return Examined()


def unhappy(kit: Conformance, question: str) -> list[str]:
    """The forms of one question (all, for "") that the adapter does not stand up to."""
    found = []
    for asked, ask in kit.questions():
        if asked.startswith(f"{question}["):
            try:
                ask()
            except Exception:
                found.append(asked)
    return found


class Fault:
    """A planted fault: an adapter class that has it, and the question that must catch it."""

    planted: ClassVar[dict[str, tuple[type[Adapter], str]]] = {}

    def __init__(self, question: str) -> None:
        self.question = question

    def __call__(self, adapter: type[Adapter]) -> type[Adapter]:
        name = (adapter.__doc__ or "").strip().rstrip(".")
        self.planted[name] = (adapter, self.question)
        return adapter


def with_entries(translation: Any, entries: Sequence[Any]) -> Any:
    """The translation with another report."""
    report = Report(entries=tuple(entries), defaults=translation.report.defaults)
    return dataclasses.replace(translation, report=report)


def translating(change: Callable[[Any], Any], asked: Callable[[Any], Any] = lambda r: r) -> Any:
    """A `translate` that does something to the request before, or to the translation after."""

    def translate(self: Any, request: Any, card: Card, references: Sequence[Any] = ()) -> Any:
        return change(Adapter.translate(self, asked(request), card, references))

    return translate


def set_in(translation: Any, **values: Any) -> Any:
    """The translation with values put into the payload behind the report's back."""
    return dataclasses.replace(translation, payload={**translation.payload, **values})


def provider_of(adapter: type[Adapter]) -> str:
    """Whose adapter a faulty one is made of."""
    return next(
        name for name in registry.names() if issubclass(adapter, registry.adapter_class(name))
    )
