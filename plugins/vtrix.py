"""Vtrix multimodal generation.

Sources, read 2026-11-21: doc.vtrix.ai/docs/api/blackforestlabs/flux-kontext-pro (parameters, task
fields), docs.vtrix.ai/api-reference (base URL, HTTP codes); the envelope, the poll path and the
error shapes as sent and read by the provider's own client, VtrixAI/vtrix-cli at 32ff351.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from unified_flux.adapter import Adapter, Auth, Complaint
from unified_flux.contract import Card
from unified_flux.errors import InsufficientFunds, Moderated, ProviderError
from unified_flux.money import Basis, Charge, Money, parse_amount
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse

PATH = "/model/v1/generation"
# A 403 is documented as "insufficient balance or permission denied": only its words tell which.
_BALANCE_WORDS = ("balance", "funds", "credit", "arrears")


class Vtrix(Adapter):
    """Bearer key, snake_case parameters, references inline, cost in USD."""

    name: ClassVar[str] = "vtrix"
    base_url: ClassVar[str] = "https://cloud.vtrix.ai"
    # Where the provider's own client asks, with the key, for what a model takes.
    auth: ClassVar[Auth] = Auth(hosts=("cloud-model-spec.vtrix.ai",))
    phases: ClassVar[Mapping[str, Phase]] = {
        "in_progress": Phase.RUNNING,
        "completed": Phase.DONE,
        "failed": Phase.FAILED,
    }
    codes: ClassVar[Mapping[str, type[ProviderError]]] = {
        **dict.fromkeys((str(code) for code in range(40201, 40209)), InsufficientFunds),
        "110001": Moderated,
    }
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"envelope": ("input", "flat")}

    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        body = dict(payload)
        if self.chosen["envelope"] == "input":
            model = body.pop("model")
            body = {"model": model, "input": [{"params": body}]}
        return WireRequest(
            purpose=Purpose.SUBMIT, method="POST", url=f"{self.base}{PATH}", json=body
        )

    def poll(self, job: Job) -> WireRequest:
        url = f"{self.base}{PATH}/task/{quote(job.id, safe='')}"
        return WireRequest(purpose=Purpose.POLL, url=url)

    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        found = response.object()
        progress = found.get("progress")
        return self.outcome(
            found,
            word=str(found.get("status", "")).lower(),
            charge=_charge(found),
            urls=tuple(_urls(found)),
            progress=float(progress) if isinstance(progress, (int, float)) else None,
        )

    def classify(
        self, complaint: Complaint, usual: type[ProviderError], status: int | None
    ) -> type[ProviderError]:
        message = complaint.message.lower()
        if status == 403 and any(word in message for word in _BALANCE_WORDS):
            return InsufficientFunds
        return super().classify(complaint, usual, status)


def _charge(found: Mapping[str, Any]) -> Charge:
    """`usage.cost` in USD: text, number or ""; what `discount` means is not documented, so it is kept raw."""
    usage = found.get("usage")
    if not isinstance(usage, Mapping):
        return Charge()
    amount = parse_amount(usage.get("cost"))
    if amount is None:
        return Charge(raw=dict(usage))
    return Charge(money=Money(amount, "USD"), basis=Basis.BILLED, raw=dict(usage))


def _urls(found: Mapping[str, Any]) -> Iterator[str]:
    output = found.get("output")
    for group in output if isinstance(output, list) else []:
        content = group.get("content") if isinstance(group, Mapping) else None
        for item in content if isinstance(content, list) else []:
            url = item.get("url") if isinstance(item, Mapping) else None
            if isinstance(url, str) and item.get("type", "image") == "image":
                yield url
