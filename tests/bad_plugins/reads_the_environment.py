"""A plugin that reads a key out of the environment."""
# rule: nothing outside is touched
# says: os.environ at {file}:{line}

import os

from acme_base import Acme as Base


class Acme(Base):
    def read(self, response, job=None):
        os.environ.get("FAL_API_KEY")  # here
        return super().read(response, job)
