"""The ticks of a process: one timer, whatever the number of connections."""

import asyncio
from collections.abc import Callable

from offset_proto.limits import TICK_SECONDS

__all__ = ["Ticker"]


class Ticker:
    """The ticks of a process. Ticks missed because the loop was late are merged, never queued (D7)."""

    def __init__(self, seconds: float = TICK_SECONDS) -> None:
        self.seconds = seconds
        self._subscribers: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, tick: Callable[[], None]) -> None:
        """Call *tick* on each tick from now on."""
        self._subscribers[tick] = None
        if self._timer is None:
            self._arm()

    def unsubscribe(self, tick: Callable[[], None]) -> None:
        """Do not call *tick* any more; harmless if it was not subscribed."""
        self._subscribers.pop(tick, None)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._subscribers:
            self._arm()
        for tick in list(self._subscribers):
            if tick in self._subscribers:
                tick()
