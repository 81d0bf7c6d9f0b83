"""
Whether a node can be reached: since when it can not, for the log, for the pages, and for whoever would wait in vain.

The session connects again by itself, for ever. What is asked for meanwhile waits for that, for half a minute, as a
program may want it. A person does not: the pages look here first, and leave off as soon as the node is lost.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from offset_ctrl.web.bell import Bell
from offset_proto.log_events import NODE_CONNECTED, NODE_LOST, tell

__all__ = ["Reach"]

log = logging.getLogger("offset.web")


class Reach:
    """
    How a node is reached, as its session tells; it can be, at first.

    Args:
        name: Of the node, for the log.
        address: ``host:port`` of the node.
        now: Seconds since 1970.
        bell: Rings when it changes.
        back: Called when it can be reached, the first time as well.

    Attributes:
        away: Since when the node can not be reached, in seconds since 1970; None: it can.
    """

    def __init__(self, name: str, address: str, now: Callable[[], int], bell: Bell, back: Callable[[], object]) -> None:
        self.address = address
        self.away: int | None = None
        self._name = name
        self._now = now
        self._bell = bell
        self._back = back
        self._since = time.monotonic()
        self._lost = asyncio.Event()

    def told(self, reason: str | None) -> None:
        """There is a connection, where *reason* is None; or it has ended."""
        if reason is None:
            self.away = None
            tell(log, NODE_CONNECTED, node=self._name, address=self.address, away=time.monotonic() - self._since)
            self._back()
        else:
            self.away, self._since = self._now(), time.monotonic()
            lost, self._lost = self._lost, asyncio.Event()
            lost.set()
            tell(log, NODE_LOST, node=self._name, address=self.address, reason=reason)
        self._bell.ring()

    async def lost(self) -> None:
        """Wait until the connection ends the next time."""
        await self._lost.wait()
