"""Draws the sandbox's pictures: a landscape out of (prompt, seed, model), and what was asked written on it.

Soft things (sky, glow) are drawn tiny and scaled up, which is fast.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]

THUMBNAIL = 256
# No provider takes pictures near it; it bounds what decoding one may cost.
_MAX_REFERENCE_PIXELS = 80_000_000
# Beyond this the scene is scaled up: nobody looks closer, and drawing stays fast.
_SCENE = 2048
_LAYERS = 4
# Sky at the top, sky at the horizon, sun, nearest hill.
_MOODS: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    ((64, 112, 176), (244, 214, 184), (255, 244, 214), (30, 58, 70)),
    ((42, 36, 92), (246, 142, 110), (255, 226, 168), (36, 24, 52)),
    ((22, 92, 128), (190, 228, 216), (255, 252, 226), (16, 62, 62)),
    ((94, 78, 148), (250, 196, 204), (255, 240, 220), (52, 38, 74)),
    ((18, 24, 58), (92, 108, 168), (238, 240, 250), (10, 14, 32)),
    ((196, 120, 62), (252, 226, 160), (255, 250, 226), (82, 42, 26)),
)


class NotAPictureError(ValueError):
    """The bytes are no picture that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A reference as the picture shows it: a thumbnail, or where it is to be had."""

    thumbnail: bytes = b""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What to draw; equal values make equal bytes."""

    prompt: str
    model: str
    width: int
    height: int
    format: str
    seed: int | None = None
    watermark: str = ""
    references: tuple[Shown, ...] = ()


# What is fetched again, as after a cut, is not drawn again.
@lru_cache(maxsize=16)
def draw(picture: Picture) -> bytes:
    """The picture as bytes of its format."""
    from unified_flux.sandbox import lettering

    image = _scene(picture)
    lettering.write(image, picture)
    return _encoded(image, picture.format)


def _encoded(image: Image.Image, format_: str) -> bytes:
    kept = io.BytesIO()
    options = {"png": {"compress_level": 1}, "jpeg": {"quality": 88}}
    image.save(kept, format_.upper(), **options[format_])
    return kept.getvalue()


def thumbnail(data: bytes) -> bytes:
    """A JPEG of at most 256 pixels a side.

    Raises:
        NotAPictureError: When `data` is no whole JPEG, PNG or WebP image, or too large a one.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > _MAX_REFERENCE_PIXELS:
                raise NotAPictureError(f"{image.width}x{image.height} pixels are too many")
            image.draft("RGB", (THUMBNAIL, THUMBNAIL))
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            flat = image.convert("RGBA")
    except (
        OSError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise NotAPictureError(str(error)) from error
    backed = Image.new("RGBA", flat.size, (255, 255, 255, 255))
    backed.alpha_composite(flat)
    return _encoded(backed.convert("RGB"), "jpeg")


class _Dice:
    """Numbers that follow from a text, the same on every machine."""

    def __init__(self, text: str) -> None:
        self._bytes = iter(hashlib.shake_256(text.encode("utf-8", "replace")).digest(512))

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + (high - low) * next(self._bytes) / 255


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _scene(picture: Picture) -> Image.Image:
    from PIL import Image, ImageDraw

    dice = _Dice(f"{picture.model}\n{picture.seed}\n{picture.prompt}")
    scale = min(1.0, _SCENE / max(picture.width, picture.height))
    width, height = (max(1, round(side * scale)) for side in (picture.width, picture.height))
    top, horizon, sun, near = _MOODS[int(dice.between(0, len(_MOODS) - 0.01))]
    sky = Image.new("RGB", (1, 8))
    sky.putdata([_mixed(top, horizon, (row / 7) ** 1.2) for row in range(8)])
    scene = sky.resize((width, height), Image.Resampling.BICUBIC)
    _shine(scene, dice, sun)
    pen = ImageDraw.Draw(scene)
    for layer in range(1, _LAYERS + 1):
        colour = _mixed(horizon, near, layer / _LAYERS)
        pen.polygon(
            [(0, height), *_ridge(dice, width, height, layer), (width, height)], fill=colour
        )
    full = (picture.width, picture.height)
    return scene if scene.size == full else scene.resize(full, Image.Resampling.BICUBIC)


def _shine(scene: Image.Image, dice: _Dice, colour: Colour) -> None:
    """The sun or moon: a disc in its own glow."""
    from PIL import Image, ImageDraw

    radius = round(min(scene.size) * dice.between(0.06, 0.11)) + 1
    x = round(scene.width * dice.between(0.15, 0.85))
    y = round(scene.height * dice.between(0.2, 0.42))
    # The gradient reaches the middle of its sides at about 180 of 255; beyond, the glow is nothing.
    glow = Image.radial_gradient("L").point(lambda far: max(0, 176 - far) ** 2 // 200)
    glow = glow.resize((radius * 12, radius * 12), Image.Resampling.BICUBIC)
    scene.paste(colour, (x - glow.width // 2, y - glow.height // 2), glow)
    disc = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(scene).ellipse(disc, fill=colour)


def _ridge(dice: _Dice, width: int, height: int, layer: int) -> Iterator[tuple[float, float]]:
    """The skyline of one row of hills: three waves on top of each other; nearer is lower."""
    foot = height * (0.44 + 0.13 * layer)
    waves = [
        (
            height * dice.between(0.01, 0.07) / n,
            n * dice.between(1.0, 2.6),
            dice.between(0, math.tau),
        )
        for n in (1, 2, 3.7)
    ]
    for step in range(129):
        along = step / 128
        lift = sum(
            tall * math.sin(along * often * math.tau + shift) for tall, often, shift in waves
        )
        yield along * width, foot + lift
