"""References brought to a provider that wants them by URL: each once for all flows that send it along."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from unified_flux.errors import ContractViolation, Problem
from unified_flux.retry import Steps, Talk, answered
from unified_flux.translation import Translation, fill
from unified_flux.wire import OpenedReference, Phase

# Seconds for which an uploaded file is sent along again: how long one lives is documented nowhere.
REUSED = 600.0
# Seconds between two looks at whether another flow has brought a reference.
_LOOK = 0.1


@dataclass(slots=True)
class Upload:
    """A file that a provider has, or that a flow is bringing; `url` is empty until it is there."""

    url: str = ""
    at: float = 0.0


# Provider and SHA-256 → the file.
Uploads = MutableMapping[tuple[str, str], Upload]


def upload(talk: Talk, translation: Translation | None, uploads: Uploads) -> Steps[Any]:
    """Bring what is not there yet; the payload with the addresses of all.

    Raises:
        ContractViolation: When the addresses break the model's schema.
    """
    if translation is None:
        raise LookupError("there is nothing to send")
    payload = translation.payload
    local = {one.sha256: one for one in translation.references if one.source is not None}
    if talk.card.references.get("local") != "upload" or not local:
        return payload
    urls = {}
    for sha256, reference in local.items():
        urls[sha256] = yield from _brought(talk, reference, uploads)
    filled = fill(payload, urls)
    broken = talk.card.checker.violations(filled)
    if broken:
        problems = [Problem(field=v.path, message=v.message) for v in broken]
        raise ContractViolation("the uploaded references break the contract", problems=problems)
    return filled


def _brought(talk: Talk, reference: OpenedReference, uploads: Uploads) -> Steps[str]:
    """The address of a reference; of several flows the first that asks brings it, the others wait."""
    name, mine = (talk.adapter.name, reference.sha256), Upload()
    while True:
        found = uploads.setdefault(name, mine)
        if found is mine:
            break
        if found.url and talk.now - found.at < REUSED:
            return found.url
        if found.url:
            uploads.pop(name, None)
        else:
            yield from talk.pause(_LOOK)
    try:
        yield from talk.tell(Phase.UPLOADING)
        response = yield from answered(talk, talk.adapter.upload(reference, talk.card))
        mine.url, mine.at = talk.adapter.read_upload(response).url, talk.now
    finally:
        if not mine.url:
            uploads.pop(name, None)
    return mine.url
