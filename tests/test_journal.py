"""The journal's file: what is on disk when, for whom, in which shape; over real SQLite files."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from unified_flux import Client, ImageRequest, JournalError, Money
from unified_flux.config import Config
from unified_flux.effects import Accepted, Intent, Settled
from unified_flux.errors import Charged, InvalidRequest, OutcomeUnknown
from unified_flux.journal import Journal, sqlite, tables
from unified_flux.journal.owner import FileOwner as Owner
from unified_flux.sandbox.server import SandboxServer
from unified_flux.wire import Phase

from facts import IN_A_FILE, JOB, PICTURE, PROMPT, accepted, done, intent, record, saved  # isort: skip
from hostile import hostile, say  # isort: skip


@pytest.fixture
def journal(place: Path | str) -> Iterator[Journal]:
    """A journal of either kind: what it promises does not hang on where it is."""
    with contextlib.closing(Journal(place)) as one:
        yield one


def rows(journal: Journal, query: str) -> list[Any]:
    """What another program reads in the file."""
    with contextlib.closing(sqlite3.connect(journal.path)) as other:
        return list(other.execute(query))


def test_a_job_passes_its_phases_and_each_is_an_event(journal: Journal) -> None:
    """From prepared to saved: the row stands at the last, the events tell all, in order."""
    journal.prepare([record()])
    for fact in (intent(), accepted(), done(), saved()):
        journal.keep(fact)
    found = journal.get("job1")
    assert found.phase is Phase.SAVED
    told = [event["phase"] for event in journal.events("job1")]
    assert told == ["prepared", "sending", "accepted", "done", "saved"]
    assert found.job_id == "task_1"
    assert found.outputs[0].sha256 == PICTURE.sha256
    assert found.report.to_json() == record().report.to_json()
    assert found.request == record().request


@IN_A_FILE
def test_every_fact_that_costs_money_is_there_for_another_process(journal: Journal) -> None:
    """What `keep` has returned from, any other reader sees: sending, accepted, saved."""
    journal.prepare([record()])
    seen = []
    for fact in (intent(), accepted(), done(), saved()):
        journal.keep(fact)
        seen.append(rows(journal, "SELECT phase FROM jobs")[0][0])
    assert seen == ["sending", "accepted", "accepted", "saved"]


@IN_A_FILE
def test_a_job_with_something_to_do_first_is_prepared_on_disk(journal: Journal) -> None:
    """While references are uploaded another process sees that the job is under way."""
    journal.prepare([record()], at_once=True)
    assert rows(journal, "SELECT phase FROM jobs") == [("prepared",)]
    journal.keep(intent())
    assert journal.get("job1").submit is not None


def test_the_exact_submit_is_kept_where_it_may_be_sent_again(journal: Journal) -> None:
    """To the byte, with its headers; a provider without idempotency keys has none."""
    journal.prepare([record(), record("job2")])
    journal.keep(intent())
    journal.keep(intent("job2", repeatable=False))
    submit = journal.get("job1").submit
    assert submit is not None
    assert submit.body == f'{{"prompt":"{PROMPT}"}}'.encode()
    assert submit.headers["Idempotency-Key"] == "key-1"
    assert journal.get("job2").submit is None


@IN_A_FILE
def test_money_is_whole_numbers(journal: Journal) -> None:
    """An amount is 1e-9 of its unit, to the nearest; what is none stays with the raw fields alone."""
    journal.prepare([record()])
    journal.keep(intent())
    journal.keep(accepted())
    assert rows(journal, "SELECT charge_nano, charge_unit, charge_basis FROM jobs") == [
        (4_000_000_000, "credits:rivya", "billed")
    ]
    assert journal.get("job1").charge.money == Money(Decimal(4), "credits:rivya")
    assert tables.nano(Money(Decimal("0.30000000000000004"), "USD")) == 300_000_000
    assert tables.nano(Money(Decimal("0.0000000001"), "USD")) is None
    assert tables.nano(Money(Decimal("1e20"), "USD")) is None
    assert tables.nano(None) is None


@IN_A_FILE
def test_the_file_is_for_one_user_alone(journal: Journal) -> None:
    """Neither the file nor its companions can be read by others."""
    journal.prepare([record()])
    journal.keep(intent())
    files = [path for path in journal.path.parent.iterdir() if path.is_file()]
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


@IN_A_FILE
def test_any_sqlite_tool_opens_it(journal: Journal) -> None:
    """Strict tables, in a write-ahead log, synced in full."""
    journal.prepare([record()])
    journal.keep(intent())
    assert rows(journal, "PRAGMA journal_mode") == [("wal",)]
    assert rows(journal, "PRAGMA integrity_check") == [("ok",)]
    strict = rows(journal, "SELECT name, strict FROM pragma_table_list WHERE name = 'jobs'")
    assert strict == [("jobs", 1)]


@IN_A_FILE
@pytest.mark.parametrize("change", ["UPDATE events SET note = 'x'", "DELETE FROM events"])
def test_events_are_append_only(journal: Journal, change: str) -> None:
    """What happened is neither changed nor removed while its job is there."""
    journal.prepare([record()])
    journal.keep(intent())
    with (
        contextlib.closing(sqlite3.connect(journal.path)) as other,
        pytest.raises(sqlite3.IntegrityError),
    ):
        other.execute(change)


@pytest.mark.parametrize("end", ["accepted", "refused"])
def test_a_prompt_that_is_not_stored_is_nowhere(tmp_path: Path, end: str) -> None:
    """Only its SHA-256 and length are kept; the submit's bytes go once it is decided."""
    folder = tmp_path / "home"
    words = {"client_request_id": "r1", "destination": f"{tmp_path}/{{prompt}}.png"}
    with contextlib.closing(Journal(folder, store_prompts=False)) as journal:
        journal.prepare([record(**words)])
        journal.keep(intent())
        assert journal.get("job1").submit is not None
        if end == "accepted":
            journal.keep(accepted())
            journal.keep(done())
            journal.keep(saved())
            journal.delivered("job1", 0, tmp_path / "a-fox-in-a-very.png")
        else:
            error = InvalidRequest(f"no: {PROMPT}")
            journal.keep(Settled(Phase.REFUSED, id="job1", error=error))
        found = journal.get("job1")
        assert found.submit is None
        assert found.request["prompt"]["length"] == len(PROMPT)
        assert len(found.names()["prompt"]) == 12
    text = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert b"particular forest" not in text
    assert b"a-fox-in-a-very" not in text


def test_many_threads_and_two_journals_write_one_file(tmp_path: Path) -> None:
    """Nothing is lost, nothing is locked, and facts that are ready together share commits."""
    with (
        contextlib.closing(Journal(tmp_path)) as one,
        contextlib.closing(Journal(tmp_path)) as other,
    ):
        faults: list[Exception] = []

        def make(journal: Journal, name: str) -> None:
            try:
                for number in range(10):
                    id = f"{name}-{number}"
                    journal.prepare([record(id)])
                    for fact in (intent(id), accepted(id), done(id), saved(id)):
                        journal.keep(fact)
            except Exception as error:
                faults.append(error)

        threads = [
            threading.Thread(target=make, args=(journal, f"{name}{number}"))
            for name, journal in (("a", one), ("b", other))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert rows(one, "SELECT phase, count(*) FROM jobs GROUP BY 1") == [("saved", 80)]
        assert rows(one, "SELECT count(*) FROM events") == [(400,)]


def test_one_bad_change_costs_no_other_in_its_transaction(journal: Journal) -> None:
    """Of facts that are committed together, only the impossible one fails."""
    journal.prepare([record()], at_once=True)
    database = journal._database
    database.later(lambda connection: connection.execute("UPDATE nowhere SET a = 1"))
    journal.keep(intent())
    assert journal.get("job1").phase is Phase.SENDING


def test_a_locked_journal_is_told_and_nothing_is_sent(
    served: SandboxServer, tmp_path: Path
) -> None:
    """Another program's lock is waited for, then named; the meter stays at nothing."""
    home = tmp_path / "home"
    config = Config(("rivya",)).overridden({"home": str(home), "journal.wait": 0.05})
    key, base = served.key, served.providers["rivya"]
    with Client("rivya", api_key=key, base_url=base, config=config) as client:
        client.generate(ImageRequest(prompt="a fox sandbox:ready"))
        with contextlib.closing(
            sqlite3.connect(home / "journal.db", isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="another program has it locked"):
                client.generate(ImageRequest(prompt="a fox sandbox:ready"))
    assert served.emulators["rivya"].meter()["accepted"] == 1


@IN_A_FILE
def test_a_newer_journal_is_refused_and_left_as_it_is(journal: Journal) -> None:
    """An older program does not touch what it does not understand."""
    journal.prepare([record()], at_once=True)
    journal.close()
    with contextlib.closing(sqlite3.connect(journal.path)) as other:
        other.execute("PRAGMA user_version = 99")
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match="newer unified-flux") as caught:
        journal.get("job1")
    assert "Update unified-flux" in str(caught.value)
    assert journal.path.read_bytes() == before


@IN_A_FILE
def test_an_older_journal_is_led_forwards_with_a_copy_of_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new tables hold the old jobs; the file as it was lies beside it."""
    journal.prepare([record()], at_once=True)
    journal.close()
    added = ("ALTER TABLE jobs ADD COLUMN tag TEXT",)
    newer = sqlite.SQLite(journal.path, (*tables.MIGRATIONS, added), 1.0)
    assert newer.read("SELECT id, tag FROM jobs")[0]["tag"] is None
    newer.close()
    (copy,) = journal.path.parent.glob("journal-version-4-*.db")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(copy)) as old:
        assert old.execute("SELECT id FROM jobs").fetchall() == [("job1",)]
        assert old.execute("PRAGMA user_version").fetchone() == (4,)


@IN_A_FILE
def test_a_migration_that_fails_changes_nothing(journal: Journal) -> None:
    """All steps or none."""
    journal.prepare([record()], at_once=True)
    journal.close()
    bad = ("ALTER TABLE jobs ADD COLUMN tag TEXT", "NONSENSE")
    newer = sqlite.SQLite(journal.path, (*tables.MIGRATIONS, bad), 1.0)
    with pytest.raises(JournalError):
        newer.read("SELECT 1")
    newer.close()
    assert rows(journal, "PRAGMA user_version") == [(4,)]
    assert journal.get("job1").phase is Phase.PREPARED


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a database at all, but long enough" * 40, "no SQLite file"),
        ("other", "something else"),
    ],
)
def test_a_file_that_is_no_journal_is_not_touched(
    tmp_path: Path, content: bytes | str, says: str
) -> None:
    """Garbage, or another program's database: an error that names the file, and it stays."""
    journal = Journal(tmp_path)
    if isinstance(content, bytes):
        journal.path.write_bytes(content)
    else:
        with contextlib.closing(sqlite3.connect(journal.path)) as other:
            other.execute("CREATE TABLE theirs (a)")
    before = journal.path.read_bytes()
    with contextlib.closing(journal), pytest.raises(JournalError, match=says):
        journal.prepare([record()], at_once=True)
    assert journal.path.read_bytes() == before


def test_a_job_belongs_to_a_living_process(tmp_path: Path) -> None:
    """Nobody else takes it over until its owner is dead; then anyone does, once."""
    with (
        contextlib.closing(Journal(tmp_path)) as other,
        contextlib.closing(Journal(tmp_path)) as third,
    ):
        one = Journal(tmp_path)
        one.prepare([record()])
        one.keep(intent())
        assert other.works_on(other.get("job1"))
        assert not other.claim("job1")
        one.close()
        assert other.claim("job1")
        assert not third.claim("job1")
        other.release(["job1"])
        assert third.claim("job1")


def test_a_process_that_was_killed_owns_nothing(tmp_path: Path) -> None:
    """Its lock dies with it, without any word of its own."""
    script = (
        "import sys, time; from pathlib import Path; from unified_flux.journal.owner import FileOwner as Owner;"
        "owner = Owner(Path(sys.argv[1])); print(owner.token, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    mine = Owner(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        alive = mine.lives(token)
        process.kill()
    assert alive
    assert not mine.lives(token)
    mine.close()


def test_what_was_never_sent_is_cancelled_when_it_is_let_go(journal: Journal) -> None:
    """A job that stopped before its submit is closed, and says that nothing was sent."""
    journal.prepare([record(), record("job2")], at_once=True)
    journal.prepare([record("draft")])
    journal.keep(intent("job2"))
    journal.release(["job1", "job2", "draft"])
    assert journal.find("draft") is None
    assert journal.get("job1").phase is Phase.CANCELLED
    assert journal.get("job2").phase is Phase.SENDING
    assert journal.get("job2").owner is None


def test_an_unknown_outcome_is_left_by_an_answer_or_a_person_only(journal: Journal) -> None:
    """A further try alone leaves it unknown; the person's word closes it."""
    journal.prepare([record()])
    journal.keep(intent())
    error = OutcomeUnknown("reset", charged=Charged.MAYBE)
    journal.keep(Settled(Phase.UNKNOWN, id="job1", error=error))
    assert journal.claim("job1")
    journal.keep(intent())
    assert journal.get("job1").phase is Phase.UNKNOWN
    journal.release(["job1"])
    assert journal.resolve("job1", charged=False).phase is Phase.REFUSED
    assert journal.get("job1").charged is Charged.NO


def test_jobs_are_found_by_either_name(journal: Journal) -> None:
    """Ours, its beginning, the provider's; two with one beginning are told apart."""
    journal.prepare([record("abc1"), record("abd2")])
    journal.keep(intent("abc1"))
    journal.keep(accepted("abc1"))
    journal.keep(intent("abd2"))
    names = ["abc1", "abc", "rivya/flux-kontext-pro/task_1"]
    assert [found.id for name in names if (found := journal.find(name))] == ["abc1"] * 3
    assert journal.find("zz") is None
    assert journal.find("") is None
    with pytest.raises(InvalidRequest, match="several jobs"):
        journal.find("ab")


def test_old_jobs_are_forgotten_and_open_ones_stay(tmp_path: Path) -> None:
    """Purging takes what ended before a day, with its events; open and unknown jobs never."""
    now = [1_000.0]
    with contextlib.closing(Journal(tmp_path, clock=lambda: now[0])) as journal:
        journal.prepare([record("saved"), record("open"), record("unknown")])
        for fact in (intent("saved"), accepted("saved"), done("saved"), saved("saved")):
            journal.keep(fact)
        journal.keep(intent("open"))
        journal.keep(intent("unknown"))
        journal.keep(Settled(Phase.UNKNOWN, id="unknown", error=OutcomeUnknown("x")))
        now[0] = 2_000.0
        journal.prepare([record("young")])
        journal.keep(intent("young"))
        journal.keep(Settled(Phase.REFUSED, id="young", error=InvalidRequest("x")))
        assert journal.purge(1_500_000) == 1
        assert {found.id for found in journal.jobs({})} == {"open", "unknown", "young"}
        assert rows(journal, "SELECT count(*) FROM events WHERE number = 1") == [(0,)]


def test_sending_is_on_disk_before_the_first_byte_and_accepted_before_the_first_poll(
    tmp_path: Path,
) -> None:
    """A server that reads the journal while it is spoken to finds what the design promises."""
    home = tmp_path / "home"
    seen: list[str] = []

    def look() -> None:
        with contextlib.closing(sqlite3.connect(home / "journal.db")) as other:
            seen.append(other.execute("SELECT phase FROM jobs").fetchone()[0])

    def script(data: bytes) -> Callable[[Any], None]:
        def answer(connection: Any) -> None:
            look()
            say(data)(connection)

        return answer

    def reply(body: bytes, status: str = "200 OK") -> bytes:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    running = reply(b'{"id": "task_1", "status": "queued"}')
    failed = reply(b'{"id": "task_1", "status": "failed", "final_credits": 0}')
    with hostile(script(running), script(failed)) as server:
        config = Config(("rivya",)).overridden({"home": str(home), "timeout": 20})
        with (
            Client("rivya", api_key="k", base_url=server.url, config=config) as client,
            pytest.raises(Exception, match="could not make"),
        ):
            client.generate(ImageRequest(prompt="a fox"))
    assert seen == ["sending", "accepted"]


def test_many_may_look_at_a_dead_owner_at_once(tmp_path: Path) -> None:
    """Looking takes nothing: no look of one makes the dead seem alive to another."""
    script = (
        "import os, sys; from pathlib import Path; from unified_flux.journal.owner import FileOwner as Owner;"
        "owner = Owner(Path(sys.argv[1])); print(owner.token, flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    dead = done.stdout.strip()
    assert (tmp_path / dead).exists()
    with contextlib.closing(Owner(tmp_path)) as mine, ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(mine.lives, [dead] * 200))


def test_marks_of_the_long_dead_are_swept_away(tmp_path: Path) -> None:
    """A day after, the next process removes what a killed one left; the living stay."""
    folder = tmp_path / "owners"
    with contextlib.closing(Owner(folder)) as living:
        (folder / "dead").touch()
        for path in folder.iterdir():
            os.utime(path, (0, 0))
        Owner(folder).close()
        assert {path.name for path in folder.iterdir()} == {living.token}


def test_two_journals_in_one_process_keep_their_locks(tmp_path: Path) -> None:
    """Another process that looks in and goes takes no file away from under them."""
    look = (
        "import sys; from pathlib import Path; from unified_flux.journal import Journal;"
        "one = Journal(Path(sys.argv[1])); print(len(one.jobs({}))); one.close()"
    )
    with (
        contextlib.closing(Journal(tmp_path)) as one,
        contextlib.closing(Journal(tmp_path)) as other,
    ):
        one.prepare([record("one")])
        one.keep(intent("one"))
        other.prepare([record("other")])
        other.keep(intent("other"))
        for facts in ((accepted("one"), done("one")), (accepted("other"), done("other"))):
            command = [sys.executable, "-c", look, str(tmp_path)]
            seen = subprocess.run(command, capture_output=True, text=True, check=True)
            assert seen.stdout == "2\n"
            for fact in facts:
                one.keep(fact)
        assert sorted(rows(one, "SELECT id, phase FROM jobs")) == [
            ("one", "accepted"),
            ("other", "accepted"),
        ]


@pytest.mark.parametrize("phase", [Phase.CANCELLED, Phase.REFUSED, Phase.SAVED])
def test_what_has_ended_is_not_sent(journal: Journal, phase: Phase) -> None:
    """An intent to pay for a job that is over, or another's, is refused before a byte leaves."""
    journal.prepare([record()], at_once=True)
    if phase is Phase.SAVED:
        for fact in (intent(), accepted(), done(), saved()):
            journal.keep(fact)
    else:
        journal.keep(Settled(phase, id="job1", error=InvalidRequest("x")))
    with pytest.raises(JournalError, match="not this process's to send"):
        journal.keep(intent())
    assert journal.get("job1").phase is phase


def test_a_late_release_takes_nothing_from_the_next_owner(tmp_path: Path) -> None:
    """Who closed its journal has let go already; what another has taken since is the other's."""
    with (
        contextlib.closing(Journal(tmp_path)) as one,
        contextlib.closing(Journal(tmp_path)) as other,
        contextlib.closing(Journal(tmp_path)) as third,
    ):
        one.prepare([record()])
        one.keep(intent())
        one.close()
        assert other.claim("job1")
        one.release(["job1"])
        assert not third.claim("job1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_begins_anew(tmp_path: Path) -> None:
    """It opens the file for itself, under a mark of its own, and leaves its parent's jobs alone."""
    script = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from facts import accepted, intent, record
from unified_flux.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.prepare([record("parent")])
journal.keep(intent("parent"))
child = os.fork()
if child == 0:
    taken = journal.claim("parent")
    journal.prepare([record("child")])
    journal.keep(intent("child"))
    journal.close()
    os._exit(int(taken))
_, status = os.waitpid(child, 0)
assert status == 0, "the child took its parent's job"
journal.keep(accepted("parent"))
other = Journal(Path(sys.argv[1]))
assert not other.claim("parent"), "the child let go of its parent's mark"
assert other.claim("child")
journal.close()
other.close()
print("good")
"""
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stdout == "good\n", finished.stderr


def test_half_a_letter_of_a_stranger_is_kept_as_its_escape(journal: Journal) -> None:
    """A broken text in an answer costs neither the fact nor the job."""
    journal.prepare([record()])
    journal.keep(intent())
    journal.keep(Accepted(Phase.ACCEPTED, replace(JOB, notes=("half \ud83d",)), id="job1"))
    urls = ("https://pictures.example/\ud83d.png",)
    journal.keep(Settled(Phase.DONE, JOB, id="job1", urls=urls))
    journal.keep(saved())
    assert journal.get("job1").outputs[0].url == "https://pictures.example/\\ud83d.png"


def test_a_picture_that_is_saved_after_closing_is_noted_at_once(
    journal: Journal, place: Path | str
) -> None:
    """Nothing waits for a next transaction that never comes."""
    journal.prepare([record(destination="/somewhere/fox.png")])
    for fact in (intent(), accepted(), done(), saved()):
        journal.keep(fact)
    journal.close()
    journal.delivered("job1", 0, Path("/somewhere/fox.png"))
    with contextlib.closing(Journal(place)) as other:
        assert other.get("job1").delivered_at


def test_a_picture_that_is_saved_while_the_connection_is_lost_lets_go_of_no_job(
    journal: Journal, place: Path | str
) -> None:
    """What else this process works on stays its own."""
    journal.prepare([record(destination="/somewhere/fox.png"), record("job2")])
    for fact in (intent(), accepted(), done(), saved(), intent("job2")):
        journal.keep(fact)
    journal._database._shut()
    journal.delivered("job1", 0, Path("/somewhere/fox.png"))
    with contextlib.closing(Journal(place)) as other:
        assert not other.claim("job2")
        assert other.get("job1").delivered_at


def test_a_locked_file_is_waited_for_once_by_all(tmp_path: Path) -> None:
    """Several facts that wait for one lock fail together, not one after the other."""
    with contextlib.closing(Journal(tmp_path, wait=0.2)) as journal:
        journal.prepare([record(f"job{number}") for number in range(8)], at_once=True)
        with contextlib.closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(8) as pool:
                started = time.monotonic()
                facts = [intent(f"job{number}") for number in range(8)]
                faults = list(pool.map(_fault_of(journal), facts))
            waited = time.monotonic() - started
    assert all("locked" in fault for fault in faults)
    assert waited < 8 * 0.2


def _fault_of(journal: Journal) -> Callable[[Intent], str]:
    def keep(fact: Intent) -> str:
        try:
            journal.keep(fact)
        except JournalError as error:
            return str(error)
        return "kept"

    return keep


def test_many_may_open_a_new_journal_at_once(tmp_path: Path) -> None:
    """Whoever comes first makes the tables; nobody takes them for another program's."""
    for number in range(12):
        folder = tmp_path / str(number)
        journals = [Journal(folder) for _ in range(6)]

        def begin(named: tuple[int, Journal]) -> None:
            named[1].prepare([record(f"job{named[0]}")], at_once=True)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(begin, enumerate(journals)))
        assert len(journals[0].jobs({})) == 6
        for journal in journals:
            journal.close()


def test_durations_are_those_of_a_models_latest_pictures(journal: Journal) -> None:
    """In seconds from accepted to done, the newest first; fetching does not count."""
    now = [1000.0]
    journal._clock = lambda: now[0]
    for number, seconds in enumerate((4.0, 7.5)):
        id = f"job{number}"
        journal.prepare([record(id)])
        journal.keep(intent(id))
        journal.keep(accepted(id))
        now[0] += seconds
        journal.keep(done(id))
        now[0] += 100
        journal.keep(saved(id))
    assert journal.durations("rivya", record().model, sandbox=False) == [7.5, 4.0]
    assert journal.durations("rivya", record().model, sandbox=False, latest=1) == [7.5]
    assert journal.durations("rivya", record().model, sandbox=True) == []
