"""
The invoices that are in hand: one request at a time makes, collects or cancels an invoice.

The same commit that comes twice at once is the same one, and an invoice that is being made is made once: whoever comes
second waits, looks again, and finds what the first one has done. Of an invoice that is in hand nobody else draws
conclusions from what the node says.

Commits come from strangers. A good one may be copied, and while the node is away each copy waits; so only so many wait
for one invoice, and only so many invoices are in hand because of commits. Whoever has a token and makes or cancels an
invoice waits in the same way, and takes no place away from commits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from offset_ctrl.web.problems import Rejected, rejection

__all__ = ["InHand"]

COMMITS_MAX: Final = 64
"""Invoices of which a commit is in hand at once: the node is being asked."""

WAITING_MAX: Final = 4
"""Requests that wait for the one that has the invoice in hand."""

ASK_AGAIN_SECONDS: Final = 1


@dataclass(slots=True)
class _Line:
    """Who has one invoice in hand, and who waits for it."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0
    has_commit: bool = False


class InHand:
    """The invoices that are in hand, by their ids as text."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def __contains__(self, invoice_id: str) -> bool:
        return invoice_id in self._lines

    def __len__(self) -> int:
        return len(self._lines)

    @asynccontextmanager
    async def take(self, invoice_id: str, *, has_commit: bool = False) -> AsyncIterator[None]:
        """
        Have an invoice in hand, for the length of a ``with`` block, once those who came before are through.

        Raises:
            Rejected: Too many wait for it; or *has_commit*, and there are too many commits.
        """
        line = self._lines.get(invoice_id, _Line())
        if line.length > WAITING_MAX:
            raise _too_many("TooManyAtOnce", "too many ask for this invoice at once")
        if has_commit and not line.has_commit:
            if sum(each.has_commit for each in self._lines.values()) >= COMMITS_MAX:
                raise _too_many("TooManyCommits", "too many commits have come at once")
            line.has_commit = True
        self._lines[invoice_id] = line
        line.length += 1
        try:
            async with line.turn:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[invoice_id]


def _too_many(name: str, detail: str) -> Rejected:
    return rejection(429, name, detail, {"retry-after": str(ASK_AGAIN_SECONDS)})
