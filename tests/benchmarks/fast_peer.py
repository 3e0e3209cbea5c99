"""A provider that costs next to nothing, in a process of its own: Vtrix's submit, poll and fetch for many jobs.

A job is done so many seconds after its submit, spread evenly about that by its number: where the end
falls between two polls is then nobody's luck. Each answer may be held back, as a distant provider's
is. `/counters` tells what was asked and how late the polls came; `/reset` begins anew.

    python tests/benchmarks/fast_peer.py SECONDS SPREAD DELAY    prints its port
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from typing import Any

from peers_server import answer, picture

SIZE = 4_000
# Jobs are spread by the golden ratio: any so many of them in a row lie evenly.
GOLDEN = 0.618033988749895
SUBMIT, POLL = b"POST /model/v1/generation ", b"GET /model/v1/generation/task/"
# A prompt for a picture that is there at once.
AT_ONCE = b"at once"


class Jobs:
    """What was submitted, when it is done, and what was asked."""

    def __init__(self, seconds: float, spread: float) -> None:
        self.seconds, self.spread = seconds, spread
        self.picture = answer(picture(SIZE, 64, 64), "image/png")
        self.base = ""
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.done: dict[bytes, float] = {}
        self.unseen: set[bytes] = set()
        self.bodies: set[bytes] = set()
        self.counts = dict.fromkeys(("submits", "again", "polls", "fetches", "most"), 0)
        self.late = self.begun = self.ended = 0.0

    def answer(self, head: bytes, body: bytes) -> bytes:
        """The whole answer to one request."""
        if head.startswith(POLL):
            return self.poll(head[len(POLL) : head.index(b" ", len(POLL))])
        if head.startswith(SUBMIT):
            return self.submit(body)
        if head.startswith(b"GET /picture"):
            self.counts["fetches"] += 1
            self.ended = time.monotonic()
            return self.picture
        found = self.told()
        if head.startswith(b"GET /reset"):
            self.reset()
        return answer(json.dumps(found).encode())

    def submit(self, body: bytes) -> bytes:
        """A new job."""
        number = len(self.done)
        id = b"job%d" % number
        share = number * GOLDEN % 1 - 0.5
        seconds = 0.0 if AT_ONCE in body else self.seconds + self.spread * share
        now = time.monotonic()
        self.begun = self.begun or now
        self.done[id] = now + seconds
        self.unseen.add(id)
        self.counts["again"] += body in self.bodies
        self.bodies.add(body)
        self.counts["submits"] += 1
        self.counts["most"] = max(self.counts["most"], len(self.unseen))
        return self.told_of(id, "in_progress")

    def poll(self, id: bytes) -> bytes:
        """How it stands."""
        self.counts["polls"] += 1
        late = time.monotonic() - self.done[id]
        if late < 0:
            return self.told_of(id, "in_progress")
        if id in self.unseen:
            self.unseen.remove(id)
            self.late += late
        content = {"type": "image", "url": f"{self.base}/picture/{id.decode()}"}
        usage = {"cost": "0.01", "discount": 1}
        return self.told_of(id, "completed", output=[{"content": [content]}], usage=usage)

    def told_of(self, id: bytes, word: str, **more: Any) -> bytes:
        """A task as Vtrix's answers have it."""
        found = {"id": id.decode(), "created_at": 1, "status": word, "model": "flux_kontext_pro"}
        return answer(json.dumps({**found, **more}).encode())

    def told(self) -> dict[str, float]:
        """The counters.

        `most` are the jobs at once that no poll had seen done, `again` the submits of what was
        submitted before, `late` is the mean of the jobs that were seen done, and `took` the seconds
        from the first submit to the last fetch.
        """
        seen = len(self.done) - len(self.unseen)
        late, took = self.late / max(seen, 1), self.ended - self.begun
        return {**self.counts, "seen": seen, "late": late, "took": took}


class Connection(asyncio.Protocol):
    """One connection: requests come one after the other."""

    def __init__(self, jobs: Jobs, delay: float) -> None:
        self.jobs, self.delay = jobs, delay
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        place = transport.get_extra_info("socket")
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, rest = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        if head.startswith(b"POST"):
            lower = head.lower()
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self.data = rest[length:]
        said = self.jobs.answer(head, rest[:length])
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, said)
        else:
            self.transport.write(said)


async def main(seconds: float, spread: float, delay: float) -> None:
    """Listen on a free port of this machine until killed."""
    jobs = Jobs(seconds, spread)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: Connection(jobs, delay), "127.0.0.1", 0, backlog=4096
    )
    port = listening.sockets[0].getsockname()[1]
    jobs.base = f"http://127.0.0.1:{port}"
    print(port, flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(float, sys.argv[1:])))
