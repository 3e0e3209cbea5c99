"""What became of many jobs, summed up as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from faults.verdicts import Verdict

COLUMNS = ("jobs", "in hand", "unknown", "nothing", "lost", "double", "wrong charge", "other")
_HEADS = ("jobs", "in hand", "flagged unknown", "nothing paid", "lost", "paid twice", "wrong charges", "other faults")  # fmt: skip
_PHASES = ("none", "prepared", "sending", "accepted", "done", "saved", "unknown", "cancelled")


class Tally:
    """Verdicts, counted by what ended the process, the provider and the phase that it ended in."""

    def __init__(self, how: str = "") -> None:
        self.how = how
        self.faults: list[str] = []
        self._counts: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)

    def add(self, verdicts: Iterable[Verdict], what: str = "") -> None:
        """Count; what is wrong is remembered with `what` made it."""
        for one in verdicts:
            count = self._counts[self.how, one.case.provider, one.phase]
            count.update(("jobs", one.end))
            for fault in one.faults:
                count[fault if fault in COLUMNS else "other"] += 1
                self.faults.append(f"{fault}: {one.case.provider} {one.case.prompt!r} ended in {one.phase} ({what})")  # fmt: skip

    def merge(self, other: Tally) -> None:
        """Count what another has counted, too."""
        for key, count in other._counts.items():
            self._counts[key] += count
        self.faults += other.faults

    def total(self, column: str, phase: str | None = None) -> int:
        """The sum of one column, of one phase where that is said."""
        return sum(count[column] for (*_, at), count in self._counts.items() if phase in {None, at})

    def markdown(self) -> str:
        """The table."""
        lines = [
            f"| ended by | provider | phase at the end | {' | '.join(_HEADS)} |",
            "|---|---|---" + "|---:" * len(_HEADS) + "|",
        ]
        for (how, provider, phase), count in sorted(self._counts.items(), key=_order):
            said = {"none": "before `sending`"}.get(phase, f"`{phase}`")
            numbers = " | ".join(str(count[column]) for column in COLUMNS)
            lines.append(f"| {how} | {provider} | {said} | {numbers} |")
        numbers = " | ".join(f"**{self.total(column)}**" for column in COLUMNS)
        lines.append(f"| **all** | | | {numbers} |")
        return "\n".join(lines)


def _order(entry: tuple[tuple[str, str, str], Any]) -> tuple[str, str, int]:
    (how, provider, phase), _ = entry
    return how.lower(), provider, _PHASES.index(phase)
