"""The translation report: what became of each field that the caller set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from unified_flux.errors import InvalidRequest, Problem
from unified_flux.text import did_you_mean, plain, safe

# In no mode may these be lost: they are what was asked.
NEVER_LOST = frozenset({"prompt", "references"})
LOSSES = {
    "drop": (
        "resolution",
        "output_format",
        "seed",
        "prompt_upsampling",
        "safety_tolerance",
        "translate_prompt",
        "watermark",
        "aspect_ratio",
        "width",
        "height",
    ),
    "approximate": ("aspect_ratio", "resolution", "width", "height"),
}
# No loss of a field, but allowed in the same breath: to pay what nobody can price, under a limit.
UNKNOWN_PRICE = "unknown-price"


class Outcome(StrEnum):
    """How a field ended."""

    NATIVE = "native"
    CONVERTED = "converted"
    APPROXIMATED = "approximated"
    DROPPED = "dropped"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One field's end.

    Attributes:
        field: The name in `ImageRequest`; `extra.<provider>.<key>` for an entry of `extra`.
        said: What the caller asked.
        became: What the payload says instead, None where it says nothing.
        keys: Where in the payload, as dotted paths.
        nearest: For a rejected field, the value that would do.
        refuses: False where the loss concerns another provider and so refuses nothing.
    """

    field: str
    outcome: Outcome
    said: Any
    became: Any = None
    keys: tuple[str, ...] = ()
    reason: str | None = None
    nearest: Any = None
    refuses: bool = True

    @property
    def allowance(self) -> str | None:
        """The `--allow` word that permits this loss, None where nothing is lost or nothing helps."""
        verb = {Outcome.DROPPED: "drop", Outcome.APPROXIMATED: "approximate"}.get(self.outcome)
        if verb is None or not self.refuses or self.field in NEVER_LOST:
            return None
        return f"{verb}:{self.field}"

    def to_json(self) -> dict[str, Any]:
        """The entry as `--json` prints it."""
        return {
            "field": self.field,
            "outcome": str(self.outcome),
            "from": self.said,
            "to": self.became,
            "key": ", ".join(self.keys) or None,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Entry:
        """The entry that `to_json` said."""
        return cls(
            field=found["field"],
            outcome=Outcome(found["outcome"]),
            said=found["from"],
            became=found["to"],
            keys=tuple(found["key"].split(", ")) if found["key"] else (),
            reason=found["reason"],
        )

    def problem(self) -> Problem:
        """The entry as a reason to stop."""
        if self.outcome is Outcome.APPROXIMATED:
            what = f"{plain(self.said)} would become {plain(self.became)}"
            near = self.became
        elif self.outcome is Outcome.DROPPED:
            what, near = f"{plain(self.said)} would be dropped", None
        else:
            what, near = f"{plain(self.said)} is not possible", self.nearest
        reason = f" ({self.reason})" if self.reason else ""
        return Problem(field=self.field, message=what + reason, nearest=near, allow=self.allowance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every field the caller set, once, and the provider's defaults for the rest."""

    entries: tuple[Entry, ...]
    defaults: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> Entry:
        """The entry of one field. Raises KeyError where the caller did not set it."""
        for entry in self.entries:
            if entry.field == name:
                return entry
        raise KeyError(name)

    def to_json(self) -> list[dict[str, Any]]:
        """The entries as plain JSON."""
        return [entry.to_json() for entry in self.entries]

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]], defaults: dict[str, Any]) -> Report:
        """The report that `to_json` said."""
        return cls(entries=tuple(Entry.from_json(entry) for entry in entries), defaults=defaults)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which losses the caller allowed; none by default.

    Args:
        allow: Words such as `drop:seed` and `approximate:aspect_ratio`; `unknown-price` lets what
            nobody can price pass under a spend limit.
        adapt: Allow every loss but that of the prompt and the references.

    Raises:
        InvalidRequest: When a word of `allow` is none of ours.
    """

    allow: frozenset[str] = frozenset()
    adapt: bool = False

    @classmethod
    def of(cls, allow: Iterable[str] = (), adapt: bool = False) -> Policy:
        """A policy from the words that a caller wrote."""
        words = frozenset([allow] if isinstance(allow, str) else allow)
        known = [f"{verb}:{name}" for verb, names in LOSSES.items() for name in names]
        known.append(UNKNOWN_PRICE)
        wrong = [word for word in sorted(words) if word not in known]
        if wrong:
            problems = [
                Problem(
                    field="allow",
                    message=f'"{safe(w)}" is no loss that can be allowed{did_you_mean(w, known)}',
                )
                for w in wrong
            ]
            raise InvalidRequest(
                f"an allowed loss is written drop:FIELD, approximate:FIELD or {UNKNOWN_PRICE}",
                problems=problems,
            )
        return cls(words, adapt)

    @property
    def unknown_price(self) -> bool:
        """Whether what nobody can price may pass where a price is asked for."""
        return UNKNOWN_PRICE in self.allow

    def permits(self, entry: Entry) -> bool:
        """Whether this end of a field may pass."""
        if entry.outcome in {Outcome.NATIVE, Outcome.CONVERTED} or not entry.refuses:
            return True
        if entry.allowance is None:
            return False
        return self.adapt or entry.allowance in self.allow
