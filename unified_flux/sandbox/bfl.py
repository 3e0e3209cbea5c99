"""Black Forest Labs, emulated: a polling address for each task, six status words, costs in credits."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs

from unified_flux.adapter import Auth
from unified_flux.sandbox import catalogues
from unified_flux.sandbox.emulator import Emulator
from unified_flux.sandbox.exchange import Call, Reply, Route, say
from unified_flux.sandbox.scenarios import End
from unified_flux.sandbox.tasks import Order, Task

CREDIT = Decimal("0.01")

# Name → HTTP status and detail. How a submit is refused for its content is the sandbox's own.
_REFUSALS: Mapping[str, tuple[int, str]] = {
    "400": (400, "bad request"),
    "401": (403, "not authenticated"),
    "402": (402, "insufficient credits"),
    "403": (403, "not authorized"),
    "404": (404, "not found"),
    "422": (422, "unprocessable"),
    "429": (429, "too many active tasks"),
    "500": (500, "internal error"),
    "502": (502, "bad gateway"),
    "503": (503, "service unavailable"),
    "504": (504, "gateway timeout"),
    "moderated": (422, "request moderated"),
}
_ENDS: Mapping[End, tuple[str, dict[str, Any]]] = {
    End.FAILED: ("Error", {"reason": "generation failed"}),
    End.MODERATED: ("Content Moderated", {"Moderation Reasons": ["Safety Filter"]}),
}


class BflEmulator(Emulator):
    """Black Forest Labs with an account that never runs dry."""

    name: ClassVar[str] = "bfl"
    unit: ClassVar[str] = "USD"
    auth: ClassVar[Auth] = Auth(header="x-key", template="{key}")

    def refusal(self, kind: str, message: str = "") -> Reply:
        status, usual = _REFUSALS[kind]
        if status == 422 and message:
            return say(422, {"detail": [{"loc": ["body"], "msg": message, "type": "value_error"}]})
        return say(status, {"detail": message or usual})

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def generate(self, call: Call) -> Reply:
        """POST /v1/MODEL."""
        return self.submit(self.order(call, {**call.json(), "model": call.id}))

    def taken(self, task: Task, order: Order) -> Reply:
        megapixels = round(task.picture.width * task.picture.height / 1_000_000, 2)
        address = f"{order.call.base}/v1/get_result?id={task.id}"
        cost = float(task.price / CREDIT)
        found = {"id": task.id, "polling_url": address, "cost": cost, "output_mp": megapixels}
        return say(200, found)

    def result(self, call: Call) -> Reply:
        """GET /v1/get_result?id=."""
        (id,) = parse_qs(call.query).get("id", [""])
        return self.poll(replace(call, id=id))

    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": task.id,
            "status": task.scenario.word or "Pending",
            "result": None,
            "progress": round(progress, 2),
            "details": None,
            "preview": None,
        }
        if progress < 1:
            return found
        if task.scenario.end is not End.DONE:
            word, details = _ENDS[task.scenario.end]
            return {**found, "status": word, "details": details}
        sample = dict.fromkeys(("sample",), next(iter(self.urls(task, base)), None))
        result = {"prompt": task.picture.prompt, "seed": task.picture.seed}
        return {
            **found,
            "status": "Ready",
            "result": result | {k: v for k, v in sample.items() if v},
        }

    def specification(self, call: Call) -> Reply:
        """GET /openapi.json."""
        bodies = {f"/v1/{card.model}": catalogues.inputs(card) for card in self.cards}
        return say(200, catalogues.openapi("Black Forest Labs, emulated", bodies))

    routes: ClassVar[tuple[Route, ...]] = (
        Route("GET", "/openapi.json", specification, None),
        Route("GET", "/v1/get_result", result),
        Route("POST", "/v1/{id}", generate),
    )
