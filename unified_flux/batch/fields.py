"""The fields of one line as a request, and what tells the line from others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_flux.batch.source import MAX_LINE
from unified_flux.errors import InvalidRequest, Problem
from unified_flux.request import ImageRequest
from unified_flux.text import did_you_mean, hashed, safe

FIELDS = tuple(field.name for field in dataclasses.fields(ImageRequest))
KNOWN = ("id", *FIELDS)
MAX_ID = 200
# Labels ask for nothing: with other ones, a line is the same wish.
_LABELS = frozenset({"tags"})
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that asks for something.

    Attributes:
        number: Where it begins in the file.
        id: The name that it gives itself; None where it has none.
        request: What it asks; None where that cannot be read.
        digest: Of all that it says, however it is written.
        content: Of what it asks for, its labels and its id left out.
        error: What is wrong with it.
    """

    number: int
    id: str | None = None
    request: ImageRequest | None = None
    digest: bytes = b""
    content: bytes = b""
    error: InvalidRequest | None = None


def read_line(fields: Fields, number: int, folder: Path) -> Line:
    """One line's fields as a request; paths are relative to `folder`."""
    said = {name: value for name, value in fields.items() if value is not None}
    try:
        digest = hashed(_CANONICAL(said))
        asked = {k: v for k, v in said.items() if k != "id" and k not in _LABELS}
        content = digest if asked.keys() == said.keys() else hashed(_CANONICAL(asked))
    except RecursionError:
        return Line(number=number, error=InvalidRequest("it is nested too deeply"))
    id = said.pop("id", None)
    problems = [*_unknown(said), *_wrong_id(id)]
    if "prompt" not in said:
        problems.append(Problem(field="prompt", message="is missing"))
    known = {name: value for name, value in said.items() if name in FIELDS}
    try:
        known["references"] = _references(known.get("references", ()), folder)
        request = ImageRequest(**{"prompt": "-", **known})
    except InvalidRequest as error:
        request, problems = None, [*problems, *error.problems]
    wrong = InvalidRequest("it cannot be asked as it stands", problems=problems)
    return Line(
        number=number,
        id=str(id) if id is not None and not any(_wrong_id(id)) else None,
        request=None if problems else request,
        digest=digest,
        content=content,
        error=wrong if problems else None,
    )


def unreadable(number: int, error: InvalidRequest) -> Line:
    """A line of which nobody can tell what it asks."""
    return Line(number=number, error=error, digest=hashed(str(error)))


def _unknown(said: Mapping[str, Any]) -> Iterator[Problem]:
    for name in said:
        if name not in FIELDS:
            yield Problem(
                field=safe(name, 60),
                message=f"is no field of a request{did_you_mean(name, KNOWN)}",
            )


def _wrong_id(id: Any) -> Iterator[Problem]:
    if id is None:
        return
    if isinstance(id, bool) or not isinstance(id, (str, int)):
        yield Problem(field="id", message=f"must be text or a whole number, not {safe(id, 40)}")
    elif not str(id).strip() or len(str(id)) > MAX_ID:
        yield Problem(field="id", message=f"must have 1 to {MAX_ID} characters")


def _references(given: Any, folder: Path) -> list[Any]:
    """References with paths made absolute; addresses and data URIs stay as they are."""
    listed = given if isinstance(given, (list, tuple)) else [given]
    wrong = [one for one in listed if not isinstance(one, str) or not one.strip()]
    if wrong:
        said = f"must be paths or URLs as text, not {safe(wrong[0], 40)}"
        raise InvalidRequest("", problems=[Problem(field="references", message=said)])
    return [one if _is_address(one) else str(folder / one) for one in listed]


def _is_address(one: str) -> bool:
    return one[:5].lower() == "data:" or "://" in one[:12]


def too_long() -> InvalidRequest:
    """The error of a line that is not held."""
    return InvalidRequest(
        f"it has more than {MAX_LINE // 1000} kB; nothing that a request holds is so long",
        next_step="Name a picture by its path or URL rather than as data.",
    )
