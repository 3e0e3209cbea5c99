"""A plugin for an adapter API that is not here yet."""
# refused: was written for adapter API 2, this unified-flux has 1

from acme_base import Acme as Base


class Acme(Base):
    api_version = 2
