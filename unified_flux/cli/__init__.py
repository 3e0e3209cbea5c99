"""The command line: words for humans, exit codes. One file per command, imported when it runs."""

from __future__ import annotations

import sys

from unified_flux import __version__


def main() -> None:
    """The console script. `--version` answers before anything else is imported."""
    if sys.argv[1:] == ["--version"]:
        print(f"unified-flux {__version__}")
        return
    from unified_flux.cli.group import run

    sys.exit(run(sys.argv[1:]))
