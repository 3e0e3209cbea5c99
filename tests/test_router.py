"""Who is asked, in which order, who comes next and who does not; over the served sandbox."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from unified_flux import (
    Charged,
    Client,
    ConfigurationError,
    ImageRequest,
    InvalidRequest,
    JournalError,
    Moderated,
    OutcomeUnknown,
    Router,
    Unauthorized,
    UnifiedFluxError,
    UnsupportedField,
    config,
    registry,
)
from unified_flux.compare import compare
from unified_flux.errors import (
    InsufficientFunds,
    JobFailed,
    JobTimeout,
    MissingKey,
    NotDelivered,
    ProtocolError,
    ProviderError,
    RateLimited,
    SpendLimitExceeded,
)
from unified_flux.router import _may_go_on
from unified_flux.sandbox.server import SandboxServer
from unified_flux.wire import Job

PRICES = """
fallback_max_increase = "20%"
[credits]
rivya = "0.01"
[prices."vtrix/flux_kontext_pro"]
amount = "0.045"
unit = "USD"
"""


# No other provider is cheaper.
CHEAP = PRICES.replace('"0.01"', '"0.009"').replace('"0.045"', '"0.039"')


def settings(text: str = "") -> None:
    """The settings of this folder; keys and addresses come from the environment."""
    Path("unified-flux.toml").write_text(text)


def accepted(served: SandboxServer) -> dict[str, int]:
    """Paid submits of the two that these tests speak of; nobody else is ever paid."""
    found = {name: one.meter()["accepted"] for name, one in served.emulators.items()}
    assert not any(count for name, count in found.items() if name not in {"rivya", "vtrix"})
    return {name: found[name] for name in ("rivya", "vtrix")}


def test_from_python_a_setting_is_all_that_chooses(configured: SandboxServer) -> None:
    """One provider, the cheapest, or an order: the program stays the same."""
    request = ImageRequest(prompt="a fox sandbox:ready")
    made = []
    for first in ('provider = "vtrix"', 'provider = "cheapest"', 'fallback = ["vtrix", "rivya"]'):
        settings(f"{first}\n{CHEAP}")
        with Router.from_config() as router:
            result = router.generate(request)
        made.append((result.provider, [step.provider for step in result.steps if step.taken]))
    assert made == [("vtrix", []), ("rivya", ["rivya"]), ("vtrix", ["vtrix"])]
    assert accepted(configured) == {"rivya": 1, "vtrix": 2}


def test_a_step_tells_its_quote_and_why_it_was_not_taken(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each provider is translated and quoted anew, and the result shows the way."""
    monkeypatch.setenv("RIVYA_API_KEY", "wrong")
    settings(f'fallback = ["rivya", "vtrix"]{PRICES}')
    with Router.from_config() as router:
        result = router.generate(ImageRequest(prompt="a fox sandbox:ready", n=2))
    refused, taken = result.steps
    assert (refused.provider, refused.taken) == ("rivya", False)
    assert "HTTP 401" in (refused.why or "")
    assert str(refused.quote.usd) == "0.08 USD"
    assert (taken.provider, taken.taken, taken.why) == ("vtrix", True, None)
    assert str(taken.quote.usd) == "0.09 USD"
    assert str(result.charge) == "0.02 USD"
    assert accepted(configured) == {"rivya": 0, "vtrix": 2}


@pytest.mark.parametrize("allow", [[], ["unknown-price"]])
def test_who_has_no_price_follows_only_where_that_is_allowed(
    allow: list[str], configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be compared cannot be held to the contract."""
    monkeypatch.setenv("RIVYA_API_KEY", "wrong")
    settings('fallback = ["rivya", "vtrix"]')
    with Router.from_config(allow=allow) as router:
        if allow:
            assert router.generate(ImageRequest(prompt="a fox sandbox:ready")).provider == "vtrix"
            return
        with pytest.raises(Unauthorized) as caught:
            router.generate(ImageRequest(prompt="a fox sandbox:ready"))
    assert caught.value.steps[1]["why"] == "what vtrix costs in USD is not known"
    assert accepted(configured) == {"rivya": 0, "vtrix": 0}


def test_the_next_provider_loses_no_reference(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch, make_png: Callable[..., bytes]
) -> None:
    """Two references do not become one, even where every loss is allowed."""
    monkeypatch.setenv("VTRIX_API_KEY", "wrong")
    settings(f'fallback = ["vtrix", "rivya"]{PRICES}')
    with Router.from_config(adapt=True) as router, pytest.raises(Unauthorized) as caught:
        router.generate(
            ImageRequest(prompt="a fox sandbox:ready", references=[make_png(), make_png(65)])
        )
    assert "takes at most 1 image, got 2" in caught.value.steps[1]["why"]
    assert accepted(configured) == {"rivya": 0, "vtrix": 0}


def test_a_reference_that_can_be_read_once_reaches_the_next_provider(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch, make_png: Callable[..., bytes]
) -> None:
    """A pipe is empty after the first look: it is opened once for all."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    monkeypatch.setenv("RIVYA_API_KEY", "wrong")
    settings(f'fallback = ["rivya", "vtrix"]{PRICES}')
    with Router.from_config() as router:
        asked = ImageRequest(prompt="a fox sandbox:ready", references=[Pipe(make_png())])
        result = router.generate(asked)
    assert result.provider == "vtrix"
    assert result.report["references"].outcome == "converted"


@pytest.mark.parametrize(
    ("word", "kind"), [("failed", JobFailed), ("moderated", Moderated), ("502", OutcomeUnknown)]
)
def test_after_acceptance_nobody_else_is_asked(
    word: str, kind: type[UnifiedFluxError], configured: SandboxServer
) -> None:
    """A job that failed, was refused for its content or may have been taken is where it ends."""
    settings(f'fallback = ["vtrix", "rivya"]\nallow = ["unknown-price"]{PRICES}')
    with Router.from_config() as router, pytest.raises(kind):
        router.generate(ImageRequest(prompt=f"a fox sandbox:{word}"))
    assert accepted(configured)["rivya"] == 0


JOB = Job(provider="rivya", model="flux-kontext-pro", id="task_1")


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (NotDelivered("x"), True),
        (RateLimited("x"), True),
        (Unauthorized("x"), True),
        (InsufficientFunds("x"), True),
        (ProviderError("x"), True),
        (MissingKey("x"), True),
        (Moderated("x"), False),
        (JobFailed("x"), False),
        (OutcomeUnknown("x", charged=Charged.MAYBE), False),
        (JobTimeout("x", job=JOB, charged=Charged.MAYBE), False),
        (ProtocolError("x"), False),
        (InvalidRequest("x"), False),
        (SpendLimitExceeded("x"), False),
        (ProviderError("x", charged=Charged.MAYBE), False),
        (ProviderError("x", charged=Charged.YES), False),
        (ProviderError("x", job=JOB), False),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else str(one),
)
def test_only_a_refusal_that_cost_nothing_passes_on(error: UnifiedFluxError, goes_on: bool) -> None:
    """Whatever was accepted, may have cost or refuses the content or the request stays where it is."""
    assert _may_go_on(error) is goes_on
    several = ProviderError("first of two")
    several.siblings = (error,)
    assert _may_go_on(several) is goes_on


def test_the_cheapest_is_chosen_for_each_request(configured: SandboxServer) -> None:
    """What one provider cannot say makes the other the cheapest that is possible."""
    settings(f'provider = "cheapest"{CHEAP}')
    with Router.from_config() as router:
        assert router.choose(ImageRequest(prompt="a fox")).provider == "rivya"
        assert router.choose(ImageRequest(prompt="a fox", seed=7)).provider == "vtrix"
        assert str(router.quote(ImageRequest(prompt="a fox", seed=7)).usd) == "0.039 USD"
        with pytest.raises(UnsupportedField, match="no provider can do this request"):
            router.plan(ImageRequest(prompt="a fox", seed=7, watermark="us"))


def test_the_cheapest_goes_on_only_to_a_fallback(
    configured: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choosing by price is no word for paying somebody else: `fallback` is."""
    monkeypatch.setenv("RIVYA_API_KEY", "wrong")
    request = ImageRequest(prompt="a fox sandbox:ready")
    settings(f'provider = "cheapest"{CHEAP}')
    with Router.from_config() as router, pytest.raises(Unauthorized) as caught:
        router.generate(request)
    assert caught.value.steps[1]["why"] == "it is not among the fallbacks"
    settings(f'provider = "cheapest"\nfallback = ["vtrix"]{CHEAP}')
    with Router.from_config() as router:
        assert router.generate(request).provider == "vtrix"


def test_a_model_that_nobody_has_is_told_as_by_one_client(configured: SandboxServer) -> None:
    """The error is a client's own."""
    settings(f'fallback = ["rivya", "vtrix"]{PRICES}')
    with Router.from_config() as router, pytest.raises(InvalidRequest, match="has no model"):
        router.generate(ImageRequest(prompt="a fox", model="flux-9"))


def test_a_client_for_the_cheapest_says_what_is_for_it(configured: SandboxServer) -> None:
    """A client speaks to one provider; the error names what chooses among several."""
    settings(f'provider = "cheapest"{PRICES}')
    with pytest.raises(ConfigurationError, match="cheapest is another provider for each request"):
        Client.from_config()


# ---------------------------------------------------------------- compare


class Broken:
    """Stands where an adapter should be, and fails."""

    def __init__(self, *_: Any) -> None:
        raise ConfigurationError("the plugin acme cannot be loaded")


def test_a_broken_plugin_stands_in_no_others_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its fault; asked for by name it is an error."""
    real = registry.adapter_class
    monkeypatch.setattr(registry, "adapter_class", lambda n: Broken if n == "acme" else real(n))
    found = config.Config(("acme", "rivya"))
    comparison = compare(ImageRequest(prompt="a fox"), config=found)
    assert [one.provider for one in comparison.candidates] == ["rivya"]
    assert comparison.left_out == {"acme": "the plugin acme cannot be loaded"}
    with pytest.raises(ConfigurationError, match="acme cannot be loaded"):
        compare(ImageRequest(prompt="a fox"), config=found, providers=["acme"])


def test_a_journal_that_cannot_be_read_is_told_and_not_taken_for_an_empty_one() -> None:
    """Without its bills a price would be unknown for another reason than is said."""
    found = config.load(registry.names())
    found.home.mkdir()
    (found.home / "journal.db").write_bytes(b"not a database at all, but long enough" * 40)
    with pytest.raises(JournalError, match="no SQLite file"):
        compare(ImageRequest(prompt="a fox"))


def test_every_figure_of_a_comparison_is_text_or_null(configured: SandboxServer) -> None:
    """Amounts survive any JSON reader: none is a float, an unknown one is null."""
    settings(PRICES)
    found = config.load(registry.names())
    models = ["flux-kontext-pro", "flux-kontext-max", "flux-2-pro", "flux_2_max"]
    comparison = compare(ImageRequest(prompt="a fox", n=3), config=found, models=models)
    quotes = [one.to_json()["quote"] for one in comparison.candidates]
    assert len(quotes) == 12
    known = [quote["usd"] for quote in quotes if quote["usd"] is not None]
    assert known == sorted(known, key=Decimal)
    assert {"0.12", "0.135", "0.15", "0.24"} <= {*known}
    assert [quote["usd"] for quote in quotes][len(known) :] == [None] * (len(quotes) - len(known))
    for quote in quotes:
        assert (quote["amount"] is None) == (quote["basis"] == "unknown")
        for key in ("amount", "usd", "each"):
            assert quote[key] is None or Decimal(quote[key]) > 0
