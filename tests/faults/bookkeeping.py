"""A journal that anything happens to, in any order, and a model in plain Python of what its sums must be."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from faults.ledger import DAY, NANO, Key, Sums, kept, owed, owed_for, settled, together, without
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from unified_flux import Charge, Job, JournalError, Money, SpendLimitExceeded
from unified_flux.effects import Accepted, Fact, Intent, Saved, Settled
from unified_flux.errors import Charged, InvalidRequest, ProviderError
from unified_flux.journal import Journal
from unified_flux.limits import Limit, Limits, Period
from unified_flux.money import Basis
from unified_flux.prices import Rates
from unified_flux.pricing import Quote
from unified_flux.wire import Phase, Purpose, WireRequest

from books import PICTURE, quoted, record  # isort: skip

CREDITS = "credits:rivya"
RATE = Decimal("0.333333333")
# Prices that a float would bend, a bill below what is counted, one above, and one that is none.
AMOUNTS = ("0", "4", "0.000000007", "0.333333333", "0.1234567891", "9000000000.123456789")
ODD = (*AMOUNTS, "0.0000000001", "99999999999", "-5")
START = 20_000 * DAY
BASE = record(place="https://provider.example")


def paid(amount: str | None, unit: str, basis: Basis) -> Charge:
    """What an answer says of money."""
    if amount is None:
        return Charge(raw={"usage": ""})
    return Charge(money=Money(Decimal(amount), unit), basis=basis)


amounts = st.sampled_from((None, *ODD))
units = st.sampled_from(("USD", CREDITS))
limits_ = st.tuples(
    st.sampled_from(Period),
    st.sampled_from(("0.5", "9", "12.000000007", "20000000000")),
    units,
    st.sampled_from((None, "rivya", "vtrix")),
    st.booleans(),
)


class Books(RuleBasedStateMachine):
    """Two processes, any facts in any order; what the sums must be is kept beside them in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = START
        self.journals = [self._opened(), self._opened()]
        self.ids: list[str] = []
        # What stays counted though no job says so: second submits, and jobs that are forgotten.
        self.beside: Sums = {}
        # A table to look at, and a connection that sees what another program would.
        self.journals[0].jobs({})
        self.file = sqlite3.connect(self.journals[0].path)

    def teardown(self) -> None:
        self._every_report_adds_up()
        for journal in self.journals:
            journal.close()
        self.file.close()
        shutil.rmtree(self.folder)

    def _every_report_adds_up(self) -> None:
        entries = together(owed(self.file), self.beside)
        for sandbox in (False, True):
            wanted: dict[str, Fraction] = defaultdict(Fraction)
            tags: dict[tuple[str, str], int] = defaultdict(int)
            for key, one in entries.items():
                if key.sandbox != sandbox:
                    continue
                if key.tag is not True:
                    tags[key.tag or "", key.outcome] += one.jobs
                if key.basis != "unknown" and not key.is_tag:
                    wanted[key.unit] += Fraction(one.nano, NANO)
            for by in ("provider", "model", "day", "project"):
                told: dict[str, Fraction] = defaultdict(Fraction)
                for line in self.journals[0].spending.sums(by, sandbox=sandbox):
                    if line.money is not None:
                        told[line.money.unit] += Fraction(line.money.amount)
                assert told == wanted
            found: dict[tuple[str, str], int] = defaultdict(int)
            for line in self.journals[0].spending.sums("tag", sandbox=sandbox):
                found[line.group, line.outcome] += line.jobs
            assert found == tags

    def _opened(self) -> Journal:
        return Journal(self.folder, clock=lambda: self.now / 1000)

    def _id(self, which: int) -> str:
        """One of the latest few: jobs that something has begun with are gone on with."""
        return self.ids[-1 - which % min(len(self.ids), 4)]

    def _phase(self, id: str) -> str | None:
        found = self.file.execute("SELECT phase FROM jobs WHERE id = ?", (id,)).fetchone()
        return found[0] if found else None

    def _job(self, id: str, charge: Charge) -> Job:
        return Job(provider="rivya", model="m", id=f"task_{id}", charge=charge)

    def _keep(self, whose: int, fact: Fact) -> None:
        # A job that another has taken, or that is forgotten, takes no fact; then nothing changes.
        with contextlib.suppress(JournalError):
            self.journals[whose].keep(fact)

    # What happens.

    @rule(days=st.integers(0, 20), ms=st.integers(0, DAY - 1))
    def time_passes(self, days: int, ms: int) -> None:
        self.now += days * DAY + ms

    @rule(
        whose=st.integers(0, 1),
        count=st.integers(1, 3),
        price=st.sampled_from((None, *AMOUNTS)),
        unit=units,
        provider=st.sampled_from(("rivya", "vtrix")),
        sandbox=st.booleans(),
        labels=st.sampled_from(((), ("a",), ("b", "a"))),
        project=st.sampled_from((None, "p")),
        at_once=st.booleans(),
        limit=st.none() | limits_,
    )
    def prepare(self, **said: Any) -> None:
        quote = quoted(said["price"], said["unit"]) if said["price"] else Quote()
        new = [
            replace(
                BASE,
                id=f"job{len(self.ids) + number}",
                provider=said["provider"],
                sandbox=said["sandbox"],
                tags=said["labels"],
                project=said["project"],
                quote=quote,
            )
            for number in range(said["count"])
        ]
        limits = self._limits(said["limit"])
        if limits and not limits.limits[0].concerns(said["provider"]):
            limits = None
        before = owed(self.file)
        try:
            self.journals[said["whose"]].prepare(new, at_once=said["at_once"], limits=limits)
        except SpendLimitExceeded:
            assert owed(self.file) == before
            return
        self.ids += [one.id for one in new]
        if limits:
            self._holds(limits, said["sandbox"], quote, said["count"])

    def _limits(self, said: Any) -> Limits | None:
        if said is None:
            return None
        period, most, unit, provider, allowed = said
        provider = "rivya" if unit == CREDITS else provider
        limit = Limit(
            name="a limit",
            most=Money(Decimal(most), unit),
            period=period,
            source="here",
            provider=provider,
        )
        return Limits(limits=(limit,), rates=Rates({"rivya": RATE}), unknown_allowed=allowed)

    def _holds(self, limits: Limits, sandbox: bool, quote: Quote, count: int) -> None:
        """What was let through is in its limit, to the last digit."""
        (limit,) = limits.limits
        if limits.unknown_allowed:
            return
        if limit.period is Period.CALL:
            assert quote.most is not None
            total = Fraction(self._in(limit, quote.most.unit, Fraction(quote.most.amount))) * count
        else:
            total = Fraction(0)
            for key, one in together(owed(self.file), self.beside).items():
                if key.sandbox == sandbox and not key.is_tag and self._counts(limit, key):
                    assert key.basis != "unknown"
                    total += self._in(limit, key.unit, Fraction(one.nano, NANO))
        assert total <= Fraction(limit.most.amount)

    def _counts(self, limit: Limit, key: Key) -> bool:
        today = self.now // DAY
        month = _month(key.day) == _month(today)
        within = {Period.DAY: key.day == today, Period.MONTH: month}.get(limit.period, True)
        return within and limit.provider in {None, key.provider}

    def _in(self, limit: Limit, unit: str, amount: Fraction) -> Fraction:
        if unit == limit.most.unit:
            return amount
        assert (unit, limit.most.unit) == (CREDITS, "USD")
        return amount * Fraction(RATE)

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3))
    def send(self, whose: int, which: int) -> None:
        wire = _WIRE
        self._keep(whose, Intent(Phase.SENDING, id=self._id(which), wire=wire, repeatable=False))

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3), amount=amounts, unit=units)
    def accept(self, whose: int, which: int, amount: str | None, unit: str) -> None:
        job = self._job(self._id(which), paid(amount, unit, Basis.RESERVED))
        self._keep(whose, Accepted(Phase.ACCEPTED, job, id=self._id(which)))

    @precondition(lambda self: self.ids)
    @rule(
        whose=st.integers(0, 1),
        which=st.integers(0, 3),
        amount=amounts,
        unit=units,
        end=st.sampled_from(
            ("done", "failed", "failed at once", "refused", "unknown", "cancelled")
        ),
    )
    def settle(self, whose: int, which: int, amount: str | None, unit: str, end: str) -> None:
        id, charge = self._id(which), paid(amount, unit, Basis.BILLED)
        if end == "unknown" and self._phase(id) in {"accepted", "done", "saved", "failed"}:
            # Only what no answer ever named is unknown.
            return
        job = (
            None
            if end in {"failed at once", "refused", "unknown", "cancelled"}
            else self._job(id, charge)
        )
        gone = {"refused": Charged.NO, "cancelled": Charged.NO, "unknown": Charged.MAYBE}
        yes = Charged.YES if amount and Decimal(amount) > 0 else Charged.NO
        error = ProviderError("no", charged=gone.get(end, yes if amount else Charged.MAYBE))
        phase = Phase(end.removesuffix(" at once"))
        self._keep(whose, Settled(phase, job, id=id, error=None if end == "done" else error))

    @precondition(lambda self: self.ids)
    @rule(
        whose=st.integers(0, 1),
        which=st.integers(0, 3),
        amount=amounts,
        unit=units,
        limit=st.none() | limits_,
        times=st.integers(0, 2),
        end=st.sampled_from((None, "done", "failed", "unknown")),
    )
    def go_on(self, whose: int, which: int, **said: Any) -> None:
        """A whole life: sent, perhaps without an answer and once more, accepted, at an end."""
        money = {"amount": said["amount"], "unit": said["unit"]}
        self.send(whose, which)
        for _ in range(said["times"]):
            self.settle(whose, which, **money, end="unknown")
            self.take_over(whose, which)
            self.submit_again(whose, which, said["limit"])
        self.accept(whose, which, **money)
        if said["end"]:
            self.settle(whose, which, **money, end=said["end"])
            self.save(whose, which, whole=True)

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3), whole=st.booleans())
    def save(self, whose: int, which: int, whole: bool) -> None:
        blobs = (PICTURE if whole else None,)
        self._keep(whose, Saved(Phase.SAVED, None, id=self._id(which), blobs=blobs))

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3))
    def let_go(self, whose: int, which: int) -> None:
        with contextlib.suppress(JournalError):
            self.journals[whose].release([self._id(which)])

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3))
    def take_over(self, whose: int, which: int) -> None:
        with contextlib.suppress(JournalError):
            self.journals[whose].claim(self._id(which))

    @rule(whose=st.integers(0, 1))
    def die(self, whose: int) -> None:
        self.journals[whose].close()
        self.journals[whose] = self._opened()

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3), charged=st.booleans())
    def resolve(self, whose: int, which: int, charged: bool) -> None:
        with contextlib.suppress(JournalError, InvalidRequest):
            self.journals[whose].resolve(self._id(which), charged=charged)

    @precondition(lambda self: len(self.ids) > 4)
    @rule(days=st.integers(-5, 5))
    def forget(self, days: int) -> None:
        before = owed(self.file)
        self.journals[0].purge(self.now + days * DAY)
        self.beside = together(self.beside, without(before, owed(self.file)))

    @precondition(lambda self: self.ids)
    @rule(whose=st.integers(0, 1), which=st.integers(0, 3), limit=st.none() | limits_)
    def submit_again(self, whose: int, which: int, limit: Any) -> None:
        if self._phase(self._id(which)) != "unknown":
            return
        journal = self.journals[whose]
        one = journal.get(self._id(which))
        limits = self._limits(limit)
        if limits and not limits.limits[0].concerns(one.provider):
            limits = None
        doubt = owed_for(self.file, one.id, day=self.now // DAY)
        try:
            journal.submit_again(one, limits)
        except SpendLimitExceeded:
            return
        self.beside = together(self.beside, doubt)
        if limits and limits.limits[0].period is not Period.CALL:
            self._holds(limits, one.sandbox, one.quote, 1)

    # What must always be.

    @invariant()
    def the_sums_are_what_the_jobs_come_to(self) -> None:
        assert kept(self.file) == settled(together(owed(self.file), self.beside))


_WIRE = WireRequest(purpose=Purpose.SUBMIT, method="POST", url="https://provider.example")


def _month(day: int) -> tuple[int, int]:
    at = date(1970, 1, 1) + timedelta(days=day)
    return at.year, at.month
