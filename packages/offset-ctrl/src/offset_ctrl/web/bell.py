"""
A bell that rings when something has changed.

Whoever waits for a change hears it and looks again. So nothing has to be told to anybody in particular, and a client
that reads slowly costs no memory: it gets the latest, and misses what came between.
"""

import asyncio

__all__ = ["Bell"]


class Bell:
    """Wakes all who wait, and remembers none."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something has changed."""
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    def listen(self) -> asyncio.Event:
        """Set at the next ring. To miss nothing: listen, then look, then wait for it."""
        return self._rung
