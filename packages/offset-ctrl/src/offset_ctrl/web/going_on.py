"""
What goes on after a failure: tasks that must not end, and writes that must come to pass.

The disk may be full, or another process may hold the database. What a client asks for is refused then, and nothing has
happened. But some things have happened elsewhere already, and the database only has to learn of them: a payment has
ended, a commit was collected. Such a write is kept in memory and tried again until it succeeds. There are a few for
each payment, invoice and circle that was under way, and of these the books allow only so many.

What is to be written of one payment, invoice or circle is written in order. Others do not wait for it: a single file
that can not be written, say, keeps nothing else back. Only where another process holds the whole database is the rest
left for the next round at once, since each attempt waits for that process and the server with it.

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
        self._writes: dict[str, deque[Callable[[], None]]] = {}
        self._is_waiting = asyncio.Event()

    def write(self, subject: str, write: Callable[[], None]) -> None:
        """
        Write something down, at once where that is possible.

        Args:
            subject: Id of the payment, invoice or circle; what was to be written of it before comes first.
            write: Does it, as a whole or not at all. Is called again where it raises DatabaseUnavailable or IoError.
        """
        if subject not in self._writes:
            try:
                write()
            except (DatabaseUnavailable, IoError) as error:
                log.error("something can not be written down yet, and is tried again: %s", error)
            else:
                return
        self._writes.setdefault(subject, deque()).append(write)
        self._is_waiting.set()

    def has(self, subject: str) -> bool:
        """Whether something of it is not written down yet."""
        return subject in self._writes

    async def run(self) -> None:
        """Try again until cancelled."""
        while True:
            await self._is_waiting.wait()
            await asyncio.sleep(RETRY_SECONDS)
            self.try_again()

    def try_again(self) -> None:
        """Write what can be written now; what fails for another reason is given up, and the log says so."""
        for subject, writes in list(self._writes.items()):
            try:
                self._write_all(writes)
            except DatabaseUnavailable as error:
                if error.is_held:
                    break
            except IoError:
                pass
            if not writes:
                del self._writes[subject]
        if not self._writes:
            self._is_waiting.clear()

    def _write_all(self, writes: deque[Callable[[], None]]) -> None:
        while writes:
            try:
                writes[0]()
            except (DatabaseUnavailable, IoError):
                raise
            except Exception:
                log.exception("something will never be written down: a fault of ours")
            writes.popleft()
            self._bell.ring()
