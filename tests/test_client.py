"""The client over real sockets: both providers, several pictures, faults, and the meter as witness."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage

from unified_flux import (
    Client,
    ConfigurationError,
    DownloadFailed,
    ImageRequest,
    InvalidRequest,
    JobTimeout,
    MissingKey,
    Moderated,
    OutcomeUnknown,
    OutputError,
    UnifiedFluxError,
    UnsupportedField,
    registry,
)
from unified_flux.config import load
from unified_flux.sandbox.server import SandboxServer
from unified_flux.wire import Output

MakePng = Callable[..., bytes]
MODELS = [
    (provider, card.model)
    for provider in ("rivya", "vtrix")
    for card in registry.make_adapter(provider).cards
]


def meter(served: SandboxServer) -> dict[str, Any]:
    """What a real provider would have billed."""
    request = urllib.request.Request(
        served.meter_url, headers={"Authorization": f"Bearer {served.key}"}
    )
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def client(served: SandboxServer, provider: str, **settings: Any) -> Client:
    return Client(provider, api_key=served.key, base_url=served.providers[provider], **settings)


def request(prompt: str = "a fox sandbox:ready", **fields: Any) -> ImageRequest:
    return ImageRequest(prompt=prompt, **fields)


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("with_reference", [False, True])
def test_each_model_makes_a_picture_that_opens(
    provider: str, model: str, with_reference: bool, served: SandboxServer, make_png: MakePng
) -> None:
    """All seven models, with and without a local reference: one paid submit, one real picture."""
    references = [make_png()] if with_reference else []
    with client(served, provider) as one:
        result = one.generate(request(model=model, references=references))
    path = result.images[0].save("fox.bin")
    with PillowImage.open(path) as picture:
        picture.load()
        assert picture.size == (result.images[0].width, result.images[0].height)
    counted = meter(served)[provider]
    assert (counted["accepted"], counted["downloads"]) == (1, 1)
    assert counted["uploads"] == (1 if with_reference and provider == "rivya" else 0)
    assert result.sandbox
    assert result.images[0].notes == ()


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("ratio", ["16:9", "1:1", "3:4"])
def test_each_picture_has_the_ratio_that_was_asked(
    provider: str, model: str, ratio: str, served: SandboxServer
) -> None:
    """Within 2 %, in both providers' ways of saying it."""
    with client(served, provider) as one:
        image = one.generate(request(model=model, aspect_ratio=ratio)).images[0]
    width, height = map(int, ratio.split(":"))
    assert image.width / image.height == pytest.approx(width / height, rel=0.02)


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_a_result_carries_charge_report_and_job(provider: str, served: SandboxServer) -> None:
    """The charge is the provider's own figure and equals the meter's."""
    with client(served, provider) as one:
        result = one.generate(request(safety_tolerance=3))
    assert result.charge.money is not None
    assert str(result.charge.basis) == "billed"
    counted = meter(served)[provider]
    assert (str(result.charge.money.amount), result.charge.money.unit) == (
        str(counted["charged"]),
        counted["unit"],
    )
    assert result.report["safety_tolerance"].became == 3
    assert [job.provider for job in result.jobs] == [provider]


def test_n_pictures_are_n_paid_submits_with_keys_and_seeds_of_their_own(
    served: SandboxServer, make_png: MakePng
) -> None:
    """Three pictures: three submits, three jobs, three seeds; a reference is uploaded once."""
    with client(served, "vtrix") as one:
        result = one.generate(request(n=3, seed=7))
    assert [image.seed for image in result.images] == [7, 8, 9]
    assert len({image.sha256 for image in result.images}) == 3
    assert result.report["seed"].became == "7 to 9"
    assert meter(served)["vtrix"]["accepted"] == 3
    with client(served, "rivya") as one:
        result = one.generate(request(n=2, references=[make_png()]))
    counted = meter(served)["rivya"]
    assert (counted["accepted"], counted["uploads"], len(result.jobs)) == (2, 1, 2)


def test_one_failure_of_several_keeps_its_paid_siblings(
    served: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures that came are in the result, the one that did not is in `failed`."""
    whole = ImageRequest.submits

    def one_is_bad(self: ImageRequest, at_once: int) -> tuple[ImageRequest, ...]:
        first, _ = whole(self)
        return first, request("a fox sandbox:failed")

    monkeypatch.setattr(ImageRequest, "submits", one_is_bad)
    with client(served, "rivya") as one:
        result = one.generate(request(n=2))
    assert len(result.images) == 1
    assert [failed.index for failed in result.failed] == [2]
    assert result.failed[0].error.job is not None


def test_when_every_picture_fails_no_paid_job_is_forgotten(
    served: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error that may have cost is raised, with all the others and their jobs on it."""
    prompts = ("a fox sandbox:moderated", "a fox sandbox:slow", "a hen sandbox:slow")
    asked = tuple(request(prompt) for prompt in prompts)
    monkeypatch.setattr(ImageRequest, "submits", lambda self, at_once: asked)
    with client(served, "rivya", timeout=0.3) as one, pytest.raises(JobTimeout) as caught:
        one.generate(request(n=3))
    error = caught.value
    assert [type(other) for other in error.siblings] == [Moderated, JobTimeout]
    jobs = {str(found.job) for found in (error, *error.siblings)}
    assert len(jobs) == meter(served)["rivya"]["accepted"] == 3
    open_jobs = [found.job for found in (error, *error.siblings) if found.exit_code == 9]
    assert all(f"unified-flux resume {job}" in str(error) for job in open_jobs)
    assert [found["type"] for found in error.to_json()["siblings"]] == ["Moderated", "JobTimeout"]


def test_a_sum_leaves_no_maybe_out(served: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture for 4 credits and one that may have cost make an unknown sum, not 4 credits."""
    asked = (request(), request("a fox sandbox:slow"))
    monkeypatch.setattr(ImageRequest, "submits", lambda self, at_once: asked)
    with client(served, "rivya", timeout=0.3) as one:
        result = one.generate(request(n=2))
    assert result.images[0].charge.money is not None
    assert result.charge.money is None
    assert len(result.jobs) == 2


def test_several_pictures_of_one_job_are_told_apart(
    served: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a number of its own, so that no file takes another's name."""
    with client(served, "rivya") as one:
        read = one.adapter.read

        def twice(response: Any, job: Any = None) -> Any:
            found = read(response, job)
            return replace(found, urls=found.urls * 2) if isinstance(found, Output) else found

        monkeypatch.setattr(one.adapter, "read", twice)
        result = one.generate(request(n=2))
    assert [(image.index, image.asked) for image in result.images] == [
        (1, 1), (2, 1), (3, 2), (4, 2)
    ]  # fmt: skip


def test_an_interrupted_call_does_not_spoil_the_next(served: SandboxServer) -> None:
    """Ctrl-C in a notebook: the same client goes on working."""
    heard: list[Any] = []

    def interrupt(event: Any) -> None:
        heard.append(event)
        if len(heard) == 1:
            raise KeyboardInterrupt

    with client(served, "rivya", on_event=interrupt) as one:
        with pytest.raises(KeyboardInterrupt):
            one.generate(request())
        assert one.generate(request()).images


@pytest.mark.parametrize("word", ["reset-after", "500-accepted-once", "html-once-accepted"])
def test_an_answer_lost_after_acceptance_is_recovered_under_the_same_key(
    word: str, served: SandboxServer
) -> None:
    """Rivya: sent again under its key, the picture comes, and one submit is billed."""
    with client(served, "rivya") as one:
        assert one.generate(request(f"a fox sandbox:ready sandbox:{word}")).images
    counted = meter(served)["rivya"]
    assert (counted["accepted"], counted["charged"]) == (1, "4")


@pytest.mark.parametrize("word", ["reset-after", "500-accepted-once", "html-once-accepted"])
def test_an_answer_lost_after_acceptance_is_never_paid_twice_without_a_key(
    word: str, served: SandboxServer
) -> None:
    """Vtrix: stop, say so, exit 9; the meter shows the one submit."""
    with client(served, "vtrix") as one, pytest.raises(OutcomeUnknown) as caught:
        one.generate(request(f"a fox sandbox:ready sandbox:{word}"))
    assert caught.value.exit_code == 9
    assert meter(served)["vtrix"]["accepted"] == 1


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
@pytest.mark.parametrize("word", ["truncated", "download-500-once", "429"])
def test_a_passing_fault_costs_nothing_but_time(
    provider: str, word: str, served: SandboxServer
) -> None:
    """The picture comes and one submit is billed."""
    with client(served, provider) as one:
        assert one.generate(request(f"a fox sandbox:ready sandbox:{word}")).images
    assert meter(served)[provider]["accepted"] == 1


def test_a_late_answer_is_an_unknown_outcome(served: SandboxServer) -> None:
    """The read timeout ends the waiting, not the job."""
    config = load(["vtrix"], arguments={"read_timeout": 0.1})
    with client(served, "vtrix", config=config) as one, pytest.raises(OutcomeUnknown):
        one.generate(request("a fox sandbox:slow-answer-20"))
    assert meter(served)["vtrix"]["accepted"] == 1


@pytest.mark.parametrize("provider", ["rivya", "vtrix"])
def test_a_job_that_outlives_the_timeout_is_resumed_without_paying_again(
    provider: str, served: SandboxServer
) -> None:
    """The error names the job and the command; waiting for it later brings the picture."""
    with client(served, provider, timeout=0.05) as one, pytest.raises(JobTimeout) as caught:
        one.generate(request("a fox sandbox:polls-2"))
    job = caught.value.job
    assert caught.value.next_step == f"Continue with: unified-flux resume {job}"
    with client(served, provider) as one:
        assert one.wait(str(job)).images[0].width
    assert meter(served)[provider]["accepted"] == 1


def test_a_download_that_fails_is_resumed(served: SandboxServer) -> None:
    """Charged and not in hand: the job stays and can be fetched later."""
    config = load(["rivya"], arguments={"retry_within": 0.05})
    with client(served, "rivya", config=config) as one, pytest.raises(DownloadFailed) as caught:
        one.generate(request("a fox sandbox:ready sandbox:download-404"))
    assert caught.value.exit_code == 9
    assert "unified-flux resume rivya/" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{"seed": 7}, {"aspect_ratio": "3:2"}, {"watermark": "x", "references": ["gone.png"]},
     {"model": "flux-9"}, {"extra": {"rivya": {"nonsense": 1}}}],
)  # fmt: skip
def test_a_request_that_cannot_be_said_sends_nothing(
    fields: dict[str, Any], served: SandboxServer
) -> None:
    """Not one exchange of any kind reaches the provider."""
    with client(served, "rivya") as one, pytest.raises(UnifiedFluxError) as caught:
        one.generate(request(**fields))
    assert caught.value.exit_code == 3
    counted = meter(served)["rivya"]
    assert (counted["accepted"], counted["uploads"], counted["polls"]) == (0, 0, 0)


def test_losses_are_permitted_one_by_one_or_all(served: SandboxServer) -> None:
    """`allow` and `adapt` on the client."""
    asked = request(seed=7, aspect_ratio="3:2")
    with client(served, "rivya", allow=["drop:seed"]) as one, pytest.raises(UnsupportedField) as no:
        one.translate(asked)
    assert [problem.field for problem in no.value.problems] == ["aspect_ratio"]
    with client(served, "rivya", adapt=True) as one:
        report = one.translate(asked).report
    assert {str(entry.outcome) for entry in report.entries} == {"native", "dropped", "approximated"}


def test_events_tell_every_phase(served: SandboxServer) -> None:
    """`on_event` hears the phases in order, the job from acceptance on."""
    heard: list[Any] = []
    with client(served, "rivya", on_event=heard.append) as one:
        one.generate(request())
    phases = list(dict.fromkeys(str(event.phase) for event in heard))
    assert phases == ["prepared", "sending", "accepted", "done", "fetching", "saved"]
    assert all(event.job is not None for event in heard[2:])


def test_a_picture_that_cannot_be_saved_is_kept(served: SandboxServer) -> None:
    """The error says where, and that it was charged."""
    with client(served, "rivya") as one:
        image = one.generate(request()).images[0]
    with pytest.raises(OutputError) as caught:
        image.save("gone/fox.png")
    assert str(image.blob.path) in str(caught.value)
    assert caught.value.exit_code == 9
    assert image.bytes


def test_a_picture_that_is_not_what_was_asked_is_noted_and_kept(served: SandboxServer) -> None:
    """Another ratio or format than asked, or than the default, is said and not thrown away."""
    with client(served, "rivya") as one:
        wrong = one.generate(request("a fox sandbox:ready sandbox:wrong-size", aspect_ratio="16:9"))
        other = one.generate(request("a fox sandbox:ready sandbox:wrong-format"))
    assert any("asked for the ratio 16:9" in note for note in wrong.images[0].notes)
    assert any("asked for jpeg" in note for note in other.images[0].notes)


def test_nothing_configured_raises_unless_the_sandbox_is_asked_for() -> None:
    """The library never falls back to drawn pictures by itself."""
    with pytest.raises(MissingKey, match="RIVYA_API_KEY or VTRIX_API_KEY"):
        Client.from_config()
    with Client.from_config(sandbox=True) as one:
        assert one.generate(request()).sandbox


def test_the_only_provider_with_a_key_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key chooses; two need a word; a chosen one without a key is an error of its own."""
    monkeypatch.setenv("VTRIX_API_KEY", "k")
    assert Client.from_config().provider == "vtrix"
    monkeypatch.setenv("RIVYA_API_KEY", "k")
    with pytest.raises(ConfigurationError, match="-p"):
        Client.from_config()
    monkeypatch.setenv("UNIFIED_FLUX_PROVIDER", "rivya")
    assert Client.from_config().provider == "rivya"
    monkeypatch.delenv("RIVYA_API_KEY")
    with Client.from_config() as one, pytest.raises(MissingKey, match="RIVYA_API_KEY"):
        one.generate(request())


def test_an_unknown_provider_names_the_installed_ones() -> None:
    """With the nearest name and the package that may bring it."""
    with pytest.raises(ConfigurationError) as caught:
        Client("rivia", api_key="k")
    assert 'did you mean "rivya"' in str(caught.value)
    assert "pip install unified-flux-rivia" in str(caught.value)


def test_balance_is_asked_where_it_is_documented(served: SandboxServer) -> None:
    """Rivya tells credits; Vtrix documents no route, which is said and not guessed."""
    with client(served, "rivya") as one:
        assert one.balance().unit == "credits:rivya"
    with client(served, "vtrix") as one, pytest.raises(UnifiedFluxError, match="documents no way"):
        one.balance()


def test_a_flat_envelope_is_a_setting(served: SandboxServer) -> None:
    """Vtrix's parameters travel flat where the configuration says so, and are accepted both ways."""
    Path("unified-flux.toml").write_text('[providers.vtrix]\nenvelope = "flat"')
    key, url = served.key, served.providers["vtrix"]
    with Client.from_config("vtrix", api_key=key, base_url=url) as one:
        wire = one.wire(one.translate(request()))
        assert wire[-1].json == {"model": "flux_kontext_pro", "prompt": "a fox sandbox:ready"}
        assert one.generate(request()).images
    Path("unified-flux.toml").write_text('[providers.vtrix]\nenvelope = "round"')
    with pytest.raises(ConfigurationError, match="one of input, flat"):
        Client.from_config("vtrix", api_key=key, base_url=url)


def test_a_text_that_names_no_job_is_refused(served: SandboxServer) -> None:
    """`wait` takes jobs of its own provider."""
    with client(served, "rivya") as one:
        for text in ("task_1", "vtrix/flux_kontext_pro/1"):
            with pytest.raises(InvalidRequest, match="is no job of rivya"):
                one.wait(text)


def test_no_key_shows_in_what_a_client_shows(served: SandboxServer) -> None:
    """The key is in no repr, no event, no result and no spooled file's name."""
    heard: list[Any] = []
    with client(served, "rivya", on_event=heard.append) as one:
        result = one.generate(request())
        shown = f"{one!r} {vars(one)!r} {result!r} {heard!r} {one.wire(one.translate(request()))!r}"
    assert served.key not in shown
