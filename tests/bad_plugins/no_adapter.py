"""A plugin whose entry point names a function."""
# refused: is not an Adapter but


def Acme():
    pass
