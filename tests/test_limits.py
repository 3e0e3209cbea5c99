"""Spend limits: never passed by one nano-unit, whoever races; what costs nothing is let go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faults.purse import VTRIX, accepted, make, refused, settings

from unified_flux import (
    InvalidRequest,
    Money,
    OutcomeUnknown,
    Phase,
    SpendLimitExceeded,
    UnifiedFluxError,
    config,
    registry,
)
from unified_flux.journal import Journal
from unified_flux.limits import Limits
from unified_flux.record import Record
from unified_flux.sandbox.server import SandboxServer

from books import billed, quoted, record  # isort: skip

# In one journal.


@pytest.fixture
def now() -> list[float]:
    """The time of day: the last of November 2026, half a second before midnight in UTC."""
    return [1_796_083_199.5]


@pytest.fixture
def journal(place: Path | str, now: list[float]) -> Iterator[Journal]:
    with contextlib.closing(Journal(place, clock=lambda: now[0])) as one:
        yield one


def limits(text: str, **how: Any) -> Limits:
    """The limits of such settings."""
    settings(text)
    found = config.load(registry.names())
    return Limits(limits=found.limits, rates=found.tariff.rates, **how)


def reserve(journal: Journal, held: Limits, amount: str = "1", **known: Any) -> list[Record]:
    """Reserve a picture of such a price."""
    one = record(quote=quoted(amount, known.pop("unit", "USD")), **known)
    return journal.prepare([one], limits=held)


def counted(journal: Journal) -> list[tuple[int, str]]:
    """Jobs and money of each line of its report."""
    found = journal.spending.sums("day")
    return [(one.jobs, f"{one.money.amount:.9f}") for one in found if one.money]


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        ("per_day", 1),
        ("per_month", 1),
        ("per_provider.rivya.per_day", 1),
        ("per_provider.rivya", 0),
    ],
)
def test_days_and_months_begin_at_midnight_in_utc(
    name: str, passed: int, journal: Journal, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second later another day and month counts, wherever this machine is; "in all" never ends."""
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    held = limits(f'limits.{name} = "1 USD"\n')
    reserve(journal, held)
    with pytest.raises(SpendLimitExceeded):
        reserve(journal, held)
    now[0] += 0.5
    for _ in range(passed):
        reserve(journal, held)
    with pytest.raises(SpendLimitExceeded):
        reserve(journal, held)


def test_a_month_counts_its_first_and_last_day(journal: Journal, now: list[float]) -> None:
    """What was reserved on the first is still counted on the last, and not the day after."""
    held = limits('limits.per_month = "2 USD"\n')
    now[0] += 0.5
    reserve(journal, held)
    now[0] += 30 * 86_400
    reserve(journal, held)
    now[0] += 86_399.5
    with pytest.raises(SpendLimitExceeded, match="this month"):
        reserve(journal, held)
    now[0] += 0.5
    reserve(journal, held)


def test_the_sandboxs_money_and_real_money_are_counted_apart(journal: Journal) -> None:
    """A limit holds for each of the two by itself."""
    held = limits('limits.per_day = "1 USD"\n')
    for sandbox in (True, False):
        reserve(journal, held, sandbox=sandbox)
        with pytest.raises(SpendLimitExceeded):
            reserve(journal, held, sandbox=sandbox)


def test_one_providers_limit_counts_that_one_alone(journal: Journal) -> None:
    """And credits are counted for who is paid in them; USD for all."""
    rivya = limits('limits.per_day = "4 credits:rivya"\n')
    assert [rivya.limits[0].concerns(name) for name in ("rivya", "vtrix")] == [True, False]
    reserve(journal, limits('limits.per_provider.rivya = "1 USD"\n'))
    held = limits('limits.per_provider.vtrix = "1 USD"\n')
    reserve(journal, held, provider="vtrix")
    with pytest.raises(SpendLimitExceeded):
        reserve(journal, limits('limits.per_day = "2 USD"\n'))


def test_a_price_with_more_digits_is_reserved_as_it_is_counted(journal: Journal) -> None:
    """Ten pictures of 1.1 nano-units reserve 20 of them: 19 are too few."""
    ten = [record(quote=quoted("0.0000000011")) for _ in range(10)]
    with pytest.raises(SpendLimitExceeded):
        journal.prepare(ten, limits=limits('limits.per_day = "0.000000019 USD"\n'))
    journal.prepare(ten, limits=limits('limits.per_day = "0.000000020 USD"\n'))
    assert counted(journal) == [(10, "0.000000020")]


def test_a_limit_of_nineteen_digits_is_held_to_the_last(journal: Journal) -> None:
    """Nine billions and a billionth: no float tells it from nine billions."""
    held = limits('limits.per_day = "9000000000.000000001 USD"\n')
    reserve(journal, held, "9000000000")
    reserve(journal, held, "0.000000001")
    with pytest.raises(SpendLimitExceeded):
        reserve(journal, held, "0.000000001")
    assert counted(journal) == [(2, "9000000000.000000001")]


def test_credits_without_a_rate_are_in_no_limit_of_usd(journal: Journal) -> None:
    """Those of this call, and those that were spent before: the error says which setting tells."""
    text = 'limits.per_day = "1 USD"\n'
    with pytest.raises(
        SpendLimitExceeded, match=r"4 credits:rivya of this call are in USD"
    ) as caught:
        reserve(journal, limits(text), "4", unit="credits:rivya")
    assert '[credits] rivya = "USD per credit"' in str(caught.value)
    billed(journal, "4", "credits:rivya")
    with pytest.raises(SpendLimitExceeded, match=r"what 4 credits:rivya, spent today"):
        reserve(journal, limits(text))
    reserve(journal, limits(f'{text}credits.rivya = "0.001"\n'), "0.996")
    with pytest.raises(SpendLimitExceeded):
        reserve(journal, limits(f'{text}credits.rivya = "0.001"\n'), "0.000000001")


def test_credits_of_a_provider_that_is_gone_are_named(journal: Journal) -> None:
    """With the line that makes them count; that line is taken though the provider is not installed."""
    billed(journal, "500", "credits:bygone", replace(record(), provider="bygone"))
    text = 'limits.per_day = "1 USD"\n'
    with pytest.raises(SpendLimitExceeded, match=r"500 credits:bygone, spent today") as caught:
        reserve(journal, limits(text))
    assert caught.value.next_step is not None
    assert caught.value.next_step.startswith('Set [credits] bygone = "USD per credit".')
    reserve(journal, limits(f'{text}credits.bygone = "0.001"\n'), "0.5")
    reserve(journal, limits(text, unknown_allowed=True), "0.5")


def test_a_living_process_holds_what_it_reserved(place: Path | str) -> None:
    """Until it lets go or is gone; a refusal by then has changed nothing."""
    held = limits('limits.per_day = "1 USD"\n')
    with (
        contextlib.closing(Journal(place)) as one,
        contextlib.closing(Journal(place)) as other,
    ):
        (mine,) = reserve(one, held)
        for journal in (one, other):
            with pytest.raises(SpendLimitExceeded):
                reserve(journal, held)
        assert other.get(mine.id).phase is Phase.PREPARED
        one.release([mine.id])
        (theirs,) = reserve(other, held)
        other.close()
        reserve(one, held)
        assert one.get(theirs.id).phase is Phase.CANCELLED


def test_many_reservations_are_looked_through_once(place: Path | str) -> None:
    """A process is asked after once, however much it has reserved: a thousand pictures cost no second."""
    looked: list[str] = []
    held = limits('limits.per_day = "1000 USD"\n')
    with (
        contextlib.closing(Journal(place)) as one,
        contextlib.closing(Journal(place)) as other,
    ):
        one.prepare([record(quote=quoted("1")) for _ in range(50)], limits=held)
        reserve(other, held)
        owner = other._owner
        assert owner is not None
        lives = owner.lives
        owner.lives = lambda token, it=None: looked.append(token) or lives(token, it)  # type: ignore[method-assign,func-returns-value]
        reserve(other, held)
    assert len(looked) == 1


def test_a_limit_holds_for_all_who_share_a_database(shared: str) -> None:
    """Threads and connections at once reserve to the last dollar, and not one more."""
    held = limits('limits.per_day = "7 USD"\n')
    with contextlib.closing(Journal(shared)) as one, contextlib.closing(Journal(shared)) as other:

        def ask(number: int) -> int:
            try:
                reserve((one, other)[number % 2], held)
            except SpendLimitExceeded:
                return 0
            return 1

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(ask, range(24))) == 7


# Of one call.


@pytest.mark.parametrize("most", ["11.999999999 credits", Money(Decimal("11.9"), "credits:rivya")])
def test_the_limit_of_a_call_counts_all_its_pictures(
    most: str | Money, configured: SandboxServer
) -> None:
    """Three of 4 credits need 12, to the last digit; one that was made before costs nothing more."""
    wish = {"n": 3, "client_request_id": "order-1"}
    refused("rivya", max_cost=most, **wish)
    assert accepted(configured, "rivya") == 0
    first = make("rivya", max_cost="12 credits", **wish)
    again = make("rivya", max_cost="0.1 credits", **wish)
    assert [one.sha256 for one in again.images] == [one.sha256 for one in first.images]
    settings('[limits]\nper_day = "12 credits:rivya"\n')
    assert make("rivya", **wish).images
    refused("rivya", **{**wish, "client_request_id": "order-2"})
    assert accepted(configured, "rivya") == 3


def test_what_nobody_can_price_is_refused_under_a_limit(configured: SandboxServer) -> None:
    """The error says how to price it; `unknown-price` lets it pass, and its bill is counted."""
    text = '[limits]\nper_day = "0.02 USD"\n'
    settings(text)
    error = refused("vtrix")
    assert error.message.startswith(
        "nobody knows what this call costs, and limits.per_day = 0.02 USD is set"
    )
    assert '[prices."vtrix/flux_kontext_pro"]' in str(error)
    assert "--allow unknown-price lets it pass uncounted." in str(error)
    make("vtrix", allow=["unknown-price"])
    # Its bill tells the price of the next.
    make("vtrix")
    refused("vtrix")
    assert accepted(configured, "vtrix") == 2


def test_a_job_of_unknown_cost_stops_the_next_under_its_limit(configured: SandboxServer) -> None:
    """Let through uncounted and never billed: nobody knows the sum, and the error says so."""
    settings('[limits]\nper_day = "5 USD"\n')
    with pytest.raises(OutcomeUnknown):
        make("vtrix", "a fox sandbox:reset-after", allow=["unknown-price"])
    settings(f'{VTRIX}[limits]\nper_day = "5 USD"\n')
    assert refused("vtrix").message.startswith("nobody knows what 1 job cost today (UTC)")
    assert make("vtrix", allow=["unknown-price"]).images


@pytest.mark.parametrize("how", [{}, {"max_cost": "5 USD"}])
def test_limits_need_the_journal(how: dict[str, str], configured: SandboxServer) -> None:
    """Turned off, it can keep to none: exit 5, nothing sent."""
    limit = "" if how else '[limits]\nper_day = "5 USD"\n'
    settings(f"[journal]\nenabled = false\n{limit}")
    assert "journal" in refused("vtrix", **how).message
    assert accepted(configured, "vtrix") == 0


# Bad input.

NOT_ABOVE = "must be USD per credit, a number above 0, not"
NO_MONEY = 'must be an amount and its unit, such as "0.50 USD", not'
PRICE = 'prices."vtrix/flux_kontext_pro"'
BAD: Sequence[tuple[str, str]] = (
    ("limits.per_day = 5", 'limits.per_day has no unit; write "5 USD"'),
    ('limits.per_day = "0 USD"', "limits.per_day must be above 0, not 0"),
    ('limits.per_day = "-5 USD"', "limits.per_day must be above 0, not -5"),
    ('limits.per_day = "5 EUR"', 'limits.per_day must be in one unit, USD or credits:PROVIDER, not "EUR"'),
    ('limits.per_day = "5 USD 3 credits:rivya"', 'limits.per_day must be in one unit, USD or credits:PROVIDER, not "USD 3'),
    ('limits.per_day = "5 credits"', 'limits.per_day must be in one unit, USD or credits:PROVIDER, not "credits"'),
    *((f"limits.per_day = {said}", f"limits.per_day {NO_MONEY}") for said in ('"x USD"', '"NaN USD"', '"inf USD"', '"1e99 USD"', "true", '""', '["5 USD"]', "2026-11-25")),
    ('limits.per_week = "5 USD"', "limits.per_week is no limit; known: per_call, per_day, per_month"),
    ('limits.perday = "5 USD"', 'limits.perday is no limit (did you mean "per_day"?)'),
    ('limits.per_provider = "5 USD"', "limits.per_provider is no limit"),
    ('limits.rivya.per_day = "5 USD"', "limits.rivya.per_day is no limit"),
    ('limits.per_day.per_day = "5 USD"', "limits.per_day.per_day is no limit"),
    ('limits.per_provider.rivya.per_day.x = "5 USD"', "limits.per_provider.rivya.per_day.x is no limit"),
    ('limits.per_provider.rivia = "5 USD"', 'limits.per_provider.rivia names rivia, which is not installed (did you mean "rivya"?)'),
    ('limits.per_provider.rivya = "5 credits:vtrix"', "limits.per_provider.rivya mixes units: rivya is not paid in credits:vtrix"),
    ("limits.per_provider.rivya.per_day = 5", 'limits.per_provider.rivya.per_day has no unit; write "5 USD" or "5 credits:rivya"'),
    ('limits = "5 USD"', "limits must be a table"),
    ('[[limits]]\nper_day = "5 USD"', "limits must be a table"),
    *((f"credits.rivya = {said}", f"credits.rivya {NOT_ABOVE}") for said in ("0", '"-0.01"', '"cheap"', '""', '"nan"', "true", '"0.01 USD"', '["0.01"]', '{usd = "0.01"}')),
    ('credits.rivia = "0.01"', 'credits.rivia names rivia, which is not installed (did you mean "rivya"?)'),
    ('credits = "0.01"', "credits must be a table"),
    (f'{PRICE} = {{amount = "0.1"}}', "prices.vtrix/flux_kontext_pro has no unit; say USD or credits:vtrix"),
    *((f'{PRICE} = {{amount = {said}, unit = "USD"}}', "prices.vtrix/flux_kontext_pro needs an amount from 0 on") for said in ("-1", '"x"', "true")),
    (f'{PRICE} = {{unit = "USD"}}', "prices.vtrix/flux_kontext_pro needs an amount from 0 on, not none"),
    (f'{PRICE} = {{amount = 1, unit = "EUR"}}', 'prices.vtrix/flux_kontext_pro must be in one unit, USD or credits:vtrix, not "EUR"'),
    (f'{PRICE} = {{amount = 1, unit = "USD", amout = 2}}', 'prices.vtrix/flux_kontext_pro has "amout", which no price has (did you mean "amount"?)'),
    (f"{PRICE} = 1", "prices.vtrix/flux_kontext_pro must be a table with amount, unit and per"),
    (f'{PRICE} = [{{amount = 1, unit = "USD"}}, {{amount = 1, unit = "credits:vtrix"}}]', "prices.vtrix/flux_kontext_pro mixes units, USD and credits:vtrix"),
    ("prices.vtrix = 1", 'prices.vtrix must be named "PROVIDER/MODEL"'),
    ('prices."vtrixx/a" = {amount = 1, unit = "USD"}', 'prices.vtrixx/a names vtrixx, which is not installed (did you mean "vtrix"?)'),
    ("prices = 1", "prices must be a table"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "says"), BAD, ids=[text for text, _ in BAD])
def test_bad_settings_of_money_name_their_line(
    text: str, says: str, configured: SandboxServer
) -> None:
    """One sentence that begins with file and line: exit 2, nothing sent."""
    settings(f"# what it may cost\n\n{text}\n")
    with pytest.raises(UnifiedFluxError) as caught:
        make("vtrix")
    error = caught.value
    assert error.exit_code == 2
    assert error.message.startswith(f"{Path('unified-flux.toml').absolute()}, line 3: {says}")
    assert "\n" not in error.message
    assert accepted(configured, "vtrix") == 0


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("5", 'has no unit; write "5 USD" or "5 credits:rivya"'),
        (5, 'has no unit; write "5 USD" or "5 credits:rivya"'),
        ("0 USD", "must be above 0, not 0"),
        ("-1 USD", "must be above 0, not -1"),
        ("5 EUR", 'must be in one unit, USD or credits:rivya, not "EUR"'),
        ("5 credits:vtrix", "is in credits:vtrix, and rivya is not paid in them"),
        ("5 USD 3 credits", 'must be in one unit, USD or credits:rivya, not "USD 3 credits"'),
        ("", NO_MONEY),
        ("much", NO_MONEY),
        ("1e400 USD", NO_MONEY),
        (True, NO_MONEY),
        (["5 USD"], NO_MONEY),
    ],
)
def test_a_bad_limit_of_a_call_says_what_would_do(
    said: Any, says: str, configured: SandboxServer
) -> None:
    """One sentence about `max-cost`: exit 3, nothing sent."""
    with pytest.raises(InvalidRequest) as caught:
        make("rivya", max_cost=said)
    (problem,) = caught.value.problems
    assert (caught.value.exit_code, problem.field) == (3, "max-cost")
    assert problem.message.startswith(says)
    assert accepted(configured, "rivya") == 0
