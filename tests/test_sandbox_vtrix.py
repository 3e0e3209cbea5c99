"""The Vtrix emulator answers as its documents and its own clients expect."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from unified_flux.contract import load_answers
from unified_flux.sandbox.emulator import Fault, Reply
from unified_flux.sandbox.vtrix import VtrixEmulator
from unified_flux.wire import Purpose, WireRequest

BASE = "https://cloud.vtrix.ai"
PATH = "/model/v1/generation"
KEY = "sandbox_test"
MODEL = "flux_kontext_pro"


class World:
    """An emulator with a clock that only the test moves, and short words to talk to it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.emulator = VtrixEmulator(
            key=KEY, clock=lambda: self.now, wall=lambda: 1_710_000_000 + self.now
        )

    def send(self, method: str, url: str, body: Any = None, *, key: str | None = KEY) -> Reply:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = url if "://" in url else BASE + url
        request = WireRequest(
            purpose=Purpose.ASK, method=method, url=url, headers=headers, body=raw
        )
        return self.emulator.handle(request)

    def submit(self, prompt: str = "a red fox", model: str = MODEL, **params: Any) -> Reply:
        return self.send("POST", PATH, {"model": model, "prompt": prompt, **params})

    def poll(self, task: str) -> Reply:
        return self.send("GET", f"{PATH}/task/{task}")

    def finished(self, prompt: str = "a red fox", **params: Any) -> dict[str, Any]:
        task = self.submit(prompt, **params).object()["id"]
        self.now += 60
        return self.poll(task).object()

    def drawn(self, prompt: str = "a red fox", **params: Any) -> bytes:
        found = self.finished(prompt, **params)
        return self.send("GET", found["output"][0]["content"][0]["url"], key=None).body


@pytest.fixture
def world() -> World:
    return World()


def picture(format_: str = "PNG") -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (300, 200), (20, 90, 200)).save(kept, format_)
    return kept.getvalue()


def shape(data: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        return image.format, image.size


def test_task_runs_to_completed(world: World) -> None:
    """A task is in progress with a share done, then completed with output, usage and times."""
    first = world.submit(seed=7)
    found = first.object()
    task = found.pop("id")
    assert len(task) == 20
    assert found == {
        "created_at": 1_710_000_100,
        "status": "in_progress",
        "model": MODEL,
        "progress": 0.0,
        "metadata": {"in_queue_at": 1_710_000_100.0},
    }
    world.now += 0.05
    assert world.poll(task).object()["progress"] == 0.5
    world.now += 0.05
    done = world.poll(task).object()
    assert (done["status"], done["progress"]) == ("completed", 1.0)
    assert done["usage"] == {"cost": "0.01", "discount": 1}
    assert done["output"][0]["content"][0]["type"] == "image"
    assert load_answers("vtrix").violations(done) == []


def test_only_unfinished_answers_name_a_pace(world: World) -> None:
    """Retry-After stands on answers of running tasks and on no others."""
    first = world.submit()
    world.now += 1
    assert (first.retry_after, world.poll(first.object()["id"]).retry_after) == (0.1, None)


def test_both_envelopes_are_taken(world: World) -> None:
    """Parameters come flat as documented, or under input as clients send them."""
    params = {"prompt": "a red fox", "seed": 7, "aspect_ratio": "4:3"}
    sent = [{"model": MODEL, **params}, {"model": MODEL, "input": [{"params": params}]}]
    drawn = []
    for body in sent:
        task = world.send("POST", PATH, body).object()["id"]
        world.now += 1
        url = world.poll(task).object()["output"][0]["content"][0]["url"]
        drawn.append(world.send("GET", url).body)
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not JSON"),
        (b'"text"', "JSON object"),
        ({"prompt": "a fox"}, "model"),
        ({"model": "flux_kontext_por", "prompt": "a fox"}, 'did you mean "flux_kontext_pro"'),
        ({"model": MODEL}, "prompt is required"),
        ({"model": MODEL, "input": []}, "list of one object"),
        ({"model": MODEL, "input": [{"params": []}]}, "list of one object"),
        (
            {"model": MODEL, "input": [{"params": {"model": MODEL}}]},
            "the model stands beside input",
        ),
        ({"model": MODEL, "input": [{"params": {"prompt": "a"}}], "seed": 7}, "seed"),
        ({"model": MODEL, "prompt": "a fox", "safety_tolerance": 0}, "safety_tolerance"),
        (
            {"model": MODEL, "prompt": "a fox", "input_image_1": "https://a.example.com/b"},
            "input_image_1",
        ),
        ({"model": MODEL, "prompt": "a fox", "aspect_ratio": "22:9"}, "aspect_ratio"),
        ({"model": "flux_2_pro", "prompt": "a fox", "width": 100}, "width"),
        ({"model": "flux_2_pro", "prompt": "a fox", "width": 32_000, "height": 32_000}, "beyond"),
        ({"model": "flux_2_pro", "prompt": "a fox", "width": 64, "height": 64_000}, "beyond"),
        ({"model": MODEL, "prompt": "a fox", "input_image": ""}, "input_image"),
        ({"model": MODEL, "prompt": "a fox", "input_image": 7}, "input_image"),
        ({"model": MODEL, "prompt": "a fox", "input_image": "!!"}, "neither base64 nor a URL"),
        ({"model": MODEL, "prompt": "a fox", "input_image": "aGVsbG8="}, "not a readable"),
        (
            {"model": MODEL, "prompt": "a fox", "input_image_2": "https://10.0.0.1/a.png"},
            "input_image_2",
        ),
        ({"model": MODEL, "prompt": "a fox sandbox:fail"}, 'did you mean "failed"'),
    ],
)
def test_invalid_bodies_are_refused(world: World, body: Any, named: str) -> None:
    """A 400 names the fault; nothing is accepted and nothing charged."""
    reply = world.send("POST", PATH, body)
    assert reply.status == 400
    assert named in reply.object()["error"]["message"]
    assert world.emulator.meter()["accepted"] == 0


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_inline_references_reach_the_picture(world: World, format_: str, head: str) -> None:
    """Base64 text, bare or in a data URI, is decoded and shown."""
    text = head + base64.b64encode(picture(format_)).decode()
    assert world.drawn(input_image=text) != world.drawn()


def test_url_references_reach_the_picture(world: World) -> None:
    """A URL is shown as it is said, and nothing is fetched."""
    one, other = (world.drawn(input_image=f"https://cdn.example.com/{name}.png") for name in "ab")
    assert one != other


def test_references_above_the_documented_size_are_refused(world: World) -> None:
    """An image above 20 MB is refused by its size."""
    text = base64.b64encode(picture() + bytes(20_000_000)).decode()
    reply = world.submit(input_image_3=text)
    assert "20000000" in reply.object()["error"]["message"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"aspect_ratio": "16:9", "output_format": "png"}, ("PNG", (1344, 756))),
        ({"aspect_ratio": "9:21"}, ("JPEG", (658, 1536))),
        ({}, ("JPEG", (1024, 1024))),
        ({"model": "flux_2_pro", "width": 1152, "height": 864}, ("JPEG", (1152, 864))),
        ({"model": "flux_2_pro", "width": 64.0, "height": 96.0}, ("JPEG", (64, 96))),
        ({"model": "flux_2_max", "output_format": None, "seed": None}, ("JPEG", (1024, 1024))),
        (
            {"model": "flux_2_max", "width": 65, "height": 777, "output_format": "png"},
            ("PNG", (65, 777)),
        ),
    ],
)
def test_picture_has_the_shape_and_format_asked_for(
    world: World, params: dict[str, Any], expected: tuple[str, tuple[int, int]]
) -> None:
    """Ratio, pixels and format are the payload's; what it leaves open is square and the default."""
    assert shape(world.drawn(**params)) == expected


@pytest.mark.parametrize("width", [9, 13, 16, 17, 37, 100, 1777, 233])
def test_any_ratio_comes_nearly_exact(world: World, width: int) -> None:
    """A ratio of any two numbers comes within one percent, at about a megapixel."""
    height = 1000 if width > 500 else 100 if width > 40 else 16
    _, (wide, tall) = shape(world.drawn(aspect_ratio=f"{width}:{height}"))
    assert wide / tall == pytest.approx(width / height, rel=0.01)
    assert 0.9 < wide * tall / 1024**2 < 1.1


@pytest.mark.parametrize("key", [None, "", "other"])
def test_bad_keys_are_refused(world: World, key: str | None) -> None:
    """A missing or unknown key answers 401 on every route but the pictures'."""
    for method, path in (
        ("POST", PATH),
        ("GET", f"{PATH}/task/x"),
        ("GET", "/api/v1/skill/models"),
    ):
        assert world.send(method, path, key=key).status == 401


def test_unknown_task_is_not_found(world: World) -> None:
    """A poll for a task that does not exist answers 404."""
    assert world.poll("d758n65e878c73cmdg20").status == 404


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("failed", {"code": "002014001", "message": "image generation failed"}),
        ("moderated", {"code": 110001, "error_message": "the input may be sensitive"}),
    ],
)
def test_failed_tasks_cost_nothing(world: World, word: str, error: dict[str, Any]) -> None:
    """A failed task is HTTP 200 with its error, and its usage says 0."""
    found = world.finished(f"a fox sandbox:{word}")
    assert (found["status"], found["error"]) == ("failed", error)
    assert found["usage"] == {"cost": "0", "discount": 1}
    assert "output" not in found
    assert world.emulator.meter()["charged"] == "0.00"


def test_meter_is_exact(world: World) -> None:
    """Charges add up as decimals: running tasks count, failed ones do not."""
    for prompt in ("a", "b", "c sandbox:failed"):
        world.finished(prompt)
    world.submit()
    assert world.emulator.meter() == {
        "accepted": 4, "uploads": 0, "polls": 3, "downloads": 0, "charged": "0.03", "unit": "USD",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "status", "body"),
    [
        ("401", 401, {"error": {"code": 401, "message": "API key missing or invalid"}}),
        (
            "402",
            402,
            {
                "status": {"code": 402, "message": "insufficient balance", "error_code": 40201},
                "data": None,
            },
        ),
        ("403", 403, {"error": "permission denied"}),
        ("429", 429, {"error": {"code": 1002, "message": "rate limited"}}),
        ("500-once", 500, {"error": {"code": 500, "error_message": "internal error"}}),
        ("502", 502, {"code": 502, "message": "bad gateway"}),
        ("503", 503, {"code": 503, "message": "service unavailable"}),
        (
            "moderated-at-once",
            400,
            {"error": {"code": 110001, "error_message": "the input may be sensitive"}},
        ),
    ],
)
def test_each_refusal_has_its_shape(
    world: World, word: str, status: int, body: dict[str, Any]
) -> None:
    """The shapes of errors that clients have met all occur."""
    reply = world.submit(f"a fox sandbox:{word}")
    assert (reply.status, reply.object()) == (status, body)


def test_resending_after_an_accepted_fault_is_a_second_task(world: World) -> None:
    """With no idempotency key a resend after a lost answer is paid twice: that is the danger."""
    said = [world.submit("a fox sandbox:500-accepted-once").status for _ in range(2)]
    assert (said, world.emulator.meter()["accepted"]) == ([500, 200], 2)


def test_reset_after_leaves_a_paid_task(world: World) -> None:
    """A reset after acceptance has charged all the same."""
    assert world.submit("a fox sandbox:reset-after").fault is Fault.RESET
    assert world.emulator.meter()["charged"] == "0.01"


def test_ready_is_completed_in_the_first_answer(world: World) -> None:
    """A fast task comes back completed from the submit itself."""
    found = world.submit("a fox sandbox:ready").object()
    assert (found["status"], len(found["output"])) == ("completed", 1)


def test_models_are_paged_and_searched(world: World) -> None:
    """The list answers in pages and knows type and keywords."""

    def listed(query: str) -> dict[str, Any]:
        found: dict[str, Any] = world.send("GET", f"/api/v1/skill/models?{query}").object()
        assert found["status"] == {"code": 200, "message": "success"}
        data: dict[str, Any] = found["data"]
        return data

    first, second = listed("page=1&page_size=3"), listed("page=2&page_size=3")
    assert (first["total"], first["total_pages"], len(second["models"])) == (4, 2, 1)
    assert [one["id"] for one in listed("keywords=KONTEXT")["models"]] == [
        "flux_kontext_max",
        "flux_kontext_pro",
    ]
    assert listed("type=video")["models"] == []
    assert world.send("GET", "/api/v1/skill/models?page=x").status == 400


def test_spec_says_what_the_card_says(world: World) -> None:
    """A model's spec names where to send, and each parameter with its bounds."""
    found = world.send("GET", "/api/v1/skill/models/flux_2_max/spec").object()["data"]
    parameters = {one["name"]: one for one in found["parameters"]}
    assert found["api"]["endpoint"] == f"{BASE}{PATH}"
    assert parameters["prompt"]["required"]
    assert parameters["width"]["type"] == "integer"
    assert parameters["safety_tolerance"]["constraints"] == {"min": 0, "max": 5, "default": 2}
    assert world.send("GET", "/api/v1/skill/models/flux_9/spec").status == 404
