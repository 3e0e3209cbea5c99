"""Workers on a shared queue, killed at random moments: `python tests/faults/workers.py [LINES [KILLS]]`.

Two workers on a real PostgreSQL and the emulators behind a socket; one of the two is killed, again and
again, and started anew. At the end the emulator's meter, the journal and the pictures are compared.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from postgres import Postgres, programs

from unified_flux import registry
from unified_flux.journal import Journal
from unified_flux.sandbox.server import SandboxServer, new_key

COMMAND = [sys.executable, "-m", "unified_flux"]
# Undecided, or decided without a picture.
FLAGGED = {"unknown"}


def proof(provider: str, lines: int, kills: int, server: Postgres, folder: Path) -> str:
    """One provider's row of the table."""
    key = new_key()
    emulators = {name: registry.emulator_class(name)(key=key) for name in registry.names()}
    with SandboxServer(emulators, key=key) as served:
        address = server.database(f"kills_{provider}")
        env = {
            **os.environ,
            "UNIFIED_FLUX_QUEUE": address,
            "UNIFIED_FLUX_HOME": str(folder / "home"),
            f"{provider.upper()}_API_KEY": key,
            f"{provider.upper()}_BASE_URL": served.providers[provider],
        }
        (folder / "unified-flux.toml").write_text("lease = 2\n")
        wishes = (f'{{"prompt": "fox {n} sandbox:ready"}}\n' for n in range(lines))
        (folder / "foxes.jsonl").write_text("".join(wishes))
        submit = [*COMMAND, "batch", "submit", "foxes.jsonl", "-p", provider, "--yes", "-q"]
        subprocess.run(submit, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
        begun = time.monotonic()
        made = _made(folder, env, kills)
        accepted = emulators[provider].meter()["accepted"]
        with contextlib.closing(Journal(address)) as journal:
            phases = Counter(str(one.phase) for one in journal.jobs({}))
    seconds = time.monotonic() - begun
    pictures = sum(1 for one in (folder / "foxes-pictures").iterdir() if one.suffix == ".jpg")
    flagged = sum(phases[phase] for phase in FLAGGED)
    lost = lines - pictures - flagged
    double = max(accepted - lines, 0)
    return (
        f"| {provider} | {lines} | {made} | {pictures} | {accepted} | {lost} | {double} | {flagged} |"
        f" {seconds:.0f} |"
    )


def _made(folder: Path, env: dict[str, str], kills: int) -> int:
    """Kill, start anew, and wait for the end; how many kills met a worker at work."""
    rng = random.Random(5)
    start = [*COMMAND, "worker", "-q", "--concurrency", "8"]
    workers = [subprocess.Popen(start, cwd=folder, env=env) for _ in range(2)]
    watch = subprocess.Popen(
        [*COMMAND, "batch", "watch", "foxes.jsonl", "-q"],
        cwd=folder, env=env, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    made = 0
    try:
        while made < kills and watch.poll() is None:
            time.sleep(rng.uniform(0.5, 1.5))
            chosen = rng.randrange(2)
            workers[chosen].kill()
            workers[chosen].wait()
            made += watch.poll() is None
            workers[chosen] = subprocess.Popen(start, cwd=folder, env=env)
        watch.wait(600)
    finally:
        for process in (*workers, watch):
            process.kill()
            process.wait()
    return made


def main() -> None:
    """The table, provider by provider."""
    lines, kills = (int(word) for word in (*sys.argv[1:], *("200", "12")[len(sys.argv) - 1 :]))
    bin = programs()
    if bin is None:
        sys.exit("Debian's package postgresql is not installed")
    print(
        "| provider | lines | kills | pictures | paid submits | lost | double | flagged | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="pytest-") as base:
        (Path(base) / "server").mkdir()
        with Postgres(Path(base) / "server", bin) as server:
            for provider in registry.names():
                folder = Path(base) / provider
                folder.mkdir()
                print(proof(provider, lines, kills, server, folder), flush=True)


if __name__ == "__main__":
    main()
