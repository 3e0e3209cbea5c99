"""What the conformance kit is made of: golden replay, the simulated clock, the watch."""

import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from unified_flux import registry
from unified_flux.effects import Pause
from unified_flux.flow import generate
from unified_flux.testing.golden import Golden, check_translation, replay
from unified_flux.testing.simulation import ScriptEnded, drive
from unified_flux.testing.watch import watching

GOLDEN = Path(__file__).parent / "golden"
Rivya = registry.adapter_class("rivya")
Vtrix = registry.adapter_class("vtrix")


def altered(name: str, change: Callable[[dict[str, Any]], object]) -> Golden:
    """A golden file of Rivya's or of a translation, with one thing in it changed."""
    path = GOLDEN / f"{name}.json"
    recorded = json.loads(path.read_text("utf-8"))
    change(recorded)
    return Golden(path, recorded)


ALTERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a word of the body": lambda g: g["turns"][0]["send"]["json"].update(prompt="another"),
    "a number's type": lambda g: g["turns"][0]["send"]["json"]["params"].update(
        safetyTolerance=2.0
    ),
    "a header": lambda g: g["turns"][0]["send"].pop("headers"),
    "the address": lambda g: g["turns"][1]["send"].update(url="https://rivya.ai/api/v1/else"),
    "one turn more": lambda g: g["turns"].insert(1, g["turns"][1]),
    "one turn fewer": lambda g: g["turns"].pop(),
    "the pace": lambda g: g["turns"][1].update(after=[9, 10]),
    "the picture": lambda g: g["end"].update(urls=["https://cdn.example.com/else.jpg"]),
    "the charge": lambda g: g["end"]["charge"].update(amount="5"),
    "the end": lambda g: g.update(end={"error": "JobFailed"}),
}


@pytest.mark.parametrize("change", ALTERED)
def test_a_conversation_that_differs_in_one_thing_fails(change: str) -> None:
    """Replay compares every word that is sent, the pace and the end."""
    replay(altered("rivya/kontext-pro-minimal", lambda g: None), Rivya())
    with pytest.raises(AssertionError, match="kontext-pro-minimal"):
        replay(altered("rivya/kontext-pro-minimal", ALTERED[change]), Rivya())


ENDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "class": lambda g: g["end"].update(error="ProviderError"),
    "words": lambda g: g["end"].update(says="something else"),
    "reason": lambda g: g["end"].update(reason="another"),
    "money": lambda g: g["end"].update(charged="maybe"),
    "success": lambda g: g.update(end={"urls": []}),
}


@pytest.mark.parametrize("change", ENDS)
def test_a_conversation_that_ends_otherwise_fails(change: str) -> None:
    """An error's class, words, reason and word on money are compared."""
    replay(altered("rivya/failed", lambda g: None), Rivya())
    with pytest.raises(AssertionError, match="failed"):
        replay(altered("rivya/failed", ENDS[change]), Rivya())


TRANSLATIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "vtrix-flux-2-pro": lambda g: g["payload"].update(safety_tolerance=3),
    "vtrix-kontext-pro-every-parameter": lambda g: g["payload"].update(prompt_upsampling=1),
    "vtrix-kontext-pro-minimal": lambda g: g.update(report={"prompt": "converted"}),
    "vtrix-flux-2-pro-adapted": lambda g: g.pop("allow"),
    "vtrix-kontext-pro-safety-0": lambda g: g["error"].update(nearest=2),
    "vtrix-kontext-max": lambda g: g.update(error={"field": "seed"}),
    "vtrix-kontext-pro-webp": lambda g: g["error"].update(field="seed"),
}


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_that_differs_in_one_thing_fails(name: str) -> None:
    """Payloads are compared with their types, refusals with their field and nearest value."""
    check_translation(altered(f"translate/{name}", lambda g: None), Vtrix())
    with pytest.raises(AssertionError, match=name):
        check_translation(altered(f"translate/{name}", TRANSLATIONS[name]), Vtrix())


def test_a_flow_that_outlives_its_script_is_told() -> None:
    """Neither a missing answer nor an endless flow passes for an end."""
    ask = altered("rivya/kontext-pro-minimal", lambda g: None).ask(Rivya())
    with pytest.raises(ScriptEnded, match="nothing is scripted for POST"):
        drive(generate(ask), [])

    def endless() -> Any:
        while True:
            yield Pause(0)

    with pytest.raises(ScriptEnded, match="not ended after 100"):
        drive(endless(), [], limit=100)


def touches() -> Iterator[tuple[str, Callable[[], object]]]:
    """Ways to reach outside, by whatever name."""
    from os import environ, getenv
    from time import time as clock

    yield "os.environ", lambda: environ["PATH"]
    yield "os.environ", lambda: getenv("PATH")
    yield "time.time", clock
    yield "time.sleep", lambda: time.sleep(0)
    yield "datetime.now", lambda: datetime.now(UTC)
    yield "Random.random", random.random
    yield "socket", lambda: socket.socket().close()
    yield "open", lambda: Path(os.devnull).read_bytes()
    yield "print", lambda: print(end="")


@pytest.mark.parametrize(("what", "touch"), list(touches()))
def test_the_watch_sees_what_reaches_outside(what: str, touch: Callable[[], object]) -> None:
    """Files, network, environment, clock and chance, under whatever name they were imported."""
    with watching() as touched:
        touch()
    assert what in touched
    with watching() as touched:
        sorted({str(n): n for n in range(9)}.items())
    assert not touched
