"""What a picture will cost: each file in tests/quotes is a case. Adding a case is adding a file.

A case (TOML) has `about`, `provider`, `request` (fields of ImageRequest), and `quote`: what
`Quote.to_json` must say, key by key. It may set `settings` (the text of unified-flux.toml), `bills`
(amounts that earlier pictures of the model cost, the oldest first, in `bills_unit`), `age_days` (how
long ago the newest was), and `how_to_price`: a text that the advice contains, "" where there is none.
"""

from __future__ import annotations

import tomllib
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from unified_flux import Client, ConfigurationError, ImageRequest, Money, config, registry
from unified_flux.contract import Card
from unified_flux.journal import Journal
from unified_flux.money import Basis, decimal_of, parse_money
from unified_flux.prices import Tariff, read_rows
from unified_flux.pricing import Kind, quote

from books import billed, record  # isort: skip
from conftest import png  # isort: skip

CASES = sorted((Path(__file__).parent / "quotes").glob("*.toml"))


def settings(text: str) -> config.Config:
    """The settings of a folder with this unified-flux.toml."""
    Path("unified-flux.toml").write_text(text)
    return config.load(registry.names())


def with_bills(case: dict[str, Any], found: config.Config) -> None:
    """The journal holds what earlier pictures of the model cost."""
    now = [1_800_000_000.0 - 86400 * case.get("age_days", 0)]
    with closing(Journal(found.home, clock=lambda: now[0])) as journal:
        for amount in case.get("bills", ()):
            model = case["request"].get("model", "flux-kontext-pro")
            one = record(case["provider"], model, **case.get("bills_of", {}))
            billed(journal, amount, case.get("bills_unit", "USD"), one)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quote says what its case says: amount, unit, kind, basis, USD, and how to make it known."""
    case = tomllib.loads(path.read_text("utf-8"))
    found = settings(case.get("settings", ""))
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    with_bills(case, found)
    Path("den.png").write_bytes(png(1024, 1024))
    with Client(case["provider"], config=found) as client:
        client.journal._clock = lambda: 1_800_000_000.0  # type: ignore[union-attr]
        quoted = client.quote(ImageRequest(**{"prompt": "a fox", **case["request"]}))
    said = quoted.to_json()
    assert {key: said[key] for key in case["quote"]} == case["quote"]
    for key in ("amount", "unit", "kind", "usd", "why"):
        assert key in case["quote"] or said[key] is None, f"{key} is {said[key]}"
    assert case.get("how_to_price", "") in (quoted.how_to_price or "")
    assert bool(quoted.how_to_price) == bool(case.get("how_to_price"))


def test_every_basis_has_a_case() -> None:
    """No basis that a quote can have is left without a file."""
    bases = {tomllib.loads(path.read_text("utf-8"))["quote"]["basis"] for path in CASES}
    assert bases == {"documented", "third party", "configured", "observed", "unknown"} - {
        "third party"
    }


def third_party_card() -> Card:
    """A card whose one price a third party tells."""
    card = registry.make_adapter("vtrix").cards[-1]
    row = {"amount": "0.04", "unit": "USD", "per": "image", "basis": "third party", "source": "a blog", "as_of": "2026-11-21"}  # fmt: skip
    facts = {**card.facts, "prices": [row]}
    return Card("vtrix", {**card.schema, "x-unified-flux": facts})


@pytest.mark.parametrize(("seen", "basis"), [(False, "third party"), (True, "observed")])
def test_a_third_partys_price_stands_below_ones_own_bills(
    seen: bool, basis: str, tmp_path: Path
) -> None:
    """What was really billed says more than what others say."""
    translation = registry.make_adapter("vtrix").translate(
        ImageRequest(prompt="a fox"), third_party_card()
    )
    with closing(Journal(tmp_path / "home")) as journal:
        if seen:
            billed(journal, "0.05", "USD", record("vtrix"))
        observed = journal.spending.observed
        found = quote(translation, Tariff(), lambda: observed("vtrix", "flux_kontext_pro"))
    assert found.basis == basis
    assert str(found.money) == ("0.05 USD" if seen else "0.04 USD")


def test_the_sandboxs_bills_price_nothing_real(tmp_path: Path) -> None:
    """Play money is observed apart."""
    with closing(Journal(tmp_path / "home")) as journal:
        billed(journal, "0.01", "USD", record("vtrix", sandbox=True))
        assert journal.spending.observed("vtrix", "flux_kontext_pro") is None
        seen = journal.spending.observed("vtrix", "flux_kontext_pro", sandbox=True)
    assert seen is not None
    assert seen.count == 1


def test_a_card_with_a_longest_side_bounds_what_is_left_unsaid() -> None:
    """Where the size is not asked for, the largest that the card takes is an upper bound."""
    card = next(c for c in registry.make_adapter("vtrix").cards if c.model == "flux_2_pro")
    sides = {
        name: {**card.schema["properties"][name], "maximum": 2048} for name in ("width", "height")
    }
    whole = {**card.schema, "properties": {**card.schema["properties"], **sides}}
    rows = read_rows(
        {"amount": "0.03", "unit": "USD", "per": "output megapixel", "rounding": "up"},
        "vtrix",
        Basis.CONFIGURED,
    )
    translation = registry.make_adapter("vtrix").translate(
        ImageRequest(prompt="a fox"), Card("vtrix", whole)
    )
    found = quote(translation, Tariff(rows={"vtrix/flux_2_pro": rows}))
    assert (str(found.money), found.kind) == ("0.12 USD", Kind.UPPER_BOUND)


def test_a_price_for_a_model_that_is_not_there_is_an_error_with_the_nearest() -> None:
    """A misspelt model does not leave its price unused in silence."""
    found = settings('[prices."vtrix/flux_kontext_por"]\namount = "1"\nunit = "USD"')
    with pytest.raises(ConfigurationError, match='did you mean "flux_kontext_pro"'):
        Client("vtrix", config=found)


@pytest.mark.parametrize(
    ("said", "money"),
    [
        ("0.50 USD", "0.50 USD"),
        ("$0.50", "0.50 USD"),
        ("0.5usd", "0.5 USD"),
        ("8 credits", "8 credits:rivya"),
        ("8 credits:vtrix", "8 credits:vtrix"),
    ],
)
def test_money_is_read_as_people_write_it(said: str, money: str) -> None:
    """An amount and its unit, with or without a blank."""
    found = parse_money(said, "rivya")
    assert f"{found.amount:f} {found.unit}" == money


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("0.50", 'has no unit; write "0.50 USD" or "0.50 credits:rivya"'),
        (5, 'has no unit; write "5 USD"'),
        ("-1 USD", "must be above 0, not -1"),
        ("0 USD", "must be above 0, not 0"),
        ("1 EUR", 'must be in one unit, USD or credits:rivya, not "EUR"'),
        ("2 USD 3 credits", "must be in one unit"),
        ("much", 'must be an amount and its unit, such as "0.50 USD", not much'),
        ("", "must be an amount and its unit"),
        (None, "must be an amount and its unit"),
        (True, "must be an amount and its unit"),
        ("1e400 USD", "must be an amount and its unit"),
        ("nan USD", "must be an amount and its unit"),
    ],
)
def test_what_is_no_money_is_told_what_would_be(said: object, says: str) -> None:
    """One sentence, with the nearest text that would do."""
    with pytest.raises(ValueError) as caught:
        parse_money(said, "rivya")
    assert says in str(caught.value)


def test_fractions_become_decimals_without_loss() -> None:
    """Prices are decimals and sums of them too; what is none is rounded up, never down."""
    from fractions import Fraction

    assert str(decimal_of(Fraction(3, 2))) == "1.5"
    assert str(decimal_of(Fraction(10**30))) == "1" + "0" * 30
    assert decimal_of(Fraction(1, 3)) > Fraction(1, 3)
    assert Money(Decimal("0.1"), "USD").times(3).amount == Decimal("0.3")
