"""Pictures out: the spool that paid bytes reach first, names, files and their sidecars.

A provider's bytes are written untouched, so that a signature inside survives. A file appears under
its name whole or not at all, and none is overwritten unless that was asked.
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
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_flux import images
from unified_flux.errors import DownloadFailed, OutcomeUnknown, OutputError, TransportError
from unified_flux.geometry import PIXELS, TOLERANCE, distance, parse_ratio, say_ratio
from unified_flux.images import EXTENSION, SUFFIXES
from unified_flux.text import json_text, safe

NAME_LENGTH = 80
PLACEHOLDERS = ("prompt", "provider", "model", "seed", "index", "job")
DEFAULT_TEMPLATE = "{prompt}-{job}"
_SPOOLED = re.compile(r"[0-9]{8}-[0-9a-f]{16}\.(png|jpg|webp|gif|bin|part)")
# Seconds in which a picture counts as just fetched.
_FRESH = 86_400.0
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


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
                f"{safe(target)} cannot be written: {_reason(error)}",
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
        message = f"{folder} does not take the picture: {_reason(error)}"
        if folder != self._home:
            next_step = "Free space there or set UNIFIED_FLUX_HOME, then resume the job."
            return DownloadFailed(message, next_step=next_step)
        with self._lock, contextlib.suppress(OSError):
            if self.folder == self._home:
                self.folder = Path(tempfile.mkdtemp(prefix="unified-flux-"))
        return OutcomeUnknown(message)

    def purge(self, older_than: float, most: float) -> None:
        """Remove what was fetched more than `older_than` seconds ago, and the oldest beyond `most` bytes.

        What came within the last day stays whatever its size: somebody may be about to save it.
        """
        now = time.time()
        files = sorted(self._files(), reverse=True)
        held = 0
        for changed, size, path in files:
            age = now - changed
            held += size if age > _FRESH else 0
            if age > older_than or (held > most and age > _FRESH):
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


def slug(text: str, length: int = NAME_LENGTH) -> str:
    """Text as a harmless piece of a file name: letters, digits, dot, dash, underscore."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    piece = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:length].rstrip("-._")
    return f"{piece}-" if piece.lower().split(".")[0] in _RESERVED else piece


@dataclass(frozen=True, slots=True)
class Target:
    """Where `-o` wants pictures: a file, a folder, or a template with placeholders.

    Raises:
        OutputError: When the place does not exist or cannot be written to; before anything is sent.
    """

    asked: str | None
    force: bool = False

    @property
    def absolute(self) -> str:
        """What was asked, as it means the same from any folder and in any process."""
        if self.asked is None:
            return str(Path.cwd() / DEFAULT_TEMPLATE)
        path = str(Path(self.asked).expanduser().absolute())
        return f"{path}{os.sep}" if self._is_folder else path

    @property
    def wanted_format(self) -> str | None:
        """The format that the suffix asks for."""
        return SUFFIXES.get(Path(self.asked or "").suffix.lower())

    def check(
        self, names: Sequence[Mapping[str, Any]], formats: Sequence[str] = tuple(EXTENSION)
    ) -> None:
        """Refuse, before paying, a place that pictures cannot go to.

        Args:
            names: What the placeholders stand for, picture by picture, as far as it is known.
            formats: What the model may send.
        """
        if self.asked in {"", "-"}:
            raise OutputError("-o names a file, a folder/ or a template, not standard output")
        if len(self._pattern.encode()) > NAME_LENGTH * 2:
            raise OutputError(f"the name of -o is longer than {NAME_LENGTH * 2} bytes")
        folder = self._folder
        if not folder.exists():
            raise OutputError(
                f"the folder {safe(folder)} does not exist", next_step=f"mkdir -p {safe(folder)}"
            )
        if not folder.is_dir():
            raise OutputError(f"{safe(folder)} is not a folder")
        for name in self._fields - set(PLACEHOLDERS):
            known = ", ".join(PLACEHOLDERS)
            raise OutputError(f"-o knows no {{{safe(name)}}}; it knows {known}")
        _probe(folder)
        if "job" not in self._fields and not self.force:
            for index, values in enumerate(names, 1):
                for kind in formats:
                    path = self.path(values, EXTENSION[kind], index, len(names))
                    _free(path)
                    _free(sidecar(path))

    @property
    def _fields(self) -> set[str]:
        return set(re.findall(r"{(.*?)}", self._pattern))

    @property
    def _folder(self) -> Path:
        if self.asked is None:
            return Path()
        path = Path(self.asked)
        return path if self._is_folder else path.parent

    @property
    def _is_folder(self) -> bool:
        if not self.asked:
            return False
        # os.path answers no for names that no disk takes, where pathlib raises.
        return self.asked.endswith(("/", os.sep)) or os.path.isdir(self.asked)  # noqa: PTH112

    @property
    def _pattern(self) -> str:
        return DEFAULT_TEMPLATE if self.asked is None or self._is_folder else Path(self.asked).name

    @staticmethod
    def _numbered(path: Path, index: int, count: int) -> Path:
        return path if count == 1 else path.with_name(f"{path.stem}-{index}{path.suffix}")

    def path(self, values: Mapping[str, Any], extension: str, index: int, count: int) -> Path:
        """The file for one picture; its suffix is the true one, whatever was asked."""
        pattern = self._pattern
        named = re.sub(r"{(.*?)}", lambda m: slug(str(values.get(m[1]) or "")), pattern)
        name = Path(named if "{" in pattern else pattern)
        if SUFFIXES.get(name.suffix.lower()) != SUFFIXES.get(extension):
            kept = name.stem if name.suffix.lower() in SUFFIXES else name.name
            name = Path(f"{kept}{extension}")
        stem = name.stem.lstrip("-._") if "{" in pattern else name.stem
        name = Path(f"{stem[: NAME_LENGTH * 2] or 'picture'}{name.suffix}")
        told_apart = {"index", "job"} if values.get("seed") is None else {"index", "job", "seed"}
        several = count > 1 and not told_apart & self._fields
        return self._folder / (self._numbered(name, index, count) if several else name)


def _probe(folder: Path) -> None:
    """Only writing tells whether a folder can be written to."""
    probe = folder / f".unified-flux-{secrets.token_hex(4)}.part"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"the folder {safe(folder)} cannot be written to: {_reason(error)}"
        ) from None


def _free(path: Path) -> None:
    if os.path.lexists(path):
        raise OutputError(
            f"{safe(path)} exists already",
            next_step="--force overwrites it, or choose another -o.",
        )


def differences(
    expected: Mapping[str, Any], header: images.Header, *, whole: bool = True
) -> Iterator[str]:
    """What a picture is that its payload did not ask for.

    Providers round sizes, so ratios within 5 % pass; a resolution passes up to half and double.
    """
    if not whole:
        yield "the provider's picture is cut off"
    wanted = expected.get("output_format")
    if wanted and wanted != header.format:
        yield f"asked for {wanted}, got {header.format}"
    if not header.height:
        return
    got = f"{header.width} x {header.height}"
    width, height = expected.get("width"), expected.get("height")
    if width and height:
        if (width, height) != (header.width, header.height):
            yield f"asked for {width} x {height}, got {got}"
        return
    shape = parse_ratio(str(expected.get("aspect_ratio")))
    if shape and distance(shape, header.width / header.height) > TOLERANCE:
        yield f"asked for the ratio {say_ratio(shape)}, got {got}"
    pixels = PIXELS.get(str(expected.get("resolution")))
    if pixels and not pixels / 2 <= header.width * header.height <= pixels * 2:
        yield f"asked for {expected['resolution']}, got {got}"


def write_sidecar(picture: Path, facts: Mapping[str, Any], *, force: bool = False) -> Path:
    """Write `<picture>.json` beside a picture."""
    target = sidecar(picture)
    write_whole(target, [json_text(facts).encode(), b"\n"], force=force)
    return target


def sidecar(picture: Path) -> Path:
    """The file beside a picture that tells about it."""
    return picture.with_name(f"{picture.name}.json")


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if isinstance(error, FileExistsError):
        return "it exists already (--force, or force=True, overwrites it)"
    if isinstance(error, FileNotFoundError):
        return "its folder does not exist"
    return (error.strerror or type(error).__name__).lower()
