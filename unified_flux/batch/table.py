"""A table's rows as fields: CSV, TSV, or with semicolons as spreadsheets write it where 1,5 is a number.

The first line names the columns. Cells are texts: numbers, switches and lists are read as what their
column holds, and what does not fit is left as it is, so that the request itself refuses it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unified_flux.batch.fields import KNOWN, Fields, too_long
from unified_flux.batch.objects import read_object
from unified_flux.batch.source import MAX_LINE, Source
from unified_flux.errors import InvalidRequest, Problem
from unified_flux.text import did_you_mean, safe

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_EXTRA = "extra."
_SWITCHES = {
    **dict.fromkeys(("true", "yes", "1"), True),
    **dict.fromkeys(("false", "no", "0"), False),
}


def read_table(source: Source) -> Iterator[tuple[int, Fields | InvalidRequest]]:
    """Every row's number and fields, or what is wrong with it.

    Raises:
        InvalidRequest: When a column is none of ours, or there is no column `prompt`.
    """
    feed = _Feed(source)
    delimiter, head = _header(source, feed)
    rows = csv.reader(feed, delimiter=delimiter, strict=True)
    readers = [_reader(name) for name in head]
    while True:
        feed.begin()
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, InvalidRequest) as error:
            wrong = error if isinstance(error, InvalidRequest) else _broken(error)
            yield feed.first, wrong
            continue
        if any(cell.strip() for cell in row):
            yield feed.first, _fields(head, readers, row)


class _Feed:
    """Lines as text for the reader of rows, which may take several for one; knows where the row began."""

    def __init__(self, source: Source) -> None:
        self._lines = source.lines()
        self._size = 0
        self.number = self.first = 0

    def begin(self) -> None:
        """The next row begins."""
        self.first, self._size = self.number + 1, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if line is None:
            raise too_long()
        self._size += len(line)
        if self._size > MAX_LINE:
            raise InvalidRequest(
                f"it does not end within {MAX_LINE // 1000} kB; a quote that is not closed takes in "
                "all that follows",
                next_step='A quote inside a quoted cell is "".',
            )
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"line {self.number} is not UTF-8 text at byte {error.start + 1}",
                next_step="Save the table as CSV UTF-8.",
            ) from None


def _broken(error: csv.Error) -> InvalidRequest:
    if "field larger" in str(error):
        return InvalidRequest(
            f"a cell of it has more than {csv.field_size_limit() // 1000} kB; a quote that is not "
            "closed takes in all that follows",
            next_step='A quote inside a quoted cell is "".',
        )
    return InvalidRequest(
        f"it is not a row of CSV: {safe(error, 120)}",
        next_step='A cell that holds a quote, a delimiter or a line break stands in quotes; a quote inside is "".',
    )


def _header(source: Source, feed: _Feed) -> tuple[str, list[str]]:
    """The delimiter that makes the most names of ours of the first line, and the names."""
    line = next((line for line in feed if line.strip()), "")
    read = {mark: _names(line, mark) for mark in DELIMITERS}
    delimiter = max(read, key=lambda mark: sum(map(_is_known, read[mark])))
    names = read[delimiter]
    problems = [
        Problem(field=safe(name, 60) or "a column", message=why)
        for number, name in enumerate(names)
        if (why := _against(name, names[:number]))
    ]
    if "prompt" not in names:
        problems.append(Problem(field="prompt", message="is no column, and every request needs it"))
    if problems:
        first = line.lstrip()[:1]
        hint = (
            "It looks like JSON lines: --format jsonl reads them."
            if first in {"{", "["}
            else "The first line names the columns, between commas, semicolons or tabs: "
            f"{', '.join(KNOWN)}."
        )
        raise InvalidRequest(
            f"line {feed.number} of {source.shown} does not name the columns of a batch",
            problems=problems[:20],
            next_step=hint,
        )
    return delimiter, names


def _names(line: str, delimiter: str) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []
    while names and not names[-1]:
        names.pop()
    return names


def _is_known(name: str) -> bool:
    return name in KNOWN or (name.startswith(_EXTRA) and name.count(".") == 2)


def _against(name: str, before: Sequence[str]) -> str | None:
    if not name:
        return f"between {before[-1] if before else 'the first'} and the next has no name"
    if name in before:
        return "is there twice"
    if not _is_known(name):
        return f"is no field of a request{did_you_mean(name, KNOWN)}"
    return None


def _fields(
    head: Sequence[str], readers: Sequence[Callable[[str], Any]], row: Sequence[str]
) -> Fields | InvalidRequest:
    """A row's cells under their names; an empty one leaves its field to the provider."""
    if len(row) > len(head) and any(cell.strip() for cell in row[len(head) :]):
        return InvalidRequest(
            f"it has {len(row)} cells, and the first line names {len(head)} columns",
            next_step="A cell that holds a delimiter stands in quotes.",
        )
    fields: Fields = {}
    # A row may end early: what is not there is empty.
    for name, read, cell in zip(head, readers, row, strict=False):
        if not cell.strip():
            continue
        value = read(cell)
        if isinstance(value, InvalidRequest):
            return value
        if name.startswith(_EXTRA):
            _, provider, key = name.split(".")
            extra = fields.setdefault("extra", {})
            if not isinstance(extra, dict):
                return InvalidRequest("extra is given as a column of its own and by its parts")
            extra.setdefault(provider, {})[key] = value
        elif name == "extra" and "extra" in fields:
            return InvalidRequest("extra is given as a column of its own and by its parts")
        else:
            fields[name] = value
    return fields


def _reader(name: str) -> Callable[[str], Any]:
    return _json_or_text if name.startswith(_EXTRA) else _READERS.get(name, _same)


def _same(cell: str) -> Any:
    return cell


def _number(cell: str) -> Any:
    for kind in (int, float):
        try:
            # Python takes 1_000 for a number, nobody who writes a table does.
            return cell if "_" in cell else kind(cell)
        except ValueError:
            continue
    return cell


def _switch(cell: str) -> Any:
    return _SWITCHES.get(cell.strip().lower(), cell)


def _list(cell: str) -> Any:
    """Texts between blanks, or a JSON list where they hold blanks themselves."""
    if not cell.lstrip().startswith("["):
        return cell.split()
    found = _json_or_text(cell)
    return found if isinstance(found, list) else [cell]


def _object(cell: str) -> Any:
    found = read_object(cell.encode())
    if isinstance(found, InvalidRequest):
        return InvalidRequest(f"its cell extra: {found.message}")
    return found


def _json_or_text(cell: str) -> Any:
    try:
        found = json.loads(cell, parse_constant=lambda _: cell)
    except (ValueError, RecursionError):
        return cell
    return found


_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("width", "height", "seed", "safety_tolerance", "n"), _number),
    **dict.fromkeys(("prompt_upsampling", "translate_prompt"), _switch),
    **dict.fromkeys(("references", "tags"), _list),
    "extra": _object,
}
