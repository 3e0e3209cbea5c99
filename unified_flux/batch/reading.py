"""Lines of a batch as requests: JSON objects, or the rows of a table whose columns are the fields.

One line at a time, whatever the file's length. What is wrong with a line is a value, so that all of
them can be told; what is wrong with the whole file is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from unified_flux.batch.fields import Fields, Line, read_line, too_long, unreadable
from unified_flux.batch.objects import read_object
from unified_flux.batch.source import Source
from unified_flux.batch.table import read_table
from unified_flux.errors import InvalidRequest

Rows = Iterator[tuple[int, Fields | InvalidRequest]]


def read_lines(source: Source) -> Iterator[Line]:
    """Every line that is not blank, in order.

    Raises:
        InvalidRequest: When the file as a whole cannot be read: no request, an unknown column.
    """
    found = False
    for number, fields in _READERS[source.format](source):
        found = True
        if isinstance(fields, InvalidRequest):
            yield unreadable(number, fields)
        else:
            yield read_line(fields, number, source.folder)
    if not found:
        raise InvalidRequest(f"{source.shown} holds no request")


def _read_objects(source: Source) -> Rows:
    for number, line in source.lines():
        if line is None:
            yield number, too_long()
        elif not line.isspace():
            yield number, read_object(line)


_READERS: dict[str, Callable[[Source], Rows]] = {"jsonl": _read_objects, "csv": read_table}
