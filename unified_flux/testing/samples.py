"""What the conformance kit asks with: values for every field, references, nonsense answers."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unified_flux.contract import Card
from unified_flux.geometry import PIXELS
from unified_flux.references import open_references
from unified_flux.request import OUTPUT_FORMATS, SAFETY, ImageRequest, Reference
from unified_flux.sizing import ratios_of
from unified_flux.wire import OpenedReference

PROMPT = "a red fox in fresh snow"
PROMPTS = (PROMPT, "তুষারে একটি লাল শিয়াল", "🦊" * 12, 'quotes " and \\ and\nlines', "a")
URL = "https://pictures.example.com/den/fox.png"
# A whole picture of one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4ESACAAMQAS10/WenAAAAAElFTkSuQmCC"
)

SETTABLE = tuple(field.name for field in dataclasses.fields(ImageRequest))


def values(field: str, card: Card) -> list[dict[str, Any]]:
    """Requests that set `field`, and what cannot be set without: good values, and some that are not."""
    return [{field: value} for value in _VALUES[field](card)] if field in _VALUES else _sizes(card)


def _ratios(card: Card) -> Iterator[str]:
    yield from ("1:1", "16:9", "3:2", "32:18", "21:9", "9:21", "22:9", "1:99999")
    leaf = card.leaves.get(card.fields.get("aspect_ratio", ""), {})
    yield from ratios_of(leaf)


def _sizes(card: Card) -> list[dict[str, Any]]:
    sizes = [(1024, 1024), (1344, 756), (1000, 700), (1, 1), (99999, 3)]
    sizes += [tuple(size) for size in card.facts.get("sizes", {}).values()]
    return [{"width": width, "height": height} for width, height in sizes]


def _fixed(*options: Any) -> Any:
    return lambda card: options


_VALUES: Mapping[str, Any] = {
    "prompt": _fixed(*PROMPTS),
    "model": lambda card: (card.model, card.family),
    "aspect_ratio": lambda card: dict.fromkeys(_ratios(card)),
    "resolution": _fixed(*PIXELS),
    "output_format": _fixed(*OUTPUT_FORMATS),
    "seed": _fixed(0, 1, 7, -1, 2**31, 2**63),
    "prompt_upsampling": _fixed(True, False),
    "safety_tolerance": _fixed(*range(SAFETY[0], SAFETY[1] + 1)),
    "translate_prompt": _fixed(True, False),
    "watermark": _fixed("x", "© 2026 শিয়াল"),
    "n": _fixed(1, 2, 10),
    "client_request_id": _fixed("trace-001"),
    "tags": _fixed(("campaign-7", "শিয়াল")),
}


def spellings(value: Any) -> Iterator[Any]:
    """A value in every type that providers say it in: itself, and as text."""
    yield value
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int):
        yield str(value)


def references(kind: str, count: int) -> tuple[tuple[Reference, ...], tuple[OpenedReference, ...]]:
    """`count` different references, by URL or local, as asked and opened."""
    if kind == "url":
        asked = tuple(Reference(URL.replace("fox", f"fox-{i}")) for i in range(count))
    else:
        # Bytes after a picture's end belong to no picture: they only make each one different.
        asked = tuple(Reference(_numbered(i), f"fox-{i}.png") for i in range(count))
    return asked, open_references(asked)


def _numbered(number: int) -> bytes:
    """A picture like no other: its number stands in a text chunk before the end."""
    from zlib import crc32

    data = b"tEXt" + f"number\0{number}".encode()
    chunk = (len(data) - 4).to_bytes(4, "big") + data + crc32(data).to_bytes(4, "big")
    return PNG[:-12] + chunk + PNG[-12:]


def flat(payload: Any, prefix: str = "") -> dict[str, Any]:
    """A payload's leaves by dotted path; a list is a leaf."""
    if not isinstance(payload, Mapping):
        return {prefix: payload}
    found: dict[str, Any] = {}
    for key, value in payload.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in a payload, in order; keys are not among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)


# Bodies that an answer of any status may have, whatever is documented.
BODIES: Mapping[str, bytes] = {
    "envelope": b'{"error": {"code": "some_code", "message": "some reason"}}',
    "object": b"{}",
    "html": b"<!doctype html><html><body><h1>Bad Gateway</h1></body></html>",
    "empty": b"",
    "list": b"[]",
    "null": b"null",
}
NONSENSE: Mapping[str, bytes] = {
    **{name: body for name, body in BODIES.items() if name != "envelope"},
    "cut": b'{"id": "job-1", "sta',
    "binary": b"\xff\xfe\x00\x01",
    "nan": b'{"id": NaN, "status": Infinity}',
    "deep": b"[" * 200_000,
    "text": b'"fine"',
    "numbers": b'{"id": 7, "status": 7, "result": 7, "output": 7, "error": 7, "usage": 7}',
}
STATUSES = (400, 401, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503)

_ODD: tuple[Any, ...] = (None, [], {}, "", "x", 7, -1.5, True, [None], [[1]], {"x": []})


def distorted(answer: Any) -> Iterator[Any]:
    """The answer with each of its values, one at a time, taken out or made something else."""
    if isinstance(answer, Mapping):
        for key, value in answer.items():
            yield {name: inner for name, inner in answer.items() if name != key}
            yield from ({**answer, key: other} for other in _others(value))
    elif isinstance(answer, list):
        for index, value in enumerate(answer):
            for other in _others(value):
                yield [*answer[:index], other, *answer[index + 1 :]]


def _others(value: Any) -> Iterable[Any]:
    yield from _ODD
    yield from distorted(value)


def replaced(answer: Any, word: str, other: str) -> Any:
    """The answer with the text `word`, in any case, replaced wherever it is a whole value."""
    if isinstance(answer, Mapping):
        return {key: replaced(value, word, other) for key, value in answer.items()}
    if isinstance(answer, list):
        return [replaced(value, word, other) for value in answer]
    same = isinstance(answer, str) and answer.casefold() == word.casefold()
    return other if same else answer
