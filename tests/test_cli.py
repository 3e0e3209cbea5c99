"""The command line, black box: each file in tests/cli is a case. Adding a case is adding a file.

A case (TOML) has `about`, `args`, and what it expects: `exit`, `out` and `err` (texts that occur, in
`json` dotted paths of the one object on standard output), `accepted` (paid submits on both meters).
It may set `env`, `files` (name → text), `pictures` (names of small PNGs), `stdin`, and `keys = false`
for an environment with nothing configured. With keys, both providers are the served sandbox.
`before` lists command lines that run first, whose output does not matter; in `args`, `{id}` is the
journal's newest job after them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

from unified_flux.cli.group import run
from unified_flux.journal import Journal
from unified_flux.sandbox.server import SandboxServer
from unified_flux.scheduler import Scheduler
from unified_flux.wire import Purpose, WireRequest
from unified_flux.world import World

from conftest import png  # isort: skip

CASES = sorted((Path(__file__).parent / "cli").glob("*.toml"))


def _prepare(case: dict[str, Any], served: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.get("keys", True):
        for name, url in served.providers.items():
            monkeypatch.setenv(f"{name.upper()}_API_KEY", served.key)
            monkeypatch.setenv(f"{name.upper()}_BASE_URL", url)
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    for name, text in case.get("files", {}).items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    for name in case.get("pictures", []):
        Path(name).write_bytes(png())
    for name, size in case.get("large", {}).items():
        Path(name).write_bytes(png(filler=size))
    stdin = io.TextIOWrapper(io.BytesIO(case.get("stdin", "").encode()))
    monkeypatch.setattr(sys, "stdin", stdin)


def _at(found: Any, path: str) -> Any:
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


def _filled(argument: str) -> str:
    """An argument that may name the journal's newest job."""
    if argument != "{id}":
        return argument
    with contextlib.closing(Journal(Path(os.environ["UNIFIED_FLUX_HOME"]))) as journal:
        return journal.jobs({}, limit=1)[0].id


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(
    path: Path,
    served: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command exits, prints and charges as its case says, and no key or traceback shows."""
    case = tomllib.loads(path.read_text("utf-8"))
    _prepare(case, served, monkeypatch)
    for earlier in case.get("before", []):
        run(earlier)
    capsys.readouterr()
    code = run([_filled(argument) for argument in case["args"]])
    out, err = capsys.readouterr()
    assert code == case["exit"], err
    for text in case.get("out", []):
        assert text in out
    for text in case.get("err", []):
        assert text in err
    if "json" in case or "--json" in case["args"]:
        found = json.loads(out)
        for place, value in case.get("json", {}).items():
            assert _at(found, place) == value
    for name in case.get("makes", []):
        assert Path(name).exists(), sorted(map(str, Path().iterdir()))
    paid = sum(emulator.meter()["accepted"] for emulator in served.emulators.values())
    assert paid == case.get("accepted", 0)
    assert served.key not in out + err
    assert "Traceback" not in out + err


class Full(io.StringIO):
    """A stream behind which the disk is full."""

    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_standard_output_that_fails_hides_no_paid_picture(
    flags: list[str],
    configured: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was paid is on disk, and standard error says where."""
    monkeypatch.setattr(sys, "stdout", Full())
    code = run(["generate", "a fox sandbox:ready", "-p", "vtrix", "-o", "fox.jpg", *flags])
    monkeypatch.undo()
    assert code == 1
    assert "the pictures are written: fox.jpg" in capsys.readouterr().err


def test_letters_that_standard_output_lacks_are_escaped_in_json(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal without Bengali gets valid JSON all the same."""
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(kept, encoding="cp1252"))
    code = run(["translate", "বাঘ", "-p", "vtrix", "--json"])
    sys.stdout.flush()
    assert code == 0
    assert json.loads(kept.getvalue().decode("cp1252"))["payload"]["prompt"] == "বাঘ"


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_interrupt_names_what_goes_on(
    flags: list[str],
    configured: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C after acceptance: the job and the command that continues, as text and as JSON."""

    def interrupt(self: World, request: WireRequest, within: float | None) -> Any:
        if request.purpose is Purpose.POLL:
            raise KeyboardInterrupt
        return exchange(self, request, within)

    exchange = World._exchange
    monkeypatch.setattr(World, "_exchange", interrupt)
    code = run(["generate", "a fox", "-p", "rivya", "-o", "fox.png", *flags])
    out, err = capsys.readouterr()
    assert code == 130
    assert "unified-flux resume rivya/flux-kontext-pro/task_" in err
    if flags:
        error = json.loads(out)["error"]
        assert (error["exit_code"], error["charged"]) == (130, "maybe")
        assert error["jobs"][0].startswith("rivya/flux-kontext-pro/task_")


def test_an_interrupted_comparison_sends_nothing_more_and_names_what_goes_on(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while two providers are at work: both stop at their next step, what is paid is told."""
    polled = threading.Barrier(2)
    stopped = threading.Event()

    def interrupt(self: World, request: WireRequest, within: float | None) -> Any:
        if request.purpose is Purpose.POLL and not stopped.is_set():
            polled.wait(10)
            if "rivya" in request.url:
                os.kill(os.getpid(), signal.SIGINT)
            stopped.wait(10)
        return exchange(self, request, within)

    def stop(self: Scheduler) -> None:
        halt(self)
        stopped.set()

    exchange, halt = World._exchange, Scheduler.stop
    monkeypatch.setattr(World, "_exchange", interrupt)
    monkeypatch.setattr(Scheduler, "stop", stop)
    code = run(
        ["compare", "a fox sandbox:polls-3", "-p", "rivya", "-p", "vtrix", "--run", "-o", "both"]
    )
    _, err = capsys.readouterr()
    assert code == 130
    assert "unified-flux resume rivya/flux-kontext-pro/task_" in err
    assert "unified-flux resume vtrix/flux_kontext_pro/" in err
    assert sum(one.meter()["accepted"] for one in configured.emulators.values()) == 2
