"""A new TLS connection: every answer closes it, so that each exchange shakes hands anew.

Both sides trust the certificates that requests ships and the benchmark's own authority, in one
file: what it costs to read that file again for each connection is what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import requests
import trustme
from bodies_tasks import transport_to
from harness import Row, compare, cpu_of, interleave, scratch, server

from unified_flux.wire import Purpose, WireRequest

ROUNDS, TIMES = 15, 10


def certificates(folder: Path) -> tuple[Path, Path]:
    """A server's certificate, and a bundle that trusts it beside all that requests trusts."""
    authority = trustme.CA()
    own, bundle = folder / "server.pem", folder / "bundle.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(own)
    shipped = Path(requests.certs.where()).read_bytes()
    bundle.write_bytes(shipped + b"\n" + authority.cert_pem.bytes())
    return own, bundle


def rows() -> Iterator[Row]:
    """A handshake and one small exchange on each side."""
    with scratch() as folder:
        own, bundle = certificates(folder)
        with server(str(own)) as port:
            url = f"https://localhost:{port}/close"
            session = requests.Session()
            session.verify = str(bundle)
            sender, _ = transport_to("rivya", url.removesuffix("/close"), folder, bundle)
            wire = WireRequest(purpose=Purpose.ASK, url=url)
            found = interleave(
                ROUNDS,
                cpu_of(lambda: sender.send(wire), TIMES),
                cpu_of(lambda: session.get(url).json(), TIMES),
            )
        yield compare("a new TLS connection / requests.Session", *found)
