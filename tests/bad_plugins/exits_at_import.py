"""A plugin that would take the whole program with it."""
# refused: cannot be loaded: SystemExit: 3 ({file}:{line})

import sys

sys.exit(3)  # here
