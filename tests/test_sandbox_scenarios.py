"""The words of a prompt make an emulator act exactly as the table says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from unified_flux.adapter import complain
from unified_flux.sandbox import scenarios
from unified_flux.sandbox.emulator import Fault, Reply
from unified_flux.sandbox.rivya import RivyaEmulator
from unified_flux.wire import Purpose, WireRequest

BASE = "https://rivya.ai"


class World:
    """An emulator with a clock that only the test moves, and short words to talk to it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.emulator = RivyaEmulator(key="k", clock=lambda: self.now, wall=lambda: self.now)

    def send(self, method: str, url: str, body: bytes = b"", **headers: str) -> Reply:
        named = {"Authorization": "Bearer k", **headers}
        request = WireRequest(purpose=Purpose.ASK, method=method, url=url, headers=named, body=body)
        return self.emulator.handle(request)

    def submit(self, prompt: str, *, again: str = "") -> Reply:
        body = json.dumps({"model": "flux-kontext-pro", "prompt": prompt}).encode()
        headers = {"Idempotency-Key": again} if again else {}
        return self.send("POST", f"{BASE}/api/v1/generations", body, **headers)

    def poll(self, job: str) -> Reply:
        return self.send("GET", f"{BASE}/api/v1/generations/{job}")

    def fetch(self, url: str) -> Reply:
        return self.send("GET", url)

    def finished(self, prompt: str) -> dict[str, Any]:
        job = self.submit(prompt).object()["id"]
        self.now += 60
        return self.poll(job).object()


@pytest.fixture
def world() -> World:
    return World()


def code(reply: Reply) -> str | None:
    return complain(reply).code


@pytest.mark.parametrize(
    ("word", "statuses", "accepted"),
    [
        ("401", [401, 401], 0),
        ("402", [402, 402], 0),
        ("403", [403, 403], 0),
        ("429", [429, 200], 1),
        ("429-for-ever", [429, 429, 429], 0),
        ("500-once", [500, 200], 1),
        ("500-accepted-once", [500, 200, 200], 1),
        ("502-once", [502, 200], 1),
        ("502", [502, 502, 502], 0),
        ("503", [503, 503], 0),
        ("504-once", [504, 200], 1),
        ("moderated-at-once", [400, 400], 0),
        ("redirect", [307, 307], 0),
        ("429 sandbox:500-once", [429, 500, 200], 1),
    ],
)
def test_submit_scenarios(world: World, word: str, statuses: list[int], accepted: int) -> None:
    """Resending one submit meets the scripted answers in turn, and makes at most one job."""
    answers = [world.submit(f"a fox sandbox:{word}", again="k1") for _ in statuses]
    assert [answer.status for answer in answers] == statuses
    assert world.emulator.meter()["accepted"] == accepted


def test_each_submit_meets_its_own_script(world: World) -> None:
    """A fault that comes once comes once for each idempotency key."""
    for key in ("k1", "k2"):
        said = [world.submit("a fox sandbox:500-once", again=key).status for _ in range(2)]
        assert said == [500, 200]


def test_a_script_starts_again_after_a_good_answer(world: World) -> None:
    """Without a key, the next run of the same prompt meets the fault again."""
    said = [world.submit("a fox sandbox:502-once").status for _ in range(4)]
    assert said == [502, 200, 502, 200]


def test_rate_limit_names_its_pace(world: World) -> None:
    """A 429 carries the seconds that its word asks for, 0.1 where it asks for none."""
    paces = [world.submit(f"a fox sandbox:{word}").retry_after for word in ("429", "429-2.5")]
    assert paces == [0.1, 2.5]


def test_503_is_the_documented_switch(world: World) -> None:
    """The one documented 5xx says that the API is off."""
    assert code(world.submit("a fox sandbox:503")) == "public_api_disabled"


def test_html_and_empty_answers(world: World) -> None:
    """A submit can meet a page or nothing at all instead of JSON."""
    page, nothing = (world.submit(f"a fox sandbox:{word}") for word in ("html", "empty"))
    assert page.headers["content-type"].startswith("text/html")
    assert page.body.startswith(b"<!DOCTYPE html>")
    assert (nothing.status, nothing.body) == (200, b"")
    assert world.emulator.meter()["accepted"] == 0


def test_html_once_accepted_hides_a_job_that_a_resend_finds(world: World) -> None:
    """The page hides an accepted job, and the same key brings it back."""
    page, found = (world.submit("a fox sandbox:html-once-accepted", again="k1") for _ in range(2))
    assert page.headers["content-type"].startswith("text/html")
    assert world.poll(found.object()["id"]).status == 200
    assert world.emulator.meter()["accepted"] == 1


@pytest.mark.parametrize(("word", "accepted"), [("reset-before", 0), ("reset-after", 1)])
def test_resets(world: World, word: str, accepted: int) -> None:
    """A reset comes before or after acceptance, once; a resend makes or finds the one job."""
    assert world.submit(f"a fox sandbox:{word}", again="k1").fault is Fault.RESET
    assert world.emulator.meter()["accepted"] == accepted
    again = world.submit(f"a fox sandbox:{word}", again="k1")
    assert (again.fault, again.status) == (Fault.NONE, 200)
    assert world.emulator.meter()["accepted"] == 1


@pytest.mark.parametrize(("word", "seconds"), [("slow-answer", 30.0), ("slow-answer-0.5", 0.5)])
def test_slow_answers(world: World, word: str, seconds: float) -> None:
    """A slow answer is a good one that takes long."""
    reply = world.submit(f"a fox sandbox:{word}")
    assert (reply.fault, reply.seconds, reply.object()["status"]) == (Fault.SLOW, seconds, "queued")


def test_polls_n_counts_polls_not_time(world: World) -> None:
    """polls-3 is ready at the third poll, at once or after a day."""
    job = world.submit("a fox sandbox:polls-3").object()["id"]
    world.now += 86_400
    said = [world.poll(job).object()["status"] for _ in range(4)]
    assert said == ["processing", "processing", "succeeded", "succeeded"]


def test_ready_needs_one_poll(world: World) -> None:
    """A job that is ready at once is found so by the first poll, without waiting."""
    first = world.submit("a fox sandbox:ready")
    assert (first.retry_after, first.object()["status"]) == (0.0, "queued")
    assert world.poll(first.object()["id"]).object()["status"] == "succeeded"


def test_slow_takes_ten_seconds(world: World) -> None:
    """A slow job ends 10 s after acceptance and asks for half a second between polls."""
    job = world.submit("a fox sandbox:slow").object()["id"]
    world.now += 9.9
    assert (world.poll(job).object()["status"], world.poll(job).retry_after) == ("processing", 0.5)
    world.now += 0.1
    assert world.poll(job).object()["status"] == "succeeded"


def test_unknown_word_stays_until_the_job_ends(world: World) -> None:
    """A running job can say a word that no page documents."""
    job = world.submit("a fox sandbox:unknown-word").object()["id"]
    said = [world.poll(job).object()["status"] for _ in range(3)]
    assert said == ["dreaming", "dreaming", "succeeded"]


@pytest.mark.parametrize(
    ("word", "statuses"), [("poll-500", [500, 500, 200, 200]), ("poll-404", [404, 200, 200])]
)
def test_poll_scenarios(world: World, word: str, statuses: list[int]) -> None:
    """The first polls of a job fail as its word says."""
    job = world.submit(f"a fox sandbox:{word}").object()["id"]
    answers = [world.poll(job) for _ in statuses]
    assert [answer.status for answer in answers] == statuses
    assert {answer.retry_after for answer in answers} == {0.1}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("truncated", [(200, Fault.TRUNCATE), (200, Fault.NONE), (200, Fault.NONE)]),
        ("truncated-for-ever", [(200, Fault.TRUNCATE)] * 3),
        ("redirect-download", [(302, Fault.NONE)] * 2),
        ("download-404", [(404, Fault.NONE)] * 2),
        ("download-500-once", [(500, Fault.NONE), (200, Fault.NONE)]),
    ],
)
def test_download_scenarios(world: World, word: str, expected: list[tuple[int, Fault]]) -> None:
    """Downloads meet the scripted answers in turn, and each attempt is counted."""
    url = world.finished(f"a fox sandbox:{word}")["result"]["primary_url"]
    answers = [world.fetch(url) for _ in expected]
    assert [(answer.status, answer.fault) for answer in answers] == expected
    assert world.emulator.meter()["downloads"] == len(expected)


def test_redirects_lead_elsewhere(world: World) -> None:
    """Redirects name a host that is not the provider's."""
    reply = world.submit("a fox sandbox:redirect")
    assert reply.headers["location"].startswith("https://example.com/")


def test_pictures_that_are_not_as_asked(world: World) -> None:
    """A picture can come at another ratio, in another format, or not at all."""

    def came(word: str) -> tuple[str | None, tuple[int, int]]:
        url = world.finished(f"a fox sandbox:{word}")["result"]["urls"][0]
        with Image.open(io.BytesIO(world.fetch(url).body)) as image:
            return image.format, image.size

    assert came("ready") == ("JPEG", (1344, 756))
    assert came("wrong-size") == ("JPEG", (1344, 504))
    assert came("wrong-format") == ("PNG", (1344, 756))
    assert world.finished("a fox sandbox:no-picture")["result"]["urls"] == []


@pytest.mark.parametrize(
    "words", ["sandbox:polls-2 sandbox:polls-3", "sandbox:slow sandbox:ready", "sandbox:polls-2.5"]
)
def test_words_that_contradict_are_refused(world: World, words: str) -> None:
    """Two words that set the same thing, or a number that does not fit, are validation errors."""
    assert code(world.submit(f"a fox {words}")) == "validation_failed"


def test_scenarios_combine(world: World) -> None:
    """Words about different things work together."""
    prompt = "a fox sandbox:500-once sandbox:polls-2 sandbox:truncated"
    assert [world.submit(prompt, again="k").status for _ in range(2)] == [500, 200]
    job = world.submit(prompt, again="k").object()["id"]
    found = [world.poll(job).object() for _ in range(2)][-1]
    assert world.fetch(found["result"]["urls"][0]).fault is Fault.TRUNCATE


def test_a_prompt_may_speak_of_sandboxes(world: World) -> None:
    """Only the word and a colon with no space make a scenario."""
    assert world.submit("a child in a sandbox: buckets, sandbox-coloured").status == 200


def test_docs_list_every_scenario() -> None:
    """The docs page holds one line for each word, as the table says it."""
    page = (Path(__file__).parent.parent / "docs" / "sandbox.md").read_text("utf-8")
    listed = [line for line in page.splitlines() if line.startswith("| `sandbox:")]
    assert listed == [
        f"| `sandbox:{name}` | {word.says} |" for name, word in scenarios.WORDS.items()
    ]
