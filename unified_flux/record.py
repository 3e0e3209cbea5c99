"""`Record`: one picture's job from the wish to the file, as plain data that outlives the process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unified_flux import errors
from unified_flux.errors import Charged, UnifiedFluxError
from unified_flux.money import NO_CHARGE_KNOWN, Charge
from unified_flux.pricing import Quote
from unified_flux.report import Report
from unified_flux.request import ImageRequest, Reference
from unified_flux.translation import Translation, shown
from unified_flux.wire import Job, OpenedReference, Output, Phase, Purpose, WireRequest

# The fields that are a person's own words.
WORDS = ("prompt", "watermark")
# The phases that the journal knows, and those that somebody or something has still to decide.
KEPT = tuple(
    phase for phase in Phase if phase not in {Phase.UPLOADING, Phase.RUNNING, Phase.FETCHING}
)
_BEGUN = frozenset({Phase.PREPARED, Phase.SENDING, Phase.ACCEPTED, Phase.DONE})
UNDECIDED = frozenset({Phase.SENDING, Phase.UNKNOWN, Phase.ACCEPTED, Phase.DONE})
# What a file is named after where the prompt was not to be stored: enough to tell two apart.
_SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One picture of a job.

    Attributes:
        url: Where the provider has it, for as long as it does.
        sha256, size: Of the bytes, once they came.
        spooled: The file in the spool.
        path: The file that was asked for, once it is written.
    """

    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    spooled: Path | None = None
    path: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The picture as plain JSON."""
        return {
            "url": self.url,
            "sha256": self.sha256,
            "bytes": self.size,
            "spooled": str(self.spooled) if self.spooled else None,
            "path": str(self.path) if self.path else None,
        }


def said_time(at: int | None) -> str | None:
    """Milliseconds since 1970 as people and programs read a time, in UTC."""
    if at is None:
        return None
    said = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return said.replace("+00:00", "Z")


TIMES = ("prepared_at", "sending_at", "accepted_at", "settled_at", "saved_at", "delivered_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything that is known of one picture's job.

    Attributes:
        id: Our own name of it.
        place: Where it lives: the provider's address, or an emulator in some process.
        request: The whole request as plain JSON, see `canonical`; `asked` tells which of its n.
        payload: What is sent, local bytes as name, size and SHA-256.
        digest: What makes two requests the same: all that was asked, of whom; labels ask for nothing.
        payload_sha256: Of the payload, local bytes by their own hash. Where prompts are not to be stored,
            neither can be made again from what is.
        tags, project: What its cost is reported under.
        expects: What the pictures should be, see `Translation.expected`.
        sources: The files of the local references, as far as they are files.
        destination: The absolute path, folder or template that was asked for; None where none was.
        key: The idempotency key; `key_mark` tells whether the provider's key is still the same.
        submit_url, submit_headers, submit_body: The exact paid submit, where it may be sent again.
        job_id: The provider's name of the job; `links` are the addresses that its answers named for it.
        quote: What it was said to cost before.
        charged, charge: Whether money was taken, and how much.
        error: What ended it badly, as `UnifiedFluxError.to_json` says it.
        owner: The process that works on it.
        prepared_at, ...: When it came to each phase, in milliseconds since 1970.
    """

    id: str
    provider: str
    model: str
    family: str
    place: str
    request: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    payload_sha256: str = ""
    report: Report = field(default_factory=lambda: Report(entries=()))
    sandbox: bool = False
    emulated: bool = False
    asked: int = 1
    seed: int | None = None
    client_request_id: str | None = None
    tags: tuple[str, ...] = ()
    project: str | None = None
    expects: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str | None, ...] = ()
    destination: str | None = None
    force: bool = False
    key: str | None = None
    key_mark: str | None = None
    submit_url: str | None = None
    submit_headers: Mapping[str, str] = field(default_factory=dict)
    submit_body: bytes | None = None
    phase: Phase = Phase.PREPARED
    job_id: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    quote: Quote = field(default_factory=Quote)
    charged: Charged = Charged.NO
    charge: Charge = NO_CHARGE_KNOWN
    error: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    outputs: tuple[Kept, ...] = ()
    owner: str | None = None
    prepared_at: int | None = None
    sending_at: int | None = None
    accepted_at: int | None = None
    settled_at: int | None = None
    saved_at: int | None = None
    delivered_at: int | None = None

    @property
    def name(self) -> str:
        """What commands and errors call it: the provider's job where there is one."""
        return str(self.job) if self.job else self.id

    @property
    def job(self) -> Job | None:
        """The provider's job, None where no answer ever named one."""
        if self.job_id is None:
            return None
        ends = {Phase.DONE: Phase.DONE, Phase.SAVED: Phase.DONE, Phase.FAILED: Phase.FAILED}
        return Job(
            provider=self.provider,
            model=self.model,
            id=self.job_id,
            phase=ends.get(self.phase, Phase.RUNNING),
            charge=self.charge,
            notes=self.notes,
            links=self.links,
        )

    @property
    def output(self) -> Output | None:
        """Where the provider has the pictures, None where that is not known."""
        urls = tuple(one.url for one in self.outputs if one.url)
        return Output(job=self.job, urls=urls) if self.job and urls else None

    @property
    def submit(self) -> WireRequest | None:
        """The paid submit, to the byte, None where it is not to be sent again."""
        if self.submit_body is None or self.submit_url is None:
            return None
        return WireRequest(
            purpose=Purpose.SUBMIT,
            method="POST",
            url=self.submit_url,
            headers={**self.submit_headers, "Content-Type": "application/json"},
            body=self.submit_body,
        )

    @property
    def trouble(self) -> UnifiedFluxError | None:
        """What ended it badly, as an error again."""
        if self.error is None:
            return None
        theirs = {name: self.error[name] for name in ("status", "code") if name in self.error}
        # A plugin may have errors of its own.
        usual = errors.ProviderError if theirs else UnifiedFluxError
        kind = getattr(errors, self.error["type"], usual)
        error: UnifiedFluxError = kind(
            self.error["message"],
            **theirs,
            provider=self.provider,
            model=self.model,
            job=self.job,
            request_id=self.error.get("request_id"),
            charged=self.charged,
            next_step=self.error.get("next_step"),
        )
        error.id = self.id
        return error

    def names(self) -> dict[str, Any]:
        """What the placeholders of a file name stand for."""
        prompt = self.request.get("prompt", "")
        return {
            "prompt": prompt if isinstance(prompt, str) else prompt["sha256"][:_SHORT],
            "provider": self.provider,
            "model": self.model,
            "seed": self.seed,
            "pictures": self.pictures,
            "index": self.asked,
            "job": self.job_id,
        }

    @property
    def is_open(self) -> bool:
        """Whether somebody has to go on with it."""
        waits = self.destination is not None and self.delivered_at is None
        return self.phase in _BEGUN or (self.phase is Phase.SAVED and waits)

    def to_json(self) -> dict[str, Any]:
        """The record as `jobs show --json` prints it; of the submit's body only whether it is kept."""
        return {
            "id": self.id,
            "phase": str(self.phase),
            "job": str(self.job) if self.job else None,
            "sandbox": self.sandbox,
            "provider": self.provider,
            "model": self.model,
            "family": self.family,
            "place": self.place,
            "client_request_id": self.client_request_id,
            "tags": list(self.tags),
            "project": self.project,
            "request": self.request,
            "asked": self.asked,
            "payload": self.payload,
            "report": self.report.to_json(),
            "destination": self.destination,
            "idempotency_key": self.key,
            "can_be_sent_again": self.submit is not None,
            "quote": self.quote.to_json(),
            "charged": str(self.charged),
            "charge": {**self.charge.to_json(), "raw": self.charge.raw},
            "outputs": [one.to_json() for one in self.outputs],
            "error": self.error,
            "notes": list(self.notes),
            **{name: said_time(getattr(self, name)) for name in TIMES},
        }

    @property
    def price(self) -> str:
        """What it cost, for a person."""
        nothing = self.charged is Charged.NO and self.charge.money is None
        return "-" if nothing else self.charge.said(sandbox=self.sandbox)

    @property
    def count(self) -> int:
        """How many pictures its request asked for."""
        return int(self.request.get("n") or 1)

    @property
    def pictures(self) -> int:
        """How many of them its submit asked for."""
        return int(self.expects.get("n", 1))


_TEXT = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str).encode


def _sha256(found: Any) -> str:
    return hashlib.sha256(_TEXT(found).encode()).hexdigest()


def canonical(request: ImageRequest, references: Sequence[OpenedReference] = ()) -> dict[str, Any]:
    """A request's set fields as plain JSON; references by SHA-256 or URL, their bytes never."""
    found = dict(request.set_fields())
    if request.extra:
        found["extra"] = {provider: dict(entries) for provider, entries in request.extra.items()}
    if references:
        found["references"] = [reference.to_json() for reference in references]
    return found


def rebuilt(request: Mapping[str, Any], sources: Sequence[str | None]) -> ImageRequest:
    """The request that `canonical` told of, its references at the paths of `sources` or at their URLs.

    Raises:
        LookupError: When a reference has neither.
    """
    fields = dict(request)
    references = []
    for known, source in zip(fields.pop("references", ()), sources, strict=True):
        origin = known.get("url") or source
        if origin is None:
            raise LookupError("a reference has neither path nor URL")
        references.append(Reference(origin, known.get("name")))
    return ImageRequest(**fields, references=references)


def draft(translation: Translation, *, place: str, request: dict[str, Any], **known: Any) -> Record:
    """The record of a picture that is about to be asked for."""
    card = translation.card
    # Without references it is what is sent, to the byte.
    payload = shown(translation.payload) if translation.references else translation.payload
    asked = {name: value for name, value in request.items() if name != "tags"}
    return Record(
        provider=card.provider,
        model=card.model,
        family=card.family,
        place=place,
        request=request,
        payload=payload,
        digest=_sha256([card.provider, card.model, place, asked]),
        payload_sha256=_sha256(payload),
        expects=translation.expected(),
        sources=tuple(reference.path for reference in translation.references),
        **known,
    )


def payload_digest(translation: Translation) -> str:
    """What `Record.payload_sha256` is for a translation."""
    return _sha256(shown(translation.payload))
