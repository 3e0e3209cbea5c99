"""A plugin that breaks on an answer that it did not expect."""
# rule: nonsense for an answer stays inside our errors
# says: KeyError

from acme_base import Acme as Base


class Acme(Base):
    def read(self, response, job=None):
        response.object()["surely"]
        return super().read(response, job)
