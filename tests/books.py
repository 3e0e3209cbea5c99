"""Jobs that were paid, written into a journal by the facts that a flow tells."""

from __future__ import annotations

import secrets
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from unified_flux import Charge, ImageRequest, Job, Money, registry
from unified_flux.config import Config
from unified_flux.contract import choose
from unified_flux.effects import Accepted, Intent, Saved, Settled
from unified_flux.images import Header
from unified_flux.journal import Journal
from unified_flux.money import Basis
from unified_flux.pricing import Quote, quote
from unified_flux.record import Record, canonical, draft
from unified_flux.spool import SpooledFile
from unified_flux.wire import Phase, Purpose, WireRequest

PICTURE = SpooledFile(path=Path("p.png"), size=3, sha256="ab" * 32, header=Header("png", 1, 1))


def record(provider: str = "rivya", model: str = "flux-kontext-pro", **known: Any) -> Record:
    """A record as a client drafts it, quoted as the card says."""
    adapter = registry.make_adapter(provider)
    card = choose(adapter.cards, model)
    request = ImageRequest(prompt="a fox", tags=known.get("tags", ()))
    translation = adapter.translate(request, card)
    facts: dict[str, Any] = {
        "id": secrets.token_hex(8),
        "place": "https://provider.example",
        "request": canonical(request),
        "report": translation.report,
        "key": "key-1",
        "quote": quote(translation, Config(("rivya", "vtrix")).tariff),
    }
    payload = known.pop("payload", None)
    one = draft(translation, **{**facts, **known})
    return replace(one, payload=payload) if payload else one


def quoted(amount: str, unit: str = "USD", basis: Basis = Basis.CONFIGURED) -> Quote:
    """A quote of so much for one picture."""
    money = Money(Decimal(amount), unit)
    return Quote(money=money, each=money, most=money, basis=basis)


def sent(journal: Journal, one: Record) -> Record:
    """The job's paid submit is on its way."""
    journal.prepare([one])
    wire = WireRequest(purpose=Purpose.SUBMIT, method="POST", url="https://provider.example")
    journal.keep(Intent(Phase.SENDING, id=one.id, wire=wire, repeatable=False))
    return one


def billed(journal: Journal, amount: str, unit: str, one: Record | None = None) -> Record:
    """A picture that came, and what it cost."""
    one = sent(journal, one or record())
    charge = Charge(money=Money(Decimal(amount), unit), basis=Basis.BILLED)
    job = Job(provider=one.provider, model=one.model, id=f"task_{one.id}", charge=charge)
    journal.keep(Accepted(Phase.ACCEPTED, job, id=one.id))
    journal.keep(Settled(Phase.DONE, job, id=one.id, urls=("https://pictures.example/1.png",)))
    journal.keep(Saved(Phase.SAVED, job, id=one.id, blobs=(PICTURE,)))
    return one
