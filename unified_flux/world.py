"""All that a flow has no hands for: exchanges, facts on disk, the time, and who wants to know."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from unified_flux.effects import Answer, Effect, Event, Exchange, Fact, Intent
from unified_flux.errors import UnifiedFluxError
from unified_flux.gates import Gate
from unified_flux.wire import WireRequest, WireResponse

_log = logging.getLogger("unified_flux")


class Transport(Protocol):
    """Makes one exchange."""

    def send(self, request: WireRequest, within: float | None = None) -> WireResponse:
        """The answer, whatever its status. Raises UnifiedFluxError where no whole answer came."""

    def close(self) -> None:
        """Let go of connections."""


class Keeper(Protocol):
    """Puts facts on disk; the journal does."""

    def keep(self, fact: Fact) -> None:
        """Raises UnifiedFluxError where it cannot, NotYet where a submit has to wait for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One provider's surroundings.

    Attributes:
        journal: Where facts go; None where jobs are not kept.
        gate: Where paid submits wait for their turn; None where each may go at once.
        pause: Replaces waiting, for tests.
    """

    transport: Transport
    journal: Keeper | None = None
    gate: Gate | None = None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] | None = None
    on_event: Callable[[Event], None] | None = None

    def perform(self, effect: Effect) -> Answer:
        """Do what a flow asks, but for what takes others: pauses and flows beside it."""
        if isinstance(effect, Exchange):
            return self._exchange(effect.request, effect.within)
        fault = None
        if isinstance(effect, Event):
            fault = self._keep(effect) if isinstance(effect, Fact) else None
            # An intent that could not be kept is given up: it has not happened.
            if fault is None or not isinstance(effect, Intent):
                self._tell(effect)
        return Answer(now=self.clock(), fault=fault)

    def _keep(self, fact: Fact) -> UnifiedFluxError | None:
        """Why a fact could not be put on disk."""
        try:
            if self.journal is not None and fact.id:
                self.journal.keep(fact)
        except UnifiedFluxError as fault:
            _log.info("%s %s is not in the journal: %s", fact.phase, fact.id, fault.message)
            return fault
        return None

    def _tell(self, event: Event) -> None:
        """A listener's own fault is logged: it must not cost a picture that is paid."""
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            _log.exception("on_event failed at %s", event.phase)

    def _exchange(self, request: WireRequest, within: float | None) -> Answer:
        # A query may be a signature that opens the picture to anyone: it stays out of logs.
        place = request.url.partition("?")[0]
        try:
            response = self.transport.send(request, within)
        except UnifiedFluxError as fault:
            _log.info("%s %s: %s", request.method, place, fault.message)
            return Answer(now=self.clock(), fault=fault)
        _log.info("%s %s: HTTP %s", request.method, place, response.status)
        return Answer(now=self.clock(), response=response)
