"""A real PostgreSQL for tests: Debian's programs, a folder of its own, this machine's loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

USER = "flux"


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
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            for above in (folder, *folder.parents):
                if above.stat().st_uid == 0 and above != Path("/") and "pytest-" in str(above):
                    above.chmod(above.stat().st_mode | 0o055)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", USER, "-N")

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
        return f"postgresql://{USER}:secret-word@127.0.0.1:{self.port}/{name}"

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
                stdout=said,
                stderr=said,
                check=False,
                timeout=60,
                **self._as,
            )
        assert done.returncode == 0, (self._folder / "said").read_text()
