"""The two faces of unified-flux that a trial uses: the library and the command line, told alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from unified_flux import Client, ImageRequest, ImageResult, UnifiedFluxError
from unified_flux.config import load

PROMPT = "a fox sandbox:ready sandbox:polls-1"
PICTURE = "fox.jpg"
LONGEST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What whoever asked is told, and the picture that they have in hand then.

    Attributes:
        charged, next_step: What an error says.
        amount: What a result says that it cost.
        notes: What it says of the picture.
    """

    exit_code: int = 0
    error: str = ""
    charged: str = ""
    next_step: str = ""
    picture: bytes = b""
    amount: Decimal | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a trial takes place.

    Attributes:
        folder: Empty at the beginning, of this trial alone; `home` and `work` are in it.
        url, key: Of the provider.
        reference: A local picture to send along.
        bundle: The certificates to trust.
    """

    provider: str
    folder: Path
    url: str
    key: str
    reference: Path | None
    bundle: Path

    @property
    def home(self) -> Path:
        """The folder of the journal and the spool."""
        return self.folder / "home"

    @property
    def work(self) -> Path:
        """The working folder."""
        return self.folder / "work"


class Face(Protocol):
    """One way to use unified-flux; each call is a process of its own, or a client of its own."""

    def generate(self, settings: Mapping[str, Any]) -> Told:
        """Ask for one picture."""

    def recover(self, settings: Mapping[str, Any]) -> list[Told]:
        """Go on with whatever is open."""

    def resume(self, settings: Mapping[str, Any], id: str, *, resubmit: bool = False) -> Told:
        """Go on with one job."""


@dataclass(frozen=True, slots=True)
class Library:
    """`Client`."""

    place: Place

    def generate(self, settings: Mapping[str, Any]) -> Told:
        references = [self.place.reference] if self.place.reference else []
        with self._client(settings) as client:
            return _told(
                lambda: client.generate(ImageRequest(prompt=PROMPT, references=references))
            )

    def recover(self, settings: Mapping[str, Any]) -> list[Told]:
        with self._client(settings) as client:
            try:
                found = client.recover()
            except UnifiedFluxError as error:
                return [_failed(error)]
            return [_brought(one.result) if one.result else _failed(one.error) for one in found]

    def resume(self, settings: Mapping[str, Any], id: str, *, resubmit: bool = False) -> Told:
        with self._client(settings) as client:
            return _told(lambda: client.resume(id, resubmit=resubmit))

    def _client(self, settings: Mapping[str, Any]) -> Client:
        place = self.place
        config = load(
            [place.provider],
            folder=place.work,
            environ={},
            user_file=place.folder / "nobody.toml",
            arguments={"home": str(place.home), **settings},
        )
        return Client(place.provider, api_key=place.key, base_url=place.url, config=config)


def _told(act: Any) -> Told:
    try:
        return _brought(act())
    except UnifiedFluxError as error:
        return _failed(error)


def _brought(result: ImageResult) -> Told:
    money = result.charge.money
    (image,) = result.images
    return Told(picture=image.bytes, amount=money.amount if money else None, notes=image.notes)


def _failed(error: UnifiedFluxError | None) -> Told:
    if error is None:
        return Told(exit_code=1, error="neither a result nor an error")
    return Told(
        exit_code=error.exit_code,
        error=f"{type(error).__name__}: {error.message}",
        charged=str(error.charged),
        next_step=error.next_step or "",
    )


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`unified-flux`, each command a process of its own."""

    place: Place

    def generate(self, settings: Mapping[str, Any]) -> Told:
        provider, reference = self.place.provider, self.place.reference
        image = ["-i", str(reference)] if reference else []
        return self._one(settings, "generate", PROMPT, "-p", provider, *image, "-o", PICTURE)

    def recover(self, settings: Mapping[str, Any]) -> list[Told]:
        code, found = self._run(settings, "recover")
        if "recovered" not in found:
            return [_refused(code, found)]
        brought = [self._brought(one["images"][0]) for one in found["recovered"]]
        return brought + [_refused(one["error"]["exit_code"], one) for one in found["failed"]]

    def resume(self, settings: Mapping[str, Any], id: str, *, resubmit: bool = False) -> Told:
        return self._one(settings, "resume", id, *(["--resubmit", "--yes"] if resubmit else []))

    def _one(self, settings: Mapping[str, Any], *arguments: str) -> Told:
        code, found = self._run(settings, *arguments)
        return _refused(code, found) if code else self._brought(found["images"][0])

    def _run(self, settings: Mapping[str, Any], *arguments: str) -> tuple[int, dict[str, Any]]:
        place = self.place
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (place.work / "unified-flux.toml").write_text("\n".join(lines))
        name = place.provider.upper()
        done = subprocess.run(
            [sys.executable, "-m", "unified_flux", *arguments, "--json", "-q"],
            cwd=place.work,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(place.folder),
                "XDG_CACHE_HOME": str(place.bundle.parent),
                "UNIFIED_FLUX_HOME": str(place.home),
                "REQUESTS_CA_BUNDLE": str(place.bundle),
                f"{name}_API_KEY": place.key,
                f"{name}_BASE_URL": place.url,
            },
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            said = done.stderr.decode(errors="replace")[-500:]
            return done.returncode or 1, {"error": {"message": f"no JSON; {said}"}}

    def _brought(self, image: Mapping[str, Any]) -> Told:
        """What lies where it was asked for, and what the sidecar beside it says as well."""
        path = self.place.work / PICTURE
        kept = json.loads(path.with_name(f"{PICTURE}.json").read_text())["charge"]["amount"]
        told = image["charge"]["amount"]
        same = kept == told and told is not None
        return Told(
            picture=path.read_bytes(),
            amount=Decimal(told) if same else None,
            notes=tuple(image["notes"]),
        )


def _refused(code: int, found: Mapping[str, Any]) -> Told:
    error = found.get("error", {})
    return Told(
        exit_code=code,
        error=f"{error.get('type')}: {error.get('message')}",
        charged=error.get("charged", ""),
        next_step=error.get("next_step") or "",
    )
