"""Batches on a queue that workers share: real PostgreSQL, real emulators, counted by their meters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unified_flux import Phase
from unified_flux.cli.group import run
from unified_flux.journal import Journal
from unified_flux.sandbox.server import SandboxServer


@pytest.fixture
def queue(shared: str, configured: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue, named by the environment; a dead worker is missed soon."""
    monkeypatch.setenv("UNIFIED_FLUX_QUEUE", shared)
    Path("unified-flux.toml").write_text("lease = 2\n")
    return shared


def batch(count: int, words: str = "sandbox:ready") -> Path:
    """A file with so many lines."""
    path = Path("foxes.jsonl")
    path.write_text("".join(f'{{"prompt": "fox {n} {words}"}}\n' for n in range(count)))
    return path


def accepted(served: SandboxServer) -> int:
    return sum(one.meter()["accepted"] for one in served.emulators.values())


def pictures() -> list[Path]:
    return [path for path in Path("foxes-pictures").iterdir() if path.suffix in {".jpg", ".png"}]


@contextlib.contextmanager
def worker(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own; its output is kept for who asks."""
    process = subprocess.Popen(
        [sys.executable, "-m", "unified_flux", "worker", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something, not for ever."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_two_workers_make_a_batch_and_pay_each_line_once(
    provider: str, queue: str, configured: SandboxServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Submitted twice, worked on by two processes: a picture and a paid submit for each line."""
    path = batch(12)
    for _ in range(2):
        assert run(["batch", "submit", str(path), "-p", provider, "--yes"]) == 0
    with worker("--once") as one, worker("--once") as other:
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert run(["batch", "watch", str(path), "-q"]) == 0
    assert capfd.readouterr().out.endswith("24 done\n")
    assert (len(pictures()), accepted(configured)) == (12, 12)
    told = [json.loads(line) for found in Path("foxes-pictures").glob("*.results-*.jsonl")
            for line in found.read_text().splitlines()]  # fmt: skip
    assert sorted(one["line"] for one in told) == sorted([*range(1, 13)] * 2)
    assert all(one["status"] == "done" for one in told)


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_what_a_killed_worker_began_another_goes_on_with(
    provider: str, queue: str, configured: SandboxServer
) -> None:
    """It is polled and fetched, never paid again, and all of it noted when the last line has ended."""
    batch(6, "sandbox:polls-1")
    assert run(["batch", "submit", "foxes.jsonl", "-p", provider, "--yes"]) == 0
    with contextlib.closing(Journal(queue)) as journal:
        with worker() as first:
            until(lambda: [one.phase for one in journal.jobs({})] == [Phase.ACCEPTED] * 6)
            first.send_signal(signal.SIGKILL)
            first.wait(10)
        with worker():
            assert run(["batch", "watch", "foxes.jsonl", "-q"]) == 0
        # The worker was killed as well.
        assert (len(pictures()), accepted(configured)) == (6, 6)
        assert {one.phase for one in journal.jobs({})} == {Phase.SAVED}
        assert journal.open_jobs() == []


def test_all_workers_together_keep_to_the_throttle(queue: str, configured: SandboxServer) -> None:
    """No more jobs are in flight than the limit says, as the emulator counts them."""
    Path("unified-flux.toml").write_text("lease = 5\n[throttle.vtrix]\nin_flight = 3\n")
    emulator = configured.emulators["vtrix"]
    most = 0
    handle = emulator.handle

    def counting(*request: object) -> object:
        nonlocal most
        reply = handle(*request)  # type: ignore[arg-type]
        with emulator._lock:
            now = emulator._clock()
            most = max(most, sum(one.progress(now) < 1 for one in emulator._tasks.values()))
        return reply

    emulator.handle = counting  # type: ignore[method-assign,assignment]
    batch(10, "")
    assert run(["batch", "submit", "foxes.jsonl", "-p", "vtrix", "--yes"]) == 0
    with worker("--once") as one, worker("--once") as other:
        assert (one.wait(90), other.wait(90)) == (0, 0)
    assert (len(pictures()), accepted(configured)) == (10, 10)
    assert 1 <= most <= 3


def test_a_cancelled_batch_sends_nothing(queue: str, configured: SandboxServer) -> None:
    """What nobody works on is taken out of the queue."""
    batch(3)
    assert run(["batch", "submit", "foxes.jsonl", "-p", "vtrix", "--yes"]) == 0
    assert run(["batch", "cancel", "foxes.jsonl"]) == 0
    with worker("--once") as one:
        assert one.wait(60) == 0
    assert run(["batch", "watch", "foxes.jsonl"]) == 10
    assert accepted(configured) == 0


def test_a_reference_that_changed_is_not_sent(
    queue: str, configured: SandboxServer, make_png: Callable[..., bytes]
) -> None:
    """Each worker looks at it again before anything is paid, and says which line it was."""
    Path("hat.png").write_bytes(make_png())
    Path("foxes.jsonl").write_text('{"prompt": "a hat sandbox:ready", "references": ["hat.png"]}\n')
    assert run(["batch", "submit", "foxes.jsonl", "-p", "vtrix", "--yes"]) == 0
    Path("hat.png").write_bytes(make_png(32, 32))
    with worker("--once") as one:
        _, err = one.communicate(timeout=60)
    assert "hat.png is not the picture that was enqueued" in err
    assert run(["batch", "watch", "foxes.jsonl", "-q"]) == 10
    assert accepted(configured) == 0


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://flux:secret-word@127.0.0.1:1/x", "Connection refused"),
        ("mysql://flux:secret-word@127.0.0.1/x", "postgresql://"),
        ("", "no queue is given"),
    ],
)
@pytest.mark.parametrize("words", [["batch", "status"], ["worker", "--sandbox"]])
def test_a_wrong_address_is_one_sentence_without_its_password(
    address: str, says: str, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, and where to mend it."""
    pytest.importorskip("procrastinate", reason="the extra [batch] is not installed")
    code = run([*words, *(["--queue", address] if address else [])])
    err = capfd.readouterr().err
    assert code in {1, 2, 3}
    assert says in err
    assert "Traceback" not in err
    assert "secret-word" not in err


@pytest.mark.parametrize(
    "words", [["config", "show"], ["config", "show", "--json"], ["config", "path"], ["doctor"]]
)
def test_no_listing_shows_the_password(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The address is there, and stars stand where its password was."""
    pytest.importorskip("psycopg", reason="the extra [batch] is not installed")
    monkeypatch.setenv("UNIFIED_FLUX_QUEUE", "postgresql://flux:secret-word@127.0.0.1:1/x")
    run(words)
    out, err = capfd.readouterr()
    assert "flux:***@127.0.0.1:1/x" in out + err
    assert "secret-word" not in out + err


def test_tables_of_another_version_are_not_touched(
    queue: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Older or newer: the queue says which it has and which this one wants."""
    import psycopg

    assert run(["batch", "status"]) == 0
    with psycopg.connect(queue) as other:
        other.execute("COMMENT ON SCHEMA unified_flux_queue IS 'procrastinate 9'")
    assert run(["batch", "status"]) == 2
    err = capfd.readouterr().err
    assert "procrastinate 9; this one uses procrastinate 3" in err


def test_a_batch_that_is_not_there_is_named(queue: str, capfd: pytest.CaptureFixture[str]) -> None:
    """With what lists those that are."""
    assert run(["batch", "watch", "lost.jsonl"]) == 3
    assert "batch status lists them" in capfd.readouterr().err
    assert os.environ["UNIFIED_FLUX_QUEUE"] == queue
