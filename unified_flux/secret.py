"""Keys and passwords that show themselves to nobody but whoever uses them."""

from __future__ import annotations

import re
from typing import NoReturn

from unified_flux.errors import ConfigurationError

# The sandbox's own keys begin so; no provider's does.
SANDBOX_PREFIX = "sandbox_"


class Secret:
    """A provider's key.

    Args:
        text: The key; blanks and newlines around it are stripped, as key files end with one.
        name: What to call it in errors, such as `RIVYA_API_KEY`.
        source: Where it came from, for errors.

    Raises:
        ConfigurationError: When it is empty or holds a character that no header may carry.
    """

    __slots__ = ("_text", "name")

    def __init__(self, text: str, name: str = "the key", source: str = "") -> None:
        self.name = name
        self._text = text.strip()
        place = f"{name} ({source})" if source else name
        if not self._text:
            raise ConfigurationError(f"{place} is empty", next_step=f"Set {name} to your key.")
        if any(not 0x21 <= ord(char) <= 0x7E for char in self._text):
            raise ConfigurationError(
                f"{place} holds a space, a newline or another character that no key has",
                next_step=f"Set {name} again and copy the key alone.",
            )

    def reveal(self) -> str:
        """The key itself: for the signer alone."""
        return self._text

    @property
    def for_sandbox(self) -> bool:
        """Whether it is a key that a sandbox made."""
        return self._text.startswith(SANDBOX_PREFIX)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled")


# An address that is written as it should be; whatever else there is may hold a password anywhere.
_ADDRESS = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://(?:(?P<user>[^:@/?#\s]*)(?P<password>:[^@/?#\s]*)?@)?"
    r"(?P<hosts>(?:[\w.%-]+|\[[\w:.%]+\])?(?::\d+)?(?:,(?:[\w.%-]+|\[[\w:.%]+\])(?::\d+)?)*)"
    r"(?P<path>/[\w.%~+-]*)?(?:\?[^@#\s]*)?"
)


def shown_address(address: str) -> str:
    """A database's address as anyone may read it: without its password and its options."""
    found = _ADDRESS.fullmatch(address.strip())
    if found is None:
        return "postgresql://***"
    user = f"{found['user']}{':***' if found['password'] else ''}@" if found["user"] else ""
    return f"{found['scheme']}://{user}{found['hosts']}{found['path'] or ''}"


class SecretAddress:
    """The address of a database, whose password shows itself to nobody."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text.strip()

    def reveal(self) -> str:
        """The address itself: for whoever connects."""
        return self._text

    def __repr__(self) -> str:
        return shown_address(self._text)

    __str__ = __repr__
