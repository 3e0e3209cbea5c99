"""Batches: files read line by line, names that outlive runs, nothing paid twice, nothing silent."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unified_flux.batch import Batch, Line, Outcome, Status, Wishes, open_source, read_lines
from unified_flux.batch.checking import References
from unified_flux.batch.source import MAX_LINE
from unified_flux.cli.group import run
from unified_flux.errors import InvalidRequest, OutputError
from unified_flux.journal.scratch import Scratch
from unified_flux.request import Reference
from unified_flux.sandbox.server import SandboxServer
from unified_flux.scheduler import World
from unified_flux.wire import Purpose, WireRequest


def write(name: str, *lines: str | dict[str, Any]) -> Path:
    path = Path(name)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def read(path: Path) -> list[Line]:
    return list(read_lines(open_source(path)))


def ask(prompt: str, **more: Any) -> dict[str, Any]:
    return {"prompt": f"{prompt} sandbox:ready", **more}


def accepted(server: SandboxServer) -> int:
    return sum(int(one.meter()["accepted"]) for one in server.emulators.values())


def made(path: Path, **how: Any) -> dict[int, Outcome]:
    """What became of each line of a run at Rivya."""
    found: dict[int, Outcome] = {}
    given = {name: how.pop(name) for name in ("out", "force", "again", "name") if name in how}
    with Batch(path, provider="rivya", **given) as batch:
        batch.run(lambda one: found.setdefault(one.line, one), **how)
    return found


@pytest.mark.parametrize(
    ("cells", "fields"),
    [
        ({"seed": "7", "n": "2"}, {"seed": 7, "n": 2}),
        ({"width": "640", "height": " 480"}, {"width": 640, "height": 480}),
        ({"prompt_upsampling": "Yes", "translate_prompt": "0"}, {"prompt_upsampling": True, "translate_prompt": False}),
        ({"tags": "a b"}, {"tags": ("a", "b")}),
        ({"tags": '["a b", "c"]'}, {"tags": ("a b", "c")}),
        ({"extra": '{"rivya": {"x": [1]}}'}, {"extra": {"rivya": {"x": [1]}}}),
        ({"extra.rivya.x": "1", "extra.vtrix.y": "z"}, {"extra": {"rivya": {"x": 1}, "vtrix": {"y": "z"}}}),
        ({"seed": ""}, {"seed": None}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_become_what_their_column_holds(
    delimiter: str, cells: dict[str, str], fields: dict[str, Any]
) -> None:
    """Numbers, switches, lists and parameters are read from texts, whatever stands between cells."""
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells.values()]
    head = delimiter.join(["prompt", *cells])
    (line,) = read(write("a.csv", f"\ufeff{head}", delimiter.join(["a fox", *quoted])))
    assert line.error is None
    assert {name: getattr(line.request, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "x"', "not JSON at column 15"),
        ('["prompt"]', "one object per line"),
        ('{"prompt": 1e999}', "prompt: must be text"),
        ('{"prompt": "x", "seed": ' + "9" * 5000 + "}", "more digits than any provider takes"),
        ('{"prompt": "x", "extra": ' + '{"a":' * 3000 + "1" + "}" * 3001, "nested too deeply at column"),
        ('{"prompt": "a NaN \\" -Infinity", "n": -Infinity}', "-Infinity at column 39 is no value"),
        ('{"prompt": "\\ud800"}', "prompt: holds bytes that are not valid UTF-8"),
        ('{"prompt": "x", "id": true}', "id: must be text or a whole number"),
        ('{"prompt": "x", "id": ""}', "id: must have 1 to 200 characters"),
        ('{"prompt": "x", "references": [7]}', "references: must be paths or URLs"),
        ('{"seed": "x"}', "prompt: is missing"),
        ('{"prompt": "' + "x" * MAX_LINE + '"}', "more than 1000 kB"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_bad_line_is_told_by_number_and_costs_no_other(text: str, said: str) -> None:
    """On line 731, between good ones: what is wrong is said, and the lines around it are read."""
    good = json.dumps({"prompt": "a fox"})
    found = read(write("a.jsonl", *[good] * 730, text, good))
    wrong = [line for line in found if line.error]
    assert [line.number for line in wrong] == [731]
    assert said in str(wrong[0].error)
    assert len(found) == 732


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a fox,7,8", "it has 3 cells, and the first line names 2 columns"),
        ('"a "fox",7', "not a row of CSV"),
        ("a fox,seven", "seed: must be a whole number, not seven"),
        ("a fox,nan", "seed: must be a whole number"),
        ('"' + "x" * 200_000 + '",7', "a cell of it has more than 131 kB"),
        ("x" * MAX_LINE + ",7", "more than 1000 kB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_row_is_told_by_number_and_costs_no_other(row: str, said: str) -> None:
    """The rows around it are read; a cell that holds a line break counts its lines."""
    found = read(write("a.csv", "prompt,seed", '"a\nfox",7', row, "a den,8"))
    assert [(line.number, line.error is None) for line in found] == [
        (2, True),
        (4, False),
        (5, True),
    ]
    assert said in str(found[1].error)


def test_an_open_quote_is_told_and_takes_no_memory() -> None:
    """The row where the quote began is named, and no more than a megabyte of it was held."""
    found = read(write("a.csv", "prompt", '"a fox', *["x" * 1000] * 3000))
    assert found[0].number == 2
    assert "a quote that is not closed takes in all that follows" in str(found[0].error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        ("prompt\na fox".encode("utf-16"), "is UTF-16 text; a batch's file is UTF-8"),
        (b"prompt,prompt\na,b", "prompt: is there twice"),
        (b"prompt|seed\na|1", "between commas, semicolons or tabs"),
        (b"prompt,,seed\na,b,1", "between prompt and the next has no name"),
    ],
)
def test_a_file_that_is_no_batch_says_what_it_should_be(content: bytes, said: str) -> None:
    """Nothing is read line by line where the file as a whole is wrong."""
    path = Path("a.csv")
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        read(path)
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_told_where_they_stand() -> None:
    """A letter of another encoding names its line and byte, in either format."""
    Path("a.csv").write_bytes(b"prompt\na f\xf6x\na den\n")
    Path("a.jsonl").write_bytes(b'{"prompt": "a f\xf6x"}\n')
    assert "line 2 is not UTF-8 text at byte 4" in str(read(Path("a.csv"))[0].error)
    assert "not UTF-8 text at byte 16" in str(read(Path("a.jsonl"))[0].error)


def names(path: Path) -> dict[str, int]:
    with Scratch() as scratch:
        wishes = Wishes(mark="m", scratch=scratch)
        return {wishes.of(line): line.number for line in read(path)}


def test_names_follow_what_is_asked_not_where_it_stands() -> None:
    """Lines that move keep their names, whatever their order of keys, format and labels; equal ones have several."""
    rows = [ask("a fox"), ask("a fox"), ask("a den", seed=7), ask("a cub", id="c")]
    before = names(write("a.jsonl", *rows))
    assert len(before) == 4
    assert names(write("b.jsonl", *reversed(rows))).keys() == before.keys()
    table = ["seed,id,tags,prompt", ",,x,{}", ",,,{}", "7,,,{}", ",c,,{}"]
    prompts = ["", *(row["prompt"] for row in rows)]
    filled = [row.format(prompt) for row, prompt in zip(table, prompts, strict=True)]
    assert names(write("c.csv", *filled)).keys() == before.keys()
    edited = names(write("d.jsonl", rows[0], ask("a dog"), *rows[2:]))
    assert len(edited.keys() & before.keys()) == 3


def test_a_line_may_bring_a_request_id_of_its_own_once() -> None:
    """It is the line's name as it stands; a second line with it is refused with both numbers."""
    path = write("a.jsonl", ask("a", client_request_id="mine"), ask("b", client_request_id="mine"))
    with Scratch() as scratch:
        wishes = Wishes(mark="m", scratch=scratch)
        first, second = read(path)
        assert wishes.of(first) == "mine"
        with pytest.raises(InvalidRequest, match='"mine" is that of line 1 too'):
            wishes.of(second)


def test_an_edited_line_alone_is_paid(configured: SandboxServer) -> None:
    """Lines that moved keep their files, the edited and the new line are made."""
    rows = [ask("a fox"), ask("a fox"), ask("a den", id="den"), ask("a cub")]
    first = made(write("a.jsonl", *rows))
    assert accepted(configured) == 4
    rows = [ask("a cub"), ask("a dog"), ask("a fox"), ask("a fox"), ask("a big den", id="den")]
    second = made(write("a.jsonl", *rows))
    assert accepted(configured) == 6
    assert {n: one.resumed for n, one in second.items()} == {
        1: True,
        2: False,
        3: True,
        4: True,
        5: False,
    }
    assert second[1].files == first[4].files
    files = [file for one in second.values() for file in one.files]
    assert len(set(files)) == 5
    assert all(file.is_file() for file in files)


def test_the_same_name_goes_on_with_a_batch_that_moved(configured: SandboxServer) -> None:
    """A copy of the file is another batch, unless it is called the same; input from a pipe is known by its content."""
    made(write("a.jsonl", ask("a fox")), name="foxes")
    assert made(write("b.jsonl", ask("a fox")), name="foxes")[1].resumed
    assert not made(write("c.jsonl", ask("a fox")))[1].resumed
    piped = json.dumps(ask("a fox")).encode()
    assert [made(io.BytesIO(piped))[1].resumed for _ in range(2)] == [False, True]  # type: ignore[arg-type]
    assert accepted(configured) == 3


def test_a_line_that_changes_after_the_check_is_not_sent(configured: SandboxServer) -> None:
    """What would be paid is what was checked; the other lines are made."""
    path = write("a.jsonl", ask("a fox"), ask("a den"))
    found: dict[int, Outcome] = {}
    with Batch(path, provider="rivya") as batch:
        batch.check()
        write("a.jsonl", ask("a fox"), ask("a dog"), ask("a cub"))
        tally = batch.run(lambda one: found.setdefault(one.line, one))
    assert [found[n].status for n in (1, 2, 3)] == [Status.DONE, Status.INVALID, Status.INVALID]
    assert "has changed since the batch was checked" in str(found[2].error)
    assert (tally.exit_code, accepted(configured)) == (10, 1)


def test_no_two_lines_write_one_file_even_by_force(configured: SandboxServer) -> None:
    """Where a template lets two lines meet, the second stays in the spool and names the first."""
    rows = [{"prompt": "sandbox:ready x1"}, *[ask("x")] * 9, {"prompt": "sandbox:ready x"}]
    path = write("a.jsonl", *rows)
    Path("made").mkdir()
    found = made(path, out="made/{prompt}{line}", force=True, concurrency=1)
    assert found[11].status is Status.FAILED
    assert isinstance(found[11].error, OutputError)
    assert "is the picture of line 1" in str(found[11].error)
    assert found[1].files[0].is_file()


def test_a_reference_is_opened_once_as_long_as_it_stays(make_png: Callable[..., bytes]) -> None:
    """What is known of a file is kept until it changes; one that is gone is told."""
    path = Path("den.png")
    path.write_bytes(make_png())
    references = References()
    asked = [Reference("den.png"), Reference("den.png")]
    first, second = references.opened(asked)
    assert first.origin is second.origin or first.origin == second.origin
    assert references.opened(asked)[0].origin is references.opened(asked)[1].origin
    path.write_bytes(make_png(32, 32))
    (changed,) = references.opened(asked[:1])
    assert changed.origin != first.origin
    path.unlink()
    with pytest.raises(InvalidRequest, match="cannot be used"):
        references.opened(asked)


def test_references_lie_beside_the_file(
    configured: SandboxServer, make_png: Callable[..., bytes]
) -> None:
    """Their paths are relative to the batch's file, not to the working folder."""
    Path("in").mkdir()
    (Path("in") / "den.png").write_bytes(make_png())
    found = made(write("in/a.csv", "prompt,references", "a fox sandbox:ready,den.png"))
    assert found[2].status is Status.DONE
    sidecar = json.loads(Path(f"{found[2].files[0]}.json").read_text())
    assert sidecar["request"]["references"][0]["name"] == "den.png"


@pytest.mark.parametrize("presses", [1, 2])
def test_an_interrupt_sends_nothing_more_and_the_same_command_goes_on(
    presses: int,
    configured: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After one Ctrl-C what is paid comes in, after two it is left to the journal; another run pays only the rest."""
    left = [presses]

    def interrupt(self: World, request: WireRequest, within: float | None) -> Any:
        answer = exchange(self, request, within)
        if request.purpose is Purpose.SUBMIT:
            while left[0]:
                left[0] -= 1
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
        return answer

    exchange = World._exchange
    path = write("a.jsonl", *[{"prompt": f"fox {n} sandbox:polls-2"} for n in range(3)])
    monkeypatch.setattr(World, "_exchange", interrupt)
    arguments = ["batch", "run", str(path), "-p", "rivya", "--concurrency", "1"]
    assert run(arguments) == 130
    out, err = capsys.readouterr()
    assert f"{2 - presses} done, {1 + presses} stopped" in out
    assert "nothing more is sent" in err
    assert "the same command goes on" in err
    assert accepted(configured) == 1
    results = [json.loads(line) for line in Path("a.results.jsonl").read_text().splitlines()]
    assert sorted(one["line"] for one in results) == [1, 2, 3]
    assert run(arguments) == 0
    assert accepted(configured) == 3


def test_a_batch_that_is_killed_goes_on_where_it_was(configured: SandboxServer) -> None:
    """After a kill in the middle the same command brings every line, and each was paid once."""
    path = write("a.jsonl", *[{"prompt": f"fox {n} sandbox:polls-2"} for n in range(6)])
    command = [sys.executable, "-m", "unified_flux", "batch", "run", str(path), "-p", "rivya"]
    with subprocess.Popen([*command, "--concurrency", "3"], stderr=subprocess.DEVNULL) as process:
        while not accepted(configured):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert 1 <= accepted(configured) <= 3
    assert run(command[3:]) == 0
    assert accepted(configured) == 6
    results = [json.loads(line) for line in Path("a.results.jsonl").read_text().splitlines()]
    assert all(Path(file).is_file() for one in results for file in one["files"])
    assert len(results) == 6


def test_two_runs_of_one_file_both_bring_every_line(configured: SandboxServer) -> None:
    """What the other has in hand is waited for: both end well, and each line was paid once."""
    path = write("a.jsonl", *[{"prompt": f"fox {n} sandbox:polls-3"} for n in range(6)])
    command = [sys.executable, "-m", "unified_flux", "batch", "run", str(path), "-p", "rivya"]
    runs = [
        subprocess.Popen([*command, "--results", f"{name}.jsonl"], stderr=subprocess.PIPE)
        for name in ("one", "other")
    ]
    for process in runs:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    assert accepted(configured) == 6
    for name in ("one", "other"):
        results = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
        assert [one["status"] for one in results] == ["done"] * 6


@pytest.mark.slow
def test_memory_is_flat_whatever_the_length_of_the_file() -> None:
    """A dry run of a hundred thousand lines holds hardly more than one of two thousand."""
    program = (
        "import resource, sys; from unified_flux.batch import Batch\n"
        "with Batch(sys.argv[1], provider='rivya', sandbox=True) as batch: batch.check()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(lines: int) -> int:
        path = write("a.jsonl", *[{"prompt": f"fox {n}"} for n in range(lines)])
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, check=True
        )
        return int(done.stdout)

    assert peak(100_000) < peak(2_000) + 40_000
