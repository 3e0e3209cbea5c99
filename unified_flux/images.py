"""What a picture's first and last bytes tell: format, dimensions, whether it is whole.

Magic numbers and header layouts: PNG (W3C, 3rd ed.), JPEG (ITU T.81, B.2), WebP container (RFC 9649),
GIF89a.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

# Enough for every header here, a JPEG's with a large colour profile included.
HEAD = 64 * 1024
TAIL = 4096
MIME = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
# What a name claims to be; the standard library's table differs from machine to machine.
SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}
EXTENSION = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif"}


@dataclass(frozen=True, slots=True)
class Header:
    """Format and pixels; 0 x 0 where the header does not say within `HEAD` bytes."""

    format: str
    width: int = 0
    height: int = 0


def sniff(head: bytes) -> Header | None:
    """What the first bytes say, None where they are no picture that we know."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        if head[12:16] != b"IHDR" or len(head) < 24:
            return Header("png")
        return Header("png", *struct.unpack(">II", head[16:24]))
    if head.startswith(b"\xff\xd8\xff"):
        return Header("jpeg", *_jpeg_size(head))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Header("webp", *_webp_size(head))
    if head[:6] in {b"GIF87a", b"GIF89a"} and len(head) >= 10:
        return Header("gif", *struct.unpack("<HH", head[6:10]))
    return None


def _jpeg_size(head: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        # The start-of-frame markers; C4, C8 and CC are tables.
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0, 0


def _webp_size(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return (
            int.from_bytes(head[24:27], "little") + 1,
            int.from_bytes(head[27:30], "little") + 1,
        )
    if kind == b"VP8 " and len(head) >= 30:
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


def is_whole(header: Header, head: bytes, tail: bytes, size: int) -> bool:
    """Whether the file has its end; bytes appended behind the end do not matter."""
    if header.format == "png":
        return b"IEND" in tail
    if header.format == "jpeg":
        return b"\xff\xd9" in tail
    if header.format == "webp":
        return size >= int.from_bytes(head[4:8], "little") + 8
    return True
