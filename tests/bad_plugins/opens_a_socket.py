"""A plugin that opens a socket of its own."""
# rule: nothing outside is touched
# says: socket at {file}:{line}

import socket

from acme_base import Acme as Base


class Acme(Base):
    def submit(self, payload, card, idempotency_key):
        socket.socket().close()  # here
        return super().submit(payload, card, idempotency_key)
