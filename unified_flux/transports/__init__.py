"""Makers of one exchange: over HTTP with requests, or in process with an emulator."""
