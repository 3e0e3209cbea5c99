"""Pictures out: where they are wanted, under which names, what they are, and their sidecars."""

from __future__ import annotations

import json
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_flux import images
from unified_flux.contract import Card
from unified_flux.errors import OutputError
from unified_flux.geometry import PIXELS, TOLERANCE, distance, parse_ratio, say_ratio
from unified_flux.images import EXTENSION, SUFFIXES
from unified_flux.request import ImageRequest
from unified_flux.spool import reason, write_whole
from unified_flux.text import json_text, safe

NAME_LENGTH = 80
PLACEHOLDERS = ("prompt", "provider", "model", "seed", "index", "job")
DEFAULT_TEMPLATE = "{prompt}-{job}"
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


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
                    if told_sha256(sidecar(path)) is None:
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
        told_apart = {"index"}
        if values.get("pictures", 1) == 1:
            told_apart |= {"job"} if values.get("seed") is None else {"job", "seed"}
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
            f"the folder {safe(folder)} cannot be written to: {reason(error)}"
        ) from None


def _free(path: Path) -> None:
    if os.path.lexists(path):
        raise OutputError(
            f"{safe(path)} exists already",
            next_step="--force overwrites it, or choose another -o.",
        )


def names_of(request: ImageRequest, card: Card) -> list[dict[str, Any]]:
    """What the placeholders of a file name stand for, picture by picture; its job is not known yet."""
    names: list[dict[str, Any]] = []
    for one in request.submits(card.at_once):
        shared: dict[str, Any] = {
            "prompt": one.prompt,
            "provider": card.provider,
            "model": card.model,
        }
        # The pictures of one submit are told apart by neither its seed nor its job.
        shared |= {"seed": one.seed, "pictures": one.n or 1}
        names += [{**shared, "index": len(names) + i} for i in range(1, (one.n or 1) + 1)]
    return names


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


def told_sha256(beside: Path) -> str | None:
    """The picture that a sidecar tells of; None where the file is none of ours, or not there."""
    try:
        found = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(found, dict) and "schema_version" in found and "job" in found
    return str(found.get("sha256")) if ours else None


def sidecar(picture: Path) -> Path:
    """The file beside a picture that tells about it."""
    return picture.with_name(f"{picture.name}.json")
