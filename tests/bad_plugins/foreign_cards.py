"""A plugin that takes the cards of unified-flux for its own."""
# refused: names no package of cards of its own

from acme_base import Acme as Base


class Acme(Base):
    card_package = "unified_flux.schemas"
