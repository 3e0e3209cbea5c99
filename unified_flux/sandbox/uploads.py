"""What Rivya's Files API takes: kinds, sizes, and the signatures that bytes must begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from unified_flux.contract import Card
from unified_flux.sandbox import orders
from unified_flux.sandbox.forms import Part
from unified_flux.text import safe

MAX_REQUEST_ID = 128

# Kind → most bytes, and the types taken. MB is read as 1,000,000 bytes, the stricter way.
_KINDS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "image": (10_000_000, ("image/jpeg", "image/png", "image/webp")),
    "video": (50_000_000, ("video/mp4", "video/quicktime", "video/webm")),
    "audio": (
        10_000_000,
        ("audio/mpeg", "audio/mp4", "audio/wav", "audio/x-wav", "audio/aac", "audio/ogg"),
    ),
}
# Signature → type and suffix, by kind: one container can hold pictures that move or only sound.
_SIGNATURES: Mapping[str, tuple[tuple[re.Pattern[bytes], str, str], ...]] = {
    "image": (
        (re.compile(rb"\xff\xd8\xff"), "image/jpeg", "jpg"),
        (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", "png"),
        (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp", "webp"),
    ),
    "video": (
        (re.compile(rb"....ftypqt", re.DOTALL), "video/quicktime", "mov"),
        (re.compile(rb"....ftyp", re.DOTALL), "video/mp4", "mp4"),
        (re.compile(rb"\x1a\x45\xdf\xa3"), "video/webm", "webm"),
    ),
    "audio": (
        (re.compile(rb"....ftyp", re.DOTALL), "audio/mp4", "m4a"),
        (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav", "wav"),
        (re.compile(rb"OggS"), "audio/ogg", "ogg"),
        (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "audio/aac", "aac"),
        (re.compile(rb"ID3|\xff[\xe0-\xff]"), "audio/mpeg", "mp3"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A file that was found good; of an image's bytes only the thumbnail is kept."""

    kind: str
    name: str
    mime: str
    suffix: str
    size: int
    thumbnail: bytes


def accept(parts: Mapping[str, Part], card: Card | None) -> Accepted:
    """The file of a form, judged by its kind and, where one is named, by the model's rules.

    Raises:
        ValueError: Naming the part that is wrong.
    """
    for needed in ("file", "kind"):
        if needed not in parts:
            raise ValueError(f"{needed}: this part is missing")
    kind, file = parts["kind"].text, parts["file"]
    if kind not in _KINDS:
        raise ValueError(f"kind: must be one of {', '.join(_KINDS)}")
    if "client_request_id" in parts and len(parts["client_request_id"].text) > MAX_REQUEST_ID:
        raise ValueError(f"client_request_id: must be at most {MAX_REQUEST_ID} characters")
    most, types = _KINDS[kind]
    if card is not None:
        most, types = card.references["max_bytes"], tuple(card.references["mime"])
    mime, suffix = _sniffed(kind, bytes(file.data[:16]))
    if mime not in types:
        raise ValueError(f"file: its bytes must be one of {', '.join(types)}")
    if len(file.data) > most:
        raise ValueError(f"file: it has {len(file.data)} bytes, at most {most} are taken")
    return Accepted(
        kind=kind,
        name=safe(file.filename or f"file.{suffix}", 200),
        mime=mime,
        suffix=suffix,
        size=len(file.data),
        thumbnail=orders.thumbnail(bytes(file.data)) if kind == "image" else b"",
    )


def _sniffed(kind: str, head: bytes) -> tuple[str, str]:
    known = ((mime, suffix) for sign, mime, suffix in _SIGNATURES[kind] if sign.match(head))
    return next(known, ("", ""))
