"""What a node says of its history over one connection: pages that were asked for, and how far it goes."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from offset_proto.messages.history import HistoryEnd, HistoryPage
from offset_proto.types import Uid

__all__ = ["HistoryFeed"]


class HistoryFeed:
    """
    The history of a node, over one connection.

    Attributes:
        end: Number of the last entry, as the node said last; 0 before it has said anything.
        is_followed: The node has said it, and says it again whenever it changes.
        on_end: Called with that number whenever the node says it.
    """

    def __init__(self) -> None:
        self.end = 0
        self.is_followed = False
        self.on_end: Callable[[int], object] | None = None
        self._pages: dict[Uid, asyncio.Future[HistoryPage]] = {}

    @property
    def waiting(self) -> Collection["asyncio.Future[HistoryPage]"]:
        """Pages that have not come; they are to end with the connection."""
        return self._pages.values()

    @contextmanager
    def awaited(self, request_id: Uid) -> "Iterator[asyncio.Future[HistoryPage]]":
        """The page that answers a request, which is to be sent within the ``with`` block."""
        page = self._pages[request_id] = asyncio.get_running_loop().create_future()
        try:
            yield page
        finally:
            del self._pages[request_id]

    def take(self, message: HistoryPage | HistoryEnd) -> None:
        """Take a message of the node; a page that nobody waits for any more is left alone."""
        if isinstance(message, HistoryEnd):
            self.end, self.is_followed = message.end, True
            if self.on_end is not None:
                self.on_end(message.end)
            return
        page = self._pages.get(message.request_id)
        if page is not None and not page.done():
            page.set_result(message)
