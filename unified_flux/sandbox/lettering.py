"""Writes onto a drawn scene what a person wants to know of it: prompt, model, seed, references."""

from __future__ import annotations

import bisect
import io
import unicodedata
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from unified_flux.sandbox.drawing import Colour, Picture, Shown
from unified_flux.text import safe

if TYPE_CHECKING:
    from PIL import Image

_INK: Colour = (28, 32, 44)
_FAINT: Colour = (98, 104, 120)
_PAPER: Colour = (252, 250, 246)
_LINK: Colour = (222, 230, 242)
# More of a prompt than this fits no caption, and measuring it would take longer than drawing.
_MOST_CHARACTERS = 600
_MOST_LINES = 5
_NO_SUCH_CHARACTER = "\U0010ffff"


def write(image: Image.Image, picture: Picture) -> None:
    """Mark, caption and references, onto the scene itself."""
    size = max(9, min(120, round(min(image.size) * 0.033)))
    margin = size
    _plate(image, (margin, margin), [("sandbox", size, _INK)])
    if picture.watermark:
        line = _fitted(picture.watermark, size, image.width // 2)
        width = _length(line, size) + size * 1.2
        _plate(image, (round(image.width - margin - width), margin), [(line, size, _FAINT)])
    top = _caption(image, picture, size, margin)
    _references(image, picture.references, size, margin, top - margin // 2)


def _caption(image: Image.Image, picture: Picture, size: int, margin: int) -> int:
    """The plate with prompt and facts at the bottom; its upper edge."""
    room = max(size, round(image.width - 2 * margin - 1.2 * size))
    small = max(8, round(size * 0.72))
    seed = "no seed" if picture.seed is None else f"seed {picture.seed}"
    facts = f"{picture.model} · {seed} · {picture.width} x {picture.height} {picture.format}"
    lines = [(line, size, _INK) for line in _wrapped(legible(picture.prompt), size, room)]
    lines.append((_fitted(facts, small, room), small, _FAINT))
    top = round(image.height - margin - _height(lines))
    _plate(image, (margin, top), lines, width=image.width - 2 * margin)
    return top


Line = tuple[str, int, Colour]


def _height(lines: list[Line]) -> int:
    return round(sum(size * 1.35 for _, size, _ in lines) + lines[0][1] * 0.6)


def _plate(
    image: Image.Image, corner: tuple[int, int], lines: list[Line], width: int | None = None
) -> None:
    """A sheet of translucent paper with lines of text."""
    from PIL import ImageDraw

    size = lines[0][1]
    wide = width or round(max(_length(line, size) for line, size, _ in lines) + size * 1.2)
    x, y = corner
    _paper(image, (x, y, x + max(1, wide), y + _height(lines)), size // 2)
    pen = ImageDraw.Draw(image)
    below: float = y + size * 0.3
    for line, height, colour in lines:
        middle = below + height * 0.675
        pen.text((x + size * 0.6, middle), line, fill=colour, font=_font(height), anchor="lm")
        below += height * 1.35


def _paper(image: Image.Image, box: tuple[int, int, int, int], radius: int) -> None:
    from PIL import Image, ImageDraw

    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    corners = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(corners, radius, fill=222)
    image.paste(_PAPER, box, mask)


def _references(
    image: Image.Image, references: tuple[Shown, ...], size: int, margin: int, bottom: int
) -> None:
    """The references side by side above the caption, numbered in their order."""
    if not references:
        return
    gap = max(2, size // 2)
    room = (image.width - 2 * margin + gap) / len(references) - gap
    side = round(max(8.0, min(room, min(image.size) * 0.24)))
    x = margin
    for number, reference in enumerate(references, 1):
        if reference.url:
            card = _linked(reference.url, round(max(side, min(room, side * 1.4))), side)
        else:
            card = _photo(reference.thumbnail, side)
        _numbered(card, number, max(8, side // 8))
        image.paste(card, (x, bottom - card.height))
        x += card.width + gap


def _photo(thumbnail: bytes, side: int) -> Image.Image:
    """A thumbnail in a white frame."""
    from PIL import Image, ImageOps

    frame = max(1, side // 24)
    with Image.open(io.BytesIO(thumbnail), formats=("JPEG",)) as kept:
        inner = ImageOps.contain(kept.convert("RGB"), (side - 2 * frame, side - 2 * frame))
    return ImageOps.expand(inner, frame, _PAPER)


def _linked(url: str, width: int, height: int) -> Image.Image:
    """A box that says where a reference is, since the sandbox fetches nothing."""
    from PIL import Image, ImageDraw

    card = Image.new("RGB", (width, height), _LINK)
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, width - 1, height - 1), outline=_PAPER, width=max(1, height // 24))
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path)).name
    size = max(8, min(height // 9, width // 12))
    for row, line in enumerate(("URL", parts.hostname or "", name)):
        text = _fitted(legible(line), size, round(width * 0.86))
        at = (width / 2, height * (0.36 + 0.18 * row))
        pen.text(at, text, fill=_INK if row else _FAINT, font=_font(size), anchor="mm")
    return card


def _numbered(card: Image.Image, number: int, size: int) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, size * 1.3, size * 1.3), fill=_INK)
    pen.text((size * 0.65, size * 0.65), str(number), fill=_PAPER, font=_font(size), anchor="mm")


@lru_cache(maxsize=64)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _length(text: str, size: int) -> float:
    return float(_font(size).getlength(text))


@lru_cache(maxsize=4096)
def _drawable(char: str) -> bool:
    """Whether the built-in font has the character: it draws the same box for all that it lacks."""
    font = _font(16)
    return char.isspace() or bytes(font.getmask(char)) != bytes(font.getmask(_NO_SUCH_CHARACTER))


def legible(text: str) -> str:
    """The text with what the font lacks named instead: `[Bengali]`, `[fox face]`."""
    shown: list[str] = []
    for char in safe(text, _MOST_CHARACTERS):
        named = char if _drawable(char) else _named(char)
        if len(named) == 1 or (named and named not in shown[-2:]):
            shown.append(named)
    return " ".join("".join(shown).split())


def _named(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] in "MCZ":
        return ""
    name = unicodedata.name(char, "unnamed character")
    script = name.split()[0]
    return (
        f"[{name.lower()}]"
        if category[0] in "SP"
        else f"[{script if script == 'CJK' else script.title()}]"
    )


def _prefix(text: str, size: int, room: int, tail: str = "") -> str:
    """As many characters as fit, `tail` after them."""
    lengths = range(1, len(text) + 1)
    fit = bisect.bisect_right(lengths, float(room), key=lambda n: _length(text[:n] + tail, size))
    return text[:fit] + tail


def _fitted(line: str, size: int, room: int) -> str:
    return line if _length(line, size) <= room else _prefix(line, size, room, "…")


def _wrapped(text: str, size: int, room: int) -> list[str]:
    """The text in lines that fit, a few of them; words too long for a line are broken."""
    lines: list[str] = []
    for word in text.split():
        rest = word
        while rest and len(lines) <= _MOST_LINES:
            if lines and _length(f"{lines[-1]} {rest}", size) <= room:
                lines[-1] += f" {rest}"
                break
            lines.append(_prefix(rest, size, room) or rest[0])
            rest = rest[len(lines[-1]) :]
    if len(lines) <= _MOST_LINES:
        return lines
    last = _fitted(" ".join(lines[_MOST_LINES - 1 :]), size, room)
    return [*lines[: _MOST_LINES - 1], last]
