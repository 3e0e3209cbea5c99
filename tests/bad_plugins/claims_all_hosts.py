"""A plugin that lets the key go to any host of a domain that others share."""
# rule: the adapter introduces itself
# says: {file}:{line}: '*.com' is no host of its own

from acme_base import Acme as Base

from unified_flux.adapter import Auth


class Acme(Base):
    auth = Auth(hosts=("*.com",))  # here
