"""Reports: lines, totals, notes and cells, from a journal that holds a little of everything."""

from __future__ import annotations

import csv
import io
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from unified_flux import Charge, Job, JobFailed, Money, OutcomeUnknown
from unified_flux.effects import Accepted, Settled
from unified_flux.errors import Charged
from unified_flux.journal import Journal
from unified_flux.journal.spending import GROUPS, Sum
from unified_flux.money import Basis
from unified_flux.prices import Rates, read_rows
from unified_flux.reports import costs, markdown
from unified_flux.reports.check import Checked
from unified_flux.wire import Phase

from books import billed, record, sent  # isort: skip

RATES = Rates({"rivya": Decimal("0.01")})
DAY = 86_400


def filled(folder: Path) -> Journal:
    """Two days, two providers, one failure that cost, one refund, one doubt, one on its way."""
    now = [20_000.0 * DAY]
    journal = Journal(folder / "home", clock=lambda: now[0])
    billed(journal, "4", "credits:rivya", record(tags=("den", "=1+1"), project="foxes"))
    billed(journal, "0.05", "USD", record("vtrix", tags=("den",)))
    failed(journal, "0.01", Charged.YES)
    failed(journal, "0", Charged.NO)
    doubted = sent(journal, record("vtrix"))
    lost = OutcomeUnknown("lost", charged=Charged.MAYBE)
    journal.keep(Settled(Phase.UNKNOWN, None, id=doubted.id, error=lost))
    now[0] += DAY
    one = sent(journal, record())
    reserved = Charge(money=Money(Decimal(4), "credits:rivya"), basis=Basis.RESERVED)
    job = Job(provider="rivya", model=one.model, id="task_9", charge=reserved)
    journal.keep(Accepted(Phase.ACCEPTED, job, id=one.id))
    return journal


def failed(journal: Journal, amount: str, charged: Charged) -> None:
    """A job that brought no picture."""
    one = sent(journal, record("vtrix"))
    charge = Charge(money=Money(Decimal(amount), "USD"), basis=Basis.BILLED)
    job = Job(provider="vtrix", model=one.model, id=f"task_{one.id}", charge=charge)
    journal.keep(Accepted(Phase.ACCEPTED, job, id=one.id))
    error = JobFailed("it failed", charged=charged)
    journal.keep(Settled(Phase.FAILED, job, id=one.id, error=error))


@pytest.mark.parametrize(
    ("by", "cells"),
    [
        (
            "provider",
            [
                ("rivya", "1", "4", "credits:rivya", "billed", "0.04", "configured", "paid"),
                ("rivya", "1", "4", "credits:rivya", "reserved", "0.04", "configured", "under way"),
                ("vtrix", "1", "0.05", "USD", "billed", "0.05", "billed", "paid"),
                ("vtrix", "1", "0.01", "USD", "billed", "0.01", "billed", "failed, and charged or perhaps"),
                ("vtrix", "1", "unknown", "", "unknown", "unknown", "", "nobody knows whether it was taken"),
            ],
        ),
        (
            "day",
            [
                ("2024-10-04", "1", "0.05", "USD", "billed", "0.05", "billed", "paid"),
                ("2024-10-04", "1", "4", "credits:rivya", "billed", "0.04", "configured", "paid"),
                ("2024-10-04", "1", "0.01", "USD", "billed", "0.01", "billed", "failed, and charged or perhaps"),
                ("2024-10-04", "1", "unknown", "", "unknown", "unknown", "", "nobody knows whether it was taken"),
                ("2024-10-05", "1", "4", "credits:rivya", "reserved", "0.04", "configured", "under way"),
            ],
        ),
        (
            "project",
            [
                ("(none)", "1", "0.05", "USD", "billed", "0.05", "billed", "paid"),
                ("(none)", "1", "0.01", "USD", "billed", "0.01", "billed", "failed, and charged or perhaps"),
                ("(none)", "1", "4", "credits:rivya", "reserved", "0.04", "configured", "under way"),
                ("(none)", "1", "unknown", "", "unknown", "unknown", "", "nobody knows whether it was taken"),
                ("foxes", "1", "4", "credits:rivya", "billed", "0.04", "configured", "paid"),
            ],
        ),
    ],
    ids=["provider", "day", "project"],
)  # fmt: skip
def test_each_outcome_has_lines_of_its_own(
    by: str, cells: list[tuple[str, ...]], tmp_path: Path
) -> None:
    """Paid, under way, failed though charged, and in doubt never share a sum; a refund is in none."""
    with closing(filled(tmp_path)) as journal:
        lines = costs.lines(journal.spending.sums(by), RATES)
    assert sorted(line.cells for line in lines) == sorted(cells)


@pytest.mark.parametrize("by", GROUPS)
def test_totals_are_the_same_however_they_are_grouped(by: str, tmp_path: Path) -> None:
    """Each unit and basis by itself; of tags, a picture with two counts once in the total."""
    with closing(filled(tmp_path)) as journal:
        totals = costs.totals(journal.spending.sums(by if by != "tag" else "provider"))
    assert [str(total) for total in totals] == [
        "0.06 USD (billed)",
        "4 credits:rivya (billed)",
        "4 credits:rivya (reserved)",
    ]


def test_since_leaves_out_whole_days(tmp_path: Path) -> None:
    """The day that a moment lies in counts from its beginning."""
    with closing(filled(tmp_path)) as journal:
        late = list(journal.spending.sums("day", (20_001 * DAY + 3600) * 1000))
    assert [(one.group, one.outcome) for one in late] == [("2024-10-05", "running")]


def test_notes_name_what_is_in_no_sum_and_who_is_gone() -> None:
    """Units without a rate, a provider that is not installed any more, jobs without a price."""
    sums = [
        Sum(group="acme", outcome="done", jobs=2, money=Money(Decimal(3), "credits:acme"), basis=Basis.BILLED),
        Sum(group="vtrix", outcome="unknown", jobs=1, money=None, basis=Basis.UNKNOWN),
    ]  # fmt: skip
    assert costs.notes(costs.lines(sums, RATES), ["rivya", "vtrix"], "provider") == [
        'credits:acme are not in USD: acme is not installed any more; set [credits] acme = "USD per credit"',
        "what 1 picture cost is not known, and is in no sum",
    ]


def test_a_spreadsheet_meets_no_formula(tmp_path: Path) -> None:
    """A tag that begins as a formula does is text; every row has as many cells as the head."""
    with closing(filled(tmp_path)) as journal:
        lines = costs.lines(journal.spending.sums("tag"), RATES)
    rows = list(csv.reader(io.StringIO(costs.csv_text("tag", lines))))
    assert {len(row) for row in rows} == {1 + len(costs.HEADS)}
    assert {row[0] for row in rows[1:]} == {"'=1+1", "den", "(none)"}


def test_bars_are_usd_where_any_is_known_and_unknown_stays_a_word(tmp_path: Path) -> None:
    """A group without a known figure has no bar of length 0."""
    with closing(filled(tmp_path)) as journal:
        title, bars = costs.chart(costs.lines(journal.spending.sums("provider"), RATES))
        _, own = costs.chart(costs.lines(list(journal.spending.sums("provider"))[:2], Rates()))
    assert title.startswith("Cost in USD")
    assert [(bar.label, bar.said) for bar in bars] == [("rivya", "0.08 USD"), ("vtrix", "0.06 USD")]
    assert [(bar.label, bar.said) for bar in own] == [("rivya", "8 credits:rivya")]


def test_what_nobody_can_say_has_a_word_and_no_bar() -> None:
    """Unknown is never 0."""
    sums = [Sum(group="vtrix", outcome="unknown", jobs=1, money=None, basis=Basis.UNKNOWN)]
    _, (bar,) = costs.chart(costs.lines(sums, RATES))
    assert (bar.value, bar.said) == (None, "unknown")


def checked(
    rows: str = "2026-11-21", bills: tuple[str, ...] = (), folder: Path = Path()
) -> Checked:
    """A model of Rivya that is said to cost 4 credits, as read on a day, and its bills."""
    row = {"amount": "4", "unit": "credits:rivya", "as_of": rows}
    with closing(Journal(folder / "home")) as journal:
        for amount in bills:
            billed(journal, amount, "credits:rivya")
        return Checked(
            provider="rivya",
            model="flux-kontext-pro",
            rows=read_rows(row, "rivya", Basis.CONFIGURED),
            observed=journal.spending.observed("rivya", "flux-kontext-pro"),
            drift=journal.spending.drift("rivya", "flux-kontext-pro"),
            today=date(2026, 11, 25),
        )


def test_bills_as_quoted_are_no_drift(tmp_path: Path) -> None:
    """Nothing to flag."""
    one = checked(bills=("4", "4"), folder=tmp_path)
    assert (one.drifted, one.stale, one.verdict) == (False, [], "as quoted, in 2 bills")


def test_a_bill_that_differs_is_drift(tmp_path: Path) -> None:
    """How many, by how much in all, and the newest."""
    one = checked(bills=("4", "5"), folder=tmp_path)
    assert one.drifted
    assert one.verdict == (
        "drifted: in 1 of 2 bills not as quoted, +12.5 % in all; the newest was quoted "
        "4 credits and billed 5 credits"
    )


def test_a_quote_that_came_from_bills_is_no_promise_to_drift_from(tmp_path: Path) -> None:
    """An estimate is compared with nothing."""
    with closing(Journal(tmp_path / "home")) as journal:
        billed(journal, "0.05", "USD", record("vtrix"))
        assert journal.spending.drift("vtrix", "flux_kontext_pro") is None


def test_a_price_is_stale_after_ninety_days(tmp_path: Path) -> None:
    """Ninety days old is not yet, ninety-one is."""
    assert not checked("2026-08-27", folder=tmp_path).stale
    assert checked("2026-08-26", folder=tmp_path / "b").verdict == (
        "stale: 4 credits:rivya per image was read 91 days ago"
    )


def test_markdown_keeps_foreign_text_as_text() -> None:
    """A cell cannot end its cell, its row or its table."""
    said = markdown.table(["a"], [["x | y\n| z <b>`*"]])
    assert said.splitlines()[2] == r"| x \| y \| z \<b\>\`\* |"
