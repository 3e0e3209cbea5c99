"""The journal: every job, its phases and its money on disk, before and after each paid step.

The only room that knows SQL. docs/journal.md tells the tables to whoever opens the file.
"""

from unified_flux.journal.database import Row
from unified_flux.journal.journal import LEASE, Journal
from unified_flux.journal.sqlite import FILE

__all__ = ["FILE", "LEASE", "Journal", "Row"]
