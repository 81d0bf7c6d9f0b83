"""
The history of a node and the archives that were made of it, as one. Pure.

    archives     1 2 3 ... 1700
    node                   1699 1700   1701 1702 ...     1699 and 1700 are opening entries
    the whole    1 2 3 ... 1700      | 1701 1702 ...

The *seam* is the last number that was moved. Up to it entries come from the archives, and after it from the node, whose
opening entries are left out: what they stand for is in the archives. So the numbers have no gap, and each entry is what
it was. A page ends at the seam and says so (`HistoryPage.through`); who reads goes on from there, as over the pages of
a node.

Why the two are one history
    * What the node says it has moved ends where the archives do: nothing is missing at the seam, and nothing is there
      twice.
    * The opening entries of the node have the balances that the archives end with, account by account. So archives of
      another database with the same key, one that was restored perhaps, are not taken for those of this one.

Whose archives they are is not in their pages; who joins them has to look at their keys.

The owner may stop the node and move more while somebody reads. The next page of the node says so, and so does that of
the whole: what would miss something of it gets `EntriesArchived`, as from the node alone.
"""

from dataclasses import replace

from offset_ctrl.sdk.history import HistorySource, archived_through, last_before, last_entries
from offset_proto.errors import InvalidInput
from offset_proto.messages.history import EVERY_ENTRY, HistoryEntry, HistoryFilter, HistoryPage, ReadHistory
from offset_proto.text import format_b64

__all__ = ["ArchivesDoNotFit", "WholeHistory", "join_history"]


class ArchivesDoNotFit(InvalidInput):
    """Archives are not those that a history goes on from; says why, and what to do."""


class WholeHistory:
    """
    A history with what was moved out of it. Made by `join_history`.

    Args:
        node: Where entries with numbers after *seam* come from.
        archives: Where the others do.
        seam: Number of the last entry that was moved.
        archived: Number of the last entry that the archives do not have either; 0: they begin with the first.
        end: Number of the last entry of all.
    """

    def __init__(self, node: HistorySource, archives: HistorySource, seam: int, archived: int, end: int) -> None:
        self._node = node
        self._archives = archives
        self._seam = seam
        self._archived = archived
        self._end = end

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        """The page that *request* asks for; errors are those of the two sources."""
        seam = self._seam
        if request.newest_first:
            is_of_node = not request.before or request.before > seam + 1
        else:
            is_of_node = request.after >= seam
        if not is_of_node:
            return replace(await self._archives.read_history(request), end=self._end)
        page = await self._node.read_history(replace(request, after=max(request.after, seam)))
        self._end = page.end
        return page if page.archived != seam else replace(page, archived=self._archived)


async def join_history(node: HistorySource, archives: HistorySource) -> WholeHistory:
    """
    The history of *node*, with its beginning from *archives*, which are of the same key.

    Raises:
        ArchivesDoNotFit: They are not those that this history goes on from.
        NotAnnounced: The node keeps no history.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    seam, moved = await last_before(archives, None), await archived_through(node)
    if not moved:
        raise ArchivesDoNotFit("nothing of the history of this node was moved to an archive; leave the archives out")
    if seam < moved:
        words = f"the archives end with number {seam}, and the node goes on after {moved}"
        raise ArchivesDoNotFit(f"{words}; give the archives between them, too")
    if seam > moved:
        words = f"the archives end with number {seam}, and the node has moved no entry after {moved}"
        raise ArchivesDoNotFit(f"{words}; leave out the archives that go on after it")
    for opening in await last_entries(node, EVERY_ENTRY, seam, before=seam + 1):
        await _check_account(archives, opening)
    return WholeHistory(node, archives, seam, await archived_through(archives), await last_before(node, None))


async def _check_account(archives: HistorySource, opening: HistoryEntry) -> None:
    account = HistoryFilter(opening.friend, opening.currency, (), 0, 0)
    found = await last_entries(archives, account, 1)
    closing = found[0].balance if found else 0
    if closing != opening.balance:
        ends = f"the archives end with a balance of {closing} {opening.currency} with {format_b64(opening.friend)}"
        raise ArchivesDoNotFit(
            f"{ends}, and the node goes on from {opening.balance}; give those that were made of its present database"
        )
