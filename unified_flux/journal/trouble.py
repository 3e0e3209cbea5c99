"""PostgreSQL's faults in our words: what is wrong, whether it passes, what to do. Never its password."""

from __future__ import annotations

import re
from urllib.parse import unquote

import psycopg

from unified_flux.errors import JournalError
from unified_flux.journal.database import OFF
from unified_flux.secret import shown_address
from unified_flux.text import safe

# What is over when it is tried again, by the first letters of PostgreSQL's code: lost connections,
# two in each other's way, too many at once, a server that stops, starts or ran out of time.
_PASSING = ("08", "40", "53300", "55P03", "57P", "57014", "25P03", "25P02")
# What it says in words alone, before there is a connection → what is wrong, and what to do.
_SAID = (
    (
        r'invalid integer value "|invalid port number|invalid \w+ value: "',
        "its address has a port or an option that PostgreSQL does not take",
        "Write postgresql://USER:PASSWORD@HOST:5432/DATABASE.",
    ),
    (
        r"password authentication failed|no password supplied|authentication failed",
        "the user or the password is not the one that it wants",
        "Set UNIFIED_FLUX_QUEUE to postgresql://USER:PASSWORD@HOST/DATABASE.",
    ),
    (
        r"role .* does not exist",
        "it has no such user",
        "Set UNIFIED_FLUX_QUEUE to postgresql://USER:PASSWORD@HOST/DATABASE.",
    ),
    (
        r"database .* does not exist",
        "it has no such database",
        "createdb makes one; its name stands at the end of UNIFIED_FLUX_QUEUE.",
    ),
    (
        r"no pg_hba.conf entry",
        "it lets nobody in from here under that name",
        "Whoever runs it allows this machine in pg_hba.conf.",
    ),
    (
        r"does not support SSL|certificate verify failed|root certificate",
        "no trustworthy encrypted connection can be made",
        "See sslmode and sslrootcert in PostgreSQL's documentation.",
    ),
)
_PERMANENT = re.compile("|".join(words for words, _, _ in _SAID))
_AWAY = (
    "Start it, or set UNIFIED_FLUX_QUEUE to where it is; what was paid is in it and goes on then."
)


def is_passing(error: psycopg.Error) -> bool:
    """Whether it may be well when it is tried again."""
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_PASSING)
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return lost and not _PERMANENT.search(str(error))


class Trouble:
    """What to say of one database."""

    def __init__(self, address: str, name: str = "the journal") -> None:
        self._place = f"{name} {shown_address(address)}"
        password = re.search(r"://[^:@/]*:(.*)@", address) or re.search("password=([^&]*)", address)
        secret = password[1] if password else ""
        self._secrets = {secret, unquote(secret)} - {""}

    def told(self, error: Exception) -> JournalError:
        """A fault as one sentence and a next step."""
        text = str(error)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        for words, what, step in _SAID:
            if re.search(words, text):
                return JournalError(f"{self._place}: {what}", next_step=step)
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        if isinstance(error, psycopg.Error) and is_passing(error):
            if state in {"55P03", "40P01", "40001"}:
                return JournalError(
                    f"{self._place}: other processes write it all the time",
                    next_step="Try again; fewer workers would do it.",
                )
            return JournalError(
                f"{self._place} cannot be reached: {safe(text, 160)}", next_step=_AWAY
            )
        if state == "42501":
            return JournalError(
                f"{self._place}: its user may not do that: {safe(text, 160)}",
                next_step="GRANT CREATE ON DATABASE lets it make the schema unified_flux.",
            )
        return JournalError(
            f"{self._place}: {safe(text, 160)}",
            next_step=f"Set another UNIFIED_FLUX_QUEUE, {OFF}",
        )

    def bad_address(self) -> JournalError:
        """It is no address of a database."""
        return JournalError(
            f"{self._place} has no address that PostgreSQL takes",
            next_step="Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %40 for an @ and"
            " %2F for a / in the password.",
        )

    def too_old(self, version: int, oldest: int) -> JournalError:
        """It lacks what the tables need."""
        return JournalError(
            f"{self._place} is PostgreSQL {version}, and {oldest} is needed",
            next_step="Update it, or take another one.",
        )

    def no_unicode(self) -> JournalError:
        """It cannot hold every prompt."""
        return JournalError(
            f"{self._place} is a database without Unicode; it was not touched",
            next_step="createdb --encoding=UTF8 --template=template0 makes one that has it.",
        )

    def foreign(self, schema: str) -> JournalError:
        """Somebody else's tables."""
        return JournalError(
            f"{self._place} has a schema {schema} of something else; it was not touched",
            next_step="Take another database for the journal.",
        )

    def newer(self, version: int, known: int) -> JournalError:
        """Tables that this program does not understand."""
        return JournalError(
            f"{self._place} was written by a newer unified-flux (its tables are of "
            f"version {version}, this one knows {known}); nothing was changed",
            next_step="Update unified-flux on this machine.",
        )
