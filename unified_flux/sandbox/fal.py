"""fal's queue, emulated: a status, then a result at an address of its own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs

from unified_flux.adapter import Auth
from unified_flux.contract import Card
from unified_flux.sandbox import catalogues
from unified_flux.sandbox.emulator import Emulator
from unified_flux.sandbox.exchange import BadCallError, Call, RefusedError, Reply, Route, say
from unified_flux.sandbox.scenarios import End
from unified_flux.sandbox.tasks import Order, Task

# Name → HTTP status, detail, type.
_REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "400": (400, "bad request", "bad_request"),
    "401": (401, "authentication is required", "unauthorized"),
    "402": (402, "the balance is exhausted", "payment_required"),
    "403": (403, "forbidden", "forbidden"),
    "404": (404, "not found", "not_found"),
    "422": (422, "unprocessable", "value_error"),
    "429": (429, "too many requests at once", "rate_limited"),
    "500": (500, "internal error", "internal_server_error"),
    "502": (502, "bad gateway", "bad_gateway"),
    "503": (503, "no runner is free", "runner_scheduling_failure"),
    "504": (504, "the request timed out", "request_timeout"),
    "moderated": (422, "the content is not allowed", "content_policy_violation"),
}
# The keys of references that are taken where so many are.
_TAKES = ((), ("image_url",), ("image_urls",))
_APP = "/fal-ai/flux-pro"
_REQUEST = f"{_APP}/requests/{{id}}"


class FalEmulator(Emulator):
    """fal with an account that never runs dry."""

    name: ClassVar[str] = "fal"
    unit: ClassVar[str] = "USD"
    auth: ClassVar[Auth] = Auth(template="Key {key}")

    def refusal(self, kind: str, message: str = "") -> Reply:
        status, usual, word = _REFUSALS[kind]
        if status == 422:
            detail = {"loc": ["body"], "msg": message or usual, "type": word}
            return say(status, {"detail": [detail]})
        return say(status, {"detail": message or usual, "error_type": word})

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def generate(self, call: Call) -> Reply:
        """POST to the address of one way of asking."""
        path = f"fal-ai/{call.id}"
        card, _ = self._route_of(path)
        payload = {**call.json(), "model": card.model}
        if card.route(payload) != path:
            raise BadCallError("the references are not those of this address")
        return self.submit(self.order(call, payload))

    def _route_of(self, path: str) -> tuple[Card, Mapping[str, Any]]:
        for card in self.cards:
            for route in card.facts["routes"]:
                if route["path"] == path:
                    return card, route
        raise RefusedError(self.refusal("404"))

    def taken(self, task: Task, order: Order) -> Reply:
        address = f"{order.call.base}{_REQUEST.format(id=task.id)}"
        links = {"status_url": f"{address}/status", "cancel_url": f"{address}/cancel"}
        found = {"request_id": task.id, "response_url": address, **links}
        return say(200, {**found, "status": "IN_QUEUE", "queue_position": 0})

    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        waits = {"status": "IN_QUEUE", "queue_position": 0}
        runs = {"status": task.scenario.word or "IN_PROGRESS"}
        address = f"{base}{_REQUEST.format(id=task.id)}"
        found = {"request_id": task.id, "response_url": address, "status_url": f"{address}/status"}
        if progress < 1:
            return {**found, **(waits if progress < 0.3 and not task.scenario.word else runs)}
        found["status"] = "COMPLETED"
        if task.scenario.end is End.FAILED:
            return {**found, "error": "the runner failed", "error_type": "runner_server_error"}
        return found

    def result(self, call: Call) -> Reply:
        """GET /fal-ai/flux-pro/requests/{id}."""
        with self._lock:
            task = self._tasks.get(call.id)
            if task is None or task.account != call.account:
                return self.refusal("404")
            if task.progress(self._clock()) < 1:
                return self.refusal("400", "the request is still in progress")
            if task.scenario.end is End.MODERATED:
                return self.refusal("moderated")
            picture = task.picture
            kind = f"image/{picture.format}"
            size = {"width": picture.width, "height": picture.height, "content_type": kind}
            images = [{"url": url, **size} for url in self.urls(task, call.base)]
        return say(200, {"images": images, "seed": picture.seed or 0, "prompt": picture.prompt})

    def specification(self, call: Call) -> Reply:
        """GET /api/openapi/queue/openapi.json?endpoint_id=."""
        (path,) = parse_qs(call.query).get("endpoint_id", [""])
        card, route = self._route_of(path)
        others = {*card.reference_keys} - {*_TAKES[min(route["references"], 2)]}
        keys = {*card.leaves} - others
        body = {f"/{path}": catalogues.inputs(card, keys)}
        return say(200, catalogues.openapi(f"{path}, emulated", body))

    routes: ClassVar[tuple[Route, ...]] = (
        Route("GET", "/api/openapi/queue/openapi.json", specification, None),
        Route("GET", f"{_REQUEST}/status", Emulator.poll),
        Route("GET", _REQUEST, result),
        Route("POST", "/fal-ai/{path}", generate),
    )
