"""The tasks of bodies.py, each run in a child process: `bodies_tasks.py TASK BASE_URL FOLDER`.

A task is made for a base URL and a folder, and then called with a picture's path: first with a
small one, which is not counted and does the importing and connecting, then with the large one.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import report_costs

Task = Callable[[str, Path], Callable[[Path], object]]


def transport_to(
    provider: str, base: str, home: Path, bundle: Path | None = None
) -> tuple[Any, Any]:
    """Our transport and its adapter."""
    from unified_flux.registry import make_adapter
    from unified_flux.secret import Secret
    from unified_flux.settings import Network
    from unified_flux.spool import Spool
    from unified_flux.transports.http import HttpTransport
    from unified_flux.transports.signing import Signer

    adapter = make_adapter(provider, base)
    signer = Signer(adapter, Secret("key"))
    network = Network(ca_bundle=str(bundle) if bundle else None)
    return HttpTransport(signer, Spool(home / "spool"), network), adapter


def sends(provider: str, *, whole: bool) -> Task:
    """Ours: the exchange alone, or with opening, hashing, translating and checking before it."""

    def task(base: str, home: Path) -> Callable[[Path], object]:
        from unified_flux.contract import choose
        from unified_flux.references import open_references
        from unified_flux.report import Policy
        from unified_flux.request import ImageRequest, Reference
        from unified_flux.translation import require

        sender, adapter = transport_to(provider, base, home)
        card = choose(adapter.cards, "flux-kontext-pro")

        def wire(path: Path) -> Any:
            request = ImageRequest(prompt="as a drawing", references=(Reference(path),))
            references = open_references(request.references)
            said = require(adapter.translate(request, card, references), Policy())
            if card.references["local"] == "upload":
                return adapter.upload(references[0], card)
            return adapter.submit(said.payload, card, "key")

        made = {} if whole else {path: wire(path) for path in home.glob("*.png")}
        return lambda path: sender.send(made.get(path) or wire(path))

    return task


def hashes(base: str, home: Path) -> Callable[[Path], object]:
    """Reading and hashing a reference: once for each, however often it is sent."""
    from unified_flux.references import open_references
    from unified_flux.request import Reference

    return lambda path: open_references([Reference(path)])


def posts_json(base: str, home: Path) -> Callable[[Path], object]:
    """The plain way to send a reference inline."""
    import requests

    session = requests.Session()

    def post(path: Path) -> object:
        picture = base64.b64encode(path.read_bytes()).decode()
        body = {"model": "flux_kontext_pro", "prompt": "as a drawing", "input_image": picture}
        return session.post(f"{base}/model/v1/generation", json=body).json()

    return post


def posts_files(base: str, home: Path) -> Callable[[Path], object]:
    """The plain way to upload one."""
    import requests

    session = requests.Session()

    def post(path: Path) -> object:
        form = {"kind": "image", "model": "flux-kontext-pro"}
        with path.open("rb") as file:
            return session.post(f"{base}/api/v1/files", data=form, files={"file": file}).json()

    return post


def fetches(base: str, home: Path) -> Callable[[Path], object]:
    """Ours: a picture into the spool, hashed and sniffed on its way."""
    from unified_flux.wire import Purpose, WireRequest

    sender, _ = transport_to("rivya", base, home)

    def fetch(path: Path) -> object:
        url = f"{base}/{path.stem}"
        return sender.send(WireRequest(purpose=Purpose.FETCH, url=url, signed=False))

    return fetch


def gets_content(base: str, home: Path) -> Callable[[Path], object]:
    """The plain way to download one."""
    import requests

    session = requests.Session()
    return lambda path: (home / "got").write_bytes(session.get(f"{base}/{path.stem}").content)


TASKS: dict[str, Task] = {
    "inline": sends("vtrix", whole=False),
    "inline-whole": sends("vtrix", whole=True),
    "upload": sends("rivya", whole=False),
    "upload-whole": sends("rivya", whole=True),
    "hash": hashes,
    "json": posts_json,
    "files": posts_files,
    "fetch": fetches,
    "content": gets_content,
}

if __name__ == "__main__":
    _, name, at, kept = sys.argv
    act = TASKS[name](at, Path(kept))
    report_costs(lambda: act(Path(kept) / "small.png"), lambda: act(Path(kept) / "large.png"))
