"""Many requests from a file: read, checked before anything is paid, run, saved, and told line by line.

`Batch` does it all; `read_lines`, `Check` and `Wishes` are its parts, for who runs lines elsewhere.
"""

from unified_flux.batch.batch import Batch as Batch
from unified_flux.batch.checking import Check as Check, Checked as Checked, Totals as Totals
from unified_flux.batch.fields import Line as Line
from unified_flux.batch.reading import read_lines as read_lines
from unified_flux.batch.results import (
    Outcome as Outcome,
    ResultsFile as ResultsFile,
    Status as Status,
)
from unified_flux.batch.running import Run as Run, Tally as Tally
from unified_flux.batch.source import open_source as open_source
from unified_flux.batch.wishes import Wishes as Wishes, mark_of as mark_of
