"""A WireRequest's body as bytes on the wire: streamed, of known length, and repeatable.

A 20 MB reference goes out as base64 in blocks: neither its bytes nor its text ever stand whole in
memory, and since the length is known no chunked encoding is needed, which some gateways refuse.
"""

from __future__ import annotations

import secrets
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unified_flux.errors import InvalidRequest
from unified_flux.wire import (
    OpenedReference,
    Part,
    Placeholder,
    WireRequest,
    compact,
    replace_placeholders,
)


@dataclass(frozen=True, slots=True)
class Body:
    """A body as pieces: ready bytes, or a length with the blocks that make it."""

    pieces: Sequence[bytes | tuple[int, Callable[[], Iterator[bytes | memoryview]]]]

    def __len__(self) -> int:
        return sum(len(piece) if isinstance(piece, bytes) else piece[0] for piece in self.pieces)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from _exactly(*piece)


def _exactly(
    size: int, blocks: Callable[[], Iterator[bytes | memoryview]]
) -> Iterator[bytes | memoryview]:
    sent = 0
    for block in blocks():
        sent += len(block)
        if sent > size:
            break
        yield block
    if sent != size:
        raise InvalidRequest("a reference changed while it was being sent; the request was cut off")


def encode(request: WireRequest) -> tuple[str | None, bytes | Body | None]:
    """Content type and body of a request."""
    if request.parts:
        boundary = secrets.token_hex(16)
        return f"multipart/form-data; boundary={boundary}", _multipart(request.parts, boundary)
    if request.json is not None:
        return "application/json", encode_json(request.json)
    return None, request.body or None


def encode_json(payload: Any) -> bytes | Body:
    """JSON with the base64 of each placeholder's reference in its place."""
    marker = f"<{secrets.token_hex(12)}>"
    found: list[OpenedReference] = []

    def mark(placeholder: Placeholder) -> str:
        found.append(placeholder.reference)
        return placeholder.before + marker

    marked = replace_placeholders(payload, mark)
    text = compact(marked)
    if not found:
        return text.encode()
    first, *rest = text.split(marker)
    pieces: list[Any] = [first.encode()]
    for reference, after in zip(found, rest, strict=True):
        pieces += [_base64(reference), after.encode()]
    return Body(pieces)


def _blocks(reference: OpenedReference) -> Iterator[bytes | memoryview]:
    if reference.source is None:
        raise InvalidRequest(f"the reference {reference.name} has no bytes to send")
    return reference.source.blocks()


def _base64(reference: OpenedReference) -> tuple[int, Callable[[], Iterator[bytes]]]:
    def blocks() -> Iterator[bytes]:
        # Every block but the last is a multiple of three bytes long (`wire.BLOCK`): no padding inside.
        for block in _blocks(reference):
            yield b2a_base64(block, newline=False)

    return -(-reference.size // 3) * 4, blocks


def _multipart(parts: Sequence[Part], boundary: str) -> Body:
    pieces: list[Any] = []
    for part in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"'
        if isinstance(part.value, str):
            pieces.append(f"{head}\r\n\r\n{part.value}\r\n".encode())
            continue
        reference = part.value
        name = (reference.name or "reference").translate(_QUOTED)
        head += f'; filename="{name}"\r\nContent-Type: {reference.mime}\r\n\r\n'
        pieces += [head.encode(), _raw(reference), b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return Body(pieces)


_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def _raw(reference: OpenedReference) -> tuple[int, Callable[[], Iterator[bytes | memoryview]]]:
    return reference.size, lambda: _blocks(reference)
