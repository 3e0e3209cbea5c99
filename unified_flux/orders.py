"""From what was asked to the records of its pictures: nothing is written down yet, nothing sent."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from dataclasses import dataclass
from functools import cached_property

from unified_flux.access import Access
from unified_flux.adapter import Adapter
from unified_flux.budget import Budget
from unified_flux.config import Config
from unified_flux.contract import Card, choose
from unified_flux.errors import UnifiedFluxError
from unified_flux.journal import Journal
from unified_flux.many import Asked
from unified_flux.output import Target
from unified_flux.record import Record, canonical, draft, payload_digest
from unified_flux.recovery import asked_again, not_again
from unified_flux.references import open_references
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.retry import slip
from unified_flux.translation import Translation, require
from unified_flux.wire import OpenedReference


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
class Orders:
    """What one client is asked, made ready."""

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

    def drafts(self, order: Order) -> tuple[list[Record], list[Translation]]:
        """The records of its pictures, and what each would send.

        Raises:
            TranslationError: When the request cannot be said.
        """
        request = order.request
        whole = self._said(request, order)
        at_once = order.card.at_once
        submits = request.submits(at_once)
        several = request.n is not None
        translations = [self._said(one, order) if several else whole for one in submits]
        quoted = self.budget.quote(whole)
        asked = canonical(request, order.references)
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
                asked=1 + number * at_once,
                seed=one.seed,
                client_request_id=request.client_request_id,
                tags=request.tags,
                project=self.config.get("project"),
                quote=quoted.times(one.n or 1),
                destination=destination,
                force=order.asked.force,
                key=str(uuid.uuid4()),
                key_mark=self.access.key_mark,
            )
            for number, (one, translation) in enumerate(zip(submits, translations, strict=True))
        ]
        return drafts, translations

    def same_translation(self, record: Record) -> Translation:
        """The translation of a record's request once more, to the same payload."""
        at_once = self.card(record.model).at_once
        order = self.order(Asked(request=asked_again(record, at_once)))
        translation = self.adapter.translate(order.request, order.card, order.references)
        if payload_digest(translation) != record.payload_sha256:
            raise not_again("a reference or a setting has changed since")
        return translation

    def _said(self, request: ImageRequest, order: Order) -> Translation:
        try:
            translation = self.adapter.translate(request, order.card, order.references)
        except UnifiedFluxError:
            raise
        except Exception as error:
            raise slip(self.adapter.name, error) from error
        return require(translation, self.policy)

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


def _new_id() -> str:
    """A name that nobody has, in the order of time: so the journal's newest pages are near."""
    moment = int(time.time() * 1000).to_bytes(6, "big")
    return base64.b32hexencode(moment + secrets.token_bytes(4)).decode().lower()
