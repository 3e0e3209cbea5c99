"""Large bodies: a reference as base64 JSON, one as a multipart upload, a picture's download.

Every measurement is a process of its own that has imported, connected and sent something small
before; CPU and peak memory are those of the one large exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Row, compare, in_child, interleave, scratch, server
from peers_server import SMALL, picture

ROUNDS = 9
MB = 1_000_000


def judge(
    what: str,
    tasks: tuple[str, str],
    size: int,
    *,
    cpu: float | None = None,
    memory: float | None = None,
) -> Iterator[Row]:
    """CPU and memory of two tasks, ours and the plain one."""
    peaks: dict[str, list[float]] = {task: [] for task in tasks}
    with server() as port, scratch() as folder:
        (folder / "small.png").write_bytes(picture(SMALL))
        (folder / "large.png").write_bytes(picture(size))

        def contender(task: str) -> Callable[[], float]:
            def measure() -> float:
                base = f"http://127.0.0.1:{port}"
                found = in_child("bodies_tasks.py", task, base, str(folder))
                peaks[task].append(found["memory"])
                _sweep(folder / "spool")
                return found["cpu"]

            return measure

        spent = interleave(ROUNDS, *(contender(task) for task in tasks))
    yield compare(f"{what}, CPU", *spent, target=cpu)
    absolute = memory is not None
    peak = (peaks[task] for task in tasks)
    yield compare(f"{what}, memory", *peak, unit="MB", target=memory, absolute=absolute)


def _sweep(folder: Path) -> None:
    for path in folder.glob("*") if folder.is_dir() else ():
        path.unlink()


def inline() -> Iterator[Row]:
    """A reference of 20 MB inside the JSON, as Vtrix takes it."""
    size = 20 * MB
    yield from judge(
        "20 MB inline to Vtrix, sent / json=", ("inline", "json"), size, cpu=0.3, memory=2
    )
    yield from judge(
        "the same with opening, hashing, checking / json=",
        ("inline-whole", "json"),
        size,
        memory=2,
    )
    yield next(judge("hashing alone, once per reference / json=", ("hash", "json"), size))


def upload() -> Iterator[Row]:
    """A reference of 10 MB through Rivya's Files API."""
    size = 10 * MB
    yield from judge(
        "10 MB upload to Rivya, sent / files=", ("upload", "files"), size, cpu=0.4, memory=1
    )
    yield from judge(
        "the same with opening, hashing, checking / files=",
        ("upload-whole", "files"),
        size,
        memory=1,
    )
    yield next(judge("hashing alone, once per reference / files=", ("hash", "files"), size))


def download() -> Iterator[Row]:
    """A picture of 20 MB, the server's own, to disk; ours hashes and sniffs it on its way."""
    yield from judge("20 MB download / .content", ("fetch", "content"), SMALL, memory=1)
