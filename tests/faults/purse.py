"""Pictures under limits: settings, clients and what a journal counts, for tests of spend limits."""

from __future__ import annotations

import contextlib
import sqlite3
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from faults.ledger import NANO

from unified_flux import Client, ImageRequest, SpendLimitExceeded
from unified_flux.journal import Journal
from unified_flux.sandbox.server import SandboxServer

READY = "a fox sandbox:ready"
VTRIX = '[prices."vtrix/flux_kontext_pro"]\namount = "0.01"\nunit = "USD"\n'
ONE = {
    "rivya": '[limits.per_provider]\nrivya = "4 credits"\n',
    "vtrix": f'{VTRIX}[limits]\nper_day = "0.01 USD"\n',
    **dict.fromkeys(("bfl", "fal", "replicate"), '[limits]\nper_day = "0.04 USD"\n'),
}


def settings(text: str) -> None:
    """The settings of the working folder."""
    Path("unified-flux.toml").write_text(text)


def client(provider: str, **how: Any) -> Client:
    """One as the settings, the environment and the served sandbox make it."""
    return Client.from_config(provider, **how)


def make(provider: str, prompt: str = READY, **how: Any) -> Any:
    """One picture by a client of its own."""
    fields = {name: how.pop(name) for name in ("n", "client_request_id") if name in how}
    settings = {name: how.pop(name) for name in ("allow", "on_event") if name in how}
    with client(provider, **settings) as one:
        return one.generate(ImageRequest(prompt=prompt, **fields), **how)


def accepted(served: SandboxServer, provider: str) -> int:
    return int(served.emulators[provider].meter()["accepted"])


def refused(provider: str, **how: Any) -> SpendLimitExceeded:
    """The refusal of a picture, with its exit code."""
    with pytest.raises(SpendLimitExceeded) as caught:
        make(provider, **how)
    assert caught.value.exit_code == 5
    assert "nothing was sent" in str(caught.value)
    return caught.value


def total(home: Path) -> tuple[int, int]:
    """Jobs and nano-units that a journal counts; it says the same of itself."""
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as file:
        costs = [
            nano
            for (nano,) in file.execute(
                "SELECT coalesce(charge_nano, reserve_nano) FROM jobs WHERE phase <> 'cancelled'"
            )
        ]
    with contextlib.closing(Journal(home)) as journal:
        lines = [one for how in (True, False) for one in journal.spending.sums("day", sandbox=how)]
    assert sum(one.jobs for one in lines) == len(costs)
    said = sum(Fraction(one.money.amount) for one in lines if one.money)
    assert said == Fraction(sum(costs), NANO)
    return len(costs), sum(costs)
