"""Many processes at one limit: each asks again and again until it is refused.

    racers.py journal FOLDER SPEC    reserve in the journal alone
    racers.py client FOLDER SPEC     make pictures

FOLDER holds `unified-flux.toml` with the limits, and the journal in `home`. SPEC is JSON: `processes`,
`provider`, and for the journal `prices` (the n-th process takes the n-th, over and over) in `unit`.
Prints a line of JSON for each process: how often it was let through, and the words that stopped it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from unified_flux import Client, ImageRequest, JournalError, Money, SpendLimitExceeded
from unified_flux.budget import Budget
from unified_flux.config import Config, load
from unified_flux.journal import Journal
from unified_flux.money import Basis
from unified_flux.pricing import Kind, Quote
from unified_flux.record import Record
from unified_flux.registry import names

Racer = Callable[[int], tuple[int, str]]


def quoted(amount: str, unit: str) -> Quote:
    """So much for one picture."""
    money = Money(Decimal(amount), unit)
    return Quote(money=money, each=money, most=money, kind=Kind.EXACT, basis=Basis.CONFIGURED)


def of_journal(folder: Path, spec: dict[str, Any]) -> Racer:
    """Reserves and never sends."""
    config = load(names(), folder=folder, environ={}, user_file=folder / "none.toml")
    provider = spec["provider"]

    def race(number: int) -> tuple[int, str]:
        journal = Journal(folder / "home", wait=0)
        price = spec["prices"][number % len(spec["prices"])]
        quote = quoted(price, spec["unit"])
        budget = Budget(provider=provider, config=config, journal=journal, is_sandbox=lambda: False)
        limits = budget.limits(None, quote)
        for done in range(100_000):
            one = Record(
                id=f"job{number}x{done}",
                provider=provider,
                model="a-model",
                family="a-model",
                place="https://provider.example",
                quote=quote,
            )
            while True:
                try:
                    journal.prepare([one], limits=limits)
                    break
                except SpendLimitExceeded as error:
                    return done, error.message
                except JournalError as error:
                    # Who may wait for the lock gets it in long turns: trying at once mixes them.
                    if "locked" not in error.message:
                        raise
        raise AssertionError("nothing ever stopped it")

    return race


def of_client(folder: Path, spec: dict[str, Any]) -> Racer:
    """Makes pictures, each for itself."""
    name = spec["provider"].upper()
    environ = {
        "UNIFIED_FLUX_HOME": str(folder / "home"),
        f"{name}_API_KEY": spec["key"],
        f"{name}_BASE_URL": spec["url"],
    }
    config: Config = load(names(), folder=folder, environ=environ, user_file=folder / "none.toml")

    def race(number: int) -> tuple[int, str]:
        with Client(spec["provider"], config=config) as client:
            for done in range(1000):
                try:
                    client.generate(ImageRequest(prompt=f"fox {number}.{done} sandbox:ready"))
                except SpendLimitExceeded as error:
                    return done, error.message
                except JournalError as error:
                    return done, f"the journal failed: {error}"
        raise AssertionError("nothing ever stopped it")

    return race


RACES: dict[str, Callable[[Path, dict[str, Any]], Racer]] = {
    "journal": of_journal,
    "client": of_client,
}


def main(kind: str, place: str, said: str) -> None:
    """Start all at the same moment, wait for all."""
    folder, spec = Path(place), json.loads(said)
    race = RACES[kind](folder, spec)
    ready, go = os.pipe()
    others, mine = os.pipe()
    children = []
    for number in range(spec["processes"]):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(go)
                # The end of the file is the word to begin.
                os.read(ready, 1)
                done, why = race(number)
                os.close(mine)
                # It lives until the last was refused: nothing is reserved for the dead.
                os.read(others, 1)
                os.write(1, json.dumps({"done": done, "why": why}).encode() + b"\n")
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    os.close(mine)
    os.close(go)
    codes = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
