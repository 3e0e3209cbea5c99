"""A plugin whose payload depends on the hour."""
# rule: nothing outside is touched
# says: datetime.now at {file}:{line}

from datetime import datetime

from acme_base import Acme as Base


class Acme(Base):
    def submit(self, payload, card, idempotency_key):
        datetime.now()  # here
        return super().submit(payload, card, idempotency_key)
