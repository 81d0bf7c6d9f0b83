"""
The history of a node as an app reads it: entries one after the other, each once, over connections that are lost.

The app's place is one number, that of the last entry which it has dealt with. Every page is asked for from there on, so
it does not matter over which connection it comes, or how often it is asked for: what a page holds was stored before,
and never changes. Only a node that has forgotten something gives numbers again, in another timeline (`HistoryPlace`);
then what is read ends with an error. Where the history is followed, the node says how far it goes, and the next page is
asked for then.

    place ---- page ----> entries, new place ---- nothing more? ----> wait until the node says a greater number

The owner of a node may move old entries to an archive. Opening entries stand for them then, with the last of their
numbers. An app that begins with the first entry begins with those, and the sums are right. An app that has come no
further than into what was moved would miss the rest of that, so it gets an error.

An app that writes its place down together with what it made of the entry deals with each entry exactly once.

A *period* is a range of numbers, not of times: the clock of a node may have been set back, and a period has to end
where the next one begins. `last_before` finds such a bound by halving, in as many questions as the number of the last
entry has bits. It halves at multiples of powers of two, whatever the last number is, so that it finds the same bound
again when the history has gone on.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from offset_ctrl.connection.history import BEGINNING, HistoryPlace
from offset_ctrl.connection.session import ATTEMPTS, NodeSession
from offset_proto.errors import InvalidInput
from offset_proto.messages.history import (
    EVERY_ENTRY,
    HISTORY_PAGE_ENTRIES_MAX,
    NOTE_LETTERS_MAX,
    EntryKind,
    HistoryEntry,
    HistoryFilter,
    HistoryPage,
    NoteEntry,
    NoteInvoice,
    NotePayment,
    NoteRequest,
    ReadHistory,
    check_note,
)
from offset_proto.text import printable
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "CollectedSince",
    "EntriesArchived",
    "HistoryPlace",
    "HistoryReplaced",
    "HistorySource",
    "archived_through",
    "build_filter",
    "collect_range",
    "collected_since",
    "history_begins",
    "last_before",
    "last_entries",
    "note_of",
    "note_request",
    "read_entries",
    "read_range",
]

FIRST_PAGE_ENTRIES: Final = 50
"""So that the first entry is there at once, and does not wait for many others."""

PAGE_ENTRIES: Final = 500
"""Of the pages after it, and of others that are dealt with one by one."""


class EntriesArchived(InvalidInput):
    """
    What is asked for was moved to an archive by the owner of the node, who has the file.

    Attributes:
        through: Number of the last entry that was moved.
    """

    def __init__(self, through: int, words: str | None = None) -> None:
        super().__init__(words or f"the entries up to number {through} of this history were moved to an archive")
        self.through = through


class HistoryReplaced(InvalidInput):
    """The numbers of the history do not go on from those of before: the node was restored, or moved from elsewhere."""

    def __init__(self) -> None:
        super().__init__(
            "the history of this node has another timeline: the node goes on from a backup, without its database, or "
            "from another program, and the numbers since then are of other entries. Read the history from 0 again"
        )


@dataclass(frozen=True, slots=True)
class CollectedSince:
    """
    What a history tells of invoices, from some entry on.

    Attributes:
        invoices: Of these something was collected.
        proves_after: An invoice that was open at this number or later, and is not among *invoices*, was not collected:
            up to there entries were moved to an archive, or a channel has ended and taken with it what was queued.
            None: the app does not see everything, so that nothing follows from what it does not find.
        end: How far the history goes. Of an invoice that was open at a later number, or in another timeline, nothing is
            proved: what has become of it may be forgotten.
    """

    invoices: frozenset[InvoiceId]
    proves_after: int | None
    end: HistoryPlace

    def proves(self, place: HistoryPlace) -> bool:
        """Whether an invoice that was open at *place*, and is not among *invoices*, was not collected."""
        if self.proves_after is None or place.timeline != self.end.timeline:
            return False
        return self.proves_after <= place.number <= self.end.number


class HistorySource(Protocol):
    """Where pages of a history come from: the session of a node, or whatever else has them."""

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        """The page that *request* asks for."""


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
    session: NodeSession, since: int | HistoryPlace, wanted: HistoryFilter, *, follow: bool
) -> AsyncIterator[HistoryEntry]:
    """
    The entries after *since*, in order.

    Args:
        session: To the node.
        since: Number of the last entry that is known; 0: begin with the first. A place, where the app is to be told
            that the history is another one than that in which it wrote the number down.
        wanted: Which entries.
        follow: Go on with those that come, for ever, and wait for as long as there is no connection.

    Raises:
        NotAnnounced: The node keeps no history.
        EntriesArchived: Entries after *since* were moved to an archive, and *since* is not 0.
        HistoryReplaced: The history is not that of the place *since*, or has become another one meanwhile.
        InvalidInput: The history does not reach to *since*: it is that of another database.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`, where it does not follow.
    """
    timeline = since.timeline if isinstance(since, HistoryPlace) and since.number else None
    after = since.number if isinstance(since, HistoryPlace) else since
    attempts = None if follow else ATTEMPTS
    if follow:
        await session.follow_history(attempts=attempts)
    known: int | None = 0 if after else None
    limit = FIRST_PAGE_ENTRIES
    while True:
        page = await session.read_history(_ask(wanted, after=after, limit=limit), attempts=attempts)
        limit = PAGE_ENTRIES
        if timeline not in (None, page.timeline):
            raise HistoryReplaced
        timeline = page.timeline
        if known is None:
            known = page.archived  # it begins with the opening entries, and may ask from one of those on
        if after < page.archived != known:
            raise EntriesArchived(page.archived)
        if page.end < after:
            raise InvalidInput(f"the history of this node ends at {page.end}, before {after}: is it another database?")
        for entry in page.entries:
            yield entry
        after = page.through
        if after < page.end:
            continue
        if not follow:
            return
        await session.history_told(after)


async def archived_through(source: HistorySource) -> int:
    """Number of the last entry that was moved to an archive; 0: none was. Errors are as with `last_before`."""
    return (await source.read_history(_ask(EVERY_ENTRY, limit=1))).archived


async def history_begins(source: HistorySource) -> int | None:
    """Seconds since 1970 of the first entry that there is; None: there is none. Errors are as with `last_before`."""
    page = await source.read_history(_ask(EVERY_ENTRY, limit=1))
    return page.entries[0].time if page.entries else None


async def read_range(
    source: HistorySource, after: int, through: int, wanted: HistoryFilter
) -> AsyncIterator[HistoryEntry]:
    """
    The entries of the numbers from *after* + 1 to *through*, in order.

    Raises:
        EntriesArchived: Some of them were moved to an archive.
        NotAnnounced: The node keeps no history.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    while after < through:
        asked = _ask(wanted, after=after, before=through + 1, limit=HISTORY_PAGE_ENTRIES_MAX)
        page = await source.read_history(asked)
        if after < page.archived:
            raise EntriesArchived(page.archived)
        for entry in page.entries:
            yield entry
        after = page.through


async def collect_range(
    source: HistorySource, after: int, through: int, wanted: HistoryFilter, entries_max: int
) -> list[HistoryEntry] | None:
    """
    What `read_range` gives, as a list; None: there are more than *entries_max*. Errors are those of `read_range`.

    The two halves of the range are read at the same time. While a page of the one is decoded here, the node makes the
    next page of the other.
    """
    found = 0

    async def collect(first: int, last: int) -> list[HistoryEntry]:
        nonlocal found
        entries: list[HistoryEntry] = []
        async for entry in read_range(source, first, last, wanted):
            entries.append(entry)
            found += 1
            if found > entries_max:
                break
        return entries

    middle = (after + through) // 2
    halves = [asyncio.create_task(collect(*half)) for half in ((after, middle), (middle, through))]
    try:
        first, second = await asyncio.gather(*halves)
    finally:
        for half in halves:
            half.cancel()
    return None if found > entries_max else first + second


async def last_before(source: HistorySource, moment: datetime | None) -> int:
    """
    Number of the last entry before a moment; 0: there is none. None: of the last entry of all.

    Raises:
        NotAnnounced: The node keeps no history.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    end = (await source.read_history(_ask(EVERY_ENTRY, limit=1))).end
    if moment is None:
        return end
    place = 0
    for bit in reversed(range(end.bit_length())):
        candidate = place + (1 << bit)
        if candidate > end:
            continue
        # An app may not be shown each entry. Then the next one stands for it, so that times go on in order.
        page = await source.read_history(_ask(EVERY_ENTRY, after=candidate - 1, before=end + 1, limit=1))
        if page.entries and page.entries[0].time < moment.timestamp():
            place = candidate
    return place


async def last_entries(
    source: HistorySource, wanted: HistoryFilter, limit: int, *, after: int = 0, before: int = 0
) -> list[HistoryEntry]:
    """
    The last *limit* entries, the oldest of them first; of those with numbers between *after* and *before*; 0: no bound.

    Raises:
        NotAnnounced: The node keeps no history.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    found: list[HistoryEntry] = []
    while before != 1 and len(found) < limit:
        asked = _ask(wanted, after=after, before=before, newest_first=True, limit=min(limit - len(found), PAGE_ENTRIES))
        page = await source.read_history(asked)
        found += page.entries
        before = page.through
        if before <= after + 1:
            break
    return found[::-1]


async def collected_since(
    source: HistorySource, after: int, wanted: Collection[InvoiceId], pages_max: int | None = None
) -> CollectedSince:
    """
    What the entries after the number *after* tell of invoices; once it is known that all of *wanted* were collected,
    no more entries are read. Nor are they after *pages_max* pages: then nothing follows from what was not found.

    Raises:
        NotAnnounced: The node keeps no history.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    kinds = HistoryFilter(None, None, (EntryKind.RECEIVED, EntryKind.BROKEN, EntryKind.FORGIVEN), 0, 0)
    found, before, lost, archived, end, is_whole = set[InvoiceId](), 0, 0, 0, BEGINNING, True
    for pages in itertools.count(1):
        page = await source.read_history(_ask(kinds, after=after, before=before, newest_first=True))
        if before == 0:
            end = HistoryPlace(page.end, page.timeline)
        is_whole = is_whole and page.is_whole and page.timeline == end.timeline
        for entry in page.entries:
            if entry.kind is not EntryKind.RECEIVED:
                lost = max(lost, entry.number)
            elif entry.opt_invoice_id is not None:
                found.add(entry.opt_invoice_id)
        archived = max(archived, page.archived)
        before = page.through
        is_through = before <= after + 1 or found.issuperset(wanted)
        if is_through or pages == pages_max:
            break
    return CollectedSince(frozenset(found), max(lost, archived) if is_whole and is_through else None, end)


def note_request(subject: InvoiceId | PaymentId | int, note: str) -> NoteRequest:
    """
    The request that keeps *note* with an invoice, a payment, or the entry of a number.

    Raises:
        InvalidInput: It can not be a note, or no entry can have such a number.
    """
    check_note(note)
    match subject:
        case InvoiceId():
            return NoteInvoice(subject, note)
        case PaymentId():
            return NotePayment(subject, note)
        case _ if 0 < subject < 2**63:
            return NoteEntry(subject, note)
        case _:
            raise InvalidInput(f"no entry has the number {subject}")


def note_of(description: str) -> str:
    """What a payment was for, as a note: what can not be shown in a line is made visible."""
    return printable(description)[:NOTE_LETTERS_MAX]


def _ask(
    wanted: HistoryFilter, *, after: int = 0, before: int = 0, newest_first: bool = False, limit: int = PAGE_ENTRIES
) -> ReadHistory:
    return ReadHistory(Uid(os.urandom(Uid.SIZE)), after, before, newest_first, limit, wanted)
