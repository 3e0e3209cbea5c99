"""`ImageRequest`: what is refused before any provider is asked, and what it says instead."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from unified_flux import ImageRequest, InvalidRequest, Reference


@pytest.mark.parametrize(
    ("fields", "field", "nearest"),
    [
        ({"prompt": ""}, "prompt", None),
        ({"prompt": " \n\t"}, "prompt", None),
        ({"prompt": None}, "prompt", None),
        ({"prompt": "\udce4"}, "prompt", None),
        ({"aspect_ratio": "16x9"}, "aspect_ratio", "16:9"),
        ({"aspect_ratio": "16/9"}, "aspect_ratio", "16:9"),
        ({"aspect_ratio": "0:1"}, "aspect_ratio", None),
        ({"aspect_ratio": "wide"}, "aspect_ratio", None),
        ({"aspect_ratio": 1.5}, "aspect_ratio", None),
        ({"resolution": "1k"}, "resolution", "1K"),
        ({"resolution": "8K"}, "resolution", None),
        ({"width": 0, "height": 64}, "width", None),
        ({"width": 64.0, "height": 64}, "width", 64),
        ({"width": 64}, "width", None),
        ({"output_format": "jpg"}, "output_format", "jpeg"),
        ({"output_format": "PNG"}, "output_format", "png"),
        ({"output_format": "tiff"}, "output_format", None),
        ({"seed": 1.5}, "seed", 1),
        ({"seed": True}, "seed", None),
        ({"seed": "7"}, "seed", None),
        ({"prompt_upsampling": "true"}, "prompt_upsampling", None),
        ({"safety_tolerance": 9}, "safety_tolerance", 6),
        ({"safety_tolerance": -1}, "safety_tolerance", 0),
        ({"safety_tolerance": float("nan")}, "safety_tolerance", None),
        ({"n": 0}, "n", None),
        ({"n": 2.0}, "n", 2),
        ({"watermark": ""}, "watermark", None),
        ({"client_request_id": ""}, "client_request_id", None),
        ({"extra": {"rivya": 3}}, "extra", None),
        ({"extra": "watermark"}, "extra", None),
    ],
)
def test_a_value_that_no_provider_could_take_is_refused_with_the_nearest_that_would_do(
    fields: dict[str, Any], field: str, nearest: Any
) -> None:
    """Each wrong value names its field and, where one suggests itself, the nearest right value."""
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(**{"prompt": "a fox", **fields})
    assert [(p.field, p.nearest) for p in caught.value.problems] == [(field, nearest)]
    assert caught.value.exit_code == 3


def test_every_wrong_value_is_told_at_once() -> None:
    """One error lists all problems of all fields."""
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(prompt="", seed=1.5, safety_tolerance=9, n=0)  # type: ignore[arg-type]
    assert [p.field for p in caught.value.problems] == ["prompt", "seed", "safety_tolerance", "n"]


def test_a_size_excludes_ratio_and_resolution() -> None:
    """Width and height beside a ratio or a resolution are two answers to one question."""
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(prompt="x", width=64, height=64, aspect_ratio="1:1", resolution="1K")
    assert [p.field for p in caught.value.problems] == ["aspect_ratio", "resolution"]


def test_a_request_is_frozen_and_keyword_only() -> None:
    """Nothing changes a request after it was made, and no field is given by position."""
    request = ImageRequest(prompt="a fox")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.prompt = "a hen"  # type: ignore[misc]
    with pytest.raises(TypeError):
        ImageRequest("a fox")  # type: ignore[misc]


@pytest.mark.parametrize("given", ["a.png", b"bytes", Path("a.png"), Reference("a.png")])
def test_one_reference_needs_no_list(given: Any) -> None:
    """A single path, URL, bytes or Reference counts as a list of one."""
    assert len(ImageRequest(prompt="x", references=given).references) == 1


def test_only_what_the_caller_set_counts_as_set() -> None:
    """None, no references and no extra are the provider's to decide; False and 0 are set."""
    request = ImageRequest(prompt="x", seed=0, prompt_upsampling=False)
    assert dict(request.set_fields()) == {"prompt": "x", "seed": 0, "prompt_upsampling": False}


def test_n_pictures_are_n_requests_with_following_seeds() -> None:
    """Picture i of n takes seed + i and asks for one picture."""
    pictures = ImageRequest(prompt="x", n=3, seed=7).submits()
    assert [(p.seed, p.n) for p in pictures] == [(7, None), (8, None), (9, None)]
    assert [p.seed for p in ImageRequest(prompt="x", n=2).submits()] == [None, None]


def test_the_bytes_of_a_reference_never_show_in_its_repr() -> None:
    """A reference's repr names its kind, not its content."""
    assert repr(Reference(b"secret")) == "Reference('<bytes>')"
