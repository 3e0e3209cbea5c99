"""Lumen, emulated: it answers as its contract says, and draws the pictures."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from unified_flux.adapter import Auth
from unified_flux.sandbox.emulator import Emulator
from unified_flux.sandbox.exchange import BadCallError, Call, Reply, Route, say
from unified_flux.sandbox.scenarios import End
from unified_flux.sandbox.tasks import Order, Task

_ENDS: Mapping[End, tuple[str, str]] = {
    End.FAILED: ("BROKEN", "drawing_failed"),
    End.MODERATED: ("REFUSED", "content_refused"),
}


class LumenEmulator(Emulator):
    """An account that never runs dry."""

    name: ClassVar[str] = "lumen"
    unit: ClassVar[str] = "credits:lumen"
    auth: ClassVar[Auth] = Auth(header="X-Api-Key", template="{key}")
    card_package: ClassVar[str] = "unified_flux_lumen"

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._keys: dict[str, str] = {}

    def refusal(self, kind: str, message: str = "") -> Reply:
        status = int(kind) if kind.isdigit() else 422
        code = "content_refused" if kind == "moderated" else f"refused_{status}"
        return say(status, {"error": {"code": code, "message": message or "refused"}})

    def new_id(self) -> str:
        return f"j{secrets.token_hex(8)}"

    def replayed(self, order: Order) -> Reply | None:
        """The same key, the same job: what makes a second try safe."""
        for task in self._tasks.values():
            if order.key is not None and self._keys.get(task.id) == order.key:
                return self._answer(task, order.call.base)
        return None

    def taken(self, task: Task, order: Order) -> Reply:
        if order.key is not None:
            self._keys[task.id] = order.key
        return super().taken(task, order)

    def generate(self, call: Call) -> Reply:
        """POST /v2/jobs."""
        body = call.json()
        inputs = body.get("input")
        if not isinstance(inputs, Mapping):
            raise BadCallError("input: must be an object")
        key = call.headers.get("idempotency-key")
        return self.submit(self.order(call, {**inputs, "model": body.get("model")}, key))

    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "job": task.id,
            "state": task.scenario.word or ("WAITING" if progress < 0.3 else "DRAWING"),
            "track": f"{base}/v2/jobs/{task.id}",
            "credits": int(task.price),
        }
        if progress < 1:
            return found
        if task.scenario.end is not End.DONE:
            state, code = _ENDS[task.scenario.end]
            return {
                **found,
                "state": state,
                "error": {"code": code, "message": "no picture"},
                "credits": 0,
            }
        return {**found, "state": "READY", "pictures": self.urls(task, base)}

    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v2/jobs", generate),
        Route("GET", "/v2/jobs/{id}", Emulator.poll),
    )
