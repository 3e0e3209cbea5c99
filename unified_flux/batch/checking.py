"""Every line translated, held against its model's schema and quoted, before anything is paid."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from unified_flux.batch.costs import Sums
from unified_flux.batch.fields import Line
from unified_flux.batch.places import Places
from unified_flux.batch.wishes import Wishes
from unified_flux.client import Client
from unified_flux.compare import Candidate
from unified_flux.errors import InvalidRequest, UnifiedFluxError
from unified_flux.journal.scratch import Scratch
from unified_flux.pricing import Quote
from unified_flux.references import open_references
from unified_flux.report import Report
from unified_flux.request import ImageRequest, Reference
from unified_flux.router import Router
from unified_flux.translation import require
from unified_flux.wire import OpenedReference

# References that a batch keeps open knowledge of; a file of them costs a few hundred bytes.
_REMEMBERED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One line as it would be asked, or why it cannot be.

    Attributes:
        request: With its references opened and the name it is asked under.
        client: Who would be asked first.
        made: Whether it was made before, so that it costs nothing more.
    """

    line: Line
    request: ImageRequest | None = None
    client: Client | None = None
    model: str | None = None
    quote: Quote = field(default_factory=Quote)
    report: Report | None = None
    made: bool = False
    error: UnifiedFluxError | None = None


@dataclass(slots=True, kw_only=True)
class Totals:
    """What the check pass counted.

    Attributes:
        made: Lines that were made before.
        pictures: Those that are to be paid.
        cost, most: Of them, as quoted, and at most.
        sandbox: Whether all of it is play money.
    """

    lines: int = 0
    invalid: int = 0
    made: int = 0
    pictures: int = 0
    cost: Sums = field(default_factory=Sums)
    most: Sums = field(default_factory=Sums)
    sandbox: bool = True
    first_error: UnifiedFluxError | None = None

    def add(self, one: Checked) -> None:
        """Count a line."""
        self.lines += 1
        if one.error is not None:
            self.invalid += 1
            self.first_error = self.first_error or one.error
        elif one.made:
            self.made += 1
        else:
            self.pictures += one.quote.pictures
            self.cost.add(one.quote.money)
            self.most.add(most_of(one.quote))
        if one.client is not None and self.sandbox:
            self.sandbox = one.client.sandbox

    def to_json(self) -> dict[str, Any]:
        """The totals as `--json` prints them."""
        return {
            "lines": self.lines,
            "invalid": self.invalid,
            "made_before": self.made,
            "pictures": self.pictures,
            "quote": self.cost.to_json(),
            "sandbox": self.sandbox,
        }


def most_of(quote: Quote) -> Any:
    """The most that a line may cost, None where nobody knows."""
    return quote.most.times(quote.pictures) if quote.most else None


class References:
    """Opens references, each file once as long as it stays the same."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Any, OpenedReference]] = OrderedDict()

    def opened(self, given: Iterable[Reference]) -> tuple[Reference, ...]:
        """The references, opened.

        Raises:
            InvalidRequest: Listing every one that cannot be used.
        """
        kept = tuple(given)
        marks = [_mark(one) for one in kept]
        fresh = [one for one, mark in zip(kept, marks, strict=True) if not self._has(one, mark)]
        for one, opened in zip(fresh, open_references(fresh), strict=True):
            mark = _mark(one)
            if mark is not None:
                self._known[str(one.origin)] = (mark, opened)
        found = tuple(
            Reference(self._known[str(one.origin)][1]) if mark is not None else one
            for one, mark in zip(kept, marks, strict=True)
        )
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _has(self, one: Reference, mark: Any) -> bool:
        known = self._known.get(str(one.origin)) if mark is not None else None
        if known is None or known[0] != mark:
            return False
        self._known.move_to_end(str(one.origin))
        return True


def _mark(one: Reference) -> Any:
    """What changes when a file does; None for what is no file, or not there."""
    if not isinstance(one.origin, str) or "://" in one.origin[:12] or one.origin[:5] == "data:":
        return None
    try:
        found = os.stat(one.origin)  # noqa: PTH116 - a million times, and no path object is needed
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Makes lines ready to be asked.

    Attributes:
        scratch: Remembers what every line said when it was checked.
        places: Where pictures go, which has to be free.
        again: Whether what was made before is paid once more.
    """

    router: Router
    wishes: Wishes
    scratch: Scratch
    places: Places
    references: References = field(default_factory=References)
    again: bool = False

    def all(self, lines: Iterable[Line], each: Callable[[Checked], None]) -> Totals:
        """Check every line, tell each, and count."""
        totals = Totals()
        for line in lines:
            one = self.line(line)
            self.scratch.checked(line.number, line.digest)
            totals.add(one)
            each(one)
        return totals

    def line(self, line: Line) -> Checked:
        """One line translated and quoted, or with its error."""
        client: Client | None = None
        try:
            request = self.ready(line)
            client, candidate = self._chosen(request)
            translation = require(candidate.translation, client.policy)
            made = not self.again and client.was_made(request)
            if not made:
                self.places.require_free(line, request, candidate)
        except UnifiedFluxError as error:
            return Checked(line=line, client=client, error=error)
        return Checked(
            line=line,
            request=request,
            client=client,
            model=translation.card.model,
            quote=candidate.quote,
            report=translation.report,
            made=made,
        )

    def ready(self, line: Line) -> ImageRequest:
        """A line's request with its references opened and its name.

        Raises:
            InvalidRequest: When the line is wrong in itself, or by what stands beside it.
        """
        if line.error is not None or line.request is None:
            raise line.error or InvalidRequest("it holds no request")
        wish = self.wishes.of(line)
        self.places.require_name(line)
        request = line.request
        if request.references:
            opened = self.references.opened(request.references)
            return replace(request, client_request_id=wish, references=opened)
        return replace(request, client_request_id=wish)

    def _chosen(self, request: ImageRequest) -> tuple[Client, Candidate]:
        """Who is asked first, and what it makes of the request.

        Raises:
            UnifiedFluxError: When nobody can be asked.
        """
        clients = self.router.clients
        if len(clients) == 1:
            return clients[0], clients[0].candidate(request)
        stops = self.router.plan(request)
        taken = next((s for s in stops if s.against is None and s.candidate.possible), stops[0])
        if taken.against is not None:
            raise InvalidRequest(f"{taken.client.provider} may not be asked: {taken.against}")
        return taken.client, taken.candidate
