"""A plugin that calls itself by another provider's name, and would be paid with its key."""
# refused: calls itself fal

from acme_base import Acme as Base


class Acme(Base):
    name = "fal"
