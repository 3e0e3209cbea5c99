"""Ratio, resolution, width and height: four fields that say one thing, in three dialects.

A card has a ratio (a list, or a range), a ratio and a resolution, or a width and a height. Which
it has is read from its fields; what is said in other words than asked is *converted*, what comes
out differently is *approximated*.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from unified_flux import geometry
from unified_flux.draft import Draft
from unified_flux.geometry import nearest_ratio, nearest_resolution, parse_ratio, say_ratio, size_of
from unified_flux.report import Outcome

FIELDS = ("aspect_ratio", "resolution", "width", "height")


def translate(draft: Draft) -> None:
    """Write the request's shape into the draft, whichever way it was said."""
    request, fields = draft.request, draft.card.fields
    if request.width is not None and request.height is not None:
        if "width" in fields:
            _pixels(draft, request.width, request.height)
        elif "aspect_ratio" in fields:
            _pixels_as_ratio(draft, request.width, request.height)
        else:
            _drop(draft, "width", "height")
    elif request.aspect_ratio is not None or request.resolution is not None:
        if "width" in fields and "aspect_ratio" not in fields:
            _ratio_as_pixels(draft)
        else:
            _ratio(draft)
            _resolution(draft)


def _drop(draft: Draft, *names: str) -> None:
    for name in names:
        reason = f"{draft.card.model} has no parameter for it"
        draft.end(name, Outcome.DROPPED, reason=reason)


def _leaf(draft: Draft, name: str) -> tuple[str, Mapping[str, Any]]:
    key = draft.card.fields[name]
    return key, draft.card.leaves[key]


def _ratio(draft: Draft) -> None:
    asked = draft.request.aspect_ratio
    if asked is None:
        return
    if "aspect_ratio" not in draft.card.fields:
        _drop(draft, "aspect_ratio")
        return
    key, leaf = _leaf(draft, "aspect_ratio")
    became, exact = fit_ratio(_parsed(asked), asked, leaf)
    draft.values[key] = became
    if became == asked:
        draft.end("aspect_ratio", Outcome.NATIVE, became, keys=(key,))
    elif exact:
        draft.end("aspect_ratio", Outcome.CONVERTED, became, keys=(key,), reason="the same ratio")
    else:
        reason = f"{draft.card.model} takes {_domain(leaf)}"
        draft.end("aspect_ratio", Outcome.APPROXIMATED, became, keys=(key,), reason=reason)


def fit_ratio(ratio: Fraction, said: str, leaf: Mapping[str, Any]) -> tuple[str, bool]:
    """The model's word nearest to `ratio`, and whether it is the same ratio."""
    options = ratios_of(leaf)
    if options:
        if said in options:
            return said, True
        best = nearest_ratio(ratio, options)
        return best, _parsed(best) == ratio
    low, high = leaf.get("x-ratio-between", (said, said))
    if ratio < _parsed(low):
        return low, False
    if ratio > _parsed(high):
        return high, False
    return ":".join(part.lstrip("0") for part in said.split(":")), True


def ratios_of(leaf: Mapping[str, Any]) -> list[str]:
    """The ratios that a key takes by name; words such as "as the input image" are none."""
    return [option for option in leaf.get("enum", ()) if parse_ratio(str(option))]


def _domain(leaf: Mapping[str, Any]) -> str:
    if "enum" in leaf:
        return ", ".join(ratios_of(leaf))
    low, high = leaf["x-ratio-between"]
    return f"any ratio from {low} to {high}"


def _parsed(text: str) -> Fraction:
    ratio = parse_ratio(text)
    if ratio is None:
        raise ValueError(text)
    return ratio


def _resolution(draft: Draft) -> None:
    asked = draft.request.resolution
    if asked is None:
        return
    if "resolution" not in draft.card.fields:
        _drop(draft, "resolution")
        return
    key, _ = _leaf(draft, "resolution")
    draft.values[key] = asked
    draft.end("resolution", Outcome.NATIVE, asked, keys=(key,))


def _ratio_as_pixels(draft: Draft) -> None:
    """A ratio and a resolution for a model that takes pixels."""
    request = draft.request
    (width_key, width_leaf), (height_key, _) = _leaf(draft, "width"), _leaf(draft, "height")
    ratio = _parsed(request.aspect_ratio or "1:1")
    resolution = request.resolution or "1K"
    step = int(width_leaf.get("multipleOf", geometry.STEP))
    width, height = size_of(ratio, resolution, step)
    exact = geometry.distance(width * height, geometry.PIXELS[resolution]) < 0.7
    if not exact:
        width, height = geometry.near_size(ratio, resolution, step)
    draft.values.update({width_key: width, height_key: height})
    size, keys = {"width": width, "height": height}, (width_key, height_key)
    kept = Outcome.CONVERTED if exact else Outcome.APPROXIMATED
    if request.aspect_ratio is not None:
        shape = f"exactly {say_ratio(ratio)}" if exact else f"about {say_ratio(ratio)}"
        assumed = "" if request.resolution else ", which is assumed as the model asks for pixels"
        reason = f"{shape} in steps of {step} at {resolution}{assumed}"
        draft.end("aspect_ratio", kept, size, keys=keys, reason=reason)
    if request.resolution is not None:
        outcome, reason = kept, f"{resolution} is {width} x {height} in our reading"
        if request.aspect_ratio is None:
            outcome, reason = Outcome.APPROXIMATED, "no ratio was asked, 1:1 is taken"
        draft.end("resolution", outcome, size, keys=keys, reason=reason)


def _pixels(draft: Draft, width: int, height: int) -> None:
    """Pixels for a model that takes pixels, in its own steps."""
    for name, asked in (("width", width), ("height", height)):
        key, leaf = _leaf(draft, name)
        step, least = int(leaf.get("multipleOf", 1)), int(leaf.get("minimum", 1))
        became = geometry.to_step(asked, step, least)
        draft.values[key] = became
        if became == asked:
            draft.end(name, Outcome.NATIVE, became, keys=(key,))
        else:
            reason = f"{draft.card.model} takes multiples of {step} from {least}"
            draft.end(name, Outcome.APPROXIMATED, became, keys=(key,), reason=reason)


def _pixels_as_ratio(draft: Draft, width: int, height: int) -> None:
    """Pixels for a model that takes a ratio, and perhaps a resolution."""
    key, leaf = _leaf(draft, "aspect_ratio")
    ratio = Fraction(width, height)
    said, _ = fit_ratio(ratio, say_ratio(ratio), leaf)
    became: Any = {"aspect_ratio": said}
    keys: tuple[str, ...] = (key,)
    if "resolution" in draft.card.fields:
        resolution_key, _ = _leaf(draft, "resolution")
        became["resolution"] = nearest_resolution(width, height)
        draft.values[resolution_key] = became["resolution"]
        keys = (key, resolution_key)
    draft.values[key] = said
    stated = draft.card.facts.get("sizes", {}).get(" ".join(became.values()))
    outcome = Outcome.CONVERTED if stated == [width, height] else Outcome.APPROXIMATED
    shape = ", ".join(became.values())
    reason = f"{draft.card.model} takes a ratio, its pixels are not documented"
    for name in ("width", "height"):
        draft.end(name, outcome, shape, keys=keys, reason=reason)
