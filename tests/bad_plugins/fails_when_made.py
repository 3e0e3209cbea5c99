"""A plugin that cannot be made."""
# rule: the adapter can be read
# says: makes no adapter: ZeroDivisionError: division by zero ({file}:{line})

from acme_base import Acme as Base


class Acme(Base):
    def __init__(self, *args):
        1 / 0  # here
