"""The troubles that a disk can have under a job: one for each write, and what must come of it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from faults.verdicts import REFERENCE, Stage

# Folders of the stage that are disks of their own, each of a megabyte.
DISKS = {"home": "home", "spool": "home/spool", "out": "out", "spare": "spare"}
FULL = "the disk is full"
# What a command comes to: exit 1 and nothing paid; exit 0 and the picture in its place; exit 9 and a
# way to it; for a `recover`: nothing new paid, and the picture in its place or any exit code but 0.
REFUSED, DELIVERED, KEPT, TOLD = "refused", "delivered", "kept", "told"
Around = Callable[[Stage], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trouble with the disk.

    Attributes:
        write: What cannot be written or read, in words.
        end: What the command must come to.
        says: What its standard error must say; `{home}` and the like are the disks' folders.
        at: Point of the command → what happens there.
        around: The trouble, where it is there before the command begins and until it has ended.
        earlier: Point at which an earlier `generate` was killed, whose job must come through.
        recovers: Whether the command is a `recover` of that earlier job.
        sidecar: Whether there must be one.
        small: Whether it wants small disks.
    """

    write: str
    end: str
    says: tuple[str, ...] = ()
    at: dict[str, str] = field(default_factory=dict)
    around: Around = nullcontext
    earlier: str | None = None
    recovers: bool = False
    more: tuple[str, ...] = ()
    sidecar: bool = True
    small: bool = False
    provider: str = "rivya"


def _full(*names: str, most: bool = False) -> str:
    return ",".join(f"{'fill-most' if most else 'fill'}:{{{name}}}" for name in names)


def _full_before_paying() -> Iterator[Trial]:
    says = ("the journal {home}/journal.db", FULL)
    trial = partial(Trial, end=REFUSED, says=says)
    for point, write in (
        ("start 1", "journal: its file, before it is there"),
        ("before commit 1", "journal: its tables"),
        ("before sending 1", "journal: the job, before it is paid"),
        ("before commit 2", "journal: the same, at its commit"),
    ):
        yield trial(write=write, at={point: _full("home")})
    uploads = partial(trial, more=("-i", REFERENCE))
    yield uploads(
        write="journal: a job that uploads first", at={"before prepared 1": _full("home")}
    )
    yield uploads(
        write="journal: the same, after its upload", at={"before sending 1": _full("home")}
    )


def _full_after_paying() -> Iterator[Trial]:
    for fact in ("accepted", "saved"):
        at = {f"before {fact} 1": _full("home")}
        yield Trial(write=f"journal: from `{fact}` on", end=DELIVERED, says=("journal",), at=at)
    passing = {"before accepted 1": _full("home"), "after accepted 1": "free:{home}"}
    yield Trial(write="journal: `accepted` alone", end=DELIVERED, says=("journal",), at=passing)
    note = {"before delivered 1": _full("home")}
    yield Trial(write="journal: that the file is written", end=DELIVERED, at=note)
    for most, half in ((False, ""), (True, ", from half a picture on")):
        fetched = "before open in spool .part 1"
        full = {fetched: _full("spool", most=most)}
        yield Trial(write=f"spool{half}", end=DELIVERED, at=full)
        both = {fetched: _full("spool", "spare", most=most)}
        says = (FULL, "unified-flux resume")
        yield Trial(write=f"spool and spare folder{half}", end=KEPT, says=says, at=both)
        says = ("{out}/", "{spool}/", FULL)
        placed = {"before open in out .part 3": _full("out", most=most)}
        yield Trial(write=f"target file{half}", end=KEPT, says=says, at=placed)
    beside = {"before open in out .part 2": _full("out")}
    says = ("{out}/", "{spool}/", FULL)
    yield Trial(write="sidecar", end=KEPT, says=says, at=beside)
    passing = {**beside, "before open in out .part 3": "free:{out}"}
    says = ("no sidecar beside {out}",)
    yield Trial(write="sidecar alone", end=DELIVERED, says=says, at=passing, sidecar=False)
    everything = {"before accepted 1": _full(*DISKS)}
    yield Trial(write="all disks from `accepted` on", end=KEPT, says=(FULL,), at=everything)


def _full_for_recover() -> Iterator[Trial]:
    trial = partial(Trial, end=TOLD, recovers=True)
    yield trial(
        write="home: for the `recover` of a job in `sending`",
        at={"start 1": _full("home")},
        earlier="before accepted 1",
    )
    for names in (("home",), ("spool", "spare"), ("out",)):
        yield trial(
            write=f"{' and '.join(names)}: for the `recover` of a job in `accepted`",
            says=(FULL,),
            at={"start 1": _full(*names)},
            earlier="after accepted 1",
        )


def full_disks() -> list[Trial]:
    """A disk that is full from one write on, or read-only; these want small disks."""
    trials = [*_full_before_paying(), *_full_after_paying(), *_full_for_recover(), *_read_only()]
    return [replace(trial, small=True) for trial in trials]


@contextmanager
def _impatient(scene: Stage) -> Iterator[None]:
    settings = scene.folder / "unified-flux.toml"
    settings.write_text("retry_within = 2\n[journal]\nwait = 0.5\n")
    yield
    settings.unlink()


def stand_ins() -> list[Trial]:
    """The same where no disk can be mounted: from one point on no file of the process can grow."""
    return [
        Trial(write=f"every file, {write}", end=end, says=("{home}",) if end == REFUSED else (), at={point: "limit"}, around=_impatient)
        for write, end, point in (
            ("from the start", REFUSED, "start 1"),
            ("at the commit before paying", REFUSED, "before commit 2"),
            ("from `accepted` on", KEPT, "before accepted 1"),
            ("from the download on", KEPT, "before fetch 1"),
            ("from `saved` on", KEPT, "before saved 1"),
            ("from the sidecar on", KEPT, "before open in out .part 2"),
            ("from the target file on", KEPT, "before open in out .part 3"),
        )
    ]  # fmt: skip


def _locks() -> Iterator[Trial]:
    held = "lock:{home}/journal.db"
    trial = partial(Trial, around=_impatient, earlier="after accepted 1")
    says = ("the journal {home}/journal.db", "another program has it locked")
    yield trial(
        write="journal: locked by another program", end=REFUSED, says=says, at={"start 1": held}
    )
    later = {"before accepted 1": held}
    yield trial(
        write="journal: locked from `accepted` on", end=DELIVERED, says=("journal",), at=later
    )


@contextmanager
def _closed(scene: Stage) -> Iterator[None]:
    def remount(how: str) -> None:
        home = str(scene.folder / DISKS["home"])
        subprocess.run([*scene.prefix, "mount", "-o", f"remount,{how}", home], check=True)

    remount("ro")
    yield
    remount("rw")


def _read_only() -> Iterator[Trial]:
    says = ("the journal {home}/journal.db", "it may not be written")
    trial = partial(Trial, end=REFUSED, says=says, around=_closed)
    yield trial(write="home: read-only, and empty")
    yield trial(write="home: read-only, with a journal", earlier="after accepted 1")


def _spoilt(spoil: Callable[[Path], None], name: str = "journal.db") -> Around:
    @contextmanager
    def around(scene: Stage) -> Iterator[None]:
        # Whoever comes last moves all of it into the one file.
        scene.run("jobs")
        path = scene.view(scene.home) / name
        kept = path.with_name(f"{path.name}.kept")
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            path.rename(kept)
            shutil.copy(kept, path)
        spoil(path)
        before = path.read_bytes() if path.is_file() else None
        yield
        if before is not None and path.read_bytes() != before:
            raise AssertionError(f"{path.name} was changed")
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
        if kept.exists():
            kept.rename(path)

    return around


def _cut(path: Path, share: float = 0.5) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))


def _overwrite(path: Path) -> None:
    """All pages but the first are noise."""
    whole = path.read_bytes()
    path.write_bytes(whole[:2048] + bytes(range(256)) * (len(whole) // 256))


def _of_somebody_else(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.commit()


def _file(path: Path) -> None:
    path.write_bytes(b"not ours\n")


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _damages() -> Iterator[Trial]:
    for write, spoil, says in (
        ("cut in half", _cut, ""),
        ("cut within its head", partial(_cut, share=0.001), ""),
        ("noise after its first page", _overwrite, ""),
        ("no SQLite file", _file, "it is no SQLite file"),
        ("a database of something else", _of_somebody_else, "something else"),
        ("a folder", _folder, ""),
    ):
        yield Trial(
            write=f"journal: {write}",
            end=REFUSED,
            says=("{home}/journal.db", says),
            around=_spoilt(spoil),
            earlier="after accepted 1",
        )
    trial = partial(Trial, says=("{home}",))
    yield trial(write="home: it is a file", end=REFUSED, around=_spoilt(_file, "."))
    yield trial(
        write="home: its folder of locks is a file", end=REFUSED, around=_spoilt(_file, "owners")
    )
    yield Trial(write="spool: it is a file", end=DELIVERED, around=_spoilt(_file, "spool"))


def other_troubles() -> list[Trial]:
    """A journal that is locked, damaged or something else."""
    return [*_locks(), *_damages()]
