"""Ratios and sizes of pictures: parse, compare, convert.

No provider documents the pixels of `1K` and `2K`. Ours: the size of exactly the asked ratio, in
steps of 32 pixels, nearest to 1 megapixel (1024 x 1024) or to 4 (2048 x 2048).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction

PIXELS = {"1K": 1024 * 1024, "2K": 2048 * 2048}
STEP = 32
# Two ratios closer than this are one to the eye; providers round sizes to their own steps.
TOLERANCE = 0.05

_RATIO = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")


def parse_ratio(text: str) -> Fraction | None:
    """`W:H` with positive whole numbers as a fraction, None for anything else."""
    match = _RATIO.fullmatch(text)
    if not match or 0 in (width := int(match[1]), height := int(match[2])):
        return None
    return Fraction(width, height)


def say_ratio(ratio: Fraction) -> str:
    """The ratio in lowest terms, as `W:H`."""
    return f"{ratio.numerator}:{ratio.denominator}"


def distance(one: Fraction | float, other: Fraction | float) -> float:
    """How far two ratios are apart, the same for wide and tall."""
    return abs(math.log(float(one) / float(other)))


def nearest_ratio(ratio: Fraction, options: Iterable[str]) -> str:
    """The one of `options` whose shape is nearest."""
    known = {text: parsed for text in options if (parsed := parse_ratio(text))}
    return min(known, key=lambda text: distance(known[text], ratio))


def nearest_resolution(width: int, height: int) -> str:
    """`1K` or `2K`, whichever holds about as many pixels."""
    return min(PIXELS, key=lambda word: distance(PIXELS[word], width * height))


def size_of(ratio: Fraction, resolution: str, step: int = STEP) -> tuple[int, int]:
    """Width and height in pixels for a ratio at a resolution, as this module's docstring says."""
    unit_w, unit_h = ratio.numerator * step, ratio.denominator * step
    ideal = math.sqrt(PIXELS[resolution] / (unit_w * unit_h))
    candidates = {max(1, math.floor(ideal)), max(1, math.ceil(ideal))}
    scale = min(candidates, key=lambda k: abs(k * k * unit_w * unit_h - PIXELS[resolution]))
    return scale * unit_w, scale * unit_h


def near_size(ratio: Fraction, resolution: str, step: int = STEP) -> tuple[int, int]:
    """A size of about the ratio, for ratios that no size near the resolution has exactly."""
    width = math.sqrt(PIXELS[resolution] * ratio)
    return to_step(round(width), step, step), to_step(round(width / ratio), step, step)


def to_step(pixels: int, step: int, least: int) -> int:
    """The nearest multiple of `step` that is at least `least`."""
    return max(round(pixels / step) * step, -(-least // step) * step)
