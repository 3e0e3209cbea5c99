"""The journal's tables, version by version, and rows as records.

Times are milliseconds since 1970 in UTC; money is a whole number of 1e-9 of its unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from unified_flux.errors import Charged
from unified_flux.journal import sums
from unified_flux.journal.spending import tags_text
from unified_flux.money import Basis, Charge, Money
from unified_flux.pricing import Kind, Quote
from unified_flux.record import Kept, Record
from unified_flux.report import Report
from unified_flux.wire import Phase

NANO = Decimal(10**9)
_LARGEST = 2**63

# What somebody has to go on with; an index holds these rows alone.
OPEN = (
    "(phase IN ('prepared', 'sending', 'accepted', 'done')"
    " OR (phase = 'saved' AND destination IS NOT NULL AND delivered_at IS NULL))"
)

TABLES = (
    """
    CREATE TABLE jobs (
      number INTEGER PRIMARY KEY,
      id TEXT UNIQUE NOT NULL,
      phase TEXT NOT NULL CHECK (phase IN ('prepared', 'sending', 'accepted', 'done', 'saved',
                                           'refused', 'failed', 'unknown', 'cancelled')),
      provider TEXT NOT NULL,
      model TEXT NOT NULL,
      family TEXT NOT NULL,
      place TEXT NOT NULL,
      sandbox INTEGER NOT NULL CHECK (sandbox IN (0, 1)),
      emulated INTEGER NOT NULL CHECK (emulated IN (0, 1)),
      client_request_id TEXT,
      request_sha256 TEXT NOT NULL,
      asked INTEGER NOT NULL,
      seed TEXT,
      payload_sha256 TEXT NOT NULL,
      destination TEXT,
      force INTEGER NOT NULL CHECK (force IN (0, 1)),
      idempotency_key TEXT,
      key_mark TEXT,
      job TEXT,
      quote_nano INTEGER,
      quote_unit TEXT,
      quote_basis TEXT,
      charged TEXT NOT NULL CHECK (charged IN ('no', 'maybe', 'yes')),
      charge_nano INTEGER,
      charge_unit TEXT,
      charge_basis TEXT NOT NULL,
      charge_raw TEXT,
      error TEXT,
      notes TEXT,
      owner TEXT,
      prepared_at INTEGER NOT NULL,
      sending_at INTEGER,
      accepted_at INTEGER,
      settled_at INTEGER,
      saved_at INTEGER,
      delivered_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE requests (
      number INTEGER PRIMARY KEY REFERENCES jobs (number),
      request TEXT NOT NULL,
      payload TEXT NOT NULL,
      report TEXT NOT NULL,
      expects TEXT NOT NULL,
      sources TEXT NOT NULL,
      submit_url TEXT,
      submit_headers TEXT,
      submit_body BLOB
    ) STRICT
    """,
    """
    CREATE TABLE outputs (
      number INTEGER NOT NULL REFERENCES jobs (number),
      position INTEGER NOT NULL,
      url TEXT,
      sha256 TEXT,
      bytes INTEGER,
      spooled TEXT,
      path TEXT,
      PRIMARY KEY (number, position)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE events (
      number INTEGER NOT NULL,
      turn INTEGER NOT NULL,
      at INTEGER NOT NULL,
      phase TEXT NOT NULL,
      note TEXT,
      PRIMARY KEY (number, turn)
    ) STRICT, WITHOUT ROWID
    """,
)
INDEXES = (
    f"CREATE INDEX jobs_open ON jobs (number) WHERE {OPEN}",
    "CREATE INDEX jobs_theirs ON jobs (job) WHERE job IS NOT NULL",
    "CREATE INDEX jobs_same ON jobs (client_request_id, request_sha256, asked)"
    " WHERE client_request_id IS NOT NULL",
)
_EVENTS_ONLY_GROW = (
    """
    CREATE TRIGGER events_stand BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER events_stay BEFORE DELETE ON events
    WHEN EXISTS (SELECT 1 FROM jobs WHERE number = OLD.number)
    BEGIN SELECT RAISE(ABORT, 'events go with their job alone'); END
    """,
)
# How fast providers may be asked, and what of theirs is under way; times in millionths of a second.
PACES = (
    """
    CREATE TABLE throttles (
      provider TEXT NOT NULL,
      sandbox INTEGER NOT NULL,
      next_at INTEGER NOT NULL,
      slow_until INTEGER NOT NULL,
      PRIMARY KEY (provider, sandbox)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX jobs_under_way ON jobs (provider, sandbox, sending_at)"
    " WHERE phase IN ('sending', 'accepted', 'unknown')",
)
# Where the provider wants to be asked for a job.
LINKS = ("ALTER TABLE jobs ADD COLUMN links TEXT",)
# Everything that a record holds, but for its pictures.
JOBS = "SELECT * FROM jobs JOIN requests USING (number)"
# MIGRATIONS[v] leads from version v to v + 1.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (*TABLES, *INDEXES, *_EVENTS_ONLY_GROW),
    sums.MIGRATION,
    PACES,
    LINKS,
)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)


def dumps(found: Any) -> str:
    """JSON as the journal keeps it: compact, and the same text for the same content."""
    return sayable(_ENCODER.encode(found))


def sayable(text: str) -> str:
    """A stranger's text as any database can hold it: half an emoji becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def nano(money: Money | None, rounding: str = ROUND_HALF_EVEN) -> int | None:
    """An amount in 1e-9 of its unit, to the nearest; None where it is none: below 0 or far too large.

    The provider's own figure stays beside it as it came.
    """
    if money is None:
        return None
    whole = int((money.amount * NANO).to_integral_value(rounding))
    lost = whole == 0 and money.amount != 0
    return whole if 0 <= whole < _LARGEST and not lost else None


def charge_columns(charge: Charge, charged: Charged) -> dict[str, Any]:
    """A charge as the columns of a row."""
    return {
        "charged": str(charged),
        "charge_nano": nano(charge.money),
        "charge_unit": charge.money.unit if charge.money else None,
        "charge_basis": str(charge.basis),
        "charge_raw": dumps(charge.raw) if charge.raw else None,
    }


def quote_columns(quote: Quote) -> dict[str, Any]:
    """A quote as the columns of a row; what may at most be paid is reserved."""
    return {
        "quote_nano": nano(quote.money),
        "quote_unit": quote.money.unit if quote.money else None,
        "quote_basis": str(quote.basis),
        "quote_kind": str(quote.kind) if quote.kind else None,
        "quote_source": quote.source,
        "quote_as_of": quote.as_of,
        "reserve_nano": nano(_most(quote), ROUND_CEILING),
    }


def reserved(quote: Quote) -> Money | None:
    """What a quote reserves: limits are held to what is written down, to the last digit."""
    most = _most(quote)
    return _money(nano(most, ROUND_CEILING), most.unit) if most else None


def _most(quote: Quote) -> Money | None:
    return quote.most.times(quote.pictures) if quote.most else None


def new_row(record: Record) -> dict[str, Any]:
    """The columns of a job that nothing was sent of."""
    return {
        "id": record.id,
        "phase": str(Phase.PREPARED),
        "provider": record.provider,
        "model": record.model,
        "family": record.family,
        "place": record.place,
        "sandbox": int(record.sandbox),
        "emulated": int(record.emulated),
        "client_request_id": record.client_request_id,
        "tags": tags_text(record.tags),
        "project": record.project,
        "request_sha256": record.digest,
        "asked": record.asked,
        "seed": None if record.seed is None else str(record.seed),
        "payload_sha256": record.payload_sha256,
        "destination": record.destination,
        "force": int(record.force),
        "idempotency_key": record.key,
        "key_mark": record.key_mark,
        **quote_columns(record.quote),
        "charged": str(Charged.NO),
        "charge_basis": str(Basis.UNKNOWN),
    }


def words(record: Record) -> dict[str, Any]:
    """What was asked and what became of it, which never changes."""
    return {
        "request": dumps(record.request),
        "payload": dumps(record.payload),
        "report": dumps({"entries": record.report.to_json(), "defaults": record.report.defaults}),
        "expects": dumps(record.expects),
        "sources": dumps(record.sources),
    }


def read_row(row: Mapping[str, Any], outputs: list[Mapping[str, Any]]) -> Record:
    """A row and its pictures as a record."""
    report = json.loads(row["report"])
    return Record(
        **{name: row[name] for name in _AS_THEY_ARE},
        phase=Phase(row["phase"]),
        sandbox=bool(row["sandbox"]),
        emulated=bool(row["emulated"]),
        request=json.loads(row["request"]),
        seed=None if row["seed"] is None else int(row["seed"]),
        payload=json.loads(row["payload"]),
        report=Report.from_json(report["entries"], report["defaults"]),
        expects=json.loads(row["expects"]),
        sources=tuple(json.loads(row["sources"])),
        force=bool(row["force"]),
        tags=tuple(json.loads(row["tags"])),
        quote=_quote(row),
        key=row["idempotency_key"],
        submit_headers=json.loads(row["submit_headers"] or "{}"),
        job_id=row["job"],
        links=json.loads(row["links"] or "{}"),
        charged=Charged(row["charged"]),
        charge=Charge(
            money=_money(row["charge_nano"], row["charge_unit"]),
            basis=Basis(row["charge_basis"]),
            raw=json.loads(row["charge_raw"] or "{}"),
        ),
        error=json.loads(row["error"]) if row["error"] else None,
        notes=tuple(json.loads(row["notes"] or "[]")),
        outputs=tuple(_kept(one) for one in outputs),
        digest=row["request_sha256"],
        payload_sha256=row["payload_sha256"],
    )


_AS_THEY_ARE = (
    "id", "provider", "model", "family", "place", "client_request_id", "project", "asked",
    "destination", "key_mark", "submit_url", "submit_body", "owner", "prepared_at", "sending_at",
    "accepted_at", "settled_at", "saved_at", "delivered_at",
)  # fmt: skip


def _money(nanos: int | None, unit: str) -> Money | None:
    return None if nanos is None else Money((Decimal(nanos) / NANO).normalize(), unit)


def _quote(row: Mapping[str, Any]) -> Quote:
    money = _money(row["quote_nano"], row["quote_unit"])
    return Quote(
        money=money,
        each=money,
        most=_money(row["reserve_nano"], row["quote_unit"]),
        kind=Kind(row["quote_kind"]) if row["quote_kind"] else None,
        basis=Basis(row["quote_basis"] or Basis.UNKNOWN),
        source=row["quote_source"],
        as_of=row["quote_as_of"],
    )


def _kept(row: Mapping[str, Any]) -> Kept:
    return Kept(
        url=row["url"],
        sha256=row["sha256"],
        size=row["bytes"],
        spooled=Path(row["spooled"]) if row["spooled"] else None,
        path=Path(row["path"]) if row["path"] else None,
    )
