"""Rivya's public API v1, emulated.

What the documentation leaves open is decided here as docs/sandbox.md says: the status of a
successful answer is 200, `PublicApiFile` has the fields below, an unknown parameter is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from unified_flux import contract
from unified_flux.contract import Card
from unified_flux.sandbox import catalogues, forms, orders, uploads
from unified_flux.sandbox.drawing import Shown
from unified_flux.sandbox.emulator import Emulator
from unified_flux.sandbox.exchange import Call, RefusedError, Reply, Route, paced, say
from unified_flux.sandbox.scenarios import End
from unified_flux.sandbox.tasks import Order, Task
from unified_flux.text import safe

SCOPES = frozenset(
    {
        "models:read",
        "generations:create",
        "generations:read",
        "files:create",
        "files:read",
        "credits:read",
    }
)
CREDITS = Decimal(10_000)
_ACCOUNT = "sandbox"
_FILES = "/sandbox/files/"

# Name → HTTP status, code, message. The codes are documented; those marked are not.
_REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "missing": (401, "api_key_missing", "No API key was sent."),
    "invalid": (401, "api_key_invalid", "The API key cannot be verified."),
    "revoked": (401, "api_key_revoked", "The API key was revoked."),
    "expired": (401, "api_key_expired", "The API key is no longer valid."),
    "scope": (403, "api_scope_denied", "The API key lacks a scope."),
    "validation": (400, "validation_failed", "The request is not valid."),
    "conflict": (409, "idempotency_conflict", "This idempotency key was used with another body."),
    "401": (401, "api_key_invalid", "The API key cannot be verified."),
    "402": (402, "insufficient_credits", "The account has too few credits."),
    "403": (403, "api_scope_denied", "The API key lacks a scope."),
    "404": (404, "not_found", "There is no such thing, or it is not yours."),
    "429": (429, "rate_limited", "Too many requests in the current window."),
    "503": (503, "public_api_disabled", "The public API is switched off for now."),
    "moderated": (
        400,
        "content_moderated",
        "The prompt was refused by content moderation.",
    ),  # made up
    "500": (500, "internal_error", "Something went wrong."),  # made up
    "502": (502, "bad_gateway", "The upstream answered nonsense."),  # made up
    "504": (504, "gateway_timeout", "The upstream did not answer in time."),  # made up
}
_ENDS: Mapping[End, tuple[str, str]] = {
    End.FAILED: ("generation_failed", "The generation failed."),
    End.MODERATED: (
        "content_moderated",
        "The picture was refused by content moderation.",
    ),  # made up
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key may do, and for which account."""

    scopes: frozenset[str] = SCOPES
    state: str = "active"
    account: str = _ACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    account: str
    thumbnail: bytes
    facts: Mapping[str, Any]


class RivyaEmulator(Emulator):
    """Rivya with a large purse.

    Args:
        credits: What each account holds at the start.
    """

    name: ClassVar[str] = "rivya"
    unit: ClassVar[str] = "credits:rivya"

    def __init__(
        self, *, key: str, credits: Decimal = CREDITS, **clocks: Callable[[], float]
    ) -> None:
        super().__init__(key=key, **clocks)
        self._credits = credits
        self._keys = {key: Grant()}
        self._uploads: dict[str, _Upload] = {}
        self._replays: dict[tuple[str, str], tuple[str, Reply]] = {}

    def add_key(
        self,
        key: str,
        *,
        scopes: frozenset[str] | set[str] = SCOPES,
        state: str = "active",
        account: str = _ACCOUNT,
    ) -> None:
        """Register another key; `state` is active, revoked or expired."""
        self._keys[key] = Grant(scopes=frozenset(scopes), state=state, account=account)

    # Keys, refusals, money.

    def admit(self, token: str | None, scope: str) -> str:
        if token is None:
            raise RefusedError(self.refusal("missing"))
        grant = self._keys.get(token)
        if grant is None:
            raise RefusedError(self.refusal("invalid"))
        if grant.state != "active":
            raise RefusedError(self.refusal(grant.state))
        if scope not in grant.scopes:
            raise RefusedError(self.refusal("scope", f"This key lacks the scope {scope}."))
        return grant.account

    def refusal(self, kind: str, message: str = "") -> Reply:
        status, code, usual = _REFUSALS[kind]
        request_id = f"req_{secrets.token_hex(10)}"
        error = {"code": code, "message": message or usual, "requestId": request_id}
        return say(status, {"error": error})

    def _invalid(self, message: object) -> RefusedError:
        return RefusedError(self.refusal("validation", str(message)))

    def new_id(self) -> str:
        return f"task_{secrets.token_hex(12)}"

    def unaffordable(self, order: Order) -> Reply | None:
        self._settle_all()
        short = self._balance(order.call.account) < self.price(order.card)
        return self.refusal("402") if short else None

    def _balance(self, account: str) -> Decimal:
        return self._credits - self.charged(account)

    # Generations.

    def generate(self, call: Call) -> Reply:
        """POST /api/v1/generations."""
        try:
            payload = call.json()
            if "files" in payload:
                raise ValueError(
                    "files: not accepted at the top level; put uploaded URLs into params.referenceMediaItems"
                )
            order = self.order(call, payload, call.headers.get("idempotency-key"))
        except ValueError as error:
            raise self._invalid(error) from error
        return self.submit(order)

    def references(self, call: Call, card: Card, payload: Mapping[str, Any]) -> list[Shown]:
        items = orders.look(payload, card.references["items"]) or []
        return [self._reference(item["url"], call.account) for item in items]

    def _reference(self, url: str, account: str) -> Shown:
        _, ours, name = url.partition(_FILES)
        if not ours:
            return orders.linked(url)
        upload = self._uploads.get(name.partition(".")[0])
        if upload is None or upload.account != account:
            raise ValueError(
                f"params.referenceMediaItems: {safe(url, 80)} is no uploaded file of yours"
            )
        return Shown(thumbnail=upload.thumbnail)

    def replayed(self, order: Order) -> Reply | None:
        if order.key is None:
            return None
        first = self._replays.get((order.call.account, order.key))
        if first is None:
            return None
        digest, answer = first
        return answer if digest == order.digest else self.refusal("conflict")

    def taken(self, task: Task, order: Order) -> Reply:
        # Rivya documents "queued" as the answer to every submit, however soon the task ends.
        queued = say(200, self.describe(task, 0.0, order.call.base))
        answer = paced(queued, task.scenario.pace)
        if order.key is not None:
            self._replays[order.call.account, order.key] = (order.digest, answer)
        return answer

    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        running = task.scenario.word or ("queued" if progress < 0.3 else "processing")
        found: dict[str, Any] = {
            "id": task.id,
            "status": running,
            "model": task.card.model,
            "reserved_credits": int(task.price),
            "final_credits": 0,
            "created_at": _date(task.created),
            "updated_at": _date(task.changed),
            "result": None,
            "error": None,
        }
        if progress < 1:
            return found
        end = task.scenario.end
        if end is not End.DONE:
            code, message = _ENDS[end]
            return {**found, "status": "failed", "error": {"code": code, "message": message}}
        urls = self.urls(task, base)
        result = {"primary_url": urls[0] if urls else None, "urls": urls}
        return {**found, "status": "succeeded", "final_credits": int(task.price), "result": result}

    # Files.

    def upload(self, call: Call) -> Reply:
        """POST /api/v1/files."""
        try:
            parts = forms.read(call.headers.get("content-type", ""), call.body)
            model = parts["model"].text if "model" in parts else None
            accepted = uploads.accept(parts, self.card(model) if model else None)
        except ValueError as error:
            raise self._invalid(error) from error
        name = f"file_{secrets.token_hex(12)}"
        facts = {
            "id": name,
            "url": f"{call.base}{_FILES}{name}.{accepted.suffix}",
            "kind": accepted.kind,
            "name": accepted.name,
            "mime_type": accepted.mime,
            "size": accepted.size,
            "created_at": _date(self._wall()),
        }
        if accepted.kind != "image":
            facts["duration_token"] = f"dur_{secrets.token_hex(8)}"
        upload = _Upload(account=call.account, thumbnail=accepted.thumbnail, facts=facts)
        with self._lock:
            self._uploads[name] = upload
            self._meter.counts["uploads"] += 1
        return say(200, facts)

    def file(self, call: Call) -> Reply:
        """GET /api/v1/files/{id}."""
        upload = self._uploads.get(call.id)
        if upload is None or upload.account != call.account:
            return self.refusal("404")
        return say(200, dict(upload.facts))

    def thumbnail(self, call: Call) -> Reply:
        """The URL of an uploaded file: of its bytes the sandbox has kept a thumbnail."""
        upload = self._uploads.get(call.id.partition(".")[0])
        if upload is None or not upload.thumbnail:
            return self.refusal("404")
        return Reply(status=200, headers={"content-type": "image/jpeg"}, body=upload.thumbnail)

    # The rest.

    def credits(self, call: Call) -> Reply:
        """GET /api/v1/credits."""
        with self._lock:
            self._settle_all()
            balance = self._balance(call.account)
        return say(200, {"current_credits": int(balance)})

    def models(self, call: Call) -> Reply:
        """GET /api/v1/models, for which no key is needed."""
        cards = contract.load_cards(self.name)
        return say(200, {"object": "list", "data": [catalogues.rivya(card) for card in cards]})

    def specification(self, call: Call) -> Reply:
        """GET /api/v1/openapi.json: its text is published nowhere that was read, so paths alone."""
        paths: dict[str, dict[str, Any]] = {}
        for route in self.routes:
            if route.path.startswith("/api/"):
                paths.setdefault(route.path, {})[route.method.lower()] = {"responses": {}}
        return say(200, {"openapi": "3.1.0", "info": {"title": "Rivya, emulated"}, "paths": paths})

    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/api/v1/generations", generate, "generations:create"),
        Route("GET", "/api/v1/generations/{id}", Emulator.poll, "generations:read"),
        Route("POST", "/api/v1/files", upload, "files:create"),
        Route("GET", "/api/v1/files/{id}", file, "files:read"),
        Route("GET", "/api/v1/credits", credits, "credits:read"),
        Route("GET", "/api/v1/models", models, None),
        Route("GET", "/api/v1/openapi.json", specification, None),
        Route("GET", f"{_FILES}{{id}}", thumbnail, None),
    )


def _date(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
