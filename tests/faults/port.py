"""A port of this machine that can be shut, stuck and opened, and stays ours all the while."""

from __future__ import annotations

import socket
from enum import Enum, auto

HOST = "127.0.0.1"


class Door(Enum):
    """How a client is met before its request is read."""

    OPEN = auto()
    SHUT = auto()
    STUCK = auto()
    RESETS = auto()
    NO_TLS = auto()
    STRANGER = auto()


DOWN = {Door.SHUT, Door.STUCK}


class Port:
    """Bound from the beginning; nobody listens until it is turned OPEN."""

    def __init__(self) -> None:
        self._holder = self._bound(0)
        self.number: int = self._holder.getsockname()[1]
        self.listener: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._door = Door.SHUT

    @staticmethod
    def _bound(port: int) -> socket.socket:
        # Two sockets may be bound to one port while no more than one of them listens.
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        return found

    def turn(self, door: Door) -> None:
        """Make it OPEN, SHUT or STUCK."""
        if door is self._door:
            return
        self._shut()
        if door is not Door.SHUT:
            self.listener = self._bound(self.number)
            self.listener.listen(16 if door is Door.OPEN else 0)
        if door is Door.STUCK:
            self._fill()
        self._door = door

    def _shut(self) -> None:
        if self.listener is not None:
            # A child process that is being started holds a copy for a moment: closing is not enough.
            self.listener.shutdown(socket.SHUT_RDWR)
        for one in (*self._fillers, self.listener):
            if one is not None:
                one.close()
        self._fillers, self.listener = [], None

    def _fill(self) -> None:
        """Whoever connects where the queue is full waits in vain."""
        for _ in range(8):
            filler = socket.socket()
            filler.settimeout(0.03)
            self._fillers.append(filler)
            try:
                filler.connect((HOST, self.number))
            except TimeoutError:
                return
        raise RuntimeError("the queue of this machine's listening sockets does not fill up")

    def close(self) -> None:
        self._shut()
        self._holder.close()
