"""
Shell: archives of one history, read as a whole. `offset_node.database.tables.archives` says how they follow each other.

    archive 1            1 2 3 ... 900
    archive 2                  899 900   901 902 ... 1700
    the series           1 2 3 ... 900 | 901 902 ... 1700

Of each archive but the first, the opening entries are left out: what they stand for is in the one before. So the
numbers of the series have no gap, and each entry is what it was. A page ends where an archive does, and says so
(`HistoryPage.through`); who reads goes on from there, as over the pages of a node.

    upwards      the first archive that ends after the place      (after, end of it]
    downwards    the last one that begins before the place        its numbers below the place

What is before the first archive of the series counts as archived, as it does where there is only one.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from offset_node.database.archive import Archive, read_archive
from offset_node.database.errors import ArchiveError
from offset_node.database.reading import SqliteHistory
from offset_proto.messages.history import EVERY_ENTRY, HistoryPage, ReadHistory
from offset_proto.types import U64, Uid

__all__ = ["ArchiveSeries", "open_archives"]


@dataclass(frozen=True, slots=True)
class _Volume:
    """One archive; its own entries have numbers from *after* + 1 on."""

    path: Path
    archive: Archive
    reader: SqliteHistory
    after: U64


class ArchiveSeries:
    """
    Archives that follow each other. Made by `open_archives`.

    Attributes:
        last: The last one: its report has the names of friends, and the series ends where it does.
    """

    def __init__(self, volumes: Sequence[_Volume]) -> None:
        self._volumes = volumes
        self.last = volumes[-1].archive

    async def read(self, request: ReadHistory) -> HistoryPage:
        """
        The page that *request* asks for.

        Raises:
            LoadDbError: An archive is damaged, or can not be read.
        """
        volume = self._find(request)
        # The first one shows its opening entries, as a database does.
        after = request.after if volume is self._volumes[0] else max(request.after, volume.after)
        end = volume.archive.through
        before = min(request.before or end + 1, end + 1)
        page = await volume.reader.read(replace(request, after=after, before=before))
        through = page.through if request.newest_first else min(page.through, end)
        return replace(page, through=through, end=self.last.through, archived=self._volumes[0].after)

    def _find(self, request: ReadHistory) -> _Volume:
        if request.newest_first:
            place = request.before or self.last.through + 1
            below = [volume for volume in self._volumes if volume.after + 1 < place]
            return below[-1] if below else self._volumes[0]
        above = [volume for volume in self._volumes if volume.archive.through > request.after]
        return above[0] if above else self._volumes[-1]


@contextlib.asynccontextmanager
async def open_archives(paths: Iterable[Path]) -> AsyncIterator[ArchiveSeries]:
    """
    Open archives for the length of a ``with`` block.

    Args:
        paths: Of one archive or more of one node, in any order.

    Raises:
        LoadDbError: One of them is none, is damaged, or is of another version.
        ArchiveError: They are of several nodes, or do not follow each other, or one is given twice; says which.
    """
    async with contextlib.AsyncExitStack() as stack:
        volumes = [await _open(path, stack) for path in paths]
        volumes.sort(key=lambda volume: volume.archive.through)
        _check(volumes)
        yield ArchiveSeries(volumes)


async def _open(path: Path, stack: contextlib.AsyncExitStack) -> _Volume:
    archive, reader = read_archive(path), SqliteHistory(path)
    stack.push_async_callback(reader.close)
    page = await reader.read(ReadHistory(Uid(bytes(Uid.SIZE)), 0, 0, False, 1, EVERY_ENTRY))
    return _Volume(path, archive, reader, page.archived)


def _check(volumes: Sequence[_Volume]) -> None:
    for first, second in itertools.pairwise(volumes):
        owners = [each.archive.report.funder_report.local_public_key for each in (first, second)]
        if owners[0] != owners[1]:
            raise ArchiveError(f"{first.path} and {second.path} are of different nodes")
        if first.archive.through == second.archive.through:
            raise ArchiveError(f"{first.path} and {second.path} are the same archive; give it once")
        if first.archive.through != second.after:
            words = f"{first.path} ends with number {first.archive.through}"
            raise ArchiveError(f"{words}, and {second.path} begins after {second.after}: one between them is missing")
