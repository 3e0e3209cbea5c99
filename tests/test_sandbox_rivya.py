"""The Rivya emulator answers as Rivya documents, and keeps exact books."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from unified_flux.adapter import complain
from unified_flux.contract import load_answers
from unified_flux.sandbox.emulator import Reply
from unified_flux.sandbox.rivya import RivyaEmulator
from unified_flux.wire import Purpose, WireRequest

BASE = "https://rivya.ai"
KEY = "sandbox_test"
MODEL = "flux-kontext-pro"


class World:
    """An emulator with a clock that only the test moves, and short words to talk to it."""

    def __init__(self, **settings: Any) -> None:
        self.now = 100.0
        self.emulator = RivyaEmulator(
            key=KEY, clock=lambda: self.now, wall=lambda: 1_778_457_600 + self.now, **settings
        )

    def send(
        self, method: str, url: str, body: bytes = b"", *, key: str | None = KEY, **headers: str
    ) -> Reply:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if key is not None:
            named["AUTHORIZATION"] = f"Bearer {key}"
        url = url if "://" in url else BASE + url
        request = WireRequest(purpose=Purpose.ASK, method=method, url=url, headers=named, body=body)
        return self.emulator.handle(request)

    def submit(
        self, prompt: str = "a red fox", *, key: str | None = KEY, again: str = "", **body: Any
    ) -> Reply:
        payload = {"model": MODEL, "prompt": prompt, **body}
        headers = {"idempotency_key": again} if again else {}
        return self.send(
            "POST", "/api/v1/generations", json.dumps(payload).encode(), key=key, **headers
        )

    def poll(self, job: str, **more: Any) -> Reply:
        return self.send("GET", f"/api/v1/generations/{job}", **more)

    def upload(self, data: bytes, *, name: str = "fox.png", key: str = KEY, **fields: str) -> Reply:
        fields = {"kind": "image", "model": MODEL, **fields}
        lines = [
            f'--frontier\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{text}\r\n'.encode()
            for field, text in fields.items()
        ]
        head = (
            f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        )
        body = b"".join([*lines, head.encode(), data, b"\r\n--frontier--\r\n"])
        form = "multipart/form-data; boundary=frontier"
        return self.send("POST", "/api/v1/files", body, key=key, content_type=form)

    def finished(self, prompt: str = "a red fox", **body: Any) -> dict[str, Any]:
        job = self.submit(prompt, **body).object()["id"]
        self.now += 60
        return self.poll(job).object()

    def credits(self) -> int:
        found: int = self.send("GET", "/api/v1/credits").object()["current_credits"]
        return found


@pytest.fixture
def world() -> World:
    return World()


def code(reply: Reply) -> str | None:
    return complain(reply).code


def png(size: tuple[int, int] = (320, 200)) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", size, (200, 30, 40)).save(kept, "PNG")
    return kept.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_job_runs_from_queued_through_processing_to_succeeded(world: World) -> None:
    """A job is queued at first, processing later, and succeeded 0.1 s after acceptance."""
    first = world.submit()
    job = first.object()["id"]
    said = [first.object()["status"]]
    for _ in range(2):
        world.now += 0.05
        said.append(world.poll(job).object()["status"])
    assert (first.status, said) == (200, ["queued", "processing", "succeeded"])


def test_answer_has_exactly_the_documented_fields(world: World) -> None:
    """The create answer is the documented object, and fits the answers' schema."""
    found = world.submit().object()
    assert found.pop("id").startswith("task_")
    assert found == {
        "status": "queued",
        "model": MODEL,
        "reserved_credits": 4,
        "final_credits": 0,
        "created_at": "2026-05-11T00:01:40.000Z",
        "updated_at": "2026-05-11T00:01:40.000Z",
        "result": None,
        "error": None,
    }
    assert load_answers("rivya").violations(world.finished()) == []


def test_only_unfinished_answers_name_a_pace(world: World) -> None:
    """Retry-After stands on answers of running jobs and on no others."""
    first = world.submit()
    job = first.object()["id"]
    running = world.poll(job)
    world.now += 1
    assert [answer.retry_after for answer in (first, running, world.poll(job))] == [0.1, 0.1, None]


@pytest.mark.parametrize("base", [BASE, "http://127.0.0.1:8420/rivya", "http://localhost:1/a/b"])
def test_works_under_any_prefix(world: World, base: str) -> None:
    """Picture URLs are built on the scheme, host and prefix that the request came to."""
    body = json.dumps({"model": MODEL, "prompt": "a fox sandbox:ready"}).encode()
    job = world.send("POST", f"{base}/api/v1/generations", body).object()["id"]
    found = world.send("GET", f"{base}/api/v1/generations/{job}").object()
    url = found["result"]["primary_url"]
    assert url.startswith(f"{base}/sandbox/pictures/")
    assert world.send("GET", url, key=None).status == 200


def test_picture_has_the_ratio_and_format_asked_for(world: World) -> None:
    """A download needs no key and is the picture that was asked for."""
    url = world.finished(params={"aspectRatio": "3:4", "outputFormat": "png"})["result"]["urls"][0]
    reply = world.send("GET", url, key=None)
    assert reply.headers["content-type"] == "image/png"
    with opened(reply.body) as image:
        assert (image.format, image.size) == ("PNG", (864, 1152))


def test_picture_is_not_there_before_the_job_ends(world: World) -> None:
    """A guessed or early picture URL answers 404."""
    url = world.finished()["result"]["primary_url"]
    assert world.send("GET", url.replace("pictures/", "pictures/x"), key=None).status == 404


@pytest.mark.parametrize(
    ("key", "status", "expected"),
    [
        (None, 401, "api_key_missing"),
        ("rvya_sk_wrong", 401, "api_key_invalid"),
        ("rvya_sk_revoked", 401, "api_key_revoked"),
        ("rvya_sk_expired", 401, "api_key_expired"),
        ("rvya_sk_reader", 403, "api_scope_denied"),
    ],
)
def test_bad_keys_get_their_documented_code(
    world: World, key: str | None, status: int, expected: str
) -> None:
    """Each way in which a key can be bad has its status, code and request id, and makes no job."""
    world.emulator.add_key("rvya_sk_revoked", state="revoked")
    world.emulator.add_key("rvya_sk_expired", state="expired")
    world.emulator.add_key("rvya_sk_reader", scopes={"generations:read", "credits:read"})
    reply = world.submit(key=key)
    assert (reply.status, code(reply)) == (status, expected)
    assert (complain(reply).request_id or "").startswith("req_")
    assert world.emulator.meter()["accepted"] == 0


def test_a_key_may_do_what_its_scopes_say(world: World) -> None:
    """A key with the read scope reads a job that it could not have made."""
    world.emulator.add_key("rvya_sk_reader", scopes={"generations:read"})
    job = world.submit().object()["id"]
    assert world.poll(job, key="rvya_sk_reader").status == 200
    assert code(world.send("GET", "/api/v1/credits", key="rvya_sk_reader")) == "api_scope_denied"


def test_jobs_of_another_account_are_not_found(world: World) -> None:
    """A stranger's job answers like one that does not exist."""
    world.emulator.add_key("rvya_sk_other", account="other")
    job = world.submit().object()["id"]
    for reply in (world.poll(job, key="rvya_sk_other"), world.poll("task_nowhere")):
        assert (reply.status, code(reply)) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not JSON"),
        (b"[]", "JSON object"),
        (b'{"model": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ({"prompt": "a fox"}, "model"),
        ({"model": "flux-kontext-pr", "prompt": "a fox"}, 'did you mean "flux-kontext-pro"'),
        ({"model": MODEL}, "prompt is required"),
        ({"model": MODEL, "prompt": ""}, "prompt"),
        ({"model": "flux-2-pro", "prompt": "x" * 5001}, "5000"),
        (
            {"model": MODEL, "prompt": "a fox", "params": {"aspectRatio": "16:10"}},
            "params.aspectRatio",
        ),
        (
            {"model": MODEL, "prompt": "a fox", "params": {"promptUpsampling": True}},
            "promptUpsampling",
        ),
        ({"model": MODEL, "prompt": "a fox", "params": {"seed": 7}}, "params.seed"),
        ({"model": MODEL, "prompt": "", "params": {"seed": 7}}, "this model; prompt must"),
        ({"model": MODEL, "prompt": "a fox", "files": []}, "top level"),
        ({"model": MODEL, "prompt": "a fox sandbox:slw"}, 'did you mean "slow"'),
    ],
)
def test_invalid_bodies_are_refused_before_anything_is_charged(
    world: World, body: bytes | dict[str, Any], named: str
) -> None:
    """validation_failed names every fault at once; no job is made and no credit reserved."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = world.send("POST", "/api/v1/generations", raw)
    assert (reply.status, code(reply)) == (400, "validation_failed")
    assert named in complain(reply).message
    assert world.emulator.meter()["charged"] == "0"


def test_same_key_and_body_give_the_first_answer_again(world: World) -> None:
    """An idempotent replay is the same job, however far it is by now, and is not charged."""
    first = world.submit(again="k1")
    world.now += 60
    again = world.submit(again="k1")
    assert again == first
    assert world.emulator.meter() == {
        "accepted": 1, "uploads": 0, "polls": 0, "downloads": 0, "charged": "4", "unit": "credits:rivya",
    }  # fmt: skip


def test_same_key_with_another_body_conflicts(world: World) -> None:
    """An idempotency key that comes back with other bytes is a 409."""
    world.submit(again="k1")
    reply = world.submit("another fox", again="k1")
    assert (reply.status, code(reply)) == (409, "idempotency_conflict")


def test_submits_without_a_key_are_jobs_of_their_own(world: World) -> None:
    """Without an idempotency key equal bodies are different jobs, each paid."""
    assert world.submit().object()["id"] != world.submit().object()["id"]
    assert world.emulator.meter()["charged"] == "8"


def test_a_refused_submit_does_not_use_up_its_key(world: World) -> None:
    """A key whose first submit was refused can still make its job."""
    assert world.submit("x sandbox:429", again="k1").status == 429
    assert world.submit("x sandbox:429", again="k1").status == 200
    assert world.emulator.meter()["accepted"] == 1


def test_credits_are_reserved_then_settled(world: World) -> None:
    """Credits leave the balance at acceptance and are final at success."""
    job = world.submit().object()["id"]
    assert world.credits() == 9_996
    world.now += 1
    found = world.poll(job).object()
    assert (found["reserved_credits"], found["final_credits"], world.credits()) == (4, 4, 9_996)


@pytest.mark.parametrize(
    ("word", "expected"), [("failed", "generation_failed"), ("moderated", "content_moderated")]
)
def test_credits_of_failed_jobs_come_back(world: World, word: str, expected: str) -> None:
    """A failed job ends with final_credits 0 and a full refund, polled or not."""
    world.submit(f"a fox sandbox:{word}")
    assert world.credits() == 9_996
    world.now += 1
    assert world.credits() == 10_000
    found = world.finished(f"a fox sandbox:{word}")
    assert (found["status"], found["final_credits"], found["result"]) == ("failed", 0, None)
    assert found["error"]["code"] == expected
    assert world.emulator.meter()["charged"] == "0"


def test_an_empty_purse_makes_no_job() -> None:
    """insufficient_credits answers 402, and a refund makes room again."""
    world = World(credits=Decimal(5))
    world.submit("a fox sandbox:failed")
    reply = world.submit()
    assert (reply.status, code(reply), world.emulator.meter()["accepted"]) == (
        402,
        "insufficient_credits",
        1,
    )
    world.now += 1
    assert world.submit().status == 200


def test_upload_returns_a_url_that_a_generation_takes(world: World) -> None:
    """An uploaded file's URL works as a reference, and the picture changes by it."""
    facts = world.upload(png(), name="fox.png").object()
    assert (facts["kind"], facts["mime_type"], facts["name"]) == ("image", "image/png", "fox.png")
    assert world.send("GET", f"/api/v1/files/{facts['id']}").object() == facts
    item = {"url": facts["url"], "kind": "image", "name": "fox.png", "mimeType": "image/png"}
    pictures = [
        world.send("GET", world.finished(params=params)["result"]["urls"][0]).body
        for params in ({}, {"referenceMediaItems": [item]})
    ]
    assert pictures[0] != pictures[1]
    assert world.emulator.meter()["uploads"] == 1


def test_upload_keeps_a_thumbnail_only(world: World) -> None:
    """Behind an uploaded file's URL is a picture of at most 256 pixels a side."""
    url = world.upload(png((2000, 1000))).object()["url"]
    with opened(world.send("GET", url, key=None).body) as image:
        assert image.size == (256, 128)


@pytest.mark.parametrize(
    ("data", "fields", "named"),
    [
        (b"just text, named .png", {}, "its bytes must be one of"),
        (png()[:60], {}, "not a readable"),
        (b"GIF89a" + bytes(100), {}, "its bytes must be one of"),
        (png() + bytes(10_000_000), {}, "at most 10000000"),
        (png(), {"kind": "song"}, "kind"),
        (png(), {"model": "flux-9"}, "model"),
        (png(), {"client_request_id": "x" * 129}, "128"),
        (b"....ftypisom" + bytes(100), {"kind": "video"}, "its bytes must be one of"),
    ],
)
def test_bad_uploads_are_refused(
    world: World, data: bytes, fields: dict[str, str], named: str
) -> None:
    """The Files API looks at the bytes, the size, the kind and the model's own rules."""
    reply = world.upload(data, **fields)
    assert (reply.status, code(reply)) == (400, "validation_failed")
    assert named in complain(reply).message
    assert world.emulator.meter()["uploads"] == 0


def test_timed_media_get_a_duration_token(world: World) -> None:
    """A video that names no model is taken and carries a duration token."""
    film = b"....ftypisom" + bytes(100)
    facts = world.upload(film, kind="video", model="", name="a.mp4").object()
    assert facts["mime_type"] == "video/mp4"
    assert facts["duration_token"]


@pytest.mark.parametrize("body", [b"", b"nothing like a form", b"--frontier\r\nbroken"])
def test_broken_forms_are_refused(world: World, body: bytes) -> None:
    """A body that is no form is a validation error, whatever its header says."""
    for kind in ("multipart/form-data; boundary=frontier", "multipart/form-data", "text/plain"):
        reply = world.send("POST", "/api/v1/files", body, content_type=kind)
        assert code(reply) == "validation_failed"


@pytest.mark.parametrize(
    "url",
    [
        "https://rivya.ai/sandbox/files/file_unknown.png",
        "http://cdn.example.com/a.png",
        "https://10.0.0.1/a.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_references_that_cannot_be_had_are_refused(world: World, url: str) -> None:
    """A reference must be an uploaded file of one's own or a public https URL."""
    reply = world.submit(params={"referenceMediaItems": [{"url": url, "kind": "image"}]})
    assert (reply.status, code(reply)) == (400, "validation_failed")


def test_models_are_listed_without_a_key(world: World) -> None:
    """GET models is public and says what the cards say."""
    found = world.send("GET", "/api/v1/models", key=None).object()
    listed = {one["id"]: one for one in found["data"]}
    assert found["object"] == "list"
    assert set(listed) == {"flux-kontext-pro", "flux-kontext-max", "flux-2-pro"}
    assert listed["flux-kontext-max"]["base_credits"] == 8
    lengths = [listed[model]["max_prompt_length"] for model in ("flux-2-pro", MODEL)]
    assert lengths == [5000, None]


def test_unknown_routes_answer_in_the_providers_shape(world: World) -> None:
    """A path or method that is not there is a 404 in Rivya's envelope."""
    for method, path in (("GET", "/api/v2/credits"), ("DELETE", "/api/v1/generations")):
        assert code(world.send(method, path)) == "not_found"


def test_many_threads_with_one_key_make_one_job(world: World) -> None:
    """Submits with one idempotency key that arrive together are one job."""
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(world.submit, again="k1") for _ in range(40)]
        jobs = {one.result().object()["id"] for one in sent}
    assert (len(jobs), world.emulator.meter()["accepted"]) == (1, 1)
