"""Small copies of pictures, as data URIs; the files themselves are only read."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unified_flux import images

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 50_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# The EXIF orientations that exchange width and height.
_ON_ITS_SIDE = {5, 6, 7, 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small copy of a picture.

    Attributes:
        uri: The copy as a data URI.
        width, height: Its pixels.
        full_width, full_height: The pixels of the picture, as a viewer shows it.
        format: The picture's format, in our words.
    """

    uri: str
    width: int
    height: int
    full_width: int
    full_height: int
    format: str


def thumbnail(path: Path, side: int = 480) -> Thumbnail | None:
    """A copy of a picture's first frame within `side` pixels, None for what is no readable picture."""
    try:
        # A pipe would keep us waiting, and is no picture.
        if not path.is_file():
            return None
        with path.open("rb") as file:
            header = images.sniff(file.read(images.HEAD))
            if header is None or header.width * header.height > MOST_PIXELS:
                return None
            file.seek(0)
            return _copy(file, side)
    # Pillow's decoders raise whatever their bytes drive them to.
    except Exception:
        return None


def _copy(file: io.BufferedReader, side: int) -> Thumbnail | None:
    from PIL import ExifTags, Image, ImageOps

    with Image.open(file, formats=_FORMATS) as found:
        full_width, full_height = found.size
        # Once more: a header may say less than the decoder makes of it.
        if full_width * full_height > MOST_PIXELS:
            return None
        format_ = str(found.format).lower()
        small: Image.Image = found
        if found.has_transparency_data:
            small = found.convert("RGBA")
        elif found.mode not in {"L", "RGB"}:
            small = found.convert("RGB")
        small.thumbnail((side, side))
        if small.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE:
            full_width, full_height = full_height, full_width
        turned = ImageOps.exif_transpose(small)
    return Thumbnail(
        uri=_uri(turned),
        width=turned.width,
        height=turned.height,
        full_width=full_width,
        full_height=full_height,
        format=format_,
    )


def _uri(picture: Image) -> str:
    """The picture as a data URI, without the texts and profiles that its file may hold."""
    kept = io.BytesIO()
    picture.info.clear()
    see_through = picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255)
    if see_through:
        picture.save(kept, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(kept, "JPEG", quality=82, optimize=True)
    kind = images.MIME["png" if see_through else "jpeg"]
    return f"data:{kind};base64,{base64.b64encode(kept.getvalue()).decode('ascii')}"
