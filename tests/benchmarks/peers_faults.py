"""How often one call pays when the submit goes wrong: ours, and four peers as they come.

    python tests/benchmarks/peers_faults.py [--markdown] [--verbose] [--environments FOLDER] [NAME ...]

Opt-in: run.py and the gate leave it alone, since it installs the peers. Each gets an environment of
its own at the versions below, each call a process and a server of its own. A *paid submit* is a
paid POST that the server read whole and would have begun work for.

Retries are each client's defaults. Shortened is only the wait for the answer to the submit: to 2 s,
see peers_faults_drivers.py. Ours retries by time, not by number: its budgets, 60 s for a refused
submit and 600 s for one of unknown outcome, are 8 s here. Longer ones mean more sends, all of them
under the same key.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from peers_faults_server import CONTRACTS, FAULTS, Meter
from platformdirs import user_cache_dir

HERE = Path(__file__).parent
# Calls mostly sleep between their retries, so a few of one client's go on side by side. A call has
# to be done within LIMIT; fal-client's nine waits come to about 50 s, at the worst to 77 s.
AT_ONCE, LIMIT = 4, 120
# Kept from the environment of whoever runs this: no proxy, key or setting of theirs is measured.
KEPT = {"PATH", "LANG", "TMPDIR", "SYSTEMROOT"}
SETTINGS = """
read_timeout = 2
retry_within = 8
resend_within = 8
timeout = 30
"""


@dataclass(frozen=True, kw_only=True)
class Client:
    """One column: what is installed (nothing for ours), and whose contract it is served."""

    contract: str
    pins: tuple[str, ...] = ()


# The newest stable versions on 2026-11-21. What makes a peer's exchanges is pinned with it: for
# LiteLLM, retries are partly those of the openai library beneath.
_OPENAI = ("openai==3.52.0", "httpx2==2.16.2")
_LITELLM = ("litellm==1.109.1", *_OPENAI)
CLIENTS = {
    "unified-flux/rivya": Client(contract="rivya"),
    "unified-flux/vtrix": Client(contract="vtrix"),
    "fal-client": Client(contract="fal", pins=("fal-client==1.0.3", "httpx==0.28.1")),
    "replicate": Client(contract="replicate", pins=("replicate==1.0.7", "httpx==0.28.1")),
    "openai": Client(contract="openai", pins=_OPENAI),
    "litellm": Client(contract="openai", pins=_LITELLM),
    "litellm-router": Client(contract="openai", pins=_LITELLM),
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one call came to.

    Attributes:
        got: Whether the picture was in hand at its end.
        cut: Whether it had to be stopped.
        why: The last thing it said.
    """

    paid: int
    sent: int
    keyed: bool
    got: bool
    cut: bool
    why: str

    def __str__(self) -> str:
        return f"{'>' if self.cut else ''}{self.paid}"


def environment(folder: Path, pins: tuple[str, ...]) -> str:
    """The interpreter of an environment with exactly these; made anew where the pins changed."""
    place = folder / pins[0].replace("==", "-")
    stamp, python = place / "pins.txt", place / "bin" / "python"
    if not (stamp.exists() and stamp.read_text("utf-8") == "\n".join(pins)):
        print(f"installing {', '.join(pins)} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *pins]
        if subprocess.run(install, check=False).returncode:
            raise SystemExit(f"{pins[0]} cannot be installed; name the other columns to do without")
        stamp.write_text("\n".join(pins), "utf-8")
    return str(python)


def command(name: str, python: str, url: str) -> list[str]:
    """What is run for one call."""
    client = CLIENTS[name]
    if client.pins:
        return [python, "-I", str(HERE / "peers_faults_drivers.py"), name, url]
    asked = ["generate", "a red fox in fresh snow", "-p", client.contract, "-o", "fox.png"]
    return [python, "-P", "-m", "unified_flux", *asked]


def call(name: str, python: str, fault: str | None, *, every: bool = False) -> Call:
    """One call against a server of its own."""
    contract = CLIENTS[name].contract
    met = Meter(CONTRACTS[contract], FAULTS[fault] if fault else None, every)
    with met, tempfile.TemporaryDirectory(prefix="unified-flux-peers-") as folder:
        Path(folder, "unified-flux.toml").write_text(SETTINGS, "utf-8")
        own = {
            "HOME": folder,
            "UNIFIED_FLUX_HOME": str(Path(folder, "data")),
            f"{contract.upper()}_BASE_URL": met.url,
            f"{contract.upper()}_API_KEY": "rvya_sk_0000",
            # LiteLLM would fetch its price list from elsewhere first.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        kept = {key: value for key, value in os.environ.items() if key in KEPT}
        what = command(name, python, met.url)
        ended, said = run(what, folder, kept | own)
        return Call(
            paid=met.paid,
            sent=met.tries,
            keyed=any(met.accepted),
            got=ended == 0,
            cut=ended is None,
            why=said,
        )


def run(what: list[str], folder: str, variables: dict[str, str]) -> tuple[int | None, str]:
    """Its exit code, None where it had to be stopped, and its last line on standard error."""
    try:
        done = subprocess.run(
            what,
            check=False,
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return None, f"stopped after {LIMIT} s"
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def column(name: str, python: str, *, verbose: bool) -> Iterator[tuple[Call, Call]]:
    """A client under each fault: once, and every time."""
    calm = call(name, python, None)
    if not calm.got or calm.paid != 1:
        raise SystemExit(f"{name} does not get its picture where nothing fails: {calm.why}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        once = [pool.submit(call, name, python, fault) for fault in FAULTS]
        ever = [pool.submit(call, name, python, fault, every=True) for fault in FAULTS]
        for fault, *pair in zip(FAULTS, once, ever, strict=True):
            first, always = (future.result() for future in pair)
            if verbose:
                print(f"{name} | {fault}\n  once: {first!r}\n  ever: {always!r}", file=sys.stderr)
            yield first, always


def cell(once: Call, ever: Call) -> str:
    """Paid submits with the fault once, and with it every time; what was sent where that differs."""
    lost = " lost" if once.paid and not once.got else ""
    text = f"{once}{lost} / {ever}"
    if (once.sent, ever.sent) != (once.paid, ever.paid):
        text += f" (sent {once.sent} / {ever.sent})"
    return text


def legend(columns: dict[str, list[tuple[Call, Call]]]) -> Iterator[str]:
    """What the figures mean, which versions they are of, and who sent a key."""
    yield (
        "Paid submits for one call of one picture: fault on the first submit only / on every one. "
        'Where more was sent than paid, "sent" says how often; how often ours sends depends on '
        'random waits. "lost": paid, and the call ended without the picture. Counted is work that '
        "a server would have begun; what a provider bills of it in the end is another matter."
    )
    keyed = [
        name for name, calls in columns.items() if any(one.keyed or two.keyed for one, two in calls)
    ]
    honoured = [name for name in keyed if CONTRACTS[CLIENTS[name].contract].honours_keys]
    yield (
        f"An idempotency key was sent by: {', '.join(keyed) or 'nobody'}. Submits under the same "
        f"key are paid once where the provider documents its key: {', '.join(honoured) or 'none'}."
    )
    pins = dict.fromkeys(", ".join(CLIENTS[name].pins) for name in columns)
    versions = [*filter(None, pins), f"unified-flux=={version('unified-flux')}"]
    yield f"Versions: {'; '.join(versions)}; Python {platform.python_version()}."


def show(table: list[list[str]], *, markdown: bool) -> None:
    """The table, aligned or as Markdown."""
    if markdown:
        table.insert(1, ["---"] * len(table[0]))
        for line in table:
            print(f"| {' | '.join(line)} |")
        return
    widths = [max(map(len, texts)) for texts in zip(*table, strict=True)]
    for line in table:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


def main() -> int:
    """Measure the named columns, or all; 1 where ours paid twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CLIENTS)}")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="say how each call ended")
    parser.add_argument(
        "--environments", type=Path, default=Path(user_cache_dir("unified-flux-peers"))
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(CLIENTS):
        parser.error(f"no column {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    pythons = {}
    for name in chosen.names or CLIENTS:
        pins = CLIENTS[name].pins
        pythons[name] = environment(chosen.environments, pins) if pins else sys.executable
    columns = {}
    for name, python in pythons.items():
        print(f"{name} ...", file=sys.stderr)
        columns[name] = list(column(name, python, verbose=chosen.verbose))
    lines = [
        [fault, *(cell(*calls[row]) for calls in columns.values())]
        for row, fault in enumerate(FAULTS)
    ]
    show([["the submit meets", *columns], *lines], markdown=chosen.markdown)
    for text in legend(columns):
        print(f"\n{text}")
    ours = [pair for name in columns if not CLIENTS[name].pins for pair in columns[name]]
    return int(any(one.paid > 1 or two.paid > 1 for one, two in ours))


if __name__ == "__main__":
    sys.exit(main())
