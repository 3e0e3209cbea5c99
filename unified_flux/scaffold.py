"""The distribution that a new provider's plugin begins as: a package that passes its own tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from importlib import resources
from pathlib import Path
from string import Template

from unified_flux import __version__
from unified_flux.errors import OutputError

# Template → where it goes; both are filled in.
FILES: Mapping[str, str] = {
    "setup.cfg": "setup.cfg",
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "init.py": "$package/__init__.py",
    "adapter.py": "$package/adapter.py",
    "emulator.py": "$package/emulator.py",
    "card.json": "$package/$name/flux-kontext-pro.json",
    "test.py": "tests/test_$module.py",
    "picture.json": "tests/golden/picture.json",
    "refused.json": "tests/golden/refused.json",
}


def begin(name: str, folder: Path) -> dict[Path, str]:
    """Write the distribution `unified-flux-NAME` into a folder.

    Args:
        name: The provider's, as an entry point bears it.

    Returns:
        What was written: path → text.

    Raises:
        OutputError: When it is there already, or cannot be written.
    """
    root = folder / f"unified-flux-{name}"
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "package": f"unified_flux_{module}",
        "title": "".join(part.capitalize() for part in name.split("-")),
        "variable": module.upper(),
        "version": __version__,
        "today": date.today().isoformat(),
    }
    texts = {
        root / Template(place).substitute(words): Template(_text(template)).substitute(words)
        for template, place in FILES.items()
    }
    if root.exists():
        raise OutputError(
            f"{root} is there already; nothing was written",
            next_step="Choose another name or folder (--into), or delete it first.",
        )
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{root} cannot be written: {reason.lower()}") from None
    return texts


def _text(template: str) -> str:
    return (resources.files("unified_flux.templates") / f"{template}.txt").read_text("utf-8")
