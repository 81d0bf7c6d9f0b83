"""
Pages of the history of a node that runs, or of an archive.

The history is as long as the node is old, so no part of it is kept in memory, and what apps read must not hold up what
the node stores. Reading therefore has a connection of its own, and with it a thread of its own: in a database with a
write-ahead log a reader sees what was committed when it began, and neither waits for a writer nor lets one wait. The
connection may not write. It is opened by the first read, since many nodes are never asked.

`HistoryReader` is what can be done with any engine that fetches rows; `SqliteHistory` is the one of SQLite.

Entries are only ever added while a node runs, so that a page needs no transaction: what is read after the number of the
last entry is known lies before it, and does not change.
"""

import asyncio
import contextlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import aiosqlite

from offset_funder.bookkeeping import Book
from offset_node.database.errors import LoadDbError
from offset_node.database.tables import archives, history
from offset_node.database.tables.cells import Statement
from offset_node.state import WHOLE_HISTORY, HistoryScope, NodeState
from offset_proto.errors import InvalidInput
from offset_proto.messages.history import HISTORY_PAGE_ENTRIES_MAX, HistoryPage, ReadHistory

__all__ = ["HistoryReader", "SqliteHistory"]


class HistoryReader(ABC):
    """
    Reads the history in a database; one page at a time.

    Args:
        name: What errors call the database.

    Attributes:
        timeline: Which history of its node it is; does not change while a node runs.
    """

    failure: ClassVar[type[Exception]]
    """What the library of the engine raises where something can not be read."""

    def __init__(self, name: object) -> None:
        self.timeline = 0
        self._name = name
        self._turn = asyncio.Lock()

    @abstractmethod
    async def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        """All rows of a SELECT."""

    @abstractmethod
    def _stream(self, select: str) -> AsyncIterator[tuple[Any, ...]]:
        """The rows of a SELECT of which there may be more than memory has room for."""

    @abstractmethod
    async def _let_go(self) -> None:
        """End the connection, if there is one."""

    async def read(self, request: ReadHistory, scope: HistoryScope = WHOLE_HISTORY) -> HistoryPage:
        """
        The page that *request* asks for, of the entries in *scope*. Others leave no trace in it but their numbers.

        Raises:
            LoadDbError: The history is damaged, or can not be read.
        """
        try:
            async with self._turn:
                return await self._read(request, scope)
        except (self.failure, InvalidInput, UnicodeError) as error:
            raise LoadDbError(self._name, error) from None

    async def _read(self, request: ReadHistory, scope: HistoryScope) -> HistoryPage:
        ((end, archived),) = await self._fetch((f"SELECT ({history.END}), ({archives.THROUGH})", ()))
        limit = max(1, min(request.limit, HISTORY_PAGE_ENTRIES_MAX))
        if history.is_narrowed(request, scope):
            bound = history.number_bound(request, end, archived)
        else:
            select_bound = history.select_bound(request, end)
            found = [] if select_bound is None else await self._fetch(select_bound)
            bound = found[0][0] if found else None
        select_page = history.select_page(request, scope, limit, end, bound)
        entries = tuple(map(history.read_entry, await self._fetch(select_page)))
        if len(entries) == limit:
            through = entries[-1].number
        elif bound is not None:
            through = bound
        elif request.newest_first:
            through = request.after + 1
        else:
            through = int(end)
        return HistoryPage(
            request.request_id, entries, through, int(end), int(archived), is_whole=True, timeline=self.timeline
        )

    async def check(self, state: NodeState) -> int:
        """
        Check that the entries go on from each other, and come to the balances of *state*, which is what is stored.

        Returns:
            The number of entries; those in archives do not count.

        Raises:
            LoadDbError: They do not, or are damaged; names the first entry that does not fit.
        """
        book = await self.read_book()
        try:
            book.check(state.funder)
        except InvalidInput as error:
            raise LoadDbError(self._name, f"history: {error}") from None
        return book.count

    async def read_book(self) -> Book:
        """
        What all entries come to, one after the other.

        Raises:
            LoadDbError: They do not go on from each other, or are damaged; names the first entry that does not fit.
        """
        try:
            async with self._turn:
                ((start,),) = await self._fetch((history.START, ()))
                book = Book(int(start))
                async for row in self._stream(history.BALANCES):
                    book.add(*history.read_balance(row))
        except (self.failure, InvalidInput, UnicodeError) as error:
            raise LoadDbError(self._name, f"history: {error}") from None
        return book

    async def rows(self, select: str) -> AsyncGenerator[tuple[Any, ...], None]:
        """
        The rows of a SELECT, however many; nothing else is read before the last one.

        Raises:
            LoadDbError: They can not be read.
        """
        try:
            async with self._turn:
                async for row in self._stream(select):
                    yield row
        except (self.failure, UnicodeError) as error:
            raise LoadDbError(self._name, error) from None

    async def close(self) -> None:
        """Let the connection go; what is being read is finished first."""
        async with self._turn:
            await self._let_go()


class SqliteHistory(HistoryReader):
    """
    Reads the history in a database of SQLite.

    Args:
        path: The database, which has been brought to the present version of the schema; or an archive.
    """

    failure = sqlite3.Error

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path
        self._opening: asyncio.Task[aiosqlite.Connection] | None = None

    async def _connected(self) -> aiosqlite.Connection:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        try:
            # A caller that is cancelled leaves the connection, whose thread would keep the process, to `close`.
            return await asyncio.shield(self._opening)
        except sqlite3.Error:
            self._opening = None  # the next one tries again
            raise

    async def _open(self) -> aiosqlite.Connection:
        return await aiosqlite.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)

    async def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        connection = await self._connected()
        return [tuple(row) for row in await connection.execute_fetchall(*statement)]

    async def _stream(self, select: str) -> AsyncIterator[tuple[Any, ...]]:
        async with (await self._connected()).execute(select) as rows:
            async for row in rows:
                yield tuple(row)

    async def _let_go(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            with contextlib.suppress(sqlite3.Error):
                await (await opening).close()
