"""The whole matrix: every case, run side by side in several processes, and summed up as tables."""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from faults.providers import KINDS
from faults.proxy import Certificates
from faults.rows import ROWS
from faults.trial import EXCHANGES, Case, Outcome, Storm, measure, try_out

STEP = 4096
STORMS = 100
# Most of a trial is waiting; a command of the CLI is most of a processor's second.
_AT_ONCE = {False: 12, True: 3}
_BATCH = 60
ENDS = {
    "picture": "picture at once",
    "recovered": "picture by recover or resume",
    "damaged": "picture cut off, and said so",
    "unknown": "unknown, and said so",
    "nothing": "nothing charged, and said so",
}
LETTERS = {"picture": "p", "recovered": "r", "damaged": "d", "unknown": "u", "nothing": "n"}
LEGEND = """\
Fault by fault, how many runs came to which end: **p** the picture at once, **r** the picture by `recover` or `resume`,
**d** a picture that is cut off, and the result says so, **u** unknown, flagged in the journal with exit 9 and a next
step (at Rivya each was then sent again under its key, and brought the picture with one accepted submit in all), **n**
nothing was charged, and the error says so.
"""
ANY = "any, at random"
_ELSEWHERE = "elsewhere"


def rows(*, cli: bool, providers: Iterable[str] = tuple(EXCHANGES)) -> Iterator[Case]:
    """Every row of the table at every exchange of the providers, once and always."""
    for provider in providers:
        for exchange in EXCHANGES[provider]:
            for fault in ROWS:
                for always in (False, True):
                    yield Case(
                        provider=provider, exchange=exchange, fault=fault, always=always, cli=cli
                    )


def cuts(folder: Path, certificates: Certificates) -> Iterator[Case]:
    """Every answer cut after each byte of its head, each further 4 KB, and before its last byte.

    Of the providers that are of a kind with one that is cut so, each eighth byte of the head.
    """
    for provider in EXCHANGES:
        step = 1 if provider in KINDS else 8
        with tempfile.TemporaryDirectory(dir=folder) as place:
            sizes = measure(provider, Path(place), certificates)
        for exchange in EXCHANGES[provider]:
            head, size = sizes[exchange]
            for at in (*range(0, head + 1, step), *range(head + STEP, size, STEP), -1):
                for always in (False, True):
                    yield Case(
                        provider=provider, exchange=exchange, fault="cut", always=always, place=at
                    )


def storms(count: int, *, cli: bool = False, first: int = 0) -> Iterator[Case]:
    """Random faults at every exchange, one after the other."""
    for seed in range(first, first + count):
        for provider in EXCHANGES:
            yield Storm(provider=provider, place=seed, cli=cli)


def everything(folder: Path, certificates: Certificates) -> list[Case]:
    """The full matrix."""
    return [
        *rows(cli=False),
        # What the command line does beside the library does not depend on the provider.
        *rows(cli=True, providers=KINDS),
        *cuts(folder, certificates),
        *storms(STORMS),
    ]


def run_here(cases: Sequence[Case], folder: Path, certificates: Certificates) -> list[Outcome]:
    """Run cases in threads of this process; REQUESTS_CA_BUNDLE must name the certificates."""

    def one(case: Case) -> Outcome:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            return try_out(case, Path(place), certificates)

    with ThreadPoolExecutor(_AT_ONCE[any(case.cli for case in cases)]) as pool:
        return list(pool.map(one, cases))


def _batch(folder: Path, cases: Sequence[Case]) -> list[Outcome]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        certificates = Certificates.make(Path(place))
        os.environ["REQUESTS_CA_BUNDLE"] = str(certificates.bundle)
        return run_here(cases, Path(place), certificates)


def run(cases: Iterable[Case], folder: Path) -> Iterator[Outcome]:
    """Run cases in as many processes as there are processors."""
    mixed = list(cases)
    random.Random(0).shuffle(mixed)
    batches = []
    for cli in (True, False):
        mine = [case for case in mixed if case.cli is cli]
        batches += [mine[at : at + _BATCH] for at in range(0, len(mine), _BATCH)]
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fresh) as pool:
        for outcomes in pool.map(partial(_batch, folder), batches):
            yield from outcomes


# The tables.


def table() -> tuple[str, list[str]]:
    """Run the full matrix: its tables as Markdown, and every promise that was broken."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        certificates = Certificates.make(folder)
        os.environ["REQUESTS_CA_BUNDLE"] = str(certificates.bundle)
        outcomes = list(run(everything(folder, certificates), folder))
    return summary(outcomes), broken(outcomes)


def broken(outcomes: Iterable[Outcome]) -> list[str]:
    """Every promise that was broken, with the case and what was told in it."""
    return [f"{one.case} ({one.told}): {text}" for one in outcomes for text in one.broken]


def summary(outcomes: Sequence[Outcome]) -> str:
    """What the matrix came to, first by exchange and then fault by fault."""
    return "\n".join([*_by_exchange(outcomes), "", LEGEND, *_by_fault(outcomes)])


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _by_exchange(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield _line(
        "provider", "exchange", "runs", *ENDS.values(),
        "double paid submits", "lost jobs", "wrong charges", "other broken promises",
    )  # fmt: skip
    yield _line("---", "---", *["---:"] * 10)
    for provider, exchanges in EXCHANGES.items():
        for exchange in (*exchanges, ANY):
            mine = _of(outcomes, provider, exchange)
            if mine:
                yield _line(provider, exchange, *_sums(mine, ends=exchange != ANY))
    sums = _sums(outcomes, ends=False)
    yield _line("**all**", "", *(found if found == "" else f"**{found}**" for found in sums))


def _of(outcomes: Iterable[Outcome], provider: str, exchange: str) -> list[Outcome]:
    return [
        one for one in outcomes if (one.case.provider, one.case.exchange) == (provider, exchange)
    ]


def _sums(outcomes: Sequence[Outcome], *, ends: bool) -> tuple[object, ...]:
    """A row's numbers; where faults follow each other at random, ends differ from run to run."""
    found = Counter(one.end for one in outcomes)
    grave = [one for one in outcomes if one.double or one.lost or one.wrong]
    other = sum(bool(one.broken) for one in outcomes) - len(grave)
    return (
        len(outcomes),
        *(found[end] if ends else "" for end in ENDS),
        sum(one.double for one in outcomes),
        sum(one.lost for one in outcomes),
        sum(one.wrong for one in outcomes),
        other,
    )


def _by_fault(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Fault by fault, exchange by exchange: how many runs came to which end."""
    columns = [(provider, exchange) for provider, all_ in EXCHANGES.items() for exchange in all_]
    yield _line("fault", *(f"{provider} {exchange}" for provider, exchange in columns))
    yield _line("---", *["---"] * len(columns))
    told = {row.name: row.says for row in ROWS.values()} | {
        _ELSEWHERE: "cut off at each byte of its head, each 4 KB after"
    }
    for name, says in told.items():
        mine = [one for one in outcomes if _row(one.case) == name]
        yield _line(says, *(_cell(_of(mine, *column)) for column in columns))


def _row(case: Case) -> str:
    return case.fault if case.place is None else _ELSEWHERE


def _cell(outcomes: Sequence[Outcome]) -> str:
    ends = Counter(one.end for one in outcomes)
    said = [f"{ends[end]} {letter}" for end, letter in LETTERS.items() if ends[end]]
    wrong = sum(bool(one.broken) for one in outcomes)
    return ", ".join([*said, *([f"**{wrong} broken**"] if wrong else [])])
