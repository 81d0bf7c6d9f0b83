"""
What a node says of its history over one connection: pages that were asked for, and how far it goes.

A node closes the connection of an app that asks for more than four pages at once. Whoever shares a connection does not
know of the others, so the pages are counted here, and who would be one too many waits. A page counts until it has come,
also where nobody waits for it any more: the node is still reading it.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from offset_proto.messages.history import HistoryEnd, HistoryPage
from offset_proto.types import Uid

__all__ = ["BEGINNING", "HistoryFeed", "HistoryPlace"]

PAGES_MAX: Final = 3
"""Under way at once, over one connection."""


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """
    How far a history went at some moment: what happened after that stands after it. For an app to write down.

    Attributes:
        number: Of the last entry then; 0: there was none, or the app does not know.
        timeline: Of the history (`HistoryPage`); 0: the first one of the node.
    """

    number: int
    timeline: int = 0


BEGINNING: Final = HistoryPlace(0)
"""Before the first entry that a node has ever had."""


class HistoryFeed:
    """
    The history of a node, over one connection.

    Attributes:
        end: How far it goes, as the node said last; `BEGINNING` before it has said anything.
        is_followed: The node has said it, and says it again whenever it changes.
        on_end: Called with *end* whenever the node says it.
    """

    def __init__(self) -> None:
        self.end = BEGINNING
        self.is_followed = False
        self.on_end: Callable[[HistoryPlace], object] | None = None
        self._places = asyncio.Semaphore(PAGES_MAX)
        self._pages: dict[Uid, asyncio.Future[HistoryPage]] = {}

    @property
    def waiting(self) -> Collection["asyncio.Future[HistoryPage]"]:
        """Pages that have not come; they are to end with the connection."""
        return self._pages.values()

    async def ask(self, request_id: Uid, send: Callable[[], None]) -> "asyncio.Future[HistoryPage]":
        """
        Send a request when its turn has come; the page that answers it.

        The page is not to be cancelled: who does not want it any more leaves it alone.
        """
        await self._places.acquire()
        try:
            send()
        except BaseException:
            self._places.release()
            raise
        page = self._pages[request_id] = asyncio.get_running_loop().create_future()
        page.add_done_callback(lambda _: self._leave(request_id))
        return page

    def _leave(self, request_id: Uid) -> None:
        del self._pages[request_id]
        self._places.release()

    def take(self, message: HistoryPage | HistoryEnd) -> None:
        """Take a message of the node; a page that nobody waits for any more is left alone."""
        if isinstance(message, HistoryEnd):
            self.end, self.is_followed = HistoryPlace(message.end, message.timeline), True
            if self.on_end is not None:
                self.on_end(self.end)
            return
        page = self._pages.get(message.request_id)
        if page is not None and not page.done():
            page.set_result(message)
