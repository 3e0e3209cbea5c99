"""What the money of a journal of a million jobs costs to read: reports, limits, bills.

The jobs are made by script, through the journal's own tables and triggers: written as they are when
they are sent, then changed to what became of them. They spread over two years, both providers and all
their models, twelve projects and a few sets of tags, all mixed; most are billed, some failed and
were charged, some nobody knows of, the newest are under way. In a second journal every job has a
tag of its own.

The baseline of a report is the plainest look at the same file: Python's sqlite3, which counts the
jobs and adds up their charges. Both are whole processes, by the clock and by their peak memory.
A report by tag has a million lines in the second journal, so that it is asked for as CSV, once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from generation import ASKED
from harness import Row, compare, interleave, scratch
from journal import client_at

from unified_flux import Asked, Client, ImageRequest, Money
from unified_flux.journal import Journal
from unified_flux.limits import Limit, Limits, Period

JOBS, ROUNDS, DAYS = 1_000_000, 7, 730
GROUPS = ("provider", "model", "day", "tag", "project")
DAY = 86_400_000

# What is sent: 7 models, 12 projects, 5 sets of tags, a hundred fates; each independent of the
# others, so that every day has as many different sums as can be.
_SENT = """
INSERT INTO jobs (number, id, phase, provider, model, family, place, sandbox, emulated,
    request_sha256, asked, payload_sha256, force, idempotency_key, key_mark, quote_nano,
    quote_unit, quote_basis, quote_kind, reserve_nano, charged, charge_basis, owner, prepared_at,
    sending_at, project, tags)
WITH RECURSIVE
  numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT :jobs),
  mixed AS (SELECT n, (n * 2654435761) % 4294967296 AS h FROM numbers),
  models (m, provider, model, family, price) AS (VALUES
    (0, 'rivya', 'flux-kontext-pro', 'flux-kontext-pro', 4000000000),
    (1, 'rivya', 'flux-kontext-max', 'flux-kontext-max', 8000000000),
    (2, 'rivya', 'flux-2-pro', 'flux-2-pro', 5000000000),
    (3, 'vtrix', 'flux_kontext_pro', 'flux-kontext-pro', NULL),
    (4, 'vtrix', 'flux_kontext_max', 'flux-kontext-max', NULL),
    (5, 'vtrix', 'flux_2_pro', 'flux-2-pro', NULL),
    (6, 'vtrix', 'flux_2_max', 'flux-2-max', NULL))
SELECT n, printf('%08x-0000-4000-8000-%012x', h, n), 'sending', provider, model, family,
  'https://api.' || provider || '.example', 0, 0, printf('%064x', h), 1, printf('%064x', h), 0,
  printf('%08x-0000-4000-9000-%012x', h, n), '01234567', price,
  CASE WHEN price IS NOT NULL THEN 'credits:rivya' END, iif(price IS NULL, 'unknown', 'documented'),
  CASE WHEN price IS NOT NULL THEN 'exact' END, price, 'maybe', 'unknown', 'benchmark',
  :first + n * :span / :jobs, :first + n * :span / :jobs, 'project ' || (h / 7 % 12),
  CASE WHEN :own THEN '["order ' || n || '"]' ELSE CASE h / 84 % 5 WHEN 0 THEN '["campaign"]'
    WHEN 1 THEN '["campaign", "draft"]' WHEN 2 THEN '["draft"]' WHEN 3 THEN '["shop"]'
    ELSE '[]' END END
FROM mixed JOIN models ON m = h % 7 ORDER BY n
"""
# What became of them: nine in ten are billed; of a hundred, two nobody knows of, four failed and
# were charged, two failed and nobody knows what they cost, one was refused. The newest run.
_BECAME = """
UPDATE jobs SET owner = NULL, job = 'task_' || number, accepted_at = prepared_at + 1000,
    settled_at = prepared_at + 9000, phase = fate.phase, charged = fate.charged,
    charge_nano = fate.nano, charge_unit = iif(fate.nano IS NULL, NULL,
      iif(provider = 'rivya', 'credits:rivya', 'USD')),
    charge_basis = iif(fate.nano IS NULL, 'unknown', iif(fate.phase = 'accepted', 'reserved', 'billed')),
    charge_raw = iif(fate.nano IS NULL, NULL, '{"cost":"' || fate.nano || '"}')
FROM (
  SELECT number AS n, CASE WHEN d < 1 THEN 'refused' WHEN d < 7 THEN 'failed'
      WHEN d < 9 THEN 'unknown' WHEN number > :jobs * 0.999 THEN 'accepted' ELSE 'saved' END AS phase,
    CASE WHEN d < 1 THEN 'no' WHEN d BETWEEN 5 AND 8 THEN 'maybe' ELSE 'yes' END AS charged,
    CASE WHEN d BETWEEN 1 AND 4 OR d > 8 THEN coalesce(quote_nano, 40000000 + d * 10001) END AS nano
  FROM (SELECT number, quote_nano, number * 2654435761 % 4294967296 / 420 % 100 AS d FROM jobs)
) AS fate WHERE jobs.number = fate.n
"""
_WORDS = """
INSERT INTO requests (number, request, payload, report, expects, sources)
SELECT number, '{}', :payload, '{"entries":[],"defaults":{}}', '{}', '[]' FROM jobs
"""
# Run as whole processes, so that memory is the process's own from its start.
_PEAK = """
with open("/proc/self/status", encoding="ascii") as told:
    sys.stderr.write(told.read().partition("VmHWM:")[2].split()[0])
"""
_REPORT = f"""
import sys
from unified_flux.cli import main
try:
    code = main()
except SystemExit as left:
    code = left.code
{_PEAK}
sys.exit(code)
"""
_PLAIN = f"""
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute(
    "SELECT count(*), charge_unit, sum(charge_nano) FROM jobs GROUP BY charge_unit")
print(rows.fetchall())
{_PEAK}
"""


def make(home: Path, *, own_tags: bool = False, jobs: int = JOBS) -> tuple[float, int, int]:
    """Write a journal; its size in MB, and how many jobs and sums it holds."""
    client = client_at(home)
    journal = client._jobs.needed_journal()
    payload = json.dumps(client.translate(ImageRequest(**ASKED)).payload)
    first = (int(time.time() * 1000) // DAY - DAYS + 1) * DAY

    def fill(connection: object) -> None:
        values = {"jobs": jobs, "first": first, "span": (DAYS - 1) * DAY, "own": own_tags}
        connection.execute(_SENT, values)  # type: ignore[attr-defined]
        connection.execute(_BECAME, values)  # type: ignore[attr-defined]
        connection.execute(_WORDS, {"payload": payload})  # type: ignore[attr-defined]

    journal._database.write(fill, durable=False)
    journal._database.look(lambda it: it.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    (counted,) = journal._database.read(
        "SELECT (SELECT count(*) FROM jobs) AS jobs,"
        " (SELECT count(*) FROM spending) + (SELECT count(*) FROM tagged) AS sums"
    )
    client.close()
    return journal.path.stat().st_size / 1e6, counted["jobs"], counted["sums"]


def whole(script: str, *arguments: str, home: Path) -> tuple[float, float]:
    """Seconds of a whole process by the clock, and its peak memory in MB."""
    command = [sys.executable, "-c", script, *arguments]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env={"UNIFIED_FLUX_HOME": str(home), "HOME": str(home)},
    )
    return time.perf_counter() - started, int(done.stderr) / 1000


def rows() -> Iterator[Row]:
    """A journal as one may be, then one in which every job has its own tag."""
    for own_tags in (False, True):
        with scratch() as home:
            print(f"writing {JOBS} jobs ...", file=sys.stderr)
            size, jobs, sums = make(home, own_tags=own_tags)
            name = f"{jobs} jobs, each with its own tag" if own_tags else f"{jobs} jobs"
            yield Row(what=f"{name}: the journal's file", ours=size, unit="MB")
            yield Row(what=f"{name}: sums in it", ours=sums, unit="")
            groups = [by for by in GROUPS if not (own_tags and by == "tag")]
            yield from reports(home, name, [(by,) for by in groups], ROUNDS)
            if own_tags:
                yield from reports(home, name, [("tag", "--csv")], 1)
            yield from reservations(home, name)


def reports(home: Path, name: str, asked: list[tuple[str, ...]], rounds: int) -> Iterator[Row]:
    """Each grouping as the command prints it, beside the plain scan."""
    peaks: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def contender(by: tuple[str, ...]) -> Callable[[], float]:
        def measure() -> float:
            if not by:
                seconds, peak = whole(_PLAIN, str(home / "journal.db"), home=home)
            else:
                seconds, peak = whole(_REPORT, "cost", "report", "--by", *by, home=home)
            peaks[by].append(peak)
            return seconds

        return measure

    plain, *found = interleave(rounds, *(contender(by) for by in ((), *asked)))
    for by, ours in zip(asked, found, strict=True):
        what = f"{name}: cost report --by {' '.join(by)}"
        yield compare(what, ours, plain, unit="s", target=2, absolute=True)
        yield compare(f"{what}, memory", peaks[by], peaks[()], unit="MB", target=100, absolute=True)


def reservations(home: Path, name: str) -> Iterator[Row]:
    """One reservation under limits, and one look at a model's bills, beside an empty journal's."""
    with scratch() as nowhere, contextlib.ExitStack() as closing:
        both = [client_at(home), client_at(nowhere)]
        for client in both:
            closing.callback(client.close)
        month = _limit(Period.MONTH, None)
        ever = _limit(Period.EVER, "rivya")
        for what, act in (
            ("Journal.prepare under a month's limit", _preparing(month)),
            ("Journal.prepare under a provider's limit", _preparing(ever)),
            ("Spending.observed", _observing({})),
            ("Spending.observed, no such picture", _observing({"size": ("none", None)})),
        ):
            full, empty = interleave(15, *(_timed(act, client) for client in both))
            yield compare(f"{name}: {what} / an empty journal", full, empty)


Act = Callable[[Client, Journal], None]


def _timed(act: Act, client: Client) -> Callable[[], float]:
    journal = client._jobs.needed_journal()

    def measure() -> float:
        started = time.perf_counter()
        act(client, journal)
        return (time.perf_counter() - started) * 1000

    measure()
    return measure


def _limit(period: Period, provider: str | None) -> Limits:
    most = Money(Decimal(10**9), "credits:rivya")
    limit = Limit(name="limit", most=most, period=period, source="a benchmark", provider=provider)
    return Limits(limits=(limit,), unknown_allowed=True)


def _preparing(limits: Limits) -> Act:
    numbers = itertools.count()

    def act(client: Client, journal: Journal) -> None:
        order = client._orders.order(Asked(request=ImageRequest(**ASKED)))
        drafts, _ = client._orders.drafts(order)
        drafts = [replace(one, asked=next(numbers)) for one in drafts]
        journal.prepare(drafts, limits=limits)
        journal.release([one.id for one in drafts])

    return act


def _observing(like: dict[str, tuple[str, None]]) -> Act:
    def act(client: Client, journal: Journal) -> None:
        journal.spending.observed("vtrix", "flux_2_pro", like=like)

    return act
