"""What costs nothing leaves its room to the next picture; what may be paid stays counted."""

from __future__ import annotations

from typing import Any

import pytest
from faults.providers import PROVIDERS
from faults.purse import ONE, READY, VTRIX, accepted, client, make, refused, settings
from faults.verdicts import stage

from unified_flux import OutcomeUnknown, Phase, SpendLimitExceeded, UnifiedFluxError
from unified_flux.effects import Event
from unified_flux.errors import Charged
from unified_flux.sandbox.server import SandboxServer


def stops(phase: Phase) -> Any:
    """A listener that ends everything at a phase, like Ctrl-C there."""

    def hear(event: Event) -> None:
        if event.phase is phase:
            raise KeyboardInterrupt

    return hear


# What each provider says, or documents, that it takes nothing for.
FREE = {
    "rivya": ("402", "failed", "moderated", "moderated-at-once", "redirect"),
    "vtrix": ("402", "failed", "moderated", "moderated-at-once", "redirect"),
    "bfl": ("402", "moderated", "moderated-at-once", "redirect"),
    "fal": ("402", "moderated-at-once", "redirect"),
    "replicate": ("402", "moderated-at-once", "redirect"),
}


@pytest.mark.parametrize(("provider", "how"), [(one, how) for one in FREE for how in FREE[one]])
def test_what_costs_nothing_leaves_its_room_to_the_next(
    provider: str, how: str, configured: SandboxServer
) -> None:
    """Refused, failed and refunded, moderated: under a limit of one picture another is made."""
    settings(ONE[provider])
    with pytest.raises(UnifiedFluxError):
        make(provider, f"a fox sandbox:{how}")
    assert make(provider).images
    refused(provider)


@pytest.mark.parametrize(
    ("provider", "how"), [("bfl", "failed"), ("fal", "failed"), ("fal", "moderated")]
)
def test_a_failure_that_nobody_calls_free_stays_counted(
    provider: str, how: str, configured: SandboxServer
) -> None:
    """Where no answer and no page says that it costs nothing, the room is kept."""
    settings(ONE[provider])
    with pytest.raises(UnifiedFluxError) as caught:
        make(provider, f"a fox sandbox:{how}")
    assert caught.value.charged is Charged.MAYBE
    refused(provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_was_stopped_before_it_was_sent_leaves_its_room(
    provider: str, configured: SandboxServer
) -> None:
    """Ctrl-C before the submit reserves nothing; after it, what may be paid stays counted."""
    settings(ONE[provider])
    with pytest.raises(KeyboardInterrupt):
        make(provider, on_event=stops(Phase.PREPARED))
    with pytest.raises(KeyboardInterrupt):
        make(provider, on_event=stops(Phase.ACCEPTED))
    refused(provider)
    assert accepted(configured, provider) == 1


def test_what_died_before_it_was_sent_leaves_its_room() -> None:
    """`kill -9` between the reservation and the submit: the next command is let through at once."""
    with stage() as scene:
        (scene.folder / "unified-flux.toml").write_text(ONE["rivya"])
        ask = ["generate", READY, "-p", "rivya", "-o", str(scene.out / "a.png")]
        assert scene.watched({"before sending 1": "kill"}, *ask).returncode < 0
        assert list(scene.phases().values()) == ["prepared"]
        assert scene.run(*ask).returncode == 0
        again = scene.run(*ask, "--force")
        assert (again.returncode, len(scene.accepted())) == (5, 1)


def unknown() -> str:
    """A submit whose outcome nobody knows; our name of it."""
    with pytest.raises(OutcomeUnknown) as caught:
        make("vtrix", "a fox sandbox:reset-after sandbox:ready")
    assert caught.value.id is not None
    return caught.value.id


@pytest.mark.parametrize("charged", [True, False])
def test_an_unknown_outcome_stays_counted_until_it_is_resolved(
    charged: bool, configured: SandboxServer
) -> None:
    """ "Not charged" makes room again, "charged" does not."""
    settings(ONE["vtrix"])
    id = unknown()
    refused("vtrix")
    with client("vtrix") as one:
        one.resolve(id, charged=charged)
    if charged:
        refused("vtrix")
    else:
        assert make("vtrix").images


def test_a_second_submit_is_held_to_the_limits_and_counted(configured: SandboxServer) -> None:
    """Without room it is refused and nothing sent; with room both stay counted, for good."""
    settings(ONE["vtrix"])
    id = unknown()
    with client("vtrix") as one, pytest.raises(SpendLimitExceeded):
        one.resume(id, resubmit=True)
    assert accepted(configured, "vtrix") == 1
    settings(ONE["vtrix"].replace("0.01 USD", "0.02 USD"))
    with client("vtrix") as one:
        assert one.journal is not None
        assert one.journal.get(id).phase is Phase.UNKNOWN
        assert one.resume(id, resubmit=True).images
    assert accepted(configured, "vtrix") == 2
    refused("vtrix")
    settings(ONE["vtrix"].replace("0.01 USD", "0.03 USD"))
    assert make("vtrix").images
    refused("vtrix")


@pytest.mark.parametrize(
    ("price", "most", "made"), [("0.005", "0.024", 2), ("0.02", "0.04", 3), ("0.02", "0.039", 2)]
)
def test_a_bill_is_counted_in_the_place_of_its_quote(
    price: str, most: str, made: int, configured: SandboxServer
) -> None:
    """Each is billed 0.01 USD, whatever was quoted; the next one's quote must fit beside the bills."""
    settings(f'{VTRIX.replace("0.01", price)}[limits]\nper_day = "{most} USD"\n')
    for _ in range(made):
        make("vtrix")
    refused("vtrix")
    assert accepted(configured, "vtrix") == made
