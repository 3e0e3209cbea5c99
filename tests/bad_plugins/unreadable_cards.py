"""A plugin whose cards cannot even be listed."""
# rule: the adapter can be read
# says: {file}:{line}: KeyError: 'cards'

from acme_base import Acme as Base


class Acme(Base):
    @property
    def cards(self):
        return {}["cards"]  # here
