"""One trial: ask for a picture through one fault, count, heal, go on, count again, and judge.

The rules are the two promises, *paid once* and *nothing silent*; what an outcome was some other day
is not among them.
"""

from __future__ import annotations

import contextlib
import io
import random
import sqlite3
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from faults.faces import CommandLine, Face, Library, Place, Told
from faults.ledger import astray
from faults.providers import UNBILLED, WITH_KEY
from faults.proxy import Certificates, Fault, Plan, Proxy
from faults.rows import ROWS, STORM, cut
from PIL import Image

from unified_flux import registry
from unified_flux.sandbox.server import SandboxServer, new_key

EXCHANGES = {
    "rivya": ("upload", "submit", "poll", "fetch"),
    "vtrix": ("submit", "poll", "fetch"),
    "bfl": ("submit", "poll", "fetch"),
    "fal": ("submit", "poll", "result", "fetch"),
    "replicate": ("submit", "poll", "fetch"),
}
# A fault that hangs meets short timeouts; elsewhere a busy machine shall not add faults of its own.
_SHORT = {"connect_timeout": 0.2, "read_timeout": 0.2}
_LONG = {"connect_timeout": 5.0, "read_timeout": 5.0}
_PASSES = {"retry_within": 3.0, "resend_within": 3.0, "timeout": 4.0}
_STAYS = {"retry_within": 0.5, "resend_within": 0.5, "timeout": 0.8}
# A busy machine shall come to the download before the time is up; `retry_within` ends it then.
_FETCHED = {"timeout": 2.0}
# Polls that fail are seconds apart, and the last one is made when the time is up.
_POLLED = {"timeout": 0.8}
_CALM = {**_LONG, "timeout": 20.0}
_TOO_LONG = 15.0
_NOTHING = "the fault never happened: the trial proves nothing"
_WITH_JOB = {"accepted", "done", "saved"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is tried: a fault of one exchange, the first time or until it is healed.

    Attributes:
        place: The byte after which an answer is cut, None for a row of the table.
        patience: How many times as long as usual everything may take.
    """

    provider: str
    exchange: str
    fault: str
    always: bool = False
    cli: bool = False
    place: int | None = None
    patience: float = 1.0

    def __str__(self) -> str:
        at = "" if self.place is None else f"@{self.place}"
        how = ("once", "always")[self.always]
        return (
            f"{self.provider} {self.exchange} {self.fault}{at} {how} {('library', 'CLI')[self.cli]}"
        )

    def plan(self) -> Plan:
        """When the fault happens."""
        fault = ROWS[self.fault] if self.place is None else cut(self.place)
        return lambda exchange, nth: (
            fault if exchange == self.exchange and (self.always or nth == 0) else None
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Timeouts and budgets of the first attempt."""
        return {
            **(_SHORT if ROWS[self.fault].hangs else _LONG),
            **(_STAYS if self.always else _PASSES),
            **(_POLLED if self.exchange in {"poll", "result"} else {}),
            **(_FETCHED if self.exchange == "fetch" and self.always else {}),
        }

    @property
    def patient(self) -> dict[str, Any]:
        """The same with all the patience that there is; what is no time stays."""
        return {
            name: value if isinstance(value, bool) else value * self.patience
            for name, value in self.settings.items()
        }

    @property
    def with_reference(self) -> bool:
        """Whether a local picture is sent along."""
        return self.exchange == "upload"

    @property
    def by_name(self) -> bool:
        """Whether an accepted job is gone on with by `resume`, not by `recover`."""
        return not self.always

    @property
    def https(self) -> bool:
        """Whether the provider's address must be https."""
        return ROWS[self.fault].tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm(Case):
    """Every second try of any exchange meets some fault; `place` is the seed."""

    exchange: str = "any, at random"
    fault: str = "storm"
    always: bool = True

    def plan(self) -> Plan:
        rows = [row for row in STORM if row.tls == self.https or not row.tls]

        def drawn(exchange: str, nth: int) -> Fault | None:
            rng = random.Random(f"{self.provider} {self.place} {exchange} {nth}")
            return rng.choice(rows) if rng.random() < 0.5 else None

        return drawn

    @property
    def settings(self) -> dict[str, Any]:
        return {**_SHORT, **_STAYS}

    @property
    def with_reference(self) -> bool:
        return self.provider == "rivya" and bool(self.place and self.place % 2)

    @property
    def by_name(self) -> bool:
        return bool(self.place and self.place % 5 > 2)

    @property
    def https(self) -> bool:
        return bool(self.place and self.place % 3 == 0)


@dataclass(slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        end: `picture` at once; `recovered`, by recover or resume; `damaged`, and said so; `unknown`,
            and said so, until the person decides; `nothing` was charged, and said so.
        double, lost, wrong: Paid submits beyond the first, accepted jobs that are neither in hand
            nor flagged, and charges that are not the meter's.
        broken: Every rule that was broken, in words.
    """

    case: Case
    end: str = ""
    double: int = 0
    lost: int = 0
    wrong: int = 0
    broken: list[str] = field(default_factory=list)
    told: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Trial:
    """A case under way: the witnesses, and the judge."""

    case: Case
    face: Face
    proxy: Proxy
    emulator: Any
    home: Path
    outcome: Outcome

    def run(self) -> None:
        """The whole of it."""
        began = time.monotonic()
        told = self.face.generate(self.case.patient)
        self.outcome.told = f"exit {told.exit_code} {told.error}".strip()
        self.outcome.seconds = time.monotonic() - began
        self._once()
        if not self.proxy.met and not isinstance(self.case, Storm):
            self._broke(_NOTHING)
        if told.exit_code == 0:
            self._in_hand(told, "picture")
        elif told.exit_code == 9:
            self._may_have_cost(told)
        else:
            self._cost_nothing(told)
        if (self.case.always and self.case.place is None) or isinstance(self.case, Storm):
            self._go_on(self.case.patient, calm=False)
        self.proxy.heal()
        self._go_on(_CALM, calm=True)
        self._once()
        self._tidy()
        if self.accepted and self.outcome.end in {"", "nothing"}:
            self.outcome.lost = 1
            self._broke("an accepted job is lost")

    # The witnesses.

    @property
    def accepted(self) -> int:
        """Paid submits that the sandbox took."""
        return int(self.emulator.meter()["accepted"])

    @property
    def charged(self) -> Decimal:
        """What the sandbox would bill."""
        return Decimal(self.emulator.meter()["charged"])

    @property
    def row(self) -> dict[str, Any]:
        """The journal's one row, read by SQLite alone; empty where there is none."""
        path = self.home / "journal.db"
        if not path.exists():
            return {}
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM jobs")]
            wrong = astray(connection)
        if wrong:
            self.outcome.wrong = 1
            self._broke(f"the journal's money: {wrong}")
        if len(rows) > 1:
            self._broke(f"one picture has {len(rows)} rows in the journal")
        return rows[0] if rows else {}

    # The rules.

    def _broke(self, text: str) -> None:
        if text not in self.outcome.broken:
            self.outcome.broken.append(text)

    def _once(self) -> None:
        more = self.accepted - 1
        if more > 0:
            self.outcome.double = more
            self._broke(f"{more + 1} paid submits for one picture")

    def _tidy(self) -> None:
        if self.proxy.strayed:
            self._broke("the key went to another host")
        if self.outcome.seconds > _TOO_LONG * self.case.patience:
            self._broke(f"it took {self.outcome.seconds:.1f} s to give up")
        halves = [path.name for path in self.home.parent.rglob("*.part")]
        if halves:
            self._broke(f"half a file is left behind: {halves}")

    def _in_hand(self, told: Told, end: str) -> None:
        """The picture is there and opens, and meter, result and journal tell one price."""
        self.outcome.end = end
        if self.accepted != 1:
            self._broke(f"a picture, and {self.accepted} accepted submits")
        if not _opens(told.picture):
            # Kept and said, as docs/reliability.md has it; never taken for whole.
            self.outcome.end = "damaged"
            if not any("cut off" in note for note in told.notes):
                self._broke("the picture does not open, and nobody said so")
        row = self.row
        if row.get("phase") != "saved":
            self._broke(f"a picture in hand, and the journal says {row.get('phase')}")
        nano = row.get("charge_nano")
        kept = None if nano is None else Decimal(nano) / 10**9
        unbilled = self.case.provider in UNBILLED
        right, word = (None, "maybe") if unbilled else (self.charged, "yes")
        if not right == told.amount == kept or row.get("charged") != word:
            self.outcome.wrong = 1
            self._broke(f"charged {self.charged}, told {told.amount}, journal {kept}")

    def _cost_nothing(self, told: Told) -> None:
        """An exit code that promises that no money is gone."""
        self.outcome.end = "nothing"
        if self.charged:
            self.outcome.wrong = 1
            self._broke(f"exit {told.exit_code} ({told.error}), and {self.charged} were charged")
        if {told.charged, self.row.get("charged", "no")} != {"no"}:
            self._broke(f"exit {told.exit_code}, and charged is {told.charged!r}")
        if self.row.get("phase") in {"sending", "unknown", *_WITH_JOB}:
            self._broke(f"exit {told.exit_code}, and the journal says {self.row['phase']}")

    def _may_have_cost(self, told: Told) -> None:
        """Exit 9 leaves somebody with a name and a next step, and a row that is not closed."""
        row = self.row
        if row.get("phase") not in {"unknown", *_WITH_JOB}:
            self._broke(f"exit 9, and the journal says {row.get('phase')}")
        if told.charged not in {"maybe", "yes"}:
            self._broke(f"exit 9, and charged is {told.charged!r}: {told.error}")
        names = [name for name in (row.get("id"), row.get("job")) if name]
        if not any(name in told.next_step for name in names):
            self._broke(f"exit 9 without a next step that names the job: {told.next_step!r}")

    # What somebody does next.

    def _go_on(self, settings: Mapping[str, Any], *, calm: bool) -> None:
        """Recover, or resume; while the fault is there too that costs nothing and loses nothing."""
        paid, submits, row = self.accepted, self.proxy.seen["submit"], self.row
        phase = row.get("phase")
        on_its_way = phase in {"accepted", "done"}
        if on_its_way and self.case.by_name:
            found = [self.face.resume(settings, row["id"])]
        else:
            found = self.face.recover(settings)
        if (self.accepted, self.proxy.seen["submit"]) != (paid, submits):
            self._broke("recovering submitted again")
        if on_its_way:
            self._bring(found, calm=calm)
            return
        # The command tells of what is unknown until it is resolved.
        if any(phase != "unknown" or one.exit_code != 9 for one in found):
            self._broke(f"there was nothing to recover, and it did: {found[0].error}")
        if phase == "unknown":
            self._decide(settings, row["id"], calm=calm)

    def _bring(self, found: list[Told], *, calm: bool) -> None:
        """An accepted job brings its picture as soon as it can be fetched."""
        if len(found) == 1 and found[0].exit_code == 0:
            self._in_hand(found[0], "recovered")
        elif calm or len(found) != 1:
            said = [f"exit {one.exit_code} {one.error}" for one in found]
            self._broke(f"an accepted job was not recovered: {said}")
        else:
            self._may_have_cost(found[0])

    def _decide(self, settings: Mapping[str, Any], id: str, *, calm: bool) -> None:
        """What nobody can know stays flagged until the person says a word; a key makes that safe."""
        self.outcome.end = "unknown"
        submits = self.proxy.seen["submit"]
        told = self.face.resume(settings, id)
        if told.exit_code != 9 or self.row.get("phase") != "unknown":
            self._broke(f"an unknown outcome became exit {told.exit_code}, {self.row.get('phase')}")
        if self.proxy.seen["submit"] != submits:
            self._broke("an unknown submit was sent again without a word")
        if self.case.provider not in WITH_KEY:
            return
        told = self.face.resume(settings, id, resubmit=True)
        self._once()
        if told.exit_code == 0:
            self._in_hand(told, "unknown")
        elif calm:
            self.outcome.lost = self.accepted
            self._broke(f"--resubmit: exit {told.exit_code} {told.error}")
        elif told.exit_code == 9:
            self._may_have_cost(told)
        else:
            self._broke(f"--resubmit of what may be paid: exit {told.exit_code} {told.error}")


def _opens(picture: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            opened.load()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _trial(case: Case, folder: Path, certificates: Certificates) -> Iterator[Trial]:
    key = new_key()
    emulator = registry.emulator_class(case.provider)(key=key)
    (folder / "work").mkdir(parents=True)
    reference = folder / "den.png" if case.with_reference else None
    if reference:
        Image.new("RGB", (64, 48), "teal").save(reference)
    home = folder / "home"
    with (
        SandboxServer({case.provider: emulator}, key=key) as server,
        Proxy(
            int(server.url.rpartition(":")[2]),
            case.plan(),
            first="upload" if reference else "submit",
            begun=home.exists,
            certificates=certificates if case.https else None,
        ) as proxy,
    ):
        place = Place(
            provider=case.provider,
            folder=folder,
            url=f"{proxy.url}/{case.provider}",
            key=key,
            reference=reference,
            bundle=certificates.bundle,
        )
        face = CommandLine(place) if case.cli else Library(place)
        yield Trial(case, face, proxy, emulator, home, Outcome(case))


def try_out(case: Case, folder: Path, certificates: Certificates) -> Outcome:
    """Run a case in an empty folder of its own; REQUESTS_CA_BUNDLE must name the certificates.

    Where a busy machine took all the time before the fault could happen, it is given more.
    """
    for patience in (1.0, 4.0, 16.0):
        patient = replace(case, patience=patience)
        outcome = _tried(patient, folder / f"{patience:g}", certificates)
        if _NOTHING not in outcome.broken:
            break
    return outcome


def _tried(case: Case, folder: Path, certificates: Certificates) -> Outcome:
    try:
        with _trial(case, folder, certificates) as trial:
            trial.run()
            return trial.outcome
    except Exception:
        last = traceback.format_exc(limit=-4)
        return replace(Outcome(case), end="crash", broken=[f"the trial itself failed: {last}"])


def measure(provider: str, folder: Path, certificates: Certificates) -> dict[str, tuple[int, int]]:
    """How long the head and the whole of each answer are when nothing goes wrong."""
    case = Case(provider=provider, exchange=EXCHANGES[provider][0], fault="html")
    with _trial(case, folder, certificates) as trial:
        trial.proxy.heal()
        trial.face.generate(_CALM)
        return dict(trial.proxy.sizes)
