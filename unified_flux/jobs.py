"""One client's jobs: written down before they are paid, run, taken up again, handed over."""

from __future__ import annotations

import base64
import contextlib
import logging
import random
import secrets
import time
import uuid
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unified_flux.access import Access
from unified_flux.adapter import Adapter
from unified_flux.budget import Budget
from unified_flux.config import Config
from unified_flux.contract import Card, choose
from unified_flux.effects import Together
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
from unified_flux.outcomes import Outcomes
from unified_flux.output import Target
from unified_flux.record import Record, canonical, draft, payload_digest
from unified_flux.recovery import (
    Taken,
    asked_again,
    busy,
    ended_with_its_process,
    has_died,
    next_flow,
    not_again,
    on_disk,
)
from unified_flux.references import open_references
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.result import ImageResult, Recovered
from unified_flux.retry import Pace, slip
from unified_flux.scheduler import Steps
from unified_flux.text import safe
from unified_flux.translation import Translation, require
from unified_flux.uploading import Uploads
from unified_flux.wire import Job, OpenedReference, Phase
from unified_flux.world import World

_log = logging.getLogger("unified_flux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked, on its way to the provider: with its card, and its references opened."""

    asked: Asked
    card: Card
    references: tuple[OpenedReference, ...]

    @property
    def request(self) -> ImageRequest:
        """What the pictures are to be."""
        return self.asked.request

    @property
    def brings_references(self) -> bool:
        """Whether references are uploaded before anything is paid."""
        return self.card.references.get("local") == "upload" and any(
            one.source for one in self.references
        )


@dataclass(frozen=True)
class Jobs:
    """The jobs of one client."""

    adapter: Adapter
    config: Config
    policy: Policy
    access: Access
    journal: Journal | None

    def order(self, asked: Asked) -> Order:
        """What was asked, with its card and its references opened.

        Raises:
            InvalidRequest: When the model is unknown or a reference unusable.
        """
        references = open_references(asked.request.references)
        return Order(asked=asked, card=self.card(asked.request.model), references=references)

    def card(self, model: str | None = None) -> Card:
        """The card of a family or model id, of the configured model where none is named."""
        return choose(self.adapter.cards, model or self.config.get("model"))

    @contextmanager
    def prepared(
        self, order: Order, uploads: Uploads | None = None
    ) -> Iterator[list[tuple[Record, Ask | None]]]:
        """The pictures' records, each with what its flow is given, or None for one made before.

        Args:
            uploads: Shared with other orders.

        Raises:
            TranslationError: When the request cannot be said.
            MissingKey, JournalError, SpendLimitExceeded: When nothing may be sent.
        """
        drafts, translations = self._drafts(order)
        limits = self.budget.limits(order.asked.max_cost, drafts[0].quote)
        # A missing key is told before anything is written down.
        self.access.check_key()
        self.access.purge_spool(self._undelivered)
        same_within = None if order.asked.again else self._same_within(order.asked)
        kept = drafts
        if self.journal is not None:
            kept = self.journal.prepare(
                drafts,
                same_within=same_within,
                at_once=order.brings_references,
                limits=limits,
            )
        uploads = {} if uploads is None else uploads
        try:
            yield [
                (one, self._ask(one, translation, uploads) if one is new else None)
                for one, new, translation in zip(kept, drafts, translations, strict=True)
            ]
        finally:
            self._let_go([one.id for one in drafts])

    def was_made(self, order: Order) -> bool:
        """Whether the same was asked for before, under the same client_request_id, and something may come of it."""
        journal = self.journal
        if journal is None or order.asked.again or not order.request.client_request_id:
            return False
        if not self._has_journal or not journal.knows_wish(order.request.client_request_id):
            return False
        within = self._same_within(order.asked)
        return any(journal.has_same(one, within) for one in self._drafts(order)[0])

    def taken_up(self, record: Record, *, resubmit: bool = False) -> Flow:
        """The flow that goes on with a record, which is taken when it starts and let go at its end."""
        journal = self.journal if record.id else None
        if record.phase is Phase.SAVED and on_disk(record):
            # A picture that is here is handed over whoever is at work on its file.
            return (yield from next_flow(self._taken(record)))
        if journal is not None and not journal.claim(record.id):
            raise busy(record)
        try:
            if journal is not None:
                # Another process may have gone on with it since it was looked up.
                record = journal.get(record.id)
            ask = self._ask(record)
            if resubmit and record.phase is Phase.UNKNOWN and record.submit is None:
                ask.translation = self._same_translation(record)
                if journal is not None:
                    journal.submit_again(record, self.budget.limits(None, record.quote))
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

    def bare(self, job: Job | str) -> Record:
        """What is known of a job that is in no journal: its name.

        Raises:
            InvalidRequest: When it is no job of this provider.
        """
        found = Job.parse(job) if isinstance(job, str) else job
        if found is None or found.provider != self.adapter.name:
            raise no_job(self.adapter.name, job)
        card = self.card(found.model)
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

    def _drafts(self, order: Order) -> tuple[list[Record], list[Translation]]:
        request = order.request
        whole = self._said(request, order)
        pictures = request.pictures()
        one_by_one = request.n is not None
        translations = [self._said(one, order) if one_by_one else whole for one in pictures]
        quoted = self.budget.quote(whole)
        asked = canonical(request, order.references)
        asked_each = enumerate(zip(pictures, translations, strict=True), 1)
        asked_for = order.asked.destination
        destination = Target(str(asked_for)).absolute if asked_for else None
        drafts = [
            draft(
                translation,
                id=_new_id(),
                place=self.access.place,
                sandbox=self.access.sandbox,
                emulated=self.access.emulated,
                request=asked,
                report=whole.report,
                asked=number,
                seed=picture.seed,
                client_request_id=request.client_request_id,
                tags=request.tags,
                project=self.config.get("project"),
                quote=quoted,
                destination=destination,
                force=order.asked.force,
                key=str(uuid.uuid4()),
                key_mark=self.access.key_mark,
            )
            for number, (picture, translation) in asked_each
        ]
        return drafts, translations

    def _same_within(self, asked: Asked) -> float:
        within = asked.same_within
        return float(self.config.get("journal.same_within")) if within is None else within

    def _said(self, request: ImageRequest, order: Order) -> Translation:
        try:
            translation = self.adapter.translate(request, order.card, order.references)
        except UnifiedFluxError:
            raise
        except Exception as error:
            raise slip(self.adapter, error) from error
        return require(translation, self.policy)

    def _ask(
        self,
        record: Record,
        translation: Translation | None = None,
        uploads: Uploads | None = None,
    ) -> Ask:
        return Ask(
            adapter=self.adapter,
            card=self.card(record.model),
            translation=translation,
            id=record.id,
            idempotency_key=record.key or "",
            pace=self.pace,
            rng=self.rng,
            uploads={} if uploads is None else uploads,
        )

    def _same_translation(self, record: Record) -> Translation:
        """The translation of a record's request once more, to the same payload."""
        order = self.order(Asked(request=asked_again(record)))
        translation = self.adapter.translate(order.request, order.card, order.references)
        if payload_digest(translation) != record.payload_sha256:
            raise not_again("a reference or a setting has changed since")
        return translation

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
        return self.journal is not None and self.journal.path.exists()

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

    def _delivered(self, id: str, position: int, path: Path) -> None:
        """A file that is written is not lost by a journal that cannot be."""
        try:
            if self.journal is not None and id:
                self.journal.delivered(id, position, path)
        except UnifiedFluxError as error:
            _log.info("%s is not in the journal: %s", path, error.message)

    @cached_property
    def budget(self) -> Budget:
        """What this client's pictures may cost."""
        return Budget(
            provider=self.adapter.name,
            config=self.config,
            journal=self.journal,
            is_sandbox=lambda: self.access.sandbox,
            unknown_allowed=self.policy.unknown_price,
        )

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


def _new_id() -> str:
    """A name that nobody has, in the order of time: so the journal's newest pages are near."""
    moment = int(time.time() * 1000).to_bytes(6, "big")
    return base64.b32hexencode(moment + secrets.token_bytes(4)).decode().lower()


def no_job(provider: str, job: Job | str) -> InvalidRequest:
    """The error of a name that means nothing here."""
    return InvalidRequest(
        f'"{safe(job, 80)}" is no job of {provider}',
        next_step=f"A job is written {provider}/MODEL/ID, as the error printed it; "
        "unified-flux jobs lists those of the journal.",
    )
