"""What `compare` takes for each installed card: translated, checked and quoted; nothing is sent.

All seven models are named, so that every card of every provider is held against the request. Warm is
CPU of one process that compares again and again; the first time is that of a fresh process, with
jsonschema and the adapters imported before, since those belong to no card, and once more with all
of it. Beside it, one keep-alive post of one payload.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from generation import PAYLOAD
from harness import HERE, Row, compare as row, cpu_of, interleave, scratch, server
from journal import client_at, keeping
from startup import install, start

from unified_flux import ImageRequest, registry
from unified_flux.compare import compare
from unified_flux.config import Config

ROUNDS, TIMES, FRESH, BILLS = 25, 20, 15, 60
TARGET = 3.0
ASKED = {"prompt": "a red fox", "aspect_ratio": "3:2", "seed": 7}
COMMAND = ("compare", "a red fox", "--aspect-ratio", "3:2", "--seed", "7", "--json")


def models() -> tuple[str, ...]:
    """Every model of every installed provider."""
    return tuple(
        card.model for name in registry.names() for card in registry.make_adapter(name).cards
    )


def comparing(home: Path, *, journal: bool) -> Callable[[], int]:
    """One comparison over all cards; how many there were."""
    config = Config(registry.names()).overridden({"home": str(home), "journal.enabled": journal})
    wanted = json.loads((home / "models.json").read_text("utf-8"))

    def act() -> int:
        request = ImageRequest(**ASKED)
        return len(compare(request, config=config, models=wanted).candidates)

    return act


def rows() -> Iterator[Row]:
    """Warm, the first time, and the whole command."""
    with server() as port, scratch() as home:
        cards = fill(home)
        session = requests.Session()

        def post() -> None:
            session.post(f"http://127.0.0.1:{port}/echo", json=PAYLOAD).json()

        plain, billed = comparing(home, journal=False), comparing(home, journal=True)
        assert plain() == billed() == cards
        found = interleave(ROUNDS, cpu_of(plain, TIMES), cpu_of(billed, TIMES), cpu_of(post, TIMES))
        fresh = interleave(
            FRESH,
            lambda: first(home, "plain"),
            lambda: first(home, "journal"),
            lambda: first(home, "all"),
            cpu_of(post, TIMES),
        )
    *found, posted = found
    yield judged(f"compare {cards} cards, each / a post", found[0], posted, cards)
    yield judged("the same with bills in a journal", found[1], posted, cards)
    *found, posted = fresh
    yield judged("the same the first time, no journal", found[0], posted, cards)
    yield judged("the same the first time, with the journal", found[1], posted, cards)
    yield row("the first comparison with all imports, whole / a post", found[2], posted)
    yield from command()


def judged(what: str, ours: list[float], posted: list[float], cards: int) -> Row:
    """The row of one card's share."""
    each = [one / cards for one in ours]
    return row(what, each, posted, target=TARGET, absolute=True)


def command() -> Iterator[Row]:
    """The whole command beside bare Python: CPU, as in startup.py."""
    with scratch() as folder:
        python, script = install(folder / "installed")
        (folder / "home").mkdir()
        bare, ours = interleave(
            ROUNDS,
            lambda: start(python, "-c", "pass")[0],
            lambda: start(script, *COMMAND)[0],
        )
        yield row("unified-flux compare ... --json / python -c pass", ours, bare)


def fill(home: Path) -> int:
    """Names of all cards, and a journal with bills of every model; how many cards there are."""
    names = models()
    (home / "models.json").write_text(json.dumps(names), "utf-8")
    client = client_at(home)
    keep = keeping(client)
    for _ in range(BILLS):
        keep()
    journal = client._jobs.needed_journal()

    def bill(connection: object) -> None:
        # The same jobs once more as each provider's and model's, with a bill.
        for provider in registry.names():
            for card in registry.make_adapter(provider).cards:
                connection.execute(  # type: ignore[attr-defined]
                    "UPDATE jobs SET provider = ?, model = ?, charge_basis = 'billed',"
                    " charge_nano = 40000000 + number, charge_unit = 'USD'"
                    " WHERE number % ? = ?",
                    (provider, card.model, len(names), names.index(card.model)),
                )

    journal._database.write(bill)
    client.close()
    return len(names)


def first(home: Path, how: str) -> float:
    """CPU milliseconds of a fresh process's first comparison."""
    command = [sys.executable, str(HERE / "compare.py"), str(home), how]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    there, how = Path(sys.argv[1]), sys.argv[2]
    act = comparing(there, journal=how != "plain")
    if how != "all":
        import jsonschema  # noqa: F401

        for name in registry.names():
            registry.adapter_class(name)
    started = time.process_time()
    act()
    print((time.process_time() - started) * 1000)
