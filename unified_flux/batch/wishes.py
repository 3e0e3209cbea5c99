"""Which line is which, from one run of a batch to the next: so nothing is paid twice, and edits are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from unified_flux.batch.fields import Line
from unified_flux.errors import InvalidRequest
from unified_flux.journal.scratch import Scratch
from unified_flux.text import safe

# A line stays the same wish however long ago it was made.
FOR_EVER = 1000 * 365 * 86_400.0


def mark_of(name: str) -> str:
    """A batch's name in twelve letters."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Names each line of one reading of a file.

    Attributes:
        mark: The batch's.
        scratch: Where the names that were seen are kept.
    """

    mark: str
    scratch: Scratch

    def of(self, line: Line) -> str:
        """The `client_request_id` that a line is asked under.

        It is the line's own where it gives one; or is made of its id; or of what it asks for, and how
        often that was asked for by then: three equal lines are three pictures, and where they stand
        does not matter.

        Raises:
            InvalidRequest: When another line has the same id.
        """
        given = line.request.client_request_id if line.request else None
        if given is not None:
            self._once("client_request_id", given, line)
        if line.id is not None:
            self._once("id", line.id, line)
        if given is not None:
            return given
        if line.id is not None:
            return f"batch-{self.mark}-i{_short(line.id)}"
        _, count = self.scratch.see(line.content, line.number)
        return f"batch-{self.mark}-c{line.content.hex()[:20]}-{count}"

    def _once(self, field: str, value: str, line: Line) -> None:
        first, count = self.scratch.see(f"{field} {value}", line.number)
        if count > 1:
            raise InvalidRequest(
                f'its {field} "{safe(value, 60)}" is that of line {first} too',
                next_step="Each line has an id of its own, or none: then what it asks for is its name.",
            )


def _short(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:20]
