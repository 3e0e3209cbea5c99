"""fal.ai, by its queue.

Sources, read 2026-11-21: fal.ai/docs/model-api-reference (flux-pro/kontext and its siblings),
docs.fal.ai (model-endpoints/queue); answers and addresses as the provider's own client reads them,
fal-ai/fal at c6f0afaa.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from unified_flux.adapter import Adapter, Auth, text
from unified_flux.contract import Card
from unified_flux.errors import Moderated, ProtocolError, ProviderError
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse

QUEUED = "IN_QUEUE"
DONE = "COMPLETED"
FAILED = "COMPLETED with an error"


class Fal(Adapter):
    """A key called Key, one address for each way of asking, references as data URIs."""

    name: ClassVar[str] = "fal"
    base_url: ClassVar[str] = "https://queue.fal.run"
    auth: ClassVar[Auth] = Auth(template="Key {key}", hosts=("queue.fal.run",))
    phases: ClassVar[Mapping[str, Phase]] = {
        QUEUED: Phase.RUNNING,
        "IN_PROGRESS": Phase.RUNNING,
        DONE: Phase.DONE,
        FAILED: Phase.FAILED,
    }
    codes: ClassVar[Mapping[str, type[ProviderError]]] = {"content_policy_violation": Moderated}

    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        body = {key: value for key, value in payload.items() if key != "model"}
        url = f"{self.base}/{card.route(payload)}"
        return WireRequest(purpose=Purpose.SUBMIT, method="POST", url=url, json=body)

    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        found = response.object()
        known = job.id if job and "request_id" not in found else text(found, "request_id")
        word = str(found.get("status") or QUEUED)
        return self.outcome(
            found,
            id=known,
            word=FAILED if word == DONE and found.get("error") else word,
            links={"poll": found.get("status_url"), "result": found.get("response_url")},
        )

    def read_result(self, response: WireResponse, job: Job) -> Output:
        return Output(job=job, urls=tuple(_urls(response.object())))


def _urls(found: Mapping[str, Any]) -> Iterator[str]:
    images = found.get("images")
    if not isinstance(images, list):
        raise ProtocolError('the answer has no "images"')
    for image in images:
        url = image.get("url") if isinstance(image, Mapping) else None
        if isinstance(url, str):
            yield url
