"""Records and errors without the caller's words: SHA-256 and length stand in their place."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from unified_flux.errors import UnifiedFluxError
from unified_flux.record import WORDS, Record
from unified_flux.report import Report

# A shorter word would be found inside others that it has nothing to do with.
_LEAST = 8


def redacted(record: Record) -> Record:
    """The record as it is kept where prompts are not to be stored."""
    words = [record.request[name] for name in WORDS if name in record.request]
    entries = [
        {name: _without(value, words) for name, value in entry.items()}
        for entry in record.report.to_json()
    ]
    return replace(
        record,
        request=_without(record.request, words),
        payload=_without(record.payload, words),
        report=Report.from_json(entries, record.report.defaults),
    )


def told(error: UnifiedFluxError) -> dict[str, Any]:
    """An error whose words may repeat the caller's: what its class says stands in their place."""
    plain = (type(error).__doc__ or "").partition("\n")[0].rstrip(".")
    return {**error.to_json(), "message": plain[:1].lower() + plain[1:], "problems": []}


def _without(found: Any, words: list[str]) -> Any:
    if isinstance(found, dict):
        return {key: _without(value, words) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [_without(value, words) for value in found]
    if found in words:
        return {"sha256": hashlib.sha256(found.encode()).hexdigest(), "length": len(found)}
    if isinstance(found, str):
        for word in words:
            found = found.replace(word, "<not stored>") if len(word) >= _LEAST else found
    return found
