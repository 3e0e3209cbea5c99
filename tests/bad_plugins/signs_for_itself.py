"""A plugin that puts a key on by itself."""
# rule: no exchange holds a credential
# says: authorization

from dataclasses import replace

from acme_base import Acme as Base


class Acme(Base):
    def submit(self, payload, card, idempotency_key):
        found = super().submit(payload, card, idempotency_key)
        return replace(found, headers={"Authorization": "Bearer mine"})
