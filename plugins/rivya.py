"""Rivya public API v1.

Sources, read 2026-11-21: rivya.ai/docs/api-generations, /docs/api-generation-status,
/docs/api-files, /docs/api-credits, /docs/api-errors-and-limits, /docs/api-authentication.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

from unified_flux.adapter import Adapter, text
from unified_flux.contract import Card
from unified_flux.errors import (
    InsufficientFunds,
    ProtocolError,
    ProviderError,
    RateLimited,
    Unauthorized,
)
from unified_flux.images import MIME, SUFFIXES
from unified_flux.money import Basis, Charge, Money, parse_amount
from unified_flux.wire import (
    Job,
    OpenedReference,
    Output,
    Part,
    Phase,
    Placeholder,
    Purpose,
    UploadedFile,
    WireRequest,
    WireResponse,
)

UNIT = "credits:rivya"


class Rivya(Adapter):
    """Bearer key, camelCase `params`, Files API for local references, credits."""

    name: ClassVar[str] = "rivya"
    base_url: ClassVar[str] = "https://rivya.ai"
    phases: ClassVar[Mapping[str, Phase]] = {
        "queued": Phase.RUNNING,
        "processing": Phase.RUNNING,
        "succeeded": Phase.DONE,
        "failed": Phase.FAILED,
    }
    codes: ClassVar[Mapping[str, type[ProviderError]]] = {
        "api_key_missing": Unauthorized,
        "api_key_invalid": Unauthorized,
        "api_key_revoked": Unauthorized,
        "api_key_expired": Unauthorized,
        "api_scope_denied": Unauthorized,
        "insufficient_credits": InsufficientFunds,
        "rate_limited": RateLimited,
        "validation_failed": ProviderError,
    }
    idempotent: ClassVar[bool] = True
    # The one 5xx of the documented table: the API is switched off, so no job was made.
    not_taken: ClassVar[frozenset[str]] = frozenset({"public_api_disabled"})

    def place_references(self, references: Sequence[OpenedReference], card: Card) -> dict[str, Any]:
        items = [_media_item(reference) for reference in references]
        return {card.references["items"]: items}

    def upload(self, reference: OpenedReference, card: Card) -> WireRequest:
        return WireRequest(
            purpose=Purpose.UPLOAD,
            method="POST",
            url=f"{self.base}/api/v1/files",
            parts=(
                Part(name="kind", value="image"),
                Part(name="model", value=card.model),
                Part(name="file", value=reference),
            ),
        )

    def read_upload(self, response: WireResponse) -> UploadedFile:
        found = response.object()
        return UploadedFile(url=text(found, "url"))

    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        return WireRequest(
            purpose=Purpose.SUBMIT,
            method="POST",
            url=f"{self.base}/api/v1/generations",
            headers={"Idempotency-Key": idempotency_key},
            json=payload,
        )

    def poll(self, job: Job) -> WireRequest:
        url = f"{self.base}/api/v1/generations/{quote(job.id, safe='')}"
        return WireRequest(purpose=Purpose.POLL, url=url)

    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        found = response.object()
        word = str(found.get("status", ""))
        settled = self.phase(word) is not Phase.RUNNING
        charge = _charge(found, settled=settled)
        return self.outcome(found, word=word, charge=charge, urls=_urls(found))

    def balance(self) -> WireRequest:
        return WireRequest(purpose=Purpose.ASK, url=f"{self.base}/api/v1/credits")

    def read_balance(self, response: WireResponse) -> Money:
        amount = parse_amount(response.object().get("current_credits"))
        if amount is None:
            raise ProtocolError('the answer has no "current_credits"')
        return Money(amount, UNIT)


def _media_item(reference: OpenedReference) -> dict[str, Any]:
    """One entry of `referenceMediaItems`; name and type of a URL are taken from its path."""
    name, mime = reference.name, reference.mime
    if reference.url is not None:
        name = name or unquote(PurePosixPath(urlsplit(reference.url).path).name)
        mime = mime or MIME.get(SUFFIXES.get(PurePosixPath(name).suffix.lower(), ""))
    item = {
        "url": reference.url or Placeholder(reference),
        "kind": "image",
        "name": name,
        "mimeType": mime,
    }
    return {key: value for key, value in item.items() if value}


def _charge(found: Mapping[str, Any], *, settled: bool) -> Charge:
    """Final credits once the job has ended; until then what is reserved."""
    name, basis = (
        ("final_credits", Basis.BILLED) if settled else ("reserved_credits", Basis.RESERVED)
    )
    raw = {key: found[key] for key in ("reserved_credits", "final_credits") if key in found}
    amount = parse_amount(found.get(name))
    if amount is None:
        return Charge(raw=raw)
    return Charge(money=Money(amount, UNIT), basis=basis, raw=raw)


def _urls(found: Mapping[str, Any]) -> tuple[str, ...]:
    result = found.get("result")
    result = result if isinstance(result, Mapping) else {}
    urls = result.get("urls")
    listed = [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []
    primary = result.get("primary_url")
    return tuple(listed) or ((primary,) if isinstance(primary, str) else ())
