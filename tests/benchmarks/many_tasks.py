"""One run of many jobs in a fresh process: ours, the barest loop, and aiohttp.

All make the same exchanges: a submit, a poll every so many seconds until the job is done, a fetch
whose bytes are written to a file.

    python tests/benchmarks/many_tasks.py TASK BASE FOLDER NUMBER EVERY FIRST
"""

from __future__ import annotations

import asyncio
import heapq
import http.client
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness import report_costs

PATH = "/model/v1/generation"
HEADERS = {"Authorization": "Bearer benchmark", "Content-Type": "application/json"}


def body(prompt: str) -> bytes:
    """What a submit sends, as ours does."""
    params = {"prompt": prompt, "aspect_ratio": "16:9", "output_format": "png"}
    return json.dumps({"model": "flux_kontext_pro", "input": [{"params": params}]}).encode()


class Plain:
    """One thread, one kept connection, one heap: no checks, no errors, nothing kept."""

    def __init__(self, base: str, folder: Path, every: float) -> None:
        self.every, self.folder = every, folder
        self.connection = http.client.HTTPConnection(urlsplit(base).netloc)
        self.call("POST", PATH, body("at once"))
        self.call("GET", "/reset")

    def call(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """One exchange."""
        self.connection.request(method, path, data, HEADERS)
        return self.connection.getresponse().read()

    def run(self, number: int) -> None:
        """So many jobs, from the first submit to the last picture."""
        heap: list[tuple[float, str]] = []
        for one in range(number):
            found = json.loads(self.call("POST", PATH, body(f"picture {one}")))
            heapq.heappush(heap, (time.monotonic() + self.every, found["id"]))
        while heap:
            due, id = heap[0]
            time.sleep(max(due - time.monotonic(), 0.0))
            heapq.heappop(heap)
            found = json.loads(self.call("GET", f"{PATH}/task/{id}"))
            if found["status"] == "completed":
                url = found["output"][0]["content"][0]["url"]
                (self.folder / f"{id}.png").write_bytes(self.call("GET", urlsplit(url).path))
            else:
                heapq.heappush(heap, (time.monotonic() + self.every, id))


def plain(base: str, folder: Path, number: int, every: float, _: float) -> None:
    """The barest loop."""
    found: list[Plain] = []
    report_costs(lambda: found.append(Plain(base, folder, every)), lambda: found[0].run(number))


def ours(
    base: str, folder: Path, number: int, every: float, first: float, *, journal: bool = False
) -> None:
    """Through the library; the cards' advice on polling is replaced by a fixed spacing."""
    from unified_flux import Client, ImageRequest
    from unified_flux.config import Config

    settings = {"home": str(folder), "journal.enabled": journal, "timeout": 600.0}
    config = Config(("vtrix",)).overridden(settings)
    client = Client("vtrix", api_key="benchmark", base_url=base, config=config)
    for card in client.adapter.cards:
        card.facts["polling"] = {"first": [first, every], "every": [every, every]}  # type: ignore[index]

    def asked(prompt: str) -> Any:
        return ImageRequest(
            prompt=prompt, model="flux-kontext-pro", aspect_ratio="16:9", output_format="png"
        )

    def prepare() -> None:
        client.generate(asked("at once"))
        place = http.client.HTTPConnection(urlsplit(base).netloc)
        place.request("GET", "/reset")
        place.getresponse().read()

    def act() -> None:
        requests = (asked(f"picture {one}") for one in range(number))
        for made in client.generate_many(requests, concurrency=number):
            assert made.result is not None, made.error

    report_costs(prepare, act)


def kept(*arguments: Any) -> None:
    """The same with the journal."""
    ours(*arguments, journal=True)


def aio(base: str, folder: Path, number: int, every: float, _: float) -> None:
    """A coroutine for each job, with aiohttp."""
    import aiohttp

    async def one(session: aiohttp.ClientSession, prompt: str) -> None:
        async with session.post(base + PATH, data=body(prompt), headers=HEADERS) as answer:
            id = json.loads(await answer.read())["id"]
        while True:
            await asyncio.sleep(every)
            async with session.get(f"{base}{PATH}/task/{id}", headers=HEADERS) as answer:
                found = json.loads(await answer.read())
            if found["status"] == "completed":
                break
        async with session.get(found["output"][0]["content"][0]["url"]) as answer:
            (folder / f"{id}.png").write_bytes(await answer.read())

    async def all_of_them(prompts: list[str]) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(one(session, prompt) for prompt in prompts))
            if len(prompts) == 1:
                await (await session.get(f"{base}/reset")).read()

    report_costs(
        lambda: asyncio.run(all_of_them(["at once"])),
        lambda: asyncio.run(all_of_them([f"picture {one}" for one in range(number)])),
    )


TASKS: dict[str, Callable[..., None]] = {"plain": plain, "ours": ours, "kept": kept, "aio": aio}

if __name__ == "__main__":
    random.seed(1)
    _task, _base, _folder, _number, _every, _first = sys.argv[1:]
    TASKS[_task](_base, Path(_folder), int(_number), float(_every), float(_first))
