"""Pictures in: each reference is opened, sniffed, sized and hashed once, before a flow starts.

Its bytes are never all in memory here, and never twice: a path, a file object, bytes or a data URI
becomes a `Source` that a transport reads in blocks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from unified_flux import images
from unified_flux.addresses import objection
from unified_flux.errors import InvalidRequest, Problem
from unified_flux.request import ImageRequest, Reference
from unified_flux.text import ending, safe
from unified_flux.wire import BLOCK, OpenedReference, Source

# Above what any FLUX model takes; a header that claims more is a decompression bomb.
MAX_PIXELS = 100_000_000
# Above every provider's own limit, which its card tells in better words.
MAX_BYTES = 256 * 1024 * 1024


def open_references(references: Sequence[Reference]) -> tuple[OpenedReference, ...]:
    """Open every reference of a request.

    Raises:
        InvalidRequest: Listing every one that cannot be used, and why.
    """
    opened: list[OpenedReference] = []
    problems: list[Problem] = []
    for number, reference in enumerate(references, 1):
        try:
            opened.append(open_reference(reference))
        except _Unusable as error:
            shown = _shown(reference.origin, number)
            problems.append(Problem(field="references", message=f"{shown} {error}"))
    if problems:
        raise InvalidRequest(
            "a reference image cannot be used; nothing was sent", problems=problems
        )
    return tuple(opened)


def _shown(origin: object, number: int) -> str:
    if not isinstance(origin, (str, Path)):
        return f"reference {number}"
    return safe(origin, 80) if ":" in str(origin)[:12] else ending(origin)


def opened(request: ImageRequest) -> ImageRequest:
    """The request with its references opened: so several providers can be asked, a pipe's reader too.

    Raises:
        InvalidRequest: Listing every one that cannot be used, and why.
    """
    if not request.references:
        return request
    kept = tuple(Reference(one) for one in open_references(request.references))
    return replace(request, references=kept)


class _Unusable(Exception):
    """Why a reference cannot be used; `open_references` makes one error of all."""


def open_reference(reference: Reference) -> OpenedReference:
    """Open one reference."""
    origin = reference.origin
    if isinstance(origin, OpenedReference):
        return origin
    if isinstance(origin, str) and origin[:5].lower() == "data:":
        return _examine(_DataUri(origin), reference.name)
    if isinstance(origin, str) and "://" in origin[:12]:
        reason = objection(origin)
        if reason:
            raise _Unusable(f"is a URL that a provider should not be given: {reason}")
        return OpenedReference(url=origin, name=reference.name)
    if isinstance(origin, (bytes, bytearray, memoryview)):
        return _examine(_Bytes(memoryview(origin).cast("B")), reference.name)
    if hasattr(origin, "read"):
        name = reference.name or Path(str(getattr(origin, "name", ""))).name or None
        return _examine(_FileObject(origin), name)  # type: ignore[arg-type]
    if isinstance(origin, str) or hasattr(origin, "__fspath__"):
        path = Path(origin)
        found = _examine(_File(path), reference.name or path.name)
        return replace(found, path=str(path.absolute()))
    raise _Unusable(
        f"is a {type(origin).__name__}, not a URL, path, data URI, bytes or binary file"
    )


def _examine(source: Source, name: str | None) -> OpenedReference:
    """Sniff, size and hash in one pass over the blocks."""
    if source.size > MAX_BYTES:
        raise _Unusable(f"has {source.size / 1e6:.0f} MB, more than any provider takes")
    digest = hashlib.sha256()
    head = tail = b""
    for block in source.blocks():
        digest.update(block)
        head = head or bytes(block[: images.HEAD])
        tail = (tail + bytes(block[-images.TAIL :]))[-images.TAIL :]
    header = images.sniff(head)
    if header is None:
        raise _Unusable("is not a PNG, JPEG, WebP or GIF picture, whatever it is called")
    if header.width * header.height > MAX_PIXELS:
        size = f"{header.width} x {header.height}"
        raise _Unusable(f"claims {size} pixels, more than {MAX_PIXELS // 10**6} megapixels")
    if not images.is_whole(header, head, tail, source.size):
        raise _Unusable(f"is a {header.format.upper()} picture that is cut off")
    return OpenedReference(
        name=name or f"reference{images.EXTENSION[header.format]}",
        mime=images.MIME[header.format],
        source=source,
        size=source.size,
        sha256=digest.hexdigest(),
        width=header.width,
        height=header.height,
    )


class _Bytes:
    """Bytes that the caller holds; handed on in views, never copied."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.size = len(view)

    def blocks(self) -> Iterator[memoryview]:
        for start in range(0, self.size, BLOCK):
            yield self._view[start : start + BLOCK]


class _DataUri:
    """A data URI's text; decoded a block at a time, whenever it is read."""

    def __init__(self, uri: str) -> None:
        head, comma, _ = uri[:256].partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise _Unusable("is a data URI without base64, or without a picture")
        self._uri, self._start = uri, len(head) + 1
        padding = len(uri) - len(uri.rstrip("="))
        self.size = (len(uri) - self._start) * 3 // 4 - padding

    def blocks(self) -> Iterator[bytes]:
        step = BLOCK // 3 * 4
        for start in range(self._start, len(self._uri), step):
            try:
                yield base64.b64decode(self._uri[start : start + step], validate=True)
            except (binascii.Error, ValueError):
                raise _Unusable("is a data URI whose base64 is broken") from None


class _File:
    """A file on disk, opened anew for each sending and refused if it has changed since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            found = path.stat()
        except (OSError, ValueError) as error:
            raise _Unusable(_reason(error)) from None
        if stat.S_ISDIR(found.st_mode):
            raise _Unusable("is a folder, not a picture")
        if not stat.S_ISREG(found.st_mode):
            raise _Unusable("is not a regular file")
        self.size = found.st_size
        self._changed = found.st_mtime_ns

    def blocks(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if (found.st_size, found.st_mtime_ns) != (self.size, self._changed):
                    raise InvalidRequest(f"{self._path} has changed since it was checked")
                yield from iter(lambda: file.read(BLOCK), b"")
        except OSError as error:
            raise InvalidRequest(f"{ending(self._path)} {_reason(error)}") from None


class _FileObject:
    """A caller's binary file: read from where it stands, by one reader at a time.

    What cannot seek (a pipe, standard input) is put into a temporary file first.
    """

    def __init__(self, file: IO[bytes]) -> None:
        if isinstance(file.read(0), str):
            raise _Unusable("is a text file object; open it with mode 'rb'")
        self._own = None if file.seekable() else _spooled(file)
        self._file = self._own or file
        self._start = self._file.tell()
        self.size = self._file.seek(0, os.SEEK_END) - self._start
        self._file.seek(self._start)
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if getattr(self, "_own", None) is not None:
            self._file.close()

    def blocks(self) -> Iterator[bytes]:
        at = self._start
        while True:
            with self._lock:
                self._file.seek(at)
                block = self._file.read(BLOCK)
            if not block:
                break
            at += len(block)
            yield block


def _spooled(file: IO[bytes]) -> IO[bytes]:
    kept: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the reference
    size = 0
    while block := file.read(BLOCK):
        size += len(block)
        if size > MAX_BYTES:
            raise _Unusable(f"has more than {MAX_BYTES // 1024**2} MB")
        kept.write(block)
    kept.seek(0)
    return kept


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "may not be read"
    return f"cannot be read ({error.strerror if isinstance(error, OSError) else 'not a path'})"
