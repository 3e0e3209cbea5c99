"""What a flow tells the journal of one job, from its draft to its picture; and a look at what came of it."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from unified_flux import Charge, ImageRequest, Job, Money, registry
from unified_flux.effects import Accepted, Intent, Saved, Settled
from unified_flux.images import Header
from unified_flux.money import Basis
from unified_flux.record import Record, canonical, draft
from unified_flux.spool import SpooledFile
from unified_flux.wire import Phase, Purpose, WireRequest

from postgres import looking  # isort: skip

IN_A_FILE = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
PROMPT = "a fox in a very particular forest"
JOB = Job(
    provider="rivya",
    model="flux-kontext-pro",
    id="task_1",
    charge=Charge(money=Money(Decimal("4"), "credits:rivya"), basis=Basis.BILLED, raw={"a": 1}),
)
PICTURE = SpooledFile(path=Path("p.png"), size=3, sha256="ab" * 32, header=Header("png", 1, 1))


def record(id: str = "job1", **known: Any) -> Record:
    """A record as a client drafts it."""
    adapter = registry.make_adapter("rivya")
    request = ImageRequest(prompt=PROMPT, client_request_id=known.get("client_request_id"))
    translation = adapter.translate(request, adapter.cards[0])
    facts = {"place": "https://rivya.example", "request": canonical(request), "key": "key-1"}
    return draft(translation, id=id, report=translation.report, **{**facts, **known})


def intent(id: str = "job1", *, repeatable: bool = True) -> Intent:
    """A submit that is about to leave."""
    wire = WireRequest(
        purpose=Purpose.SUBMIT,
        method="POST",
        url="https://rivya.example/api/v1/generations",
        headers={"Idempotency-Key": "key-1"},
        json={"prompt": PROMPT},
    )
    return Intent(Phase.SENDING, id=id, wire=wire, repeatable=repeatable)


def accepted(id: str = "job1") -> Accepted:
    """The provider has named it."""
    return Accepted(Phase.ACCEPTED, JOB, id=id)


def done(id: str = "job1") -> Settled:
    """Its picture is made."""
    return Settled(Phase.DONE, JOB, id=id, urls=("https://pictures.example/1.png",))


def saved(id: str = "job1") -> Saved:
    """Its picture is here."""
    return Saved(Phase.SAVED, JOB, id=id, blobs=(PICTURE,))


def rows(place: Path | str, query: str) -> list[Any]:
    """What another program reads in a journal, in the folder or at the address."""
    with contextlib.closing(looking(place)) as other:
        return list(other.execute(query))
