"""Sandbox pictures are pictures: right in size, legible, and the same every time."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace

import pytest
from PIL import Image

from unified_flux.sandbox.drawing import NotAPictureError, Picture, Shown, draw, thumbnail
from unified_flux.sandbox.lettering import legible

FOX = Picture(
    prompt="a red fox in fresh snow", model="flux-kontext-pro", width=448, height=252, format="png"
)
LINK = Shown(url="https://cdn.example.com/images/den.png")


def encoded(image: Image.Image, format_: str = "PNG") -> bytes:
    kept = io.BytesIO()
    image.save(kept, format_)
    return kept.getvalue()


def photo(colour: tuple[int, int, int]) -> Shown:
    return Shown(thumbnail=thumbnail(encoded(Image.new("RGB", (300, 200), colour))))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("format_", ["png", "jpeg"])
@pytest.mark.parametrize("size", [(1344, 756), (64, 64), (658, 1536), (64, 2048), (2048, 65)])
def test_size_and_format_are_as_asked(size: tuple[int, int], format_: str) -> None:
    """Every size, tiny and narrow ones too, comes out whole and in its format."""
    image = opened(draw(replace(FOX, width=size[0], height=size[1], format=format_)))
    assert (image.size, image.format) == (size, format_.upper())


def test_equal_orders_are_equal_bytes() -> None:
    """The same prompt, seed and model draw the same picture."""
    ordered = replace(FOX, seed=7, references=(photo((200, 30, 40)), LINK))
    assert draw(ordered) == draw(ordered)


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a blue fox"}, {"seed": 8}, {"model": "flux-2-pro"}, {"watermark": "mine"}],
)
def test_another_order_is_another_picture(change: dict[str, object]) -> None:
    """Prompt, seed, model and watermark all show."""
    ordered = replace(FOX, seed=7)
    assert draw(ordered) != draw(replace(ordered, **change))  # type: ignore[arg-type]


def test_references_are_seen_in_their_colours() -> None:
    """A local reference's own pixels stand in the picture."""
    image = opened(draw(replace(FOX, references=(photo((250, 0, 0)),)))).convert("RGB")
    pixels = image.tobytes()
    reds = sum(
        red > 235 and green < 20 and blue < 20
        for red, green, blue in zip(pixels[0::3], pixels[1::3], pixels[2::3], strict=True)
    )
    assert reds > 500


@pytest.mark.parametrize("count", range(9))
def test_up_to_eight_references_fit(count: int) -> None:
    """Any number of references that a provider takes is drawn, wide and narrow."""
    for width, height in ((448, 192), (192, 448)):
        references = tuple(LINK if n % 2 else photo((n * 20, 90, 90)) for n in range(count))
        assert draw(replace(FOX, width=width, height=height, references=references))


@pytest.mark.parametrize(
    "prompt",
    [
        "শিয়াল তুষারে",
        "🦊❄️",
        "x" * 5000,
        "word " * 5000,
        "\u202egnp.exe\x1b[31m",
        "\ud800",
        " ",
        "\n" * 9,
    ],
)
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    """Prompts in other scripts, endless ones and hostile ones are drawn like any other."""
    assert draw(replace(FOX, prompt=prompt, watermark=prompt))


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("a red fox", "a red fox"),
        ("শিয়াল তুষারে in the snow", "[Bengali] in the snow"),
        ("a 🦊 here", "a [fox face] here"),
        ("赤い狐", "[CJK][Hiragana]"),
    ],
)
def test_what_the_font_lacks_is_named(prompt: str, shown: str) -> None:
    """Characters without a glyph are named instead of drawn as empty boxes."""
    assert legible(prompt) == shown


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_thumbnails_are_small_jpegs(format_: str, mode: str) -> None:
    """Every picture that a provider takes becomes a JPEG of at most 256 pixels a side."""
    if format_ == "JPEG" and mode in {"RGBA", "P"}:
        mode = "CMYK"
    image = opened(thumbnail(encoded(Image.new(mode, (1000, 500)), format_)))
    assert (image.format, image.size) == ("JPEG", (256, 128))


def bomb() -> bytes:
    """A header that promises 100,000 x 100,000 pixels."""
    whole = bytearray(encoded(Image.new("L", (8, 8))))
    whole[16:24] = (100_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        encoded(Image.new("RGB", (900, 900), (1, 2, 3)), "JPEG")[:300],
        encoded(Image.new("RGB", (90, 90)))[:80],
        encoded(Image.new("P", (9, 9)), "GIF"),
        bomb(),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """Text, cut pictures, other formats and decompression bombs are no references."""
    with pytest.raises(NotAPictureError):
        thumbnail(data)
