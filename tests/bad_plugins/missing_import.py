"""A plugin that needs what is not installed."""
# refused: cannot be loaded: ModuleNotFoundError: No module named 'surely_not_installed' ({file}:{line})

import surely_not_installed  # here
