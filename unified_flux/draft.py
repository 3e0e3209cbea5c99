"""A translation while it is being made: values by payload key, and how each field ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unified_flux.contract import Card
from unified_flux.report import Entry, Outcome
from unified_flux.request import ImageRequest


@dataclass(slots=True)
class Draft:
    """A translation being made."""

    request: ImageRequest
    card: Card
    values: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def end(self, name: str, outcome: Outcome, became: Any = None, **facts: Any) -> None:
        """Record how a field ended."""
        said = facts.pop("said") if "said" in facts else getattr(self.request, name)
        self.entries.append(Entry(field=name, outcome=outcome, said=said, became=became, **facts))
