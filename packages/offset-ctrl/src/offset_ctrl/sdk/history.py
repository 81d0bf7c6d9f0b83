"""
The history of a node as an app reads it: entries one after the other, each once, over connections that are lost.

The app's place is one number, that of the last entry which it has dealt with. Every page is asked for from there on, so
it does not matter over which connection it comes, or how often it is asked for: what a page holds was stored before,
and never changes. Where the history is followed, the node says how far it goes, and the next page is asked for then.

    place ---- page ----> entries, new place ---- nothing more? ----> wait until the node says a greater number

An app that writes its place down together with what it made of the entry deals with each entry exactly once.
"""

import os
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final

from offset_ctrl.connection.session import ATTEMPTS, NodeSession
from offset_proto.errors import InvalidInput
from offset_proto.messages.history import EntryKind, HistoryEntry, HistoryFilter, ReadHistory
from offset_proto.types import Currency, PublicKey, Uid

__all__ = ["build_filter", "last_entries", "read_entries"]

PAGE_ENTRIES: Final = 500


def build_filter(
    friend: PublicKey | None,
    currency: str | None,
    kinds: Iterable[EntryKind],
    not_before: datetime | None,
    before: datetime | None,
) -> HistoryFilter:
    """
    Which entries are wanted; times without a zone are local ones.

    Raises:
        InvalidInput: No currency can have such a name, or a time is before 1970.
    """
    times = [0 if moment is None else int(moment.timestamp()) for moment in (not_before, before)]
    if min(times) < 0:
        raise InvalidInput("a node has no history from before 1970")
    return HistoryFilter(friend, None if currency is None else Currency(currency), tuple(kinds), *times)


async def read_entries(
    session: NodeSession, since: int, wanted: HistoryFilter, *, follow: bool
) -> AsyncIterator[HistoryEntry]:
    """
    The entries after the number *since*, in order.

    Args:
        session: To the node.
        since: Of the last entry that is known; 0: begin with the first.
        wanted: Which entries.
        follow: Go on with those that come, for ever, and wait for as long as there is no connection.

    Raises:
        NotAnnounced: The node keeps no history.
        InvalidInput: The history does not reach to *since*: it is that of another database.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`, where it does not follow.
    """
    attempts = None if follow else ATTEMPTS
    if follow:
        await session.follow_history(attempts=attempts)
    while True:
        uid = Uid(os.urandom(Uid.SIZE))
        page = await session.read_history(ReadHistory(uid, since, 0, False, PAGE_ENTRIES, wanted), attempts=attempts)
        if page.end < since:
            raise InvalidInput(f"the history of this node ends at {page.end}, before {since}: is it another database?")
        for entry in page.entries:
            yield entry
        since = page.through
        if since < page.end:
            continue
        if not follow:
            return
        await session.history_told(since)


async def last_entries(session: NodeSession, wanted: HistoryFilter, limit: int) -> list[HistoryEntry]:
    """
    The last *limit* entries, the oldest of them first.

    Raises:
        NotAnnounced: The node keeps no history.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    found: list[HistoryEntry] = []
    before = 0
    while len(found) < limit:
        asked = ReadHistory(Uid(os.urandom(Uid.SIZE)), 0, before, True, min(limit - len(found), PAGE_ENTRIES), wanted)
        page = await session.read_history(asked)
        found += page.entries
        before = page.through
        if before <= 1:
            break
    return found[::-1]
