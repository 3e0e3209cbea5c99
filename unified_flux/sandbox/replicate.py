"""Replicate's predictions, emulated: an answer that waits for the picture where it is asked to."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from unified_flux.contract import Card
from unified_flux.sandbox import catalogues
from unified_flux.sandbox.emulator import Emulator, Fault
from unified_flux.sandbox.exchange import BadCallError, Call, RefusedError, Reply, Route, say
from unified_flux.sandbox.scenarios import End
from unified_flux.sandbox.tasks import Order, Task

# Name → HTTP status, title, detail; 402 and 422 are inferred.
_REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "400": (400, "Bad request", "the request is not valid"),
    "401": (401, "Unauthenticated", "you did not pass a valid authentication token"),
    "402": (402, "Payment required", "insufficient credit"),
    "403": (403, "Forbidden", "you do not have permission"),
    "404": (404, "Not found", "the requested resource could not be found"),
    "422": (422, "Input validation failed", "the input is not valid"),
    "429": (429, "Too many requests", "request was throttled"),
    "500": (500, "Internal server error", "internal error"),
    "502": (502, "Bad gateway", "bad gateway"),
    "503": (503, "Service unavailable", "service unavailable"),
    "504": (504, "Gateway timeout", "gateway timeout"),
    "moderated": (422, "Input validation failed", "the input was flagged as sensitive"),
}
_ENDS: Mapping[End, str] = {
    End.FAILED: "prediction failed",
    End.MODERATED: "the output was flagged as sensitive",
}
_WAIT = re.compile(r"wait(?:=([0-9]{1,2}))?")


class ReplicateEmulator(Emulator):
    """Replicate with an account that never runs dry."""

    name: ClassVar[str] = "replicate"
    unit: ClassVar[str] = "USD"

    def refusal(self, kind: str, message: str = "") -> Reply:
        status, title, usual = _REFUSALS[kind]
        return say(status, {"title": title, "detail": message or usual, "status": status})

    def new_id(self) -> str:
        return secrets.token_hex(13)

    def generate(self, call: Call) -> Reply:
        """POST /v1/models/OWNER/NAME/predictions."""
        card = self._card_at(call.id)
        inputs = call.json().get("input")
        if not isinstance(inputs, Mapping):
            raise BadCallError("input: must be an object")
        return self.submit(self.order(call, {**inputs, "model": card.model}))

    def _card_at(self, path: str) -> Card:
        card = next((one for one in self.cards if path == one.facts["routes"][0]["path"]), None)
        if card is None:
            raise RefusedError(self.refusal("404"))
        return card

    def taken(self, task: Task, order: Order) -> Reply:
        """The new prediction: finished, and later, where the caller waits long enough for it."""
        asked = _WAIT.fullmatch(order.call.headers.get("prefer", ""))
        seconds, scenario = task.scenario.ready_after, task.scenario
        waits = asked is not None and seconds <= int(asked[1] or 60)
        if not waits or scenario.polls is not None or scenario.poll:
            return say(201, self.describe(task, 0.0, order.call.base))
        done = say(201, self.describe(task, 1.0, order.call.base))
        return replace(done, fault=Fault.SLOW, seconds=seconds) if seconds else done

    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        address = f"{base}/v1/predictions/{task.id}"
        found: dict[str, Any] = {
            "id": task.id,
            "model": task.card.facts["routes"][0]["path"],
            "status": task.scenario.word or ("starting" if progress < 0.3 else "processing"),
            "output": None,
            "error": None,
            "created_at": datetime.fromtimestamp(task.created, UTC).isoformat(),
            "urls": {"get": address, "cancel": f"{address}/cancel"},
        }
        if progress < 1:
            return found
        if task.scenario.end is not End.DONE:
            return {**found, "status": "failed", "error": _ENDS[task.scenario.end]}
        output = next(iter(self.urls(task, base)), None)
        return {**found, "status": "succeeded", "output": output}

    def model(self, call: Call) -> Reply:
        """GET /v1/models/OWNER/NAME."""
        card = self._card_at(call.id)
        owner, _, name = call.id.partition("/")
        schemas = {"Input": catalogues.inputs(card)}
        schema = {"openapi": "3.0.2", "components": {"schemas": schemas}}
        return say(
            200, {"owner": owner, "name": name, "latest_version": {"openapi_schema": schema}}
        )

    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/models/{path}/predictions", generate),
        Route("GET", "/v1/predictions/{id}", Emulator.poll),
        Route("GET", "/v1/models/{path}", model),
    )
