"""The command line: words for humans, exit codes. One file per command, imported when it runs."""

from __future__ import annotations

import sys

from unified_flux import __version__


def main() -> None:
    """The console script. `--version` answers before anything else is imported."""
    if sys.argv[1:] == ["--version"]:
        print(f"unified-flux {__version__}")
        return
    for stream in (sys.stdout, sys.stderr):
        # A letter that a terminal lacks must not cost the line that tells of a paid picture.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from unified_flux.cli.group import run

    sys.exit(run(sys.argv[1:]))
