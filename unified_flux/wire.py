"""One HTTP exchange as data, and what adapters read out of answers. No socket in sight."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from unified_flux.errors import ProtocolError, ProviderError
from unified_flux.images import Header
from unified_flux.money import NO_CHARGE_KNOWN, Charge
from unified_flux.text import safe

# Far above any documented answer (an image comes by URL), far below what would hurt.
MAX_ANSWER_BYTES = 8 * 1024 * 1024


# A reference is read in blocks of this many bytes, a multiple of three so that base64 joins up.
BLOCK = 48 * 1024 * 3


class Source(Protocol):
    """Bytes of a reference that only a transport opens; `size` is theirs."""

    size: int

    def blocks(self) -> Iterator[bytes | memoryview]:
        """The bytes from the start in blocks of `BLOCK`, the last as it comes; may be called again."""


class Blob(Protocol):
    """Bytes of a fetched picture, kept on disk until they are saved where they belong."""

    @property
    def path(self) -> Path:
        """Where they are kept."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def sha256(self) -> str:
        """As hex."""

    @property
    def whole(self) -> bool:
        """False where a known format lacks its end."""

    @property
    def header(self) -> Header | None:
        """Format and dimensions, None where the bytes are no picture that we know."""

    def read(self) -> bytes:
        """All of them."""

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Copy them, untouched, to `path`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedReference:
    """What is known of an input image before anything is sent.

    Either `url` is set (the provider fetches it) or `source`, `size` (bytes), `mime`, `sha256`,
    `width` and `height` (pixels, from the header) are; `path` where it came from a file.
    """

    name: str | None = None
    mime: str | None = None
    url: str | None = None
    source: Source | None = None
    size: int = 0
    sha256: str = ""
    width: int = 0
    height: int = 0
    path: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known, as plain JSON; never the bytes, nor where they lie."""
        if self.url is not None:
            return {"name": self.name, "url": self.url}
        return {
            "name": self.name,
            "mime": self.mime,
            "size": self.size,
            "width": self.width,
            "height": self.height,
            "sha256": self.sha256,
        }


class Placeholder(str):
    """Stands in a payload for the bytes of a local reference.

    It is a short string, so a payload stays plain JSON for the schema, the sidecar and the log,
    while the transport recognises it and streams the real bytes in its place; `before` stands
    before their base64, such as the head of a data URI.
    """

    reference: OpenedReference
    before: str

    def __new__(cls, reference: OpenedReference, before: str = "") -> Placeholder:
        self = super().__new__(
            cls, f"<{reference.mime}, {reference.size} bytes, sha256 {reference.sha256}>"
        )
        self.reference = reference
        self.before = before
        return self


def replace_placeholders(payload: Any, put: Callable[[Placeholder], Any]) -> Any:
    """A copy of a payload with `put(placeholder)` in the place of each placeholder."""
    if isinstance(payload, dict):
        return {key: replace_placeholders(value, put) for key, value in payload.items()}
    if isinstance(payload, list):
        return [replace_placeholders(value, put) for value in payload]
    return put(payload) if isinstance(payload, Placeholder) else payload


class Purpose(StrEnum):
    """Why an exchange is made; money hangs on `SUBMIT` alone."""

    UPLOAD = "upload"
    SUBMIT = "submit"
    POLL = "poll"
    FETCH = "fetch"
    ASK = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a multipart form: a text value, or a reference's bytes."""

    name: str
    value: str | OpenedReference


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """One request as data. `json` may hold placeholders; `parts` make a multipart form.

    `signed` asks the transport to put the provider's key on; an adapter never holds it.
    """

    purpose: Purpose
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    parts: tuple[Part, ...] = ()
    body: bytes = b""
    signed: bool = True

    @property
    def whole_body(self) -> bytes | None:
        """The JSON body's exact bytes, None where a reference's are put in while it is sent."""
        if self.json is None or self.parts:
            return None
        inline: list[Placeholder] = []
        replace_placeholders(self.json, inline.append)
        return None if inline else compact(self.json).encode()


def compact(payload: Any) -> str:
    """A payload as it goes over the wire."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class WireResponse:
    """One answer as data; header names are lower case. `blob` holds what a fetch brought."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    blob: Blob | None = None

    def object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ProtocolError: When it is not JSON, or JSON of another shape.
        """
        found = self._parsed
        if not isinstance(found, dict):
            raise ProtocolError(
                f"the answer (HTTP {self.status}) is a JSON {type(found).__name__}, not an object"
            )
        return found

    @cached_property
    def _parsed(self) -> Any:
        return parse_json(self.body)

    @property
    def retry_after(self) -> float | None:
        """Seconds of a Retry-After header; a date or nonsense counts as absent."""
        try:
            seconds = float(self.headers.get("retry-after", ""))
        except ValueError:
            return None
        return seconds if 0 <= seconds < float("inf") else None


def parse_json(body: bytes) -> Any:
    """JSON from a stranger: size capped, no NaN, nesting errors caught.

    Raises:
        ProtocolError: When the bytes are not acceptable JSON.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        start = safe(body[:60].decode("utf-8", "replace"))
        raise ProtocolError(f"the answer is not JSON; it begins: {start!r}") from error


def _no_constant(word: str) -> Any:
    raise ValueError(word)


class Phase(StrEnum):
    """Where a job stands, in our words; the journal keeps all but UPLOADING, RUNNING and FETCHING."""

    PREPARED = "prepared"
    UPLOADING = "uploading"
    SENDING = "sending"
    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    FETCHING = "fetching"
    SAVED = "saved"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Accepted work as plain data.

    Attributes:
        id: The provider's own id.
        word: The provider's own status word.
        phase: RUNNING, DONE or FAILED in our words.
        charge: What the answer says of money so far.
        progress: From 0 to 1, where the provider tells.
        failure: The provider's reason, where the job failed.
        notes: What was odd about the answer; reported, never fatal.
        links: Addresses that the provider's answers named for it, by what they are for: `poll`, `result`.
    """

    provider: str
    id: str
    model: str = ""
    phase: Phase = Phase.RUNNING
    word: str = ""
    charge: Charge = NO_CHARGE_KNOWN
    progress: float | None = None
    failure: ProviderError | None = None
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Job | None:
        """The job that `str(job)` names, None where the text has another shape."""
        provider, _, rest = text.partition("/")
        model, _, identity = rest.partition("/")
        if not (provider and model and identity):
            return None
        return cls(provider=provider, model=model, id=identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A finished job and where its pictures are."""

    job: Job
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """What an upload returned: the URL to put into the payload."""

    url: str
