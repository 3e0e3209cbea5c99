"""Many at once, from threads and from asyncio: over the served sandbox, counted by its meter."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unified_flux import (
    Asked,
    AsyncClient,
    Charged,
    Client,
    ImageRequest,
    InvalidRequest,
    Moderated,
    Phase,
    Reference,
    Router,
)
from unified_flux.effects import Event
from unified_flux.journal import Journal
from unified_flux.sandbox.server import SandboxServer
from unified_flux.scheduler import Stopped

READY = ImageRequest(prompt="a fox sandbox:ready")
LONG = ImageRequest(prompt="a fox sandbox:slow")


def accepted(served: SandboxServer) -> int:
    return sum(one.meter()["accepted"] for one in served.emulators.values())


def journalled(home: Path) -> list[Phase]:
    """The phases of all jobs that are on disk."""
    journal = Journal(home)
    try:
        return [record.phase for record in journal.jobs({})]
    finally:
        journal.close()


def test_results_come_as_they_finish_and_failures_are_values(configured: SandboxServer) -> None:
    """One that is refused costs the others nothing; each tells which it is."""
    asked = [LONG, READY, ImageRequest(prompt="a fox sandbox:moderated-at-once"), READY]
    with Client.from_config("vtrix") as client:
        came = []
        for one in client.generate_many(asked):
            came.append(one)
            if len(came) == 3:
                break
    assert {one.number for one in came} == {2, 3, 4}
    assert [type(one.error) for one in came if one.number == 3] == [Moderated]
    assert all(one.result for one in came if one.number != 3)
    assert all(one.request is asked[one.number - 1] for one in came)


def test_requests_are_taken_only_as_places_are_free(configured: SandboxServer) -> None:
    """A million of them may be waiting in a generator."""
    taken = 0

    def requests() -> Iterator[ImageRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield READY

    with Router.from_config("rivya") as router:
        many = router.generate_many(requests(), concurrency=3)
        assert next(many).result
        many.close()
    assert 3 <= taken <= 4


def test_a_router_chooses_for_each_request_anew(configured: SandboxServer) -> None:
    """Where the first is not possible at one provider, it goes to the next, beside its siblings."""
    Path("unified-flux.toml").write_text(
        'fallback = ["vtrix", "rivya"]\nallow = ["unknown-price"]\n'
    )
    asked = [READY, ImageRequest(prompt="a fox sandbox:ready", model="flux-kontext-max")]
    with Router.from_config() as router:
        made = sorted(router.generate_many(asked), key=lambda one: one.number)
    assert [one.result and one.result.provider for one in made] == ["vtrix", "rivya"]


@pytest.mark.parametrize("asked", [0, -1, True, 1.5, "many"])
def test_concurrency_is_a_number_of_flows(asked: object, configured: SandboxServer) -> None:
    """Anything else is told before a request is taken."""
    with Client.from_config("vtrix") as client, pytest.raises(InvalidRequest, match="concurrency"):
        client.generate_many([READY], concurrency=asked)  # type: ignore[arg-type]


def test_a_reference_is_uploaded_once_for_all(
    configured: SandboxServer, make_png: Callable[..., bytes]
) -> None:
    """By its content, whichever request brings it first."""
    request = ImageRequest(prompt="a hat sandbox:ready", references=[Reference(make_png())])
    with Client.from_config("rivya") as client:
        made = list(client.generate_many([request] * 6))
    assert all(one.result for one in made)
    meter = configured.emulators["rivya"].meter()
    assert (meter["uploads"], meter["accepted"]) == (1, 6)


def test_draining_finishes_what_is_paid_and_begins_nothing(configured: SandboxServer) -> None:
    """What waits for its turn is told that it does not come."""
    Path("unified-flux.toml").write_text("[throttle.vtrix]\nin_flight = 2\n")
    with Client.from_config("vtrix") as client:
        many = client.generate_many([ImageRequest(prompt="a fox sandbox:polls-1")] * 6)
        seen = []

        def watch(event: Event) -> None:
            seen.append(event.phase)
            if seen.count(Phase.ACCEPTED) == 2:
                many.drain()

        client._on_event = watch
        made = list(many)
    done = [one for one in made if one.result]
    stopped = [one for one in made if isinstance(one.error, Stopped)]
    assert (len(done), len(stopped)) == (2, 4)
    assert all(one.error and one.error.charged is Charged.NO for one in stopped)
    assert accepted(configured) == 2


def test_asked_says_more_than_a_request(configured: SandboxServer, tmp_path: Path) -> None:
    """Where a picture is meant to go stands in the journal before it is paid."""
    with Client.from_config("vtrix") as client:
        (made,) = client.generate_many([Asked(request=READY, destination=tmp_path / "fox.png")])
    assert made.result
    assert made.result.records[0].destination == str(tmp_path / "fox.png")


def test_asyncio_makes_pictures_side_by_side(configured: SandboxServer) -> None:
    """Two providers at once, each awaited as any coroutine."""

    async def main() -> list[str]:
        async with (
            AsyncClient("vtrix", **keys("vtrix")) as vtrix,
            AsyncClient.from_config("rivya") as rivya,
        ):
            made = [one.generate(READY) for one in (vtrix, rivya) for _ in range(5)]
            return [(await one).provider for one in asyncio.as_completed(made)]

    def keys(name: str) -> dict[str, str]:
        return {"api_key": configured.key, "base_url": configured.providers[name]}

    assert sorted(asyncio.run(main())) == ["rivya"] * 5 + ["vtrix"] * 5
    assert accepted(configured) == 10


def test_asyncio_yields_many_as_they_finish(configured: SandboxServer) -> None:
    """A failure is a value there as well; leaving early stops the rest."""

    async def main() -> list[int]:
        numbers = []
        async with AsyncClient.from_config("vtrix") as client:
            refused = ImageRequest(prompt="a fox sandbox:402")
            async for one in client.generate_many([LONG, READY, refused]):
                numbers.append(one.number)
                if len(numbers) == 2:
                    break
        return numbers

    assert sorted(asyncio.run(main())) == [2, 3]


def test_a_cancelled_task_leaves_its_paid_job_in_the_journal(
    configured: SandboxServer, tmp_path: Path
) -> None:
    """After acceptance the job stays, and can be awaited later; nothing is paid twice."""

    async def main() -> None:
        heard = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watch(event: Event) -> None:
            if event.phase is Phase.ACCEPTED:
                loop.call_soon_threadsafe(heard.set)

        async with AsyncClient.from_config("vtrix", on_event=watch) as client:
            task = asyncio.create_task(client.generate(LONG))
            await heard.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert journalled(tmp_path / "data") == [Phase.ACCEPTED]
    assert accepted(configured) == 1


def test_a_task_cancelled_before_its_submit_sends_nothing(
    configured: SandboxServer, tmp_path: Path
) -> None:
    """It was waiting for its turn."""
    Path("unified-flux.toml").write_text("[throttle.vtrix]\nin_flight = 1\n")

    async def main() -> None:
        async with AsyncClient.from_config("vtrix") as client:
            first = asyncio.create_task(client.generate(LONG))
            while not accepted(configured):
                await asyncio.sleep(0.01)
            second = asyncio.create_task(client.generate(READY))
            await asyncio.sleep(0.05)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            first.cancel()

    asyncio.run(main())
    assert accepted(configured) == 1
    assert journalled(tmp_path / "data") == [Phase.ACCEPTED]


ENDS = {
    "a closed loop": """
        loop = asyncio.new_event_loop()
        task = loop.create_task(client.generate(LONG))
        loop.run_until_complete(heard())
        loop.close()
    """,
    "an interpreter that ends": """
        asyncio.new_event_loop().run_until_complete(begun())
    """,
}


@pytest.mark.parametrize("end", ENDS)
def test_however_a_program_ends_what_is_paid_is_journalled(
    end: str, configured: SandboxServer, tmp_path: Path
) -> None:
    """Nobody closed anything, and the job is there to be recovered."""
    program = textwrap.dedent("""
        import asyncio, logging, warnings
        from unified_flux import AsyncClient, ImageRequest, Phase
        warnings.simplefilter("ignore")
        logging.getLogger("asyncio").disabled = True
        LONG = ImageRequest(prompt="a fox sandbox:slow")
        paid = []
        client = AsyncClient.from_config("vtrix", on_event=lambda event: paid.append(event.phase))

        async def heard():
            while Phase.ACCEPTED not in paid:
                await asyncio.sleep(0.01)

        async def begun():
            task = asyncio.create_task(client.generate(LONG))
            await heard()
            raise SystemExit(0)
    """) + textwrap.dedent(ENDS[end])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert journalled(tmp_path / "data") == [Phase.ACCEPTED]
    assert accepted(configured) == 1
