"""What Black Forest Labs, fal and Replicate do otherwise than the rest, over real sockets and journals."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from unified_flux import (
    Client,
    ContractViolation,
    ImageRequest,
    ProtocolError,
    SpendLimitExceeded,
    UnifiedFluxError,
    registry,
)
from unified_flux.contract import choose
from unified_flux.effects import Event
from unified_flux.errors import Charged, Moderated
from unified_flux.sandbox.server import SandboxServer
from unified_flux.testing import golden
from unified_flux.testing.stand import Stand
from unified_flux.wire import Phase, Purpose, WireRequest, WireResponse

from conftest import png  # isort: skip


def accepted(server: SandboxServer, provider: str) -> int:
    return int(server.emulators[provider].meter()["accepted"])


def polls(server: SandboxServer, provider: str) -> int:
    return int(server.emulators[provider].meter()["polls"])


# ---------------------------------------------------------------- addresses that answers name


@pytest.mark.parametrize("provider", ["bfl", "fal"])
def test_another_process_asks_where_the_answer_said(
    provider: str, configured: SandboxServer
) -> None:
    """The journal keeps the address: a client that never saw the answer brings the picture."""
    with Client.from_config(provider) as first:
        job = first.submit(ImageRequest(prompt="a fox sandbox:ready"))
    assert job.links["poll"].startswith(configured.providers[provider])
    with Client.from_config(provider) as second:
        (found,) = second.recover()
    assert found.result is not None and found.result.images
    assert accepted(configured, provider) == 1


def test_a_job_by_its_name_alone_cannot_be_asked_for_where_an_address_is_needed(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the journal's address nothing is built or guessed; it may have been charged, and says so."""
    with Client.from_config("bfl") as first:
        job = first.submit(ImageRequest(prompt="a fox sandbox:ready"))
    monkeypatch.setenv("UNIFIED_FLUX_HOME", str(tmp_path / "another"))
    with Client.from_config("bfl") as second, pytest.raises(ProtocolError) as caught:
        second.wait(str(job))
    assert caught.value.charged is Charged.MAYBE
    assert caught.value.exit_code == 9
    assert polls(configured, "bfl") == 0


@pytest.mark.parametrize(
    "address", ["http://localhost:{port}/bfl/v1/get_result?id={id}", "https://bfl.ai.example.com/x"]
)
def test_an_address_on_another_host_gets_no_key(
    address: str, configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that sends us elsewhere is not followed with the key on; the job stays open."""
    emulator: Any = type(configured.emulators["bfl"])
    port = configured.url.rpartition(":")[2]
    arrived: list[WireRequest] = []
    taken, handle = emulator.taken, emulator.handle

    def elsewhere(self: Any, task: Any, order: Any) -> Any:
        reply = taken(self, task, order)
        found = json.loads(reply.body)
        found["polling_url"] = address.format(port=port, id=task.id)
        return dataclasses.replace(reply, body=json.dumps(found).encode())

    def heard(self: Any, request: WireRequest) -> Any:
        arrived.append(request)
        return handle(self, request)

    monkeypatch.setattr(emulator, "taken", elsewhere)
    monkeypatch.setattr(emulator, "handle", heard)
    with Client.from_config("bfl", timeout=0.5) as client:
        with pytest.raises(UnifiedFluxError) as caught:
            client.generate(ImageRequest(prompt="a fox sandbox:ready"))
        assert caught.value.charged is not Charged.NO
        assert len(arrived) == 1, "it was asked for elsewhere"
        row = client.journal.jobs({})[0] if client.journal else None
    assert row is not None and row.phase == "accepted"


def test_the_key_goes_to_the_regions_and_to_nobody_like_them() -> None:
    """One label stands for the region; by https, on the usual port."""
    adapter = registry.make_adapter("bfl")
    for good in ("https://api.bfl.ai/v1/x", "https://api.eu.bfl.ai/x", "https://api.us1.bfl.ai/x"):
        assert adapter.trusts(good), good
    for bad in (
        "https://api.eu.evil.bfl.ai/x",
        "https://api..bfl.ai/x",
        "https://bfl.ai/x",
        "https://api.bfl.ai.example.com/x",
        "https://delivery.eu.bfl.ai/x",
        "http://api.eu.bfl.ai/x",
        "https://api.eu.bfl.ai:8443/x",
        "https://api.eu.bfl.ai@example.com/x",
    ):
        assert not adapter.trusts(bad), bad


# ---------------------------------------------------------------- money


def test_what_a_submit_said_of_money_counts_at_the_end(configured: SandboxServer) -> None:
    """Only the answer of the submit has the cost: 4 credits of 0.01 USD."""
    with Client.from_config("bfl") as client:
        result = client.generate(ImageRequest(prompt="a fox sandbox:ready"))
    assert str(result.charge.money) == "0.04 USD"
    assert result.charge.raw["cost"] == 4.0
    assert configured.emulators["bfl"].meter()["charged"] == "0.04"


def test_a_moderated_job_is_free_where_that_is_documented(configured: SandboxServer) -> None:
    """The cost that its submit had named is not told as charged."""
    with Client.from_config("bfl") as client:
        with pytest.raises(Moderated) as caught:
            client.generate(ImageRequest(prompt="a fox sandbox:moderated"))
        assert caught.value.charged is Charged.NO
        row = client.journal.jobs({})[0] if client.journal else None
    assert row is not None and row.charged is Charged.NO
    assert Decimal(configured.emulators["bfl"].meter()["charged"]) == 0


@pytest.mark.parametrize("provider", ["fal", "replicate"])
def test_where_nobody_bills_the_charge_is_unknown_and_the_quote_is_a_third_partys(
    provider: str, configured: SandboxServer
) -> None:
    """No figure is invented: the quote names its basis, the charge is unknown."""
    request = ImageRequest(prompt="a fox sandbox:ready")
    with Client.from_config(provider) as client:
        quote = client.quote(request)
        result = client.generate(request)
    assert (str(quote.money), str(quote.basis)) == ("0.04 USD", "third party")
    assert result.charge.money is None
    assert str(result.charge.basis) == "unknown"


# ---------------------------------------------------------------- several pictures of one submit


def test_three_pictures_are_one_submit_and_three_files(
    configured: SandboxServer, tmp_path: Path
) -> None:
    """One job, its pictures numbered, each another; more than fit one submit are several."""
    with Client.from_config("fal") as client:
        result = client.generate(ImageRequest(prompt="a fox sandbox:ready", n=3))
        assert [image.index for image in result.images] == [1, 2, 3]
        assert len({image.blob.sha256 for image in result.images}) == 3
        assert len({image.job.id for image in result.images}) == 1
        assert accepted(configured, "fal") == 1
        assert configured.emulators["fal"].meter()["charged"] == "0.12"
        result = client.generate(ImageRequest(prompt="a hare sandbox:ready", n=6))
        assert len(result.images) == 6
        assert accepted(configured, "fal") == 3


def test_several_of_one_submit_survive_their_process(configured: SandboxServer) -> None:
    """Interrupted after acceptance, `recover` brings all of them."""

    def stop(event: Event) -> None:
        if event.phase is Phase.ACCEPTED:
            raise KeyboardInterrupt

    with Client.from_config("fal", on_event=stop) as client, pytest.raises(KeyboardInterrupt):
        client.generate(ImageRequest(prompt="a fox sandbox:ready", n=3))
    with Client.from_config("fal") as client:
        (found,) = client.recover()
    assert found.result is not None
    assert len(found.result.images) == 3
    assert accepted(configured, "fal") == 1


def test_a_limit_counts_every_picture_of_a_submit(configured: SandboxServer) -> None:
    """Three pictures of 0.04 USD pass no limit of 0.10."""
    Path("unified-flux.toml").write_text('[limits]\nper_day = "0.10 USD"\n')
    with Client.from_config("fal") as client:
        with pytest.raises(SpendLimitExceeded):
            client.generate(ImageRequest(prompt="a fox sandbox:ready", n=3))
        assert client.generate(ImageRequest(prompt="a fox sandbox:ready", n=2)).images
    assert accepted(configured, "fal") == 1


# ---------------------------------------------------------------- routes, references, words


@pytest.mark.parametrize(
    ("count", "path"), [(0, "kontext/text-to-image"), (1, "kontext"), (3, "kontext/multi")]
)
def test_fals_three_addresses_are_one_model(
    count: int, path: str, configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is asked follows from the number of references; the user says nothing of it."""
    emulator: Any = type(configured.emulators["fal"])
    handle, asked = emulator.handle, []

    def heard(self: Any, request: WireRequest) -> Any:
        asked.append(f"{request.method} {request.url}")
        return handle(self, request)

    monkeypatch.setattr(emulator, "handle", heard)
    for number in range(count):
        Path(f"{number}.png").write_bytes(png(filler=number))
    references = [f"{number}.png" for number in range(count)]
    with Client.from_config("fal") as client:
        client.generate(ImageRequest(prompt="a fox sandbox:ready", references=references))
    assert asked[0] == f"POST {configured.providers['fal']}/fal-ai/flux-pro/{path}"


def test_a_tolerance_beside_a_reference_is_refused_with_the_nearest() -> None:
    """Replicate takes 6 for text and 2 with an input image; nothing is sent."""
    Path("den.png").write_bytes(png())
    with Client("replicate", sandbox=True) as client:
        assert client.translate(ImageRequest(prompt="a fox", safety_tolerance=6)).payload
        asked = ImageRequest(prompt="a fox", safety_tolerance=6, references=["den.png"])
        with pytest.raises(ContractViolation) as caught:
            client.generate(asked)
    assert "must be at most 2 with an input image" in str(caught.value)


def stand(provider: str, **options: str) -> Stand:
    """An emulator in this process, on a simulated clock."""
    adapter = registry.make_adapter(provider, options=options)
    return Stand(adapter, registry.emulator_class(provider))


@pytest.mark.parametrize(
    ("prefer", "words", "asked"),
    [
        ("wait=5", "sandbox:ready", 0),
        ("wait=5", "sandbox:slow", 2),
        ("no-wait", "sandbox:ready", 1),
    ],
)
def test_replicates_submit_waits_as_it_is_asked_to(prefer: str, words: str, asked: int) -> None:
    """A picture that is there in time needs no poll; one that is not is asked for."""
    one = stand("replicate", prefer=prefer)
    card = one.adapter.cards[0]
    driven = one.generate(card, ImageRequest(prompt=f"a fox {words}"))
    assert driven.outcome().blobs
    assert len(driven.of(Purpose.POLL)) >= asked
    assert bool(driven.of(Purpose.POLL)) == bool(asked)
    assert one.meter()["accepted"] == 1


@pytest.mark.parametrize("provider", registry.names())
def test_an_emulator_refuses_a_key_that_it_does_not_know_and_a_job_of_nobodys(
    provider: str,
) -> None:
    """In the provider's own shape, read as what it is."""
    one = stand(provider)
    card = one.adapter.cards[0]
    driven = one.generate(card, ImageRequest(prompt="a fox sandbox:ready"))
    job = driven.outcome().job
    lost = dataclasses.replace(
        job, id="nobodys", links={k: v.replace(job.id, "nobodys") for k, v in job.links.items()}
    )
    answer = one.send(one.adapter.poll(lost))
    assert isinstance(answer, WireResponse)
    assert answer.status == 404
    assert one.adapter.refusal(answer).status == 404


def test_an_address_of_fals_takes_no_other_number_of_references() -> None:
    """Text at the address that edits is refused, and not taken for a picture."""
    one = stand("fal")
    card = choose(one.adapter.cards, "flux-kontext-pro")
    payload = one.adapter.translate(ImageRequest(prompt="a fox"), card).payload
    wire = one.adapter.submit(payload, card, golden.KEY)
    moved = dataclasses.replace(wire, url=wire.url.removesuffix("/text-to-image"))
    answer = one.send(moved)
    assert isinstance(answer, WireResponse) and answer.status == 422
    assert one.meter()["accepted"] == 0
