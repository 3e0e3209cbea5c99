"""A real PostgreSQL for tests: Debian's programs, a folder of its own, this machine's loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

USER, PASSWORD = "flux", "secret-word"
_TABLES = (
    "SELECT tablename FROM pg_tables"
    " WHERE schemaname = 'unified_flux' AND tablename <> 'journal_version'"
)


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """One server; a context manager.

    It refuses to run as root, so where we are, it runs as the user that Debian's package made.
    """

    def __init__(self, folder: Path, bin: Path) -> None:
        self._folder, self._bin = folder, bin
        self.port = _free_port()
        self._shared: str | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            for above in (folder, *folder.parents):
                if above.stat().st_uid == 0 and above != Path("/") and "pytest-" in str(above):
                    above.chmod(above.stat().st_mode | 0o055)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        asked = ("-A", "scram-sha-256", f"--pwfile={secret}", "-U", USER, "-N")
        self._run("initdb", "-D", str(folder / "data"), *asked)

    def start(self) -> None:
        """Listen; this returns when it does."""
        settings = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            " -c fsync=off -c max_connections=100"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-o", settings, "start")

    def stop(self) -> None:
        """Hang up on everyone and end."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "fast", "stop")

    def database(self, name: str) -> str:
        """A new database: its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def emptied(self) -> str:
        """A database for many tests, one after the other, with nothing in the journal's tables."""
        if self._shared is None:
            self._shared = self.database("shared")
        with contextlib.closing(Looking(self._shared)) as own:
            names = [name for (name,) in own.execute(_TABLES)]
            if names:
                own.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
        return self._shared

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *words: str) -> None:
        # Not through pipes: the server would hold them open.
        with (self._folder / "said").open("w") as said:
            done = subprocess.run(
                [str(self._bin / program), *words],
                cwd="/",
                env={**os.environ, "PGPASSWORD": PASSWORD},
                stdout=said,
                stderr=said,
                check=False,
                timeout=60,
                **self._as,
            )
        assert done.returncode == 0, (self._folder / "said").read_text()


class Looking:
    """A connection of another program: the journal's own statements, and rows as tuples."""

    def __init__(self, address: str) -> None:
        import psycopg

        options = "-c search_path=unified_flux"
        self._own = psycopg.connect(address, autocommit=True, options=options)

    def execute(self, query: str, values: Any = ()) -> Any:
        """A cursor, as sqlite3's."""
        from unified_flux.journal.postgres import said

        return self._own.execute(said(query), values)

    def executemany(self, query: str, values: Iterable[Any]) -> None:
        """The same statement for many rows."""
        from unified_flux.journal.postgres import said

        self._own.cursor().executemany(said(query), values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Each statement is committed by itself."""

    def close(self) -> None:
        """Hang up."""
        self._own.close()


def looking(place: Path | str) -> Any:
    """What another program opens to look into a journal, in the folder or at the address."""
    return Looking(place) if isinstance(place, str) else sqlite3.connect(place / "journal.db")
