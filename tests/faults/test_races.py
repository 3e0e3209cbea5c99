"""Many processes at one limit: together they never pass it by one nano-unit, and use all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faults.ledger import NANO
from faults.purse import VTRIX, accepted, total
from faults.verdicts import marked

from unified_flux.sandbox import drawing
from unified_flux.sandbox.server import SandboxServer

RACERS = Path(__file__).with_name("racers.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def race(kind: str, folder: Path, text: str, **spec: Any) -> list[dict[str, Any]]:
    """What each of many processes came to, all under the limits of one folder."""
    (folder / "unified-flux.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, str(RACERS), kind, str(folder), json.dumps(spec)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == spec["processes"]
    assert all("nothing was sent" in one["why"] for one in ends)
    return ends


@pytest.mark.parametrize(
    ("text", "price", "unit", "most"),
    [
        ('[limits]\nper_day = "0.000000349 USD"\n', "0.000000007", "USD", 49),
        ('[limits]\nper_month = "16.66666665 USD"\n', "0.333333333", "USD", 50),
        ('[limits]\nper_month = "16.666666649 USD"\n', "0.333333333", "USD", 49),
        ('[limits.per_provider]\nrivya = "16.7 credits"\n', "0.333333333", "credits:rivya", 50),
        (
            # A picture is 2.333333331e-9 USD: only fractions tell 48 from 49.
            '[credits]\nrivya = "0.000000007"\n[limits.per_provider.rivya]\n'
            'per_day = "0.000000114333333218 USD"\n',
            "0.333333333",
            "credits:rivya",
            48,
        ),
    ],
)
def test_16_processes_never_pass_a_limit_and_use_all_of_it(
    text: str, price: str, unit: str, most: int, tmp_path: Path
) -> None:
    """Not by one nano-unit, in USD, credits or credits at a rate: as many as fit are let through."""
    ends = race(
        "journal", tmp_path, text, processes=16, provider="rivya", prices=[price], unit=unit
    )
    assert sum(one["done"] for one in ends) == most
    assert total(tmp_path / "home") == (most, int(most * Decimal(price) * NANO))


def test_16_processes_with_several_prices_leave_no_room_for_the_least(tmp_path: Path) -> None:
    """What is left at the end is less than the cheapest picture costs, and not below nothing."""
    text = '[limits]\nper_day = "9 USD"\nper_month = "8.000000001 USD"\n'
    prices = ["0.333333333", "0.123456789", "1.000000007"]
    race("journal", tmp_path, text, processes=16, provider="vtrix", prices=prices, unit="USD")
    _, nano = total(tmp_path / "home")
    assert 8_000_000_001 - 123_456_789 < nano <= 8_000_000_001


def test_processes_that_make_pictures_stay_within_their_limit(
    served: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's own meter says so: as many paid submits as the limit has room for."""
    monkeypatch.setattr(drawing, "draw", marked)
    text = f'{VTRIX}[limits]\nper_day = "0.249999999 USD"\n'
    place = {"key": served.key, "url": served.providers["vtrix"]}
    race("client", tmp_path, text, processes=6, provider="vtrix", **place)
    assert accepted(served, "vtrix") == 24
    assert total(tmp_path / "home") == (24, 240_000_000)
