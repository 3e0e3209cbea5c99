"""Lumen, a provider that there is not, for unified-flux."""
