"""The ticks of a process: one timer, whatever the number of connections."""

import asyncio
from collections.abc import Callable

from offset_crypto.link_counts import LinkCounts
from offset_proto.limits import TICK_SECONDS

__all__ = ["Ticker"]


class Ticker:
    """
    The ticks of a process. Ticks missed because the loop was late are merged, never queued (D7).

    Attributes:
        seconds: Of one tick.
        links: What all connections have done that count by these ticks.
    """

    def __init__(self, seconds: float = TICK_SECONDS) -> None:
        self.seconds = seconds
        self.links = LinkCounts()
        self._subscribers: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def subscribe(self, tick: Callable[[], None]) -> None:
        """Call *tick* on each tick from now on."""
        self._subscribers[tick] = None
        if self._timer is None:
            self._arm()

    def unsubscribe(self, tick: Callable[[], None]) -> None:
        """Do not call *tick* any more; harmless if it was not subscribed."""
        self._subscribers.pop(tick, None)

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self.seconds
        self._timer = loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.links.lateness.observe(max(0.0, asyncio.get_running_loop().time() - self._due))
        if self._subscribers:
            self._arm()
        for tick in list(self._subscribers):
            if tick in self._subscribers:
                tick()
