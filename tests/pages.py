"""Reads the fenced blocks and tables of a page, and runs the blocks.

How a block is read, by its language:

- `console`: lines that begin with `$ ` are commands (`> ` continues one), the lines after are what
  they print, on either stream. `...` stands for anything inside a line and, alone, for any lines;
  seconds at the end of a line (`0.4 s`) stand for any seconds; blank lines and the width of columns
  do not count. A command that fails is followed by `$ echo $?`, so that the page shows its exit code.
- `sh`: runs and must succeed. `python`: the same; `print(...)  # text` must print that text.
- `toml`, `ini`, `json`, `text`: not run; TOML and JSON must parse.

What stands in a comment on the line above a block:

- `<!-- served sandbox -->`: both emulators are served; keys and addresses are in the environment.
- `<!-- file: NAME -->`: the block is written to that file.
- `<!-- runs until Ctrl-C -->`: the one command serves; it is interrupted once it has printed.
- `<!-- run by .ci/run -->`: installs from the network.
- `<!-- from: PATH -->`: the block stands word for word in that file of the project; it is not run.
- `<!-- run by hand -->`: a benchmark or a long proof, in docs/performance.md and docs/reliability.md.

All blocks of a page run in their order in one folder that holds den.jpg and coat.png; each block is
a shell of its own, with no key and no setting of the person who runs the tests.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"console", "sh", "python", "toml", "ini", "json", "text"}
MARKS = {"served sandbox", "runs until Ctrl-C", "run by .ci/run", "run by hand"}
SHELL = ["bash", "--noprofile", "--norc", "-c"]
SECONDS = 60


@dataclass(frozen=True)
class Block:
    """One fenced block, and the comments on the lines above it."""

    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def faults(self) -> list[str]:
        """What is written that nobody reads."""
        unknown = [
            m for m in self.marks if m not in MARKS and not m.startswith(("file: ", "from: "))
        ]
        return unknown + ([] if self.language in LANGUAGES else [f"language {self.language!r}"])

    @property
    def origin(self) -> str | None:
        """The file of the project that it is quoted from."""
        return next((m.removeprefix("from: ") for m in self.marks if m.startswith("from: ")), None)

    @property
    def file(self) -> str | None:
        """The file that it is written to."""
        return next((m.removeprefix("file: ") for m in self.marks if m.startswith("file: ")), None)


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    lines = page.read_text("utf-8").splitlines()
    at = 0
    marks: list[str] = []
    while at < len(lines):
        fence = re.fullmatch(r"```(\w*)", lines[at].rstrip())
        mark = re.fullmatch(r"<!-- (.+) -->", lines[at].strip())
        if fence:
            end = lines.index("```", at + 1)
            yield Block(at + 1, fence[1], tuple(marks), "\n".join(lines[at + 1 : end]))
            at = end
        marks = [*marks, mark[1]] if mark else []
        at += 1


def tables(page: Path) -> Iterator[list[list[str]]]:
    """Every table of a page as rows of cells, the head first, the rule left out."""
    rows: list[list[str]] = []
    for line in [*page.read_text("utf-8").splitlines(), ""]:
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip().replace(r"\|", "|") for cell in cells])
        elif rows:
            yield [rows[0], *rows[2:]]
            rows = []


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def clean(output: str) -> str:
    """Output without blank lines and trailing blanks, its columns as narrow as can be."""
    lines = (re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in output.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def expected(lines: list[str]) -> re.Pattern[str]:
    """What a page shows as a pattern: `...` is anything, seconds are any seconds."""
    said = []
    for line in clean("\n".join(lines)).splitlines():
        if line == "...":
            said.append(r"(?:.*\n)*?")
            continue
        pattern = re.escape(line).replace(r"\.\.\.", ".*?")
        said.append(re.sub(r"\d+\\\.\d(?=\\ s$)", r"\\d+\\.\\d", pattern) + "\n")
    return re.compile("".join(said))


def steps(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
        else:
            assert found, f"line {block.line}: a console block begins with a command"
            found[-1][1].append(line)
    return found


@dataclass(frozen=True)
class Place:
    """Where a page's blocks run, and with which environment."""

    page: Path
    folder: Path
    environment: Mapping[str, str]
    served: Mapping[str, str]

    def run(self, block: Block) -> None:
        """Run a block and compare what it shows."""
        if block.file is not None:
            (self.folder / block.file).write_text(f"{block.text}\n", "utf-8")
        elif "runs until Ctrl-C" in block.marks:
            self._serve(block)
        elif block.language == "console":
            self._console(block)
        elif block.language == "sh":
            self._succeed(block, [*SHELL, f"set -euo pipefail\n{block.text}"])
        elif block.language == "python":
            printed = self._succeed(block, [sys.executable, "-W", "error", "-c", block.text])
            said = re.findall(r"^ *print\(.*\)  # (.+)$", block.text, re.MULTILINE)
            self._compare(block, "the program", said or ["..."], printed)

    def _where(self, block: Block) -> str:
        return f"{self.page.name} line {block.line}"

    def _environment(self, block: Block) -> dict[str, str]:
        served = self.served if "served sandbox" in block.marks else {}
        return {**self.environment, **served}

    def _call(self, block: Block, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(block),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )

    def _succeed(self, block: Block, command: list[str]) -> str:
        done = self._call(block, command)
        assert done.returncode == 0, f"{self._where(block)}:\n{done.stdout}"
        return done.stdout

    def _compare(self, block: Block, command: str, lines: list[str], printed: str) -> None:
        told = f"{self._where(block)}: {command}\nprinted:\n{printed}\nthe page shows:\n"
        assert expected(lines).fullmatch(clean(printed)), told + "\n".join(lines)

    def _console(self, block: Block) -> None:
        todo = steps(block)
        seam = "@@ seam"
        script = "".join(
            f"{command}\n__=$?; printf '\\n{seam} %s\\n' $__; (exit $__)\n" for command, _ in todo
        )
        printed = re.split(rf"\n{seam} (\d+)\n", self._call(block, [*SHELL, script]).stdout)
        assert len(printed) == 2 * len(todo) + 1, f"{self._where(block)}:\n{''.join(printed)}"
        following = [command for command, _ in todo[1:]] + [""]
        for (command, lines), output, status, after in zip(
            todo, printed[::2], printed[1::2], following, strict=False
        ):
            self._compare(block, command, lines, output)
            shown = status == "0" or after == "echo $?"
            assert shown, f"{self._where(block)}: {command}\nfails with {status}, unsaid:\n{output}"

    def _serve(self, block: Block) -> None:
        ((command, lines),) = steps(block)
        process = subprocess.Popen(
            [*SHELL, f"exec {command}"],
            cwd=self.folder,
            env=self._environment(block),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            guard = threading.Timer(SECONDS, process.kill)
            guard.start()
            assert process.stdout is not None
            printed = "".join(process.stdout.readline() for _ in lines)
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            guard.cancel()
        self._compare(block, command, lines, printed + rest)
        assert process.returncode == 0, f"{self._where(block)}: it ended with {process.returncode}"
