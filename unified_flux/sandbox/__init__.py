"""Emulators of the providers: the wire contract as documented, a drawn picture, no money.

Each is one pure `handle(WireRequest) -> Reply` over its own store. They are mounted twice: in
process, as a transport, and behind a socket by `server`.
"""
