"""A plugin whose jobs never end."""
# rule: the phases cover a jobs life
# says: {file}:{line}: no status word means done, failed

from acme_base import Acme as Base

from unified_flux.wire import Phase


class Acme(Base):
    phases = {"running": Phase.RUNNING}  # here
