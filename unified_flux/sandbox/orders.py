"""From a valid payload to the picture that is to be drawn: sizes, format, references."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from unified_flux import addresses
from unified_flux.contract import Card
from unified_flux.geometry import parse_ratio, size_of
from unified_flux.sandbox import drawing
from unified_flux.sandbox.drawing import Picture, Shown
from unified_flux.sandbox.scenarios import Scenario
from unified_flux.text import safe

MAX_PIXELS = 4096 * 4096
MAX_SIDE = 8192
# FLUX's own default; the Rivya page of flux-2-pro, which has no format parameter, names none.
_FORMAT = "jpeg"
_OTHER_FORMAT = {"jpeg": "png", "png": "jpeg"}
_SQUARE = 1024
_LONG_SIDE_STEP = 64
_DATA_URI = re.compile(r"data:[a-z0-9.+/-]*;base64,", re.IGNORECASE)


class BadOrderError(ValueError):
    """The payload fits its schema and cannot be drawn all the same."""


def look(payload: Any, path: str) -> Any:
    """What stands at a dotted path of a payload, None where nothing does."""
    for step in path.split("."):
        payload = payload.get(step) if isinstance(payload, Mapping) else None
    return payload


def value(card: Card, payload: Mapping[str, Any], name: str) -> Any:
    """A field in our words, out of the provider's payload or its documented defaults."""
    path = card.fields.get(name)
    if path is None:
        return None
    found = look(payload, path)
    return card.meaning(name, card.defaults.get(path) if found is None else found)


def picture(
    card: Card, payload: Mapping[str, Any], references: Sequence[Shown], scenario: Scenario
) -> Picture:
    """What to draw for a payload.

    Raises:
        BadOrderError: When the size is beyond what the sandbox draws.
    """
    width, height = size(card, payload)
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise BadOrderError(f"{width}x{height} is beyond what the sandbox draws")
    watermark = value(card, payload, "watermark")
    ordered = Picture(
        prompt=value(card, payload, "prompt"),
        seed=value(card, payload, "seed"),
        model=card.model,
        width=width,
        height=height,
        format=value(card, payload, "output_format") or _FORMAT,
        watermark=watermark or "",
        references=tuple(references),
    )
    return _spoiled(ordered, scenario)


def _spoiled(ordered: Picture, scenario: Scenario) -> Picture:
    """The picture as a scenario wants it: not the one that was asked for."""
    if scenario.reshaped:
        ordered = replace(ordered, height=max(64, ordered.height * 2 // 3))
    if scenario.recoded:
        ordered = replace(ordered, format=_OTHER_FORMAT[ordered.format])
    return ordered


def size(card: Card, payload: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height: as asked, or for a ratio (and a resolution) what the sandbox makes of it."""
    if "width" in card.fields:
        # To JSON Schema 64.0 is an integer too.
        wide, tall = (int(value(card, payload, name) or _SQUARE) for name in ("width", "height"))
        return wide, tall
    ratio = parse_ratio(value(card, payload, "aspect_ratio") or "1:1") or Fraction(1)
    resolution = value(card, payload, "resolution")
    return size_of(ratio, resolution) if resolution else _about_a_megapixel(ratio)


def _about_a_megapixel(ratio: Fraction) -> tuple[int, int]:
    """The long side in steps of 64, the short side as the ratio wants it (16:9 is 1344 x 756)."""
    stretch = max(ratio, 1 / ratio)
    ideal = math.sqrt(_SQUARE * _SQUARE * stretch)
    long = round(ideal / _LONG_SIDE_STEP) * _LONG_SIDE_STEP
    short = round(long / stretch)
    return (long, short) if ratio >= 1 else (short, long)


def said(card: Card, payload: Mapping[str, Any]) -> dict[str, list[str]]:
    """The references of a payload as the texts that they came as, by key."""
    found = {key: look(payload, key) for key in card.reference_keys}
    lists = {key: value if isinstance(value, list) else [value] for key, value in found.items()}
    return {
        key: value for key, value in lists.items() if all(isinstance(text, str) for text in value)
    }


def shortened(payload: Mapping[str, Any], texts: Mapping[str, list[str]]) -> dict[str, Any]:
    """The payload for its schema, which says no more of an image than "text": megabytes stay out."""
    short = dict(payload)
    for key, said in texts.items():
        ends = [text[:1] for text in said]
        short[key] = ends if isinstance(payload[key], list) else ends[0]
    return short


def references(card: Card, texts: Mapping[str, list[str]]) -> list[Shown]:
    """References that came inline or as URLs.

    Raises:
        BadOrderError: Saying which key is wrong.
    """
    shown = []
    for key, said in texts.items():
        try:
            shown += [inline(text, card.references["max_bytes"]) for text in said]
        except BadOrderError as error:
            raise BadOrderError(f"{key}: {error}") from error
    return shown


def linked(url: str) -> Shown:
    """A reference that stays where it is: the sandbox fetches nothing.

    Raises:
        BadOrderError: When no provider could fetch it.
    """
    reason = addresses.objection(url)
    if reason:
        raise BadOrderError(f"{safe(url, 80)} cannot be fetched: {reason}")
    return Shown(url=url)


def inline(text: str, max_bytes: int) -> Shown:
    """A reference as base64 text, bare or in a data URI, or as a URL.

    Raises:
        BadOrderError: When it is none of them, too large, or no picture.
    """
    if text[:8].lower().startswith(("https://", "http://")):
        return linked(text)
    head = _DATA_URI.match(text[:100])
    try:
        data = base64.b64decode(text[head.end() :] if head else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadOrderError("it is neither base64 nor a URL") from error
    if len(data) > max_bytes:
        raise BadOrderError(f"the image has {len(data)} bytes, at most {max_bytes} are taken")
    return Shown(thumbnail=thumbnail(data))


def thumbnail(data: bytes) -> bytes:
    """A small copy of an image: all that the sandbox keeps of it.

    Raises:
        BadOrderError: When the bytes are no picture.
    """
    try:
        return drawing.thumbnail(data)
    except drawing.NotAPictureError as error:
        raise BadOrderError("it is not a readable JPEG, PNG or WebP image") from error
