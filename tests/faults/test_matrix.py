"""The promises under faults: over real sockets, through a faulty proxy, the sandbox's meter as witness.

`python tests/faults/run.py` runs all of it and prints the tables of docs/reliability.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import matrix, run
from faults.providers import KINDS
from faults.proxy import Certificates
from faults.rows import ROWS
from faults.trial import EXCHANGES, Case, Outcome, measure

from unified_flux import registry
from unified_flux.journal.tables import MIGRATIONS
from unified_flux.money import Basis, Charge, Money

PROVIDERS = list(EXCHANGES)
# The paid submit is tried at all five; elsewhere at one of each kind, and where the others differ from
# them: the address of a job's own, and the result that is asked for. The slow run has everything.
SOME = (*KINDS, "fal")
OTHERS = [
    *((one, exchange) for one in KINDS for exchange in EXCHANGES[one] if exchange != "submit"),
    ("bfl", "poll"),
    ("fal", "result"),
]
Try = Callable[[Iterable[Case]], list[Outcome]]
# JSON of 100,000 brackets is read up to the recursion limit; what the collector finalizes just there
# fails, in urllib3, over a pool that is closed already.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <finalize object:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For the faults of https."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def try_all(certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """Runs cases in threads of this process."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle))
    return lambda cases: matrix.run_here(list(cases), tmp_path, certificates)


def some(provider: str, exchange: str, **wanted: Any) -> Iterator[Case]:
    """The rows of one exchange that are as wanted."""
    for case in matrix.rows(cli=wanted.pop("cli", False)):
        mine = (case.provider, case.exchange) == (provider, exchange)
        as_wanted = all(getattr(case, name) == value for name, value in wanted.items())
        if mine and as_wanted:
            yield case


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_fault_of_the_paid_submit_costs_twice_or_in_silence(provider: str, try_all: Try) -> None:
    """Each row of the table, once and until it is healed; then recovered, resumed and counted."""
    outcomes = try_all(some(provider, "submit"))
    assert len(outcomes) == 2 * len(ROWS)
    assert matrix.broken(outcomes) == []


@pytest.mark.parametrize(("provider", "exchange"), OTHERS)
def test_a_passing_fault_elsewhere_costs_nothing_and_loses_nothing(
    provider: str, exchange: str, try_all: Try
) -> None:
    """Each row of the table, the first time."""
    assert matrix.broken(try_all(some(provider, exchange, always=False))) == []


@pytest.mark.parametrize("provider", SOME)
def test_an_answer_may_be_cut_anywhere(
    provider: str, try_all: Try, certificates: Certificates, tmp_path: Path
) -> None:
    """Each 16th byte of the submit's answer; the slow run has each byte of every answer's head."""
    head, size = measure(provider, tmp_path / "measured", certificates)["submit"]
    cases = (
        Case(provider=provider, exchange="submit", fault="cut", place=at)
        for at in (0, *range(8, head, 16), head, size - 1)
    )
    assert matrix.broken(try_all(cases)) == []


@pytest.mark.parametrize("provider", SOME)
def test_the_command_line_keeps_the_same_promises(provider: str, try_all: Try) -> None:
    """A few rows that stay until they are healed; the slow run has all."""
    few = [("submit", "reset-done"), ("submit", "refused"), ("poll", "502"), ("fetch", "silence")]
    cases = [
        Case(provider=provider, exchange=exchange, fault=fault, always=True, cli=True)
        for exchange, fault in few
    ]
    assert matrix.broken(try_all(cases)) == []


def test_faults_may_follow_each_other(try_all: Try) -> None:
    """At random, at every exchange, while it is recovered too."""
    assert matrix.broken(try_all(matrix.storms(8))) == []


@pytest.mark.slow
def test_the_full_matrix(tmp_path: Path, certificates: Certificates, try_all: Try) -> None:
    """Every row at every exchange through library and CLI, every cut, and storms."""
    cases = matrix.everything(tmp_path, certificates)
    outcomes = list(matrix.run(cases, tmp_path))
    assert len(outcomes) == len(cases) > 3000
    assert matrix.broken(outcomes) == []


# The judge is judged: what is broken on purpose must be seen.


def test_a_second_paid_submit_would_be_seen(try_all: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider without an idempotency key that is taken for one with it."""
    monkeypatch.setattr(registry.adapter_class("vtrix"), "idempotent", True)
    (outcome,) = try_all([Case(provider="vtrix", exchange="submit", fault="500-done")])
    assert outcome.double == 1
    assert "2 paid submits for one picture" in outcome.broken


class Forgetful(Case):
    """Nothing is written down."""

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "journal.enabled": False}


def test_a_lost_job_would_be_seen(try_all: Try) -> None:
    """Without a journal nobody can recover."""
    (outcome,) = try_all([Forgetful(provider="rivya", exchange="fetch", fault="500", always=True)])
    assert outcome.lost == 1
    assert "exit 9, and the journal says None" in outcome.broken


def test_a_wrong_charge_would_be_seen(try_all: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that misreads what was billed."""
    wrong = Charge(money=Money(3, "credits:rivya"), basis=Basis.BILLED)
    rivya = sys.modules[registry.adapter_class("rivya").__module__]
    monkeypatch.setattr(rivya, "_charge", lambda found, settled: wrong)
    (outcome,) = try_all([Case(provider="rivya", exchange="poll", fault="500")])
    assert outcome.wrong == 1


def test_a_sum_that_is_not_its_jobs_would_be_seen(
    try_all: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal without the trigger that moves money when a job changes."""
    without = [
        tuple(one for one in step if "TRIGGER spending_moves" not in one) for step in MIGRATIONS
    ]
    monkeypatch.setattr("unified_flux.journal.journal.MIGRATIONS", without)
    (outcome,) = try_all([Case(provider="rivya", exchange="poll", fault="500")])
    assert outcome.wrong == 1
    assert any("the journal's money" in text for text in outcome.broken)


def test_a_fault_that_never_happens_proves_nothing(try_all: Try) -> None:
    """A table row for an exchange that a provider does not have."""
    (outcome,) = try_all([Case(provider="vtrix", exchange="balance", fault="500")])
    assert outcome.broken == ["the fault never happened: the trial proves nothing"]


# The tables.


def _columns() -> list[tuple[str, str]]:
    return [(provider, exchange) for provider in PROVIDERS for exchange in EXCHANGES[provider]]


def test_the_tables_sum_up() -> None:
    """One line for each exchange and each fault; what is broken stands out."""
    case = Case(provider="vtrix", exchange="submit", fault="500-done")
    outcomes = [
        Outcome(case, end="unknown"),
        Outcome(case, end="unknown", double=1, broken=["2 paid submits for one picture"]),
    ]
    lines = matrix.summary(outcomes).splitlines()
    assert "| vtrix | submit | 2 | 0 | 0 | 0 | 2 | 0 | 1 | 0 | 0 | 0 |" in lines
    at = _columns().index(("vtrix", "submit"))
    cells = ["2 u, **1 broken**" if n == at else "" for n, _ in enumerate(_columns())]
    assert f"| 500, and it was done | {' | '.join(cells)} |" in lines
    assert matrix.broken(outcomes) == [f"{case} (): 2 paid submits for one picture"]


def test_a_table_is_written_between_its_marks(tmp_path: Path) -> None:
    """And nowhere else; a page without marks, or no page, stays as it is."""
    page = tmp_path / "page.md"
    assert not run.write("matrix", "new", page)
    page.write_text("a\n<!-- matrix -->\nold\n<!-- /matrix -->\n<!-- kills -->\n<!-- /kills -->\n")
    assert run.write("matrix", r"\1 new", page)
    assert not run.write("disk", "new", page)
    text = "a\n<!-- matrix -->\n\n\\1 new\n\n<!-- /matrix -->\n<!-- kills -->\n<!-- /kills -->\n"
    assert page.read_text() == text
