"""Black Forest Labs, who make FLUX.

Sources, read 2026-11-21: docs.bfl.ml (api-reference of the three models, api_integration/errors,
api_integration/integration_guidelines, quick_start/pricing), help.bfl.ai (2026-06-12).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from unified_flux.adapter import Adapter, Auth
from unified_flux.contract import Card
from unified_flux.errors import Moderated, ProviderError
from unified_flux.money import USD, Basis, Charge, Money, parse_amount
from unified_flux.text import plain
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse

# USD, documented: quick_start/pricing.
CREDIT = Decimal("0.01")
PENDING = "Pending"
_COSTS = ("cost", "input_mp", "output_mp")


class Bfl(Adapter):
    """Key in `x-key`, references inline, a polling address of each job's own, cost in credits."""

    name: ClassVar[str] = "bfl"
    base_url: ClassVar[str] = "https://api.bfl.ai"
    # A job is asked for in the region that took it.
    auth: ClassVar[Auth] = Auth(
        header="x-key", template="{key}", hosts=("api.bfl.ai", "api.*.bfl.ai")
    )
    phases: ClassVar[Mapping[str, Phase]] = {
        PENDING: Phase.RUNNING,
        "Ready": Phase.DONE,
        "Request Moderated": Phase.FAILED,
        "Content Moderated": Phase.FAILED,
        "Task not found": Phase.FAILED,
        "Error": Phase.FAILED,
    }
    uncharged: ClassVar[frozenset[str]] = frozenset({"Request Moderated", "Content Moderated"})
    codes: ClassVar[Mapping[str, type[ProviderError]]] = dict.fromkeys(uncharged, Moderated)

    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        body = {key: value for key, value in payload.items() if key != "model"}
        return WireRequest(
            purpose=Purpose.SUBMIT, method="POST", url=f"{self.base}/v1/{card.model}", json=body
        )

    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        found = response.object()
        word = str(found.get("status") or PENDING)
        result = found.get("result")
        sample = result.get("sample") if isinstance(result, Mapping) else None
        reason = {"code": word, "message": plain(found.get("details") or "")}
        return self.outcome(
            {"id": found.get("id"), "error": reason},
            word=word,
            charge=_charge(found),
            urls=(sample,) if isinstance(sample, str) else (),
            progress=_share(found.get("progress")),
            links={"poll": found.get("polling_url")},
        )


def _charge(found: Mapping[str, Any]) -> Charge:
    """`cost` in credits, as USD; only the answer of a submit has it, and only of some accounts."""
    raw = {name: found[name] for name in _COSTS if found.get(name) is not None}
    amount = parse_amount(found.get("cost"))
    if amount is None:
        return Charge(raw=raw)
    return Charge(money=Money((amount * CREDIT).normalize(), USD), basis=Basis.BILLED, raw=raw)


def _share(progress: Any) -> float | None:
    return float(progress) if isinstance(progress, (int, float)) else None
