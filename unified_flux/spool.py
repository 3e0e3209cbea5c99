"""The spool that paid bytes reach first, and files that appear whole or not at all.

A provider's bytes are written untouched, so that a signature inside survives.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unified_flux import images
from unified_flux.errors import DownloadFailed, OutcomeUnknown, OutputError, TransportError
from unified_flux.images import EXTENSION
from unified_flux.text import safe

_SPOOLED = re.compile(r"[0-9]{8}-[0-9a-f]{16}\.(png|jpg|webp|gif|bin|part)")
# Seconds in which a picture counts as just fetched.
_FRESH = 86_400.0
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledFile:
    """A fetched picture in the spool; `whole` is False where a known format lacks its end."""

    path: Path
    size: int
    sha256: str
    header: images.Header | None
    whole: bool = True

    @classmethod
    def found(cls, path: Path, sha256: str) -> SpooledFile | None:
        """The picture with that hash at `path`, None where it is not there or not the same."""
        try:
            with path.open("rb") as file:
                facts = _Facts()
                while block := file.read(1 << 20):
                    facts.add(block)
        except OSError:
            return None
        return facts.of(path) if facts.digest.hexdigest() == sha256 else None

    def read(self) -> bytes:
        """All bytes."""
        return self.path.read_bytes()

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Copy the bytes to `path`, see `unified_flux.result.Image.save`."""
        target = Path(path)
        try:
            with self.path.open("rb") as source:
                write_whole(target, iter(lambda: source.read(1 << 20), b""), force=force)
        except OSError as error:
            raise OutputError(
                f"{safe(target)} cannot be written: {reason(error)}",
                next_step=f"The picture is kept at {self.path}",
            ) from None
        return target


class _Facts:
    """What is learned of a picture while its bytes pass by."""

    def __init__(self) -> None:
        self.digest, self.size, self.head, self.tail = hashlib.sha256(), 0, b"", b""

    def add(self, block: bytes) -> None:
        """The next bytes."""
        self.digest.update(block)
        self.size += len(block)
        if len(self.head) < images.HEAD:
            self.head += block[: images.HEAD]
        self.tail = (self.tail + block[-images.TAIL :])[-images.TAIL :]

    def of(self, path: Path) -> SpooledFile:
        """The facts of the picture that lies at `path`."""
        header = images.sniff(self.head)
        return SpooledFile(
            path=path,
            size=self.size,
            sha256=self.digest.hexdigest(),
            header=header,
            whole=header is None or images.is_whole(header, self.head, self.tail, self.size),
        )


class Spool:
    """The folder where fetched bytes go first, so that nothing paid for hangs on where it is saved.

    When its disk does not take a picture, the next fetch goes to a temporary folder instead.

    Args:
        durable: Whether a picture must survive a power cut, as the journal says that it does.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable
        self._home = folder
        self._lock = threading.Lock()

    def take(self, blocks: Iterable[bytes]) -> SpooledFile:
        """Write the bytes of a download to disk.

        Raises:
            OutcomeUnknown: When the disk does not take them; fetching again tries the spare folder.
            DownloadFailed: When that one does not take them either.
        """
        folder = self.folder
        path = folder / f"{time.strftime('%Y%m%d')}-{secrets.token_hex(8)}.part"
        facts = _Facts()
        try:
            for place in (folder.parent, folder):
                place.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
                for block in blocks:
                    file.write(block)
                    facts.add(block)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            header = images.sniff(facts.head)
            kept = path.with_suffix(EXTENSION[header.format] if header else ".bin")
            path.rename(kept)
            if self._durable:
                _sync(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise self._full(folder, error) from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return facts.of(kept)

    def _full(self, folder: Path, error: OSError) -> TransportError:
        """The fault of one picture: worth another fetch where it was the home that was full."""
        message = f"{folder} does not take the picture: {reason(error)}"
        if folder != self._home:
            next_step = "Free space there or set UNIFIED_FLUX_HOME, then resume the job."
            return DownloadFailed(message, next_step=next_step)
        with self._lock, contextlib.suppress(OSError):
            if self.folder == self._home:
                self.folder = Path(tempfile.mkdtemp(prefix="unified-flux-"))
        return OutcomeUnknown(message)

    def purge(self, older_than: float, most: float, spared: Container[str] = ()) -> None:
        """Remove what was fetched more than `older_than` seconds ago, and the oldest beyond `most` bytes.

        What came within the last day stays whatever its size: somebody may be about to save it. So
        do the paths that are `spared`.
        """
        now = time.time()
        files = sorted(self._files(), reverse=True)
        held = 0
        for changed, size, path in files:
            age = now - changed
            held += size if age > _FRESH else 0
            too_much = age > older_than or (held > most and age > _FRESH)
            if too_much and str(path) not in spared:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each picture came, its size and its place; by the names that are ours."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            return
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):
                if _SPOOLED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    found = entry.stat()
                    yield found.st_mtime, found.st_size, Path(entry.path)


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system has a way to say so."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(target: Path, blocks: Iterable[bytes], *, force: bool = False) -> None:
    """Write a file so that it appears whole or not at all.

    Raises:
        FileExistsError: When it exists and `force` is off.
        OSError: When the disk does not take it; nothing is left behind.
    """
    partial = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        if force:
            partial.replace(target)
        else:
            _place(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _place(partial: Path, target: Path) -> None:
    """Give a file its name unless the name is taken; a link does both in one step."""
    try:
        target.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        partial.rename(target)


def reason(error: OSError) -> str:
    """Why the system did not write, in a few words."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if isinstance(error, FileExistsError):
        return "it exists already (--force, or force=True, overwrites it)"
    if isinstance(error, FileNotFoundError):
        return "its folder does not exist"
    return (error.strerror or type(error).__name__).lower()
