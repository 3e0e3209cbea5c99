"""The proof by faults: `python tests/faults/run.py` runs all of it and prints its tables.

    python tests/faults/run.py [--write] [SECTION ...]

`--write` puts each table between its marks, such as `<!-- matrix -->` and `<!-- /matrix -->`, in
docs/reliability.md. The exit code is 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))

from faults import disks, kills, matrix  # noqa: E402

PAGE = ROOT / "docs" / "reliability.md"
# A section runs its part: Markdown for the page, and every promise that was broken.
Section = Callable[[], tuple[str, list[str]]]
SECTIONS: dict[str, Section] = {
    "matrix": matrix.table,
    "kills": kills.table,
    "disks": disks.table,
}


def main(arguments: list[str]) -> int:
    """Run the sections that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--write", action="store_true", help=f"also into {PAGE.name}")
    asked = parser.parse_args(arguments)
    unknown = set(asked.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    broken: list[str] = []
    for name in asked.sections or SECTIONS:
        began = time.monotonic()
        text, found = SECTIONS[name]()
        print(text)
        print(f"{name}: {time.monotonic() - began:.0f} s, {len(found)} broken", file=sys.stderr)
        broken += found
        if asked.write:
            write(name, text, PAGE)
    for line in broken:
        print(f"broken: {line}", file=sys.stderr)
    return 1 if broken else 0


def write(name: str, text: str, page: Path) -> bool:
    """Put a section's text between its marks; whether the page has them."""
    if not page.exists():
        print(f"{page.name} is not there; nothing was written", file=sys.stderr)
        return False
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    old = page.read_text("utf-8")
    new, count = marks.subn(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", old)
    if not count:
        print(f"{page.name} has no marks for {name}; nothing was written", file=sys.stderr)
        return False
    page.write_text(new, "utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
