"""One client's jobs: written down before they are paid, run, taken up again, handed over."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unified_flux import flow
from unified_flux.access import Access
from unified_flux.adapter import Adapter
from unified_flux.config import Config
from unified_flux.contract import Card
from unified_flux.effects import Pause, Together
from unified_flux.errors import (
    ConfigurationError,
    InvalidRequest,
    JournalError,
    UnifiedFluxError,
)
from unified_flux.fetching import Finished
from unified_flux.flow import Ask, Flow
from unified_flux.journal import Journal
from unified_flux.many import Asked, Begun, Stream
from unified_flux.orders import Order, Orders
from unified_flux.outcomes import Outcomes, resume_command
from unified_flux.polling import Schedule
from unified_flux.record import Record
from unified_flux.recovery import (
    Taken,
    busy,
    ended_with_its_process,
    has_died,
    next_flow,
    on_disk,
)
from unified_flux.result import ImageResult, Recovered
from unified_flux.retry import Pace
from unified_flux.scheduler import Steps
from unified_flux.text import safe
from unified_flux.translation import Translation
from unified_flux.uploading import Uploads
from unified_flux.wire import Job, Phase
from unified_flux.world import World

_log = logging.getLogger("unified_flux")
# Seconds for which what was learnt of a model's durations is good enough.
_LEARNT = 60.0
# Seconds between two looks at a job that another process has in hand.
_LOOK = 0.5


@dataclass(frozen=True)
class Jobs:
    """The jobs of one client."""

    orders: Orders
    adapter: Adapter
    config: Config
    access: Access
    journal: Journal | None
    _schedules: dict[str, tuple[Schedule, float]] = field(default_factory=dict)

    def making(self, asked: Asked, uploads: Uploads | None = None) -> Steps[ImageResult]:
        """The flow of one call of `generate`; `uploads` are shared with other calls."""
        order = self.orders.order(asked)
        records, asks = self.prepared(order, uploads)
        try:
            if sum(ask is not None for ask in asks) > 1:
                # What they all send along is uploaded once, before.
                yield from flow.bring_references(next(ask for ask in asks if ask))
            flows = [
                flow.generate(ask) if ask else self.taken_up(one, patient=asked.patient)
                for one, ask in zip(records, asks, strict=True)
            ]
            answer = yield Together(flows)
        finally:
            self._let_go([ask.id for ask in asks if ask])
        return self.outcomes(records, answer.ends).result(asked.request, order.references)

    def submitting(self, asked: Asked) -> Steps[Job]:
        """The flow that has one picture begun."""
        (record,), (ask,) = self.prepared(self.orders.order(asked))
        try:
            if ask is None and record.job is not None:
                return record.job
            beginning = flow.submit(ask) if ask else _job_of(self.taken_up(record))
            (end,) = (yield Together([beginning])).ends
        finally:
            self._let_go([ask.id] if ask else [])
        return end if isinstance(end, Job) else self.outcomes([record], [end]).failed()

    def waiting(self, job: Job | str) -> Steps[ImageResult]:
        """The flow that follows a job that is accepted."""
        record = self.known(job) or self.bare(job)
        if record.job is None:
            raise InvalidRequest(
                f"the job {record.id} is {record.phase}: no provider has named it, so there is "
                "nothing to wait for",
                next_step=f"resume() decides what becomes of it; or: {resume_command(record.id)}",
            )
        return (yield from self.going_on(record))

    def resuming(self, job: Job | str, *, resubmit: bool = False) -> Steps[ImageResult]:
        """The flow that goes on with a job of the journal wherever it stands."""
        return (yield from self.going_on(self.journalled(job), resubmit=resubmit))

    def prepared(
        self, order: Order, uploads: Uploads | None = None
    ) -> tuple[Sequence[Record], list[Ask | None]]:
        """The pictures' records, and what the flow of each is given, or None for one made before.

        The new ones are held by this process until they are let go.

        Args:
            uploads: Shared with other orders.

        Raises:
            TranslationError: When the request cannot be said.
            MissingKey, JournalError, SpendLimitExceeded: When nothing may be sent.
        """
        drafts, translations = self.orders.drafts(order)
        limits = self.orders.budget.limits(order.asked.max_cost, drafts[0].quote)
        # A missing key is told before anything is written down.
        self.access.check_key()
        self.access.purge_spool(self._undelivered)
        same_within = None if order.asked.again else self._same_within(order.asked)
        uploads = {} if uploads is None else uploads
        asks = [
            self._ask(one, translation, uploads)
            for one, translation in zip(drafts, translations, strict=True)
        ]
        kept: Sequence[Record] = drafts
        if self.journal is not None:
            kept = self.journal.prepare(
                drafts,
                same_within=same_within,
                at_once=order.brings_references,
                limits=limits,
            )
        each = zip(kept, drafts, asks, strict=True)
        return kept, [ask if one is new else None for one, new, ask in each]

    def was_made(self, order: Order) -> bool:
        """Whether the same was asked for before, under the same client_request_id, and something may come of it."""
        journal = self.journal
        if journal is None or order.asked.again or not order.request.client_request_id:
            return False
        if not self._has_journal or not journal.knows_wish(order.request.client_request_id):
            return False
        within = self._same_within(order.asked)
        return any(journal.has_same(one, within) for one in self.orders.drafts(order)[0])

    def taken_up(self, record: Record, *, resubmit: bool = False, patient: bool = False) -> Flow:
        """The flow that goes on with a record, which is taken when it starts and let go at its end.

        Args:
            patient: Wait for it while another process works on it.
        """
        journal = self.journal if record.id else None
        while True:
            if record.phase is Phase.SAVED and on_disk(record):
                # A picture that is here is handed over whoever is at work on its file.
                return (yield from next_flow(self._taken(record)))
            if journal is None or journal.claim(record.id):
                break
            if not patient:
                raise busy(record)
            yield Pause(_LOOK, idly=True)
            record = journal.get(record.id)
        try:
            if journal is not None:
                # Another process may have gone on with it since it was looked up.
                record = journal.get(record.id)
            ask = self._ask(record)
            if resubmit and record.phase is Phase.UNKNOWN and record.submit is None:
                ask.translation = self.orders.same_translation(record)
                if journal is not None:
                    journal.submit_again(record, self.orders.budget.limits(None, record.quote))
            return (yield from next_flow(self._taken(record, ask, resubmit)))
        finally:
            self._let_go([record.id])

    def known(self, job: Job | str) -> Record | None:
        """The record that a name means, None where the journal has none.

        Raises:
            InvalidRequest: When it is another provider's.
        """
        if self.journal is None or not self._has_journal:
            return None
        record = self.journal.find(str(job))
        if record is not None and record.provider != self.adapter.name:
            raise no_job(self.adapter.name, job)
        return record

    def journalled(self, job: Job | str) -> Record:
        """The same. Raises InvalidRequest also where there is none."""
        record = self.known(job)
        if record is None:
            raise no_job(self.adapter.name, job)
        return record

    def bare(self, job: Job | str) -> Record:
        """What is known of a job that is in no journal: its name.

        Raises:
            InvalidRequest: When it is no job of this provider.
        """
        found = Job.parse(job) if isinstance(job, str) else job
        if found is None or found.provider != self.adapter.name:
            raise no_job(self.adapter.name, job)
        card = self.orders.card(found.model)
        return Record(
            id="",
            provider=self.adapter.name,
            model=card.model,
            family=card.family,
            place=self.access.place,
            sandbox=self.access.sandbox,
            emulated=self.access.emulated,
            phase=Phase.ACCEPTED,
            job_id=found.id,
        )

    def each(
        self, ids: Iterable[str], world: World, *, only_open: bool = False
    ) -> Iterator[Recovered]:
        """Take up several, a few at a time; those that a living process works on are left to it."""
        begun = (Begun(id, self._recovering(id, only_open), world) for id in ids)
        with Stream(begun) as stream:
            for _, one in stream:
                if isinstance(one, UnifiedFluxError):
                    raise one
                if one is not None:
                    yield one

    def needed_journal(self) -> Journal:
        """The journal. Raises ConfigurationError where it is turned off."""
        if self.journal is None:
            raise ConfigurationError(
                "the journal is off (journal.enabled = false), so there is nothing to recover from"
            )
        return self.journal

    def outcomes(
        self, records: Sequence[Record], ends: Sequence[Finished | UnifiedFluxError]
    ) -> Outcomes:
        """What flows came to, on its way to a result."""
        kept = self.journal is not None
        told = self._delivered if kept else None
        return Outcomes(records=records, ends=ends, kept=kept, delivered=told)

    def _same_within(self, asked: Asked) -> float:
        within = asked.same_within
        return float(self.config.get("journal.same_within")) if within is None else within

    def _ask(
        self,
        record: Record,
        translation: Translation | None = None,
        uploads: Uploads | None = None,
    ) -> Ask:
        card = self.orders.card(record.model)
        return Ask(
            adapter=self.adapter,
            card=card,
            translation=translation,
            id=record.id,
            idempotency_key=record.key or "",
            pace=self.pace,
            rng=self.rng,
            uploads={} if uploads is None else uploads,
            schedule=self._schedule(card),
        )

    def _schedule(self, card: Card) -> Schedule:
        """When a model's jobs are asked for; what its latest ones took is looked up once a minute."""
        found = self._schedules.get(card.model)
        if found is None or time.monotonic() > found[1]:
            took: list[float] = []
            # Without them the card says when to ask.
            with contextlib.suppress(JournalError):
                if self.journal is not None and self.journal.exists():
                    name, sandbox = self.adapter.name, self.access.sandbox
                    took = self.journal.durations(name, card.model, sandbox=sandbox)
            found = Schedule(card.facts["polling"], took), time.monotonic() + _LEARNT
            self._schedules[card.model] = found
        return found[0]

    def going_on(self, record: Record, *, resubmit: bool = False) -> Steps[ImageResult]:
        """The flow that takes one up and sees it to its end."""
        answer = yield Together([self.taken_up(record, resubmit=resubmit)])
        # A picture that is here outweighs a journal that cannot be read.
        with contextlib.suppress(JournalError):
            record = self.journal.get(record.id) if self.journal and record.id else record
        return self.outcomes([record], answer.ends).result()

    def _recovering(self, id: str, only_open: bool) -> Steps[Recovered | None]:
        journal = self.needed_journal()
        record = Record(id=id, provider=self.adapter.name, model="", family="", place="")
        try:
            record = journal.get(id)
            # Its process may have brought it to its end since it was listed.
            if journal.works_on(record) or (only_open and not record.is_open):
                return None
            if has_died(record, self.access.place):
                error = ended_with_its_process(record)
                if journal.claim(id):
                    journal.close_job(id, error)
                return Recovered(record=journal.get(id), error=error)
            result = yield from self.going_on(record)
            return Recovered(record=result.records[0], result=result)
        except UnifiedFluxError as error:
            with contextlib.suppress(JournalError):
                record = journal.get(id)
            return Recovered(record=record, error=error)

    @property
    def _has_journal(self) -> bool:
        return self.journal is not None and self.journal.exists()

    def _taken(self, record: Record, ask: Ask | None = None, resubmit: bool = False) -> Taken:
        return Taken(
            record=record,
            ask=ask or self._ask(record),
            place=self.access.place,
            now=self.journal.now() if self.journal else 0,
            key_mark=self.access.key_mark,
            resubmit=resubmit,
        )

    def _undelivered(self) -> Container[str]:
        """The spooled files that somebody has still to write to their places."""
        return self.journal.undelivered() if self.journal and self._has_journal else ()

    def _let_go(self, ids: Sequence[str]) -> None:
        """A result that is here, or an error that tells of money, outweighs a journal that fails."""
        try:
            if self.journal is not None:
                self.journal.release(ids)
        except UnifiedFluxError as error:
            _log.info("the journal still holds %s: %s", ", ".join(ids), error.message)

    def slow_down(self, seconds: float) -> None:
        """Tell all who share the journal that the provider wants to be asked less."""
        try:
            if self.journal is not None and self.config.queue:
                sandbox = self.access.sandbox
                self.journal.slow_down(self.adapter.name, seconds, sandbox=sandbox)
        except UnifiedFluxError as error:
            _log.info("others go on as fast as before: %s", error.message)

    def _delivered(self, id: str, position: int, path: Path) -> None:
        """A file that is written is not lost by a journal that cannot be."""
        try:
            if self.journal is not None and id:
                self.journal.delivered(id, position, path)
        except UnifiedFluxError as error:
            _log.info("%s is not in the journal: %s", path, error.message)

    @cached_property
    def pace(self) -> Pace:
        """The time budgets that the settings give."""
        get = self.config.get
        return Pace(
            timeout=get("timeout"),
            retry_within=get("retry_within"),
            resend_within=get("resend_within"),
        )

    @cached_property
    def rng(self) -> random.Random:
        """Jitter."""
        return random.SystemRandom()


def no_job(provider: str, job: Job | str) -> InvalidRequest:
    """The error of a name that means nothing here."""
    return InvalidRequest(
        f'"{safe(job, 80)}" is no job of {provider}',
        next_step=f"A job is written {provider}/MODEL/ID, as the error printed it; "
        "unified-flux jobs lists those of the journal.",
    )


def _job_of(following: Flow) -> Steps[Job]:
    return (yield from following).job
