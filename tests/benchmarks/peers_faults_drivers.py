"""One picture asked of one peer, in that peer's own environment.

    python peers_faults_drivers.py PEER BASE_URL

Each function is what the peer's own README shows, with its retries as they come. Only two things
are said besides: where the server is, and how long to wait for the answer to the submit, since the
defaults (120 s for fal-client, 60 s for replicate, 600 s for openai and LiteLLM) would only make
the run longer. Exit 0 means that the picture, or the address of it, is in hand.
"""

from __future__ import annotations

import sys
from typing import Any

PROMPT = "a red fox in fresh snow"
ANSWER_WITHIN = 2


def fal(base: str) -> Any:
    """`subscribe`: submit to the queue, poll, fetch the result."""
    from fal_client import SyncClient, client

    # FAL_QUEUE_RUN_HOST names a host only and the scheme is fixed; this is the prefix made of both.
    client.QUEUE_URL_FORMAT = f"{base}/"
    caller = SyncClient(key="key", default_timeout=ANSWER_WITHIN)
    found: Any = caller.subscribe("fal-ai/flux-pro/kontext", arguments={"prompt": PROMPT})
    return found["images"][0]["url"]


def replicate(base: str) -> Any:
    """`run`: create a prediction, wait for it."""
    from replicate.client import Client

    model = "black-forest-labs/flux-kontext-pro"
    # `wait` is also what the timeout of this one request is made of.
    caller = Client(api_token="key", base_url=base)
    return caller.run(model, input={"prompt": PROMPT}, wait=ANSWER_WITHIN)


def openai(base: str) -> Any:
    """`images.generate`, as the hosts of FLUX with an OpenAI-shaped endpoint document it."""
    from openai import OpenAI

    caller = OpenAI(api_key="key", base_url=f"{base}/v1", timeout=ANSWER_WITHIN)
    return caller.images.generate(model="flux-kontext-pro", prompt=PROMPT).data[0].b64_json


def _aimed(base: str) -> dict[str, Any]:
    return {
        "model": "openai/flux-kontext-pro",
        "api_base": f"{base}/v1",
        "api_key": "key",
        "timeout": ANSWER_WITHIN,
    }


def litellm(base: str) -> Any:
    """The function."""
    from litellm import image_generation

    return image_generation(prompt=PROMPT, **_aimed(base)).data[0].b64_json


def router(base: str) -> Any:
    """The Router with the one deployment, which has retries of its own."""
    from litellm import Router

    caller = Router(model_list=[{"model_name": "flux", "litellm_params": _aimed(base)}])
    return caller.image_generation(prompt=PROMPT, model="flux").data[0].b64_json


DRIVERS = {
    "fal-client": fal,
    "replicate": replicate,
    "openai": openai,
    "litellm": litellm,
    "litellm-router": router,
}

if __name__ == "__main__":
    sys.exit(0 if DRIVERS[sys.argv[1]](sys.argv[2]) else "no picture in the answer")
