"""Replicate, by predictions.

Sources, read 2026-11-21: replicate.com/docs/topics/predictions (create-a-prediction, rate-limits),
the models' own pages; objects and addresses as the provider's own client reads them,
replicate/replicate-python at 0110c2c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from unified_flux.adapter import Adapter
from unified_flux.contract import Card
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse


class Replicate(Adapter):
    """Bearer key, parameters in `input`, a reference as a data URI, one address as output."""

    name: ClassVar[str] = "replicate"
    base_url: ClassVar[str] = "https://api.replicate.com"
    phases: ClassVar[Mapping[str, Phase]] = {
        "starting": Phase.RUNNING,
        "processing": Phase.RUNNING,
        "succeeded": Phase.DONE,
        "failed": Phase.FAILED,
        "canceled": Phase.FAILED,
    }
    # How long the answer to a submit may wait for the picture. Until it comes nothing names the job,
    # so a connection that breaks leaves a paid job unknown: short, and well under `read_timeout`.
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"prefer": ("wait=5", "wait=30", "no-wait")}

    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        prefer = self.chosen["prefer"]
        return WireRequest(
            purpose=Purpose.SUBMIT,
            method="POST",
            url=f"{self.base}/v1/models/{card.route(payload)}/predictions",
            headers={} if prefer == "no-wait" else {"Prefer": prefer},
            json={"input": {key: value for key, value in payload.items() if key != "model"}},
        )

    def poll(self, job: Job) -> WireRequest:
        url = f"{self.base}/v1/predictions/{quote(job.id, safe='')}"
        return WireRequest(purpose=Purpose.POLL, url=url)

    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        found = response.object()
        output = found.get("output")
        urls = output if isinstance(output, list) else [output]
        return self.outcome(
            found,
            word=str(found.get("status", "")),
            urls=[url for url in urls if isinstance(url, str)],
        )
