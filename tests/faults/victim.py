"""A child process that something happens to: killed, interrupted or out of disk at a named point.

    victim.py cli FOLDER POINT=ACTION... -- ARGUMENTS     the command line, watched
    victim.py fifty FOLDER SEED                           fifty pictures, eight at a time

Points have the names of what goes on there (`before sending`, `after commit`, `before link in out`)
and the number of times that they were met; all that are met are listed in FOLDER/points. An action is
`VERB` or `VERB:PLACE`, several stand with commas.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILLER = "filler"
JOBS = 50
THREADS = 8
# Most answers come late, so that many processes die while a paid submit is on its way.
WORDS = ("sandbox:slow-answer-0.2", "sandbox:slow-answer-0.05", "sandbox:polls-2", "sandbox:ready", "")  # fmt: skip
_CHANGES = {"open": 0, "os.rename": 1, "os.link": 1, "os.remove": 0}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def prompt_of(number: int, seed: int) -> str:
    """What the fifty-job run asks for as its n-th picture; no other job says the same."""
    word = random.Random(f"{seed} {number}").choice(WORDS)
    return f"picture {number} of run {seed} {word}".strip()


class Points:
    """Every point that this process comes to, and what happens at some."""

    def __init__(self, folder: Path, actions: dict[str, str]) -> None:
        self.folder = folder
        self._actions = actions
        self._met: Counter[str] = Counter()
        self._busy = False

    def at(self, name: str) -> None:
        """The process is here."""
        if self._busy:
            return
        self._met[name] += 1
        point = f"{name} {self._met[name]}"
        self._busy = True
        try:
            # What happens may be that no file can be written.
            with contextlib.suppress(OSError), (self.folder / "points").open("a") as file:
                file.write(f"{point}\n")
        finally:
            self._busy = False
        if point in self._actions:
            self._act(self._actions[point])

    def around(self, name: Callable[..., str | None], real: Callable[..., Any]) -> Any:
        """`real` with a point before it and one after it."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            said = name(*args, **kwargs)
            if said is None:
                return real(*args, **kwargs)
            self.at(f"before {said}")
            try:
                return real(*args, **kwargs)
            finally:
                self.at(f"after {said}")

        return watched

    def _act(self, actions: str) -> None:
        for action in actions.split(","):
            verb, _, place = action.partition(":")
            self._busy = True
            try:
                if verb in _DISK:
                    _DISK[verb](Path(place))
            finally:
                self._busy = False
            if verb in _SIGNALS:
                os.kill(os.getpid(), _SIGNALS[verb])


def fill(folder: Path, leave: int = 0) -> None:
    """Write until the disk takes no byte more, or few."""
    if not folder.is_mount():
        raise SystemExit("only a small disk is to be filled")
    # Whoever looks for a folder for temporary files shall not find one on another disk.
    tempfile.gettempdir()
    with (folder / FILLER).open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
        file.truncate(max(file.tell() - leave, 0))


def free(folder: Path) -> None:
    """Take back what `fill` wrote."""
    (folder / FILLER).unlink()


def limit(_: Path) -> None:
    """No file can grow: what a full disk is, where none can be had."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def unlimit(_: Path) -> None:
    """Files can grow again."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


_LOCKER = """
import sqlite3, sys
journal = sqlite3.connect(sys.argv[1], isolation_level=None)
journal.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def lock(journal: Path) -> None:
    """Another program begins to write the journal, and goes on until this process is gone."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LOCKER, str(journal)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if process.stdout is None or process.stdout.readline() != b"locked\n":
        raise SystemExit("the journal could not be locked")
    _lockers.append(process)


_lockers: list[subprocess.Popen[bytes]] = []
# The rest of a disk in which a picture's beginning has room.
_HALF = 8192
_SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}
_DISK: dict[str, Callable[[Path], None]] = {
    "fill": fill,
    "fill-most": lambda place: fill(place, _HALF),
    "free": free,
    "limit": limit,
    "unlimit": unlimit,
    "lock": lock,
}


def watch(points: Points) -> None:
    """Put points around each journal call, transaction, exchange and change of a file."""
    from unified_flux.journal import Journal
    from unified_flux.transports.http import HttpTransport

    Journal.prepare = points.around(lambda *_, **__: "prepared", Journal.prepare)
    Journal.keep = points.around(lambda _, fact, **__: str(fact.phase), Journal.keep)
    Journal.delivered = points.around(lambda *_, **__: "delivered", Journal.delivered)
    HttpTransport.send = points.around(
        lambda _, request, *__, **___: str(request.purpose), HttpTransport.send
    )

    class Connection(sqlite3.Connection):
        execute = points.around(
            lambda _, query, *__: "commit" if query == "COMMIT" else None,
            sqlite3.Connection.execute,
        )

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs, factory=Connection)
    sys.addaudithook(_files(points))


def _files(points: Points) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that meets a point before each change of a file in the victim's folder."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in _CHANGES or not isinstance(args[_CHANGES[event]], (str, os.PathLike)):
            return
        path = os.fspath(args[_CHANGES[event]])
        if event == "open" and not args[2] & _WRITING:
            return
        place = Path.cwd() / path
        if place.is_relative_to(points.folder) and place.parent != points.folder:
            kind = place.suffix if place.parent.name != "owners" else ""
            points.at(f"before {event.removeprefix('os.')} in {place.parent.name} {kind}".strip())

    return hook


def fifty(folder: Path, seed: int) -> None:
    """Make fifty pictures, all providers by turns, each to a file of its own."""
    from unified_flux import Client, ImageRequest
    from unified_flux.registry import names

    providers = names()

    def make(number: int) -> None:
        provider = providers[number % len(providers)]
        target = folder / "out" / f"{seed}-{number}.png"
        request = ImageRequest(prompt=prompt_of(number, seed), output_format="png")
        result = clients[provider].generate(request, destination=target)
        result.images[0].save(target)

    clients = {name: Client.from_config(name) for name in providers}
    print("begun", flush=True)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(make, range(JOBS)))
    for client in clients.values():
        client.close()


def main(mode: str, folder: str, *rest: str) -> None:
    """What the process was started for."""
    # Whoever started the proof in the background has interrupts ignored, and its children too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if mode == "fifty":
        fifty(Path(folder), int(rest[0]))
        return
    split = rest.index("--")
    actions = dict(one.split("=") for one in rest[:split])
    points = Points(Path(folder), actions)
    points.at("start")
    watch(points)
    from unified_flux.cli import main as command_line

    sys.argv[1:] = rest[split + 1 :]
    command_line()


if __name__ == "__main__":
    main(*sys.argv[1:])
