"""A key that shows itself to nobody but the signer."""

from __future__ import annotations

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
