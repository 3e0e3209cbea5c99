"""Vtrix's multimodal generation, emulated.

Its documentation has gaps that clients fill, with several shapes for one thing: the emulator uses
each of them somewhere, so that a reader of answers meets all. The price is the sandbox's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from unified_flux import contract
from unified_flux.sandbox import catalogues
from unified_flux.sandbox.emulator import Emulator
from unified_flux.sandbox.exchange import BadCallError, Call, RefusedError, Reply, Route, say
from unified_flux.sandbox.scenarios import End
from unified_flux.sandbox.tasks import Task
from unified_flux.text import safe

_PATH = "/model/v1/generation"
_ID_LETTERS = "0123456789abcdefghijklmnopqrstuv"
# What the provider's own clients send beside `model` and `input`.
_ENVELOPE = frozenset({"model", "input", "moderation", "dash_scope", "metadata"})

Shape = Callable[[Any, str], dict[str, Any]]


def _coded(code: Any, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _coded_otherwise(code: Any, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "error_message": message}}


def _plain(_: Any, message: str) -> dict[str, Any]:
    return {"error": message}


def _bare(code: Any, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}


def _account(code: Any, message: str) -> dict[str, Any]:
    return {"status": {"code": 402, "message": message, "error_code": code}, "data": None}


# Name → HTTP status, code, message, and the shape it is said in.
_REFUSALS: Mapping[str, tuple[int, Any, str, Shape]] = {
    "400": (400, "invalid_request", "invalid request", _coded),
    "401": (401, 401, "API key missing or invalid", _coded),
    "402": (402, 40201, "insufficient balance", _account),
    "403": (403, 403, "permission denied", _plain),
    "404": (404, 404, "not found", _bare),
    "429": (429, 1002, "rate limited", _coded),
    "500": (500, 500, "internal error", _coded_otherwise),
    "502": (502, 502, "bad gateway", _bare),
    "503": (503, 503, "service unavailable", _bare),
    "504": (504, "SYNC_TIMEOUT", "the task did not finish in time", _coded),
    "moderated": (400, 110001, "the input may be sensitive", _coded_otherwise),
}
_ENDS: Mapping[End, dict[str, Any]] = {
    End.FAILED: {"code": "002014001", "message": "image generation failed"},
    End.MODERATED: {"code": 110001, "error_message": "the input may be sensitive"},
}


class VtrixEmulator(Emulator):
    """Vtrix with an account that never runs dry."""

    name: ClassVar[str] = "vtrix"
    unit: ClassVar[str] = "USD"

    def refusal(self, kind: str, message: str = "") -> Reply:
        status, code, usual, shape = _REFUSALS[kind]
        return say(status, shape(code, message or usual))

    def new_id(self) -> str:
        return "".join(secrets.choice(_ID_LETTERS) for _ in range(20))

    def generate(self, call: Call) -> Reply:
        """POST /model/v1/generation, in the envelope that clients send or flat as documented."""
        try:
            order = self.order(call, _flat(call.json()))
        except ValueError as error:
            raise RefusedError(self.refusal("400", str(error))) from error
        return self.submit(order)

    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": task.id,
            "created_at": int(task.created),
            "status": task.scenario.word or "in_progress",
            "model": task.card.model,
            "progress": round(progress, 2),
            "metadata": {"in_queue_at": task.created},
        }
        if progress < 1:
            return found
        found["metadata"]["completed_at"] = task.changed
        end = task.scenario.end
        if end is not End.DONE:
            usage = {"cost": "0", "discount": 1}
            return {**found, "status": "failed", "error": _ENDS[end], "usage": usage}
        content = [{"type": "image", "url": url} for url in self.urls(task, base)]
        usage = {"cost": f"{task.price:f}", "discount": 1}
        return {**found, "status": "completed", "output": [{"content": content}], "usage": usage}

    def models(self, call: Call) -> Reply:
        """GET /api/v1/skill/models."""
        try:
            found = catalogues.vtrix(contract.load_cards(self.name), call.query)
        except ValueError as error:
            return say(400, {"status": {"code": 400, "message": str(error)}, "data": None})
        return say(200, {"status": {"code": 200, "message": "success"}, "data": found})

    def spec(self, call: Call) -> Reply:
        """GET /api/v1/skill/models/{id}/spec."""
        try:
            found = catalogues.vtrix_spec(self.card(call.id), f"{call.base}{_PATH}")
        except ValueError as error:
            return say(404, {"status": {"code": 404, "message": str(error)}, "data": None})
        return say(200, {"status": {"code": 200, "message": "success"}, "data": found})

    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", _PATH, generate),
        Route("GET", f"{_PATH}/task/{{id}}", Emulator.poll),
        Route("GET", "/api/v1/skill/models", models),
        Route("GET", "/api/v1/skill/models/{id}/spec", spec),
    )


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the model among them, whichever way they came.

    Raises:
        BadCallError: When an envelope is no envelope.
    """
    if "input" not in body:
        return body
    strange = sorted(body.keys() - _ENVELOPE)
    if strange:
        raise BadCallError(f"{safe(strange[0], 60)}: not known beside input")
    inputs = body["input"]
    one = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else None
    params = one.get("params") if isinstance(one, Mapping) else None
    if not isinstance(params, Mapping):
        raise BadCallError("input: must be a list of one object with params")
    if "model" in params:
        raise BadCallError("input.0.params.model: the model stands beside input")
    return {"model": body.get("model"), **params}
