"""A batch's file as numbered lines of bytes, one at a time; what comes through a pipe is put on disk first."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from unified_flux.errors import InvalidRequest
from unified_flux.spool import reason
from unified_flux.text import safe

# Far above any prompt, far below what would hurt.
MAX_LINE = 1_000_000
FORMATS = ("jsonl", "csv")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that can be read as often as it has to be; a context manager.

    Attributes:
        path: Where it lies.
        shown: What messages call it.
        name: What tells this batch from another: its absolute path, or the hash of what came.
        folder: What paths in it are relative to.
        format: `jsonl` or `csv`.
        given: The path that the person gave; None where it came through a pipe.
    """

    path: Path
    shown: str
    name: str
    folder: Path
    format: str
    given: Path | None = None
    spool: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self.spool is not None:
            self.spool.cleanup()

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Every line with its number; None for one that is longer than `MAX_LINE`, which is not held.

        Raises:
            InvalidRequest: When the file cannot be read any more.
        """
        try:
            with self.path.open("rb", buffering=1 << 18) as file:
                file.seek(len(_BOM) if file.read(len(_BOM)) == _BOM else 0)
                yield from enumerate(_capped(file), 1)
        except OSError as error:
            raise InvalidRequest(f"{self.shown} cannot be read: {reason(error)}") from None


def open_source(file: str | Path | IO[bytes], *, format: str | None = None) -> Source:
    """Open a batch's file.

    Args:
        file: A path, or an open binary file such as `sys.stdin.buffer`.
        format: `jsonl` or `csv`; by the suffix, or else by how it begins.

    Raises:
        InvalidRequest: When it cannot be read, is empty, or is no UTF-8 text.
    """
    if format not in {None, *FORMATS}:
        raise InvalidRequest(f'"{safe(format, 40)}" is no format of a batch; it is jsonl or csv')
    if not isinstance(file, (str, Path)):
        return _spooled(file, "standard input", format)
    path = Path(file)
    shown = safe(path)
    try:
        if path.is_dir():
            raise InvalidRequest(f"{shown} is a folder, not a batch's file")
        if path.exists() and not path.is_file():
            with path.open("rb") as pipe:
                return _spooled(pipe, shown, format)
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - its dots go, its links stay
        guessed = format or _SUFFIXES.get(path.suffix.lower())
        return Source(
            path=absolute,
            shown=shown,
            name=str(absolute),
            folder=absolute.parent,
            format=_format(absolute, shown, guessed),
            given=path,
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "does not exist" if missing else f"cannot be read: {reason(error)}"
        raise InvalidRequest(f"the batch's file {shown} {why}") from None
    except ValueError:
        raise InvalidRequest(f"{shown} is not a path") from None


def _spooled(pipe: IO[bytes], shown: str, format: str | None) -> Source:
    """What can be read only once, on disk."""
    folder = tempfile.TemporaryDirectory(prefix="unified-flux-batch-")
    try:
        path = Path(folder.name) / "lines"
        digest = hashlib.sha256()
        with path.open("wb") as kept:
            while block := pipe.read(_BLOCK):
                digest.update(block)
                kept.write(block)
        return Source(
            path=path,
            shown=shown,
            name=f"sha256 {digest.hexdigest()}",
            folder=Path.cwd(),
            format=_format(path, shown, format),
            spool=folder,
        )
    except BaseException as error:
        folder.cleanup()
        if isinstance(error, OSError):
            raise InvalidRequest(f"{shown} cannot be kept on disk: {reason(error)}") from None
        raise


def _format(path: Path, shown: str, known: str | None) -> str:
    """The format that is known, or that the file begins like."""
    with path.open("rb") as file:
        head = file.read(_BLOCK)
    if head.startswith(_UTF16):
        raise InvalidRequest(
            f"{shown} is UTF-16 text; a batch's file is UTF-8", next_step="Save it as UTF-8."
        )
    text = head.removeprefix(_BOM).lstrip()
    if not text and len(head) < _BLOCK:
        raise InvalidRequest(
            f"{shown} is empty; a batch's file has a request in each line",
            next_step='Such as: {"prompt": "a red fox"}',
        )
    return known or ("jsonl" if text.startswith((b"{", b"[")) else "csv")


def _capped(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines as they are; of one that is too long the rest is read away."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        while rest := file.readline(_BLOCK):
            if rest.endswith(b"\n"):
                break
        yield None
