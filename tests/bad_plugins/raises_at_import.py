"""A plugin that cannot be imported."""
# refused: cannot be loaded: RuntimeError: no licence ({file}:{line})

raise RuntimeError("no licence")  # here
