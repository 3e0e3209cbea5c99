"""Lumen's dialect. A real adapter names here the pages that were read, and the day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from unified_flux.adapter import Adapter, Auth, text
from unified_flux.contract import Card
from unified_flux.errors import Moderated, ProviderError
from unified_flux.money import Basis, Charge, Money, parse_amount
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse


class Lumen(Adapter):
    """Key in a header of its own, parameters under `input`, addresses to ask at, cost in credits."""

    name: ClassVar[str] = "lumen"
    base_url: ClassVar[str] = "https://api.lumen.example"
    auth: ClassVar[Auth] = Auth(header="X-Api-Key", template="{key}")
    card_package: ClassVar[str] = "unified_flux_lumen"
    phases: ClassVar[Mapping[str, Phase]] = {
        "WAITING": Phase.RUNNING,
        "DRAWING": Phase.RUNNING,
        "READY": Phase.DONE,
        "BROKEN": Phase.FAILED,
        "REFUSED": Phase.FAILED,
    }
    # Lumen documents that a refused job costs nothing; of a broken one it says nothing.
    uncharged: ClassVar[frozenset[str]] = frozenset({"REFUSED"})
    codes: ClassVar[Mapping[str, type[ProviderError]]] = {"content_refused": Moderated}
    idempotent: ClassVar[bool] = True

    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        body = {"model": card.model, "input": {k: v for k, v in payload.items() if k != "model"}}
        return WireRequest(
            purpose=Purpose.SUBMIT,
            method="POST",
            url=f"{self.base}/v2/jobs",
            headers={"Idempotency-Key": idempotency_key},
            json=body,
        )

    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        found = response.object()
        pictures = found.get("pictures")
        return self.outcome(
            found,
            id=text(found, "job"),
            word=str(found.get("state", "")),
            charge=self._charge(found.get("credits")),
            urls=[one for one in pictures if isinstance(one, str)]
            if isinstance(pictures, list)
            else (),
            links={"poll": found.get("track")},
        )

    def _charge(self, credits: Any) -> Charge:
        amount = parse_amount(credits)
        if amount is None:
            return Charge()
        money = Money(amount, f"credits:{self.name}")
        return Charge(money=money, basis=Basis.BILLED, raw={"credits": credits})
