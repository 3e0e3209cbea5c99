"""A plugin whose table of status words has none that ends a job badly."""
# rule: the phases cover a jobs life
# says: {file}:{line}: no status word means failed

from acme_base import Acme as Base

from unified_flux.wire import Phase


class Acme(Base):
    phases = {"queued": Phase.RUNNING, "running": Phase.RUNNING, "done": Phase.DONE}  # here
