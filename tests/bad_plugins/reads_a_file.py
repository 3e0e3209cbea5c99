"""A plugin that reads a file where it should only translate."""
# rule: nothing outside is touched
# says: open at {file}:{line}

from acme_base import Acme as Base


class Acme(Base):
    def translate(self, request, card, references=()):
        open(__file__).close()  # here
        return super().translate(request, card, references)
