"""Requests as hypothesis makes them: of any kind, and of what a card takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from unified_flux.contract import Card

Fields = st.SearchStrategy[dict[str, Any]]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_NUMBERS = st.integers() | st.integers(-2, 5000) | st.just(10**400) | st.booleans() | st.floats()
_RATIOS = st.builds("{}:{}".format, st.integers(0, 99), st.integers(0, 99)) | st.sampled_from(
    ["1:1", "16:9", "16x9", "21:9", "9:21", "22:9", "1:99999", "99999:1", "", "١:١"]
)
_ANYTHING: Mapping[str, st.SearchStrategy[Any]] = {
    "prompt": st.text(min_size=1, max_size=40) | st.just("শ" * 5001),
    "model": st.text(max_size=10),
    "aspect_ratio": _RATIOS | st.text(max_size=6),
    "resolution": st.sampled_from(["1K", "2K", "4K", "1k"]),
    "width": _NUMBERS,
    "height": _NUMBERS,
    "output_format": st.sampled_from(["jpeg", "png", "webp", "jpg", ""]),
    "seed": _NUMBERS,
    "prompt_upsampling": st.booleans() | st.just("true"),
    "safety_tolerance": st.integers(-1, 7) | st.floats(),
    "translate_prompt": st.booleans() | st.just(1),
    "watermark": st.text(max_size=10),
    "n": _NUMBERS,
    "client_request_id": st.text(max_size=10),
    "tags": st.lists(st.text(max_size=5) | st.integers(), max_size=3) | st.text(max_size=5),
}


def free(card: Card) -> Fields:
    """A few fields with anything in them, so that most are not refused for another's sake."""
    names = [*card.parameters, "input_image_1", "a.b", "x, y"]
    own = st.dictionaries(st.sampled_from(names) | st.text(max_size=8), _JSON, max_size=3)
    extra = st.dictionaries(st.sampled_from([card.provider, "other"]), own | _JSON, max_size=2)
    options = {**_ANYTHING, "extra": extra}
    chosen = st.sets(st.sampled_from(sorted(options)), max_size=4)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({n: options[n] for n in names}))


def fitting(card: Card, references: int = 0) -> Fields:
    """Fields that the card takes as they are, beside so many references."""
    bounds = {field: _bounds(card, path, references) for field, path in card.fields.items()}
    options = {
        field: _taken(leaf, card, field)
        for field, leaf in bounds.items()
        if field not in {"model", "width", "height"}
    }
    options["model"] = st.sampled_from([card.model, card.family])
    optional = st.fixed_dictionaries({"prompt": options.pop("prompt")}, optional=options)
    if "width" not in card.fields:
        return optional
    sides = {name: _taken(bounds[name], card, name) for name in ("width", "height")}
    shape: Fields = st.just({}) | st.fixed_dictionaries(
        {name: side.filter(lambda pixels: pixels < 10**5) for name, side in sides.items()}
    )
    return st.builds(lambda one, other: one | other, optional, shape)


def _bounds(card: Card, path: str, references: int) -> dict[str, Any]:
    """A leaf of the card, with what holds beside references."""
    leaf = dict(card.leaves[path])
    if references and {*card.schema.get("if", {}).get("required", ())} & {*card.reference_keys}:
        leaf |= card.schema["then"].get("properties", {}).get(path, {})
    return leaf


def _taken(leaf: Mapping[str, Any], card: Card, field: str) -> st.SearchStrategy[Any]:
    """Values that a leaf takes, in the words of ImageRequest."""
    if "enum" in leaf:
        options = [option for option in leaf["enum"] if option is not None]
        if {*options} == {"true", "false"}:
            return st.booleans()
        if all(str(option).isdigit() for option in options):
            return st.sampled_from([int(option) for option in options])
        # A ratio by a word, such as that of the input image, is the provider's own to choose.
        ours = [card.meaning(field, option) for option in options]
        return st.sampled_from([o for o in ours if field != "aspect_ratio" or ":" in o])
    if "x-ratio-between" in leaf:
        return st.sampled_from(["21:9", "9:21", "1:1", "3:2", "7:5", "16:10", "100:99"])
    kinds = leaf["type"] if isinstance(leaf["type"], list) else [leaf["type"]]
    if "boolean" in kinds:
        return st.booleans()
    if "string" in kinds:
        most = min(leaf.get("maxLength", 60), 60)
        return st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=most)
    step, low, high = leaf.get("multipleOf", 1), leaf.get("minimum"), leaf.get("maximum")
    low, high = (-(2**40) if low is None else low), (2**40 if high is None else high)
    if step == 1:
        return st.integers(low, high)
    return st.integers(-(-low // step), 128).map(lambda count: count * step)
