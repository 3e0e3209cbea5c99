"""`ImageRequest`: what a caller asks, in our words, whatever the provider."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from unified_flux.errors import InvalidRequest, Problem
from unified_flux.geometry import PIXELS, parse_ratio
from unified_flux.text import safe
from unified_flux.wire import OpenedReference

OUTPUT_FORMATS = ("jpeg", "png", "webp")
SAFETY = (0, 6)
MAX_SIDE = 99_999
# Far beyond every seed; Python itself refuses to write numbers of some thousand digits.
HUGE = 10**40
# Each is paid: a slip of the finger should not order a million.
MOST_PICTURES = 1000
# Labels for reports, not a place for data.
MOST_TAGS, MAX_TAG = 20, 100
# Kept by the client itself: they need no word of the provider's.
CLIENT_FIELDS = frozenset({"n", "client_request_id", "tags"})

Origin = str | Path | bytes | bytearray | memoryview | IO[bytes] | OpenedReference


@dataclass(frozen=True, slots=True)
class Reference:
    """An input image as the caller names it.

    Args:
        origin: A URL, a path, a `data:` URI, the bytes themselves, a binary file object, or one that
            is opened already.
        name: A file name to show the provider; taken from the path or URL where absent.

    Nothing is opened here; `unified_flux.references` does that once, before a flow starts.
    """

    origin: Origin
    name: str | None = None

    def __repr__(self) -> str:
        kind = type(self.origin).__name__
        shown = safe(self.origin, 80) if isinstance(self.origin, (str, Path)) else f"<{kind}>"
        return f"Reference({shown!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """One request for one or more pictures. `None` always means the provider's own default.

    Args:
        prompt: What to draw.
        model: A family (`flux-kontext-pro`) or a provider's own model id; None takes the default.
        references: Input images: URLs, paths, bytes, data URIs, file objects or `Reference`.
        aspect_ratio: `W:H`, such as `16:9`. Excludes width and height.
        resolution: `1K` or `2K` (about 1 or 4 megapixels). Excludes width and height.
        width, height: Pixels, both or neither.
        output_format: `jpeg`, `png` or `webp`.
        seed: Any whole number; picture i of n takes seed + i, but where one submit makes several.
        prompt_upsampling: Whether the provider may rewrite the prompt.
        safety_tolerance: 0 (strict) to 6 (permissive).
        translate_prompt: Whether the provider may translate the prompt.
        watermark: Text to put on the picture.
        n: How many pictures; each is one paid submit, unless the model makes several at once.
        client_request_id: Your own id for tracing.
        tags: Your own words for telling costs apart; they reach no provider.
        extra: A provider's own parameters, keyed by provider name.

    Raises:
        InvalidRequest: Listing every value that no provider could take.
    """

    prompt: str
    model: str | None = None
    references: tuple[Reference, ...] = ()
    aspect_ratio: str | None = None
    resolution: str | None = None
    width: int | None = None
    height: int | None = None
    output_format: str | None = None
    seed: int | None = None
    prompt_upsampling: bool | None = None
    safety_tolerance: int | None = None
    translate_prompt: bool | None = None
    watermark: str | None = None
    n: int | None = None
    client_request_id: str | None = None
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    if TYPE_CHECKING:
        # What is accepted is wider than what is kept.
        def __init__(
            self,
            *,
            prompt: str,
            model: str | None = None,
            references: Iterable[Reference | Origin] | Reference | Origin = (),
            aspect_ratio: str | None = None,
            resolution: str | None = None,
            width: int | None = None,
            height: int | None = None,
            output_format: str | None = None,
            seed: int | None = None,
            prompt_upsampling: bool | None = None,
            safety_tolerance: int | None = None,
            translate_prompt: bool | None = None,
            watermark: str | None = None,
            n: int | None = None,
            client_request_id: str | None = None,
            tags: Iterable[str] | str = (),
            extra: Mapping[str, Mapping[str, Any]] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", _as_references(self.references))
        object.__setattr__(self, "tags", _as_tags(self.tags))
        problems = [*_field_problems(self), *_joint_problems(self)]
        if problems:
            raise InvalidRequest("the request cannot be sent to any provider", problems=problems)

    def set_fields(self) -> Iterator[tuple[str, Any]]:
        """Name and value of every field that the caller set."""
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value not in ((), {}):
                yield name, value

    def submits(self, at_once: int = 1) -> tuple[ImageRequest, ...]:
        """The requests that make the n pictures, so many in each at most.

        Picture i is asked for with seed + i, as far as it has a submit, or the first place in one.
        """
        if self.n is None:
            return (self,)
        return tuple(
            dataclasses.replace(
                self,
                n=min(at_once, self.n - first) if at_once > 1 else None,
                seed=None if self.seed is None else self.seed + first,
            )
            for first in range(0, self.n, at_once)
        )


def _as_references(given: Any) -> tuple[Reference, ...]:
    if isinstance(given, (str, bytes, bytearray, memoryview, Reference)) or _is_one(given):
        given = (given,)
    return tuple(item if isinstance(item, Reference) else Reference(item) for item in given or ())


def _as_tags(given: Any) -> Any:
    """Each once, in the order given; what is no list of texts is left for the checks to refuse."""
    if given is None or isinstance(given, str):
        given = (given,) if given else ()
    try:
        return tuple(dict.fromkeys(given))
    except TypeError:
        return given


def _is_one(given: Any) -> bool:
    """A path or a file object, of whatever class."""
    return hasattr(given, "__fspath__") or hasattr(given, "read")


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    if not value.strip():
        return "is empty"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "holds bytes that are not valid UTF-8"
    return None


def _whole(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be a whole number, not {safe(value, 40)}"
    return None if abs(value) < HUGE else "has more digits than any provider takes"


def _positive(value: Any) -> str | None:
    return _whole(value) or (None if value > 0 else f"must be at least 1, not {value}")


def _pixels(value: Any) -> str | None:
    wrong = _positive(value)
    return wrong or (None if value <= MAX_SIDE else f"must be at most {MAX_SIDE}, not {value}")


def _count(value: Any) -> str | None:
    wrong = _positive(value)
    return wrong or (
        None if value <= MOST_PICTURES else f"must be at most {MOST_PICTURES}, not {value}"
    )


def _switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"must be True or False, not {safe(value, 40)}"


def _ratio(value: Any) -> str | None:
    if isinstance(value, str) and parse_ratio(value):
        return None
    return f"must be W:H with whole numbers from 1, such as 16:9, not {safe(value, 40)}"


def _safety(value: Any) -> str | None:
    low, high = SAFETY
    wrong = _whole(value)
    return wrong or (
        None if low <= value <= high else f"must be {low} (strict) to {high}, not {value}"
    )


def _one_of(options: Iterable[str]) -> Callable[[Any], str | None]:
    known = tuple(options)

    def check(value: Any) -> str | None:
        return None if value in known else f"must be {' or '.join(known)}, not {safe(value, 40)}"

    return check


def _tags(value: Any) -> str | None:
    if not isinstance(value, tuple) or not all(_text(tag) is None for tag in value):
        return "must be texts, such as campaign-7"
    if len(value) > MOST_TAGS or any(len(tag) > MAX_TAG for tag in value):
        return f"must be at most {MOST_TAGS} texts of at most {MAX_TAG} characters"
    return None


def _extra(value: Any) -> str | None:
    entries = value.values() if isinstance(value, Mapping) else [None]
    if not all(isinstance(entry, Mapping) for entry in entries):
        return 'must map a provider to its own parameters, such as {"rivya": {"watermark": "x"}}'
    try:
        sayable = all(_is_json(dict(entry)) for entry in entries if entry is not None)
    except RecursionError:
        sayable = False
    if not sayable:
        return "holds what JSON cannot say; use texts, finite numbers, True, False, lists and dicts"
    return None


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_text_or_empty(key) and _is_json(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int):
        return abs(value) < HUGE
    return value is None or _text_or_empty(value)


def _text_or_empty(value: Any) -> bool:
    return isinstance(value, str) and _text(f"x{value}") is None


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "prompt": _text,
    "model": _text,
    "aspect_ratio": _ratio,
    "resolution": _one_of(PIXELS),
    "width": _pixels,
    "height": _pixels,
    "output_format": _one_of(OUTPUT_FORMATS),
    "seed": _whole,
    "prompt_upsampling": _switch,
    "safety_tolerance": _safety,
    "translate_prompt": _switch,
    "watermark": _text,
    "n": _count,
    "client_request_id": _text,
    "tags": _tags,
    "extra": _extra,
}


def _nearest(name: str, value: Any) -> Any:
    """The value that was probably meant, None where none suggests itself."""
    if name == "aspect_ratio" and isinstance(value, str):
        meant = value.lower().replace("x", ":").replace("/", ":").replace(" ", "")
        return meant if parse_ratio(meant) else None
    if name == "output_format":
        return {"jpg": "jpeg"}.get(str(value).lower().lstrip(".")) or _same(value, OUTPUT_FORMATS)
    if name == "resolution":
        return _same(value, PIXELS)
    if (
        isinstance(value, float)
        and name in {"seed", "n", "width", "height"}
        and value == value // 1
    ):
        return int(value)
    if isinstance(value, float) and name == "seed" and abs(value) < 2**53:
        return int(value)
    if (
        name == "safety_tolerance"
        and not isinstance(value, bool)
        and isinstance(value, (int, float))
    ):
        return None if isnan(value) else int(min(max(value, SAFETY[0]), SAFETY[1]))
    return None


def _same(value: Any, options: Iterable[str]) -> str | None:
    return next((option for option in options if option.lower() == str(value).lower()), None)


def _field_problems(request: ImageRequest) -> Iterator[Problem]:
    for name, check in _CHECKS.items():
        value = getattr(request, name)
        if value is None and name != "prompt":
            continue
        wrong = check(value)
        if wrong:
            yield Problem(field=name, message=wrong, nearest=_nearest(name, value))


def _joint_problems(request: ImageRequest) -> Iterator[Problem]:
    if (request.width is None) != (request.height is None):
        there, missing = ("width", "height") if request.height is None else ("height", "width")
        yield Problem(
            field=there, message=f"needs {missing} beside it, or use aspect_ratio instead"
        )
    if request.width is not None or request.height is not None:
        for name in ("aspect_ratio", "resolution"):
            if getattr(request, name) is not None:
                yield Problem(
                    field=name, message="excludes width and height; give one or the other"
                )
