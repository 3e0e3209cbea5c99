"""Foreign text made harmless for terminals, logs and pages; near misses and hashes of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Help is drawn with these functions: what only some of them need is imported there.
# Bidirectional overrides and zero-width characters: they can make a line read otherwise than it is.
_DECEPTIVE = {*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF}
_CONTROL = {*range(0x20), *range(0x7F, 0xA0)}
_SURROGATES = range(0xD800, 0xE000)
_HARMFUL = _DECEPTIVE | _CONTROL


def safe(text: object, limit: int = 500) -> str:
    """`text` without control, escape, bidi and zero-width characters, cut to `limit` characters."""
    shown = []
    for char in str(text)[: limit + 1]:
        if char in "\n\t":
            shown.append(" ")
        elif ord(char) in _HARMFUL or ord(char) in _SURROGATES:
            shown.append(f"\\u{ord(char):04x}")
        else:
            shown.append(char)
    cleaned = "".join(shown)
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def ending(path: object, limit: int = 80) -> str:
    """A path made harmless; of a long one the end is kept, where the file's name stands."""
    shown = safe(path, 4000)
    return shown if len(shown) <= limit else f"…{shown[1 - limit :]}"


def json_text(found: object, *, ascii_only: bool = False) -> str:
    """JSON for people and scripts, in letters where they can be written and escapes where not."""
    import json

    text = json.dumps(found, indent=2, ensure_ascii=ascii_only, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(found, indent=2, default=str)
    return text


def plain(value: object) -> str:
    """A value as people write it, made harmless: no brackets, quotes or capital True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(key)} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    return safe(value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the nearest known name, or nothing."""
    import difflib

    near = difflib.get_close_matches(name.lower(), {k.lower(): k for k in known}, n=1, cutoff=0.6)
    if not near:
        return ""
    spelled = {k.lower(): k for k in known}[near[0]]
    return f' (did you mean "{spelled}"?)'


def hashed(text: str) -> bytes:
    """What is kept of a text: sixteen bytes, whatever it holds."""
    import hashlib

    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).digest()
