"""
What goes on after a failure: tasks that must not end, and writes that must come to pass.

The disk may be full, or another process may hold the database. What a client asks for is refused then, and nothing has
happened. But some things have happened elsewhere already, and the database only has to learn of them: a payment has
ended, a commit was collected. Such a write is kept in memory, in order, and tried again until it succeeds. There is one
for each payment, invoice and circle that was under way at most, and of these the books allow only so many.

A process that ends before loses such writes. Each one follows from what the node, the journal or the invoice book says
at the next start, or leaves what was there: a payment that is in doubt is UNKNOWN then, and never FAILED.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from offset_ctrl.web.bell import Bell
from offset_ctrl.web.database import DatabaseUnavailable
from offset_proto.files import IoError

__all__ = ["Late", "keep_going"]

log = logging.getLogger("offset.web")

RETRY_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
"""After the first failure of a task; then twice as long each time."""

PAUSE_SECONDS_MAX: Final = 300.0


async def keep_going(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """
    Run something that has no end; if it fails, the log says so, and it begins anew after a pause.

    Args:
        name: Of what is run, for the log.
        run: Is called again; after it has gone well for `PAUSE_SECONDS_MAX`, pauses are short again.
    """
    loop, pause = asyncio.get_running_loop(), PAUSE_SECONDS
    while True:
        began = loop.time()
        try:
            await run()
        except Exception as error:
            if loop.time() - began >= PAUSE_SECONDS_MAX:
                pause = PAUSE_SECONDS
            log.exception("%s has failed (%s), and begins anew in %g seconds", name, type(error).__name__, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)


class Late:
    """
    What has happened, and can not be written down yet.

    Args:
        bell: Rings when it is written.
    """

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._writes: deque[Callable[[], None]] = deque()
        self._is_waiting = asyncio.Event()

    def write(self, write: Callable[[], None]) -> None:
        """
        Write something down, at once where that is possible.

        Args:
            write: Does it, as a whole or not at all. Is called again where it raises DatabaseUnavailable or IoError.
        """
        if not self._writes:
            try:
                write()
            except (DatabaseUnavailable, IoError) as error:
                log.error("something can not be written down yet, and is tried again: %s", error)
            else:
                return
        self._writes.append(write)
        self._is_waiting.set()

    async def run(self) -> None:
        """Try again until cancelled."""
        while True:
            await self._is_waiting.wait()
            await asyncio.sleep(RETRY_SECONDS)
            self.try_again()

    def try_again(self) -> None:
        """Write what can be written now; what fails for another reason is given up, and raises that."""
        while self._writes:
            write = self._writes.popleft()
            try:
                write()
            except (DatabaseUnavailable, IoError):
                self._writes.appendleft(write)
                return
            self._bell.ring()
        self._is_waiting.clear()
