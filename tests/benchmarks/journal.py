"""What the journal costs: its CPU and its fsyncs for each job, and a recovery of ten thousand.

A job here is what a flow tells the journal of one picture, from `prepare` to `saved`. Both sides run
in one process; the baseline is one keep-alive post of the same payload.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import requests
from generation import ASKED, PAYLOAD
from harness import HERE, Row, compare, cpu_of, interleave, scratch, server

from unified_flux import Charge, Client, ImageRequest, Job, Money
from unified_flux.config import Config
from unified_flux.effects import Accepted, Intent, Saved, Settled
from unified_flux.images import Header
from unified_flux.many import Asked
from unified_flux.money import Basis
from unified_flux.spool import SpooledFile
from unified_flux.wire import Phase

ROUNDS, TIMES, TOGETHER = 40, 40, 8
JOBS = 10_000
CHARGE = Charge(
    money=Money(Decimal(4), "credits:rivya"), basis=Basis.RESERVED, raw={"reserved_credits": 4}
)


def client_at(home: Path, base: str = "http://127.0.0.1:9") -> Client:
    """A client whose journal is in `home`."""
    config = Config(("rivya",)).overridden({"home": str(home)})
    return Client("rivya", api_key="rvya_sk_benchmark", base_url=base, config=config)


def keeping(client: Client) -> Callable[[], None]:
    """One job's facts, as a flow tells them; the records and the submit are made beforehand."""
    orders = client._orders
    order = orders.order(Asked(request=ImageRequest(**ASKED)))
    journal = client._jobs.needed_journal()

    def keep(record: object = None) -> None:
        drafts, translations = orders.drafts(order)
        wire = client.adapter.submit(translations[0].payload, order.card, drafts[0].key or "")
        job = Job(
            provider="rivya", id=f"task_{drafts[0].id}", model="flux-kontext-pro", charge=CHARGE
        )
        picture = SpooledFile(
            path=Path("20261121-benchmark.png"),
            size=1,
            sha256="ab" * 32,
            header=Header("png", 1, 1),
        )
        id = drafts[0].id
        journal.prepare(drafts, same_within=86_400.0)
        journal.keep(Intent(Phase.SENDING, id=id, wire=wire, repeatable=True))
        journal.keep(Accepted(Phase.ACCEPTED, job, id=id))
        journal.keep(Settled(Phase.DONE, job, id=id, urls=("https://pictures.example/1.png",)))
        journal.keep(Saved(Phase.SAVED, job, id=id, blobs=(picture,)))
        journal.release([id])

    return keep


def making(client: Client) -> Callable[[], None]:
    """The part of `keeping` that is no work of the journal."""
    orders = client._orders
    order = orders.order(Asked(request=ImageRequest(**ASKED)))

    def make() -> None:
        drafts, translations = orders.drafts(order)
        client.adapter.submit(translations[0].payload, order.card, drafts[0].key or "")

    return make


def together(act: Callable[[], None]) -> Callable[[], None]:
    """Eight at once, each in a thread of its own, so that they are ready together."""

    def run() -> None:
        threads = [threading.Thread(target=act) for _ in range(TOGETHER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def rows() -> Iterator[Row]:
    """CPU beside a post, fsyncs as strace counts them, and the recovery."""
    with server() as port, scratch() as home:
        client = client_at(home)
        session = requests.Session()

        def post() -> None:
            session.post(f"http://127.0.0.1:{port}/echo", json=PAYLOAD).json()

        keep, make = keeping(client), making(client)
        contenders = (
            cpu_of(keep, TIMES),
            cpu_of(make, TIMES),
            cpu_of(together(keep), TIMES // TOGETHER),
            cpu_of(together(make), TIMES // TOGETHER),
            cpu_of(post, TIMES),
        )
        kept, made, kept_together, made_together, posted = interleave(ROUNDS, *contenders)
        alone = [a - b for a, b in zip(kept, made, strict=True)]
        shared = [(a - b) / TOGETHER for a, b in zip(kept_together, made_together, strict=True)]
        yield compare("journal, one job after the other / a post", alone, posted, target=1.0)
        yield compare("journal, eight jobs at once / a post", shared, posted, target=1.0)
        client.close()
    yield from fsyncs()
    yield from recovery()


def fsyncs() -> Iterator[Row]:
    """Counted from outside: strace sees what SQLite asks of the system."""
    if shutil.which("strace") is None:
        print("strace is not installed: fsyncs are not counted", file=sys.stderr)
        return
    for how, target in (("one", 3), ("eight", 3)):
        few, many = (_synced(how, jobs) for jobs in (80, 880))
        each = (many - few) / 800
        yield Row(what=f"fsyncs of the journal a job, {how} at a time", ours=each, unit="", target=target, absolute=True)  # fmt: skip
    whole = _synced("one", 1) - _synced("one", 0)
    yield Row(what="fsyncs of a process that makes one picture", ours=whole, unit="")


def _synced(how: str, jobs: int) -> int:
    with scratch() as folder:
        told = folder / "told"
        command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(told)]
        command += [sys.executable, str(HERE / "journal.py"), how, str(jobs), str(folder / "home")]
        subprocess.run(command, check=True)
        lines = [line.split() for line in told.read_text().splitlines()]
        return sum(int(line[3]) for line in lines if line[-1:] in (["fsync"], ["fdatasync"]))


def recovery() -> Iterator[Row]:
    """Ten thousand accepted jobs, taken up by a fresh process."""
    with server() as port, scratch() as home:
        client = client_at(home, f"http://127.0.0.1:{port}")
        orders, journal = client._orders, client._jobs.needed_journal()
        order = orders.order(Asked(request=ImageRequest(**ASKED)))
        print(f"writing {JOBS} accepted jobs ...", file=sys.stderr)
        ids = []
        for _ in range(JOBS):
            drafts, translations = orders.drafts(order)
            journal.prepare(drafts)
            ids.append((drafts[0], translations[0]))
        for record, translation in ids:
            wire = client.adapter.submit(translation.payload, order.card, record.key or "")
            journal.keep(Intent(Phase.SENDING, id=record.id, wire=wire, repeatable=True))
            job = Job(
                provider="rivya", id="task_benchmark", model="flux-kontext-pro", charge=CHARGE
            )
            journal.keep(Accepted(Phase.ACCEPTED, job, id=record.id))
        client.close()
        command = [sys.executable, str(HERE / "journal.py"), "recover", str(port), str(home)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
    yield Row(what=f"{found['jobs']} accepted jobs: start to first poll", ours=found["first"], unit="s", target=2, absolute=True)  # fmt: skip
    yield Row(what="the same, peak memory of the process", ours=found["memory"], unit="MB", target=80, absolute=True)  # fmt: skip
    yield Row(what="the same, jobs recovered a second", ours=found["rate"], unit="")


def recover(port: int, home: Path) -> None:
    """In a fresh process: recover all, and tell when the first poll left and what it took."""
    started = time.perf_counter()
    polled: list[float] = []

    def hear(event: object) -> None:
        if getattr(event, "phase", None) is Phase.DONE and not polled:
            polled.append(time.perf_counter() - started)

    config = Config(("rivya",)).overridden({"home": str(home)})
    base = f"http://127.0.0.1:{port}"
    with Client(
        "rivya", api_key="rvya_sk_benchmark", base_url=base, config=config, on_event=hear
    ) as client:
        jobs = sum(one.result is not None for one in client.recovering())
    took = time.perf_counter() - started
    status = Path("/proc/self/status").read_text("ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1000
    print(json.dumps({"jobs": jobs, "first": polled[0], "memory": peak, "rate": jobs / took}))


def main(task: str, count: str, home: str) -> None:
    """A child of `fsyncs` or `recovery`."""
    if task == "recover":
        recover(int(count), Path(home))
        return
    client = client_at(Path(home))
    act = keeping(client)
    for _ in range(int(count) if task == "one" else int(count) // TOGETHER):
        (act if task == "one" else together(act))()
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
