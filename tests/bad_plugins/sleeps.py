"""A plugin that waits in a pure method."""
# rule: nothing outside is touched
# says: time.sleep at {file}:{line}

import time

from acme_base import Acme as Base


class Acme(Base):
    def poll(self, job):
        time.sleep(0.001)  # here
        return super().poll(job)
