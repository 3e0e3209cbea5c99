"""Translate, report and check a request, beside one keep-alive POST of the same JSON."""

from __future__ import annotations

from collections.abc import Iterator

import requests
from harness import Row, compare, cpu_of, interleave, server

from unified_flux import Client, ImageRequest

ROUNDS, TIMES = 25, 200
ASKED = {
    "prompt": "a fox in the snow at dawn, seen from far away, the light low and warm",
    "model": "flux-kontext-pro",
    "aspect_ratio": "16:9",
    "output_format": "png",
    "prompt_upsampling": False,
    "safety_tolerance": 2,
}


def rows() -> Iterator[Row]:
    """The request's own construction and checks are part of ours."""
    with server() as port:
        for provider in ("rivya", "vtrix"):
            client = Client(provider, api_key="key")
            payload = client.translate(ImageRequest(**ASKED)).payload
            session = requests.Session()

            def post(session: requests.Session = session, payload: object = payload) -> None:
                session.post(f"http://127.0.0.1:{port}/echo", json=payload).json()

            ours, baseline = interleave(
                ROUNDS,
                cpu_of(lambda client=client: client.translate(ImageRequest(**ASKED)), TIMES),
                cpu_of(post, TIMES // 2),
            )
            what = f"translate, report, check for {provider} / one requests post"
            yield compare(what, ours, baseline, target=0.4)
