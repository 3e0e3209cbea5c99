"""One picture through `client.generate`, beside the plainest code that makes the same exchanges.

Submit, one poll, fetch of 100 KB. Ours also translates, reports, checks request and answers, hashes
the picture and writes it whole or not at all; the plain code does none of that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from harness import Row, compare, cpu_of, crowded, interleave, scratch, server

from unified_flux import Client, ImageRequest
from unified_flux.config import Config

ROUNDS, TIMES = 40, 25
ASKED = {
    "prompt": "a fox in the snow",
    "model": "flux-kontext-pro",
    "aspect_ratio": "16:9",
    "output_format": "png",
}
PAYLOAD = {
    "model": "flux-kontext-pro",
    "prompt": "a fox in the snow",
    "params": {"aspectRatio": "16:9", "outputFormat": "png"},
}


def plain(base: str, folder: Path) -> Callable[[], None]:
    """What a careful reader of Rivya's documentation writes in ten lines."""
    session = requests.Session()
    session.headers["Authorization"] = "Bearer rvya_sk_benchmark"

    def generate() -> None:
        key = str(uuid.uuid4())
        url = f"{base}/api/v1/generations"
        job = session.post(url, json=PAYLOAD, headers={"Idempotency-Key": key}).json()
        while job["status"] in {"queued", "processing"}:
            job = session.get(f"{url}/{job['id']}").json()
        picture = session.get(job["result"]["primary_url"]).content
        (folder / f"{key}.png").write_bytes(picture)

    return generate


def ours(base: str, folder: Path, *, journal: bool) -> Callable[[], None]:
    """The same through the library."""
    settings = {"home": str(folder), "journal.enabled": journal}
    config = Config(("rivya",)).overridden(settings)
    client = Client("rivya", api_key="rvya_sk_benchmark", base_url=base, config=config)

    def generate() -> None:
        assert client.generate(ImageRequest(**ASKED)).images[0].width == 1024

    return generate


def swept(folder: Path, measure: Callable[[], float]) -> Callable[[], float]:
    """The same contender, its pictures removed after each round: a fuller folder is a slower one."""

    def measure_and_sweep() -> float:
        found = measure()
        for picture in folder.iterdir():
            picture.unlink()
        return found

    return measure_and_sweep


def rows() -> Iterator[Row]:
    """Without the journal, which is judged, and with it.

    requests reads the environment on every call, we do not; so the bare environment of the harness
    is the hardest one for us and is judged, a usual one is stated beside it.
    """
    with server() as port, scratch() as folder:
        base = f"http://127.0.0.1:{port}"
        for name in ("off/spool", "on/spool", "plain"):
            (folder / name).mkdir(parents=True)
        off, on = folder / "off", folder / "on"
        contenders = (
            swept(off / "spool", cpu_of(ours(base, off, journal=False), TIMES)),
            swept(folder / "plain", cpu_of(plain(base, folder / "plain"), TIMES)),
        )
        kept = swept(on / "spool", cpu_of(ours(base, on, journal=True), TIMES))
        found = interleave(ROUNDS, *contenders)
        yield compare("generate, journal off / plain requests code", *found, target=1.0)
        with_journal, beside = interleave(ROUNDS, kept, contenders[1])
        yield compare("generate, journal on / the same code", with_journal, beside)
        with crowded(40):
            found = interleave(ROUNDS, *contenders)
        yield compare("the same with 40 variables in the environment", *found)
