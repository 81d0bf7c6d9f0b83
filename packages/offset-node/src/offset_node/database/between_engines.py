"""
Shell: a node moved with all it remembers from a file of SQLite to a server of PostgreSQL, or back. Spec 08 §6.

All rows of all tables are copied as they are: the tables are the same. Both databases are read as wholes then, and what
they hold is compared: how many rows each table has, and a hash of them.

At any time a node starts on one of the two at most. A database whose node was moved elsewhere is marked as exported,
and no node starts on it:

=====  ============================================================  ==================  ==================
step   what is done                                                  a node starts on    if it ends here
=====  ============================================================  ==================  ==================
1      the new database is made, as a whole, and marked              the old one         the same again
2      both are compared, and the new one is checked                 the old one         the same again
3      the old one is marked                                         none                the same again
4      the mark is taken from the new one                            the new one
=====  ============================================================  ==================  ==================

"The same again" finds a new database that is marked and compares: where it holds what the old one holds, it goes on
from there, and otherwise it says so. A marked old database is moved to no other place, since its node may have gone on
from the new one.

A database that was restored from a dump of a server is a backup: its node may have gone on after the dump. What is made
of it is marked as `stmgr restore` does it, so that each friend has to speak first (`offset_funder.unheard`).
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from hashlib import sha512
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from offset_funder.unheard import forgotten
from offset_node.database import opening, tables
from offset_node.database.errors import LoadDbError
from offset_node.database.names import DatabaseName
from offset_node.database.stored_node import StoredNode
from offset_node.database.tables import timelines
from offset_node.database.tables.cells import Statement
from offset_node.state import NodeState
from offset_proto.files import OutputAlreadyExists

__all__ = ["Moved", "move_database"]

_BATCH_ROWS: Final = 1000
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Moved:
    """
    What was moved.

    Attributes:
        state: What the node remembers.
        entries: Of the history, without those in archives.
        rows: Of all tables.
        digest: Hash of all of them, which was the same of both databases, in hex.
    """

    state: NodeState
    entries: int
    rows: int
    digest: str


async def move_database(source: DatabaseName, target: DatabaseName, *, restored: bool = False) -> Moved:
    """
    Move a node from one database to another one, which is made.

    Args:
        source: The database; no node runs on it. No node starts on it any more, unless it was *restored*.
        target: The new one.
        restored: *source* was restored from a dump of a server. In *target* every friend has to speak first.

    Raises:
        OutputAlreadyExists: *target* is there already, and not from a move that did not end; it stays as it is.
        LoadDbError: One of the two can not be loaded, they differ, or *source* was moved already.
        DatabaseInUse: A node runs on one of them.
        IoError, DatabaseWriteError: *target* can not be written; a node still starts on *source*.
    """
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(_opened(source, even_restored=restored))
        state = await old.load()
        entries = await old.reader.check(state)
        if not old.is_exported:
            await _make(old, source, target)
        new = await stack.enter_async_context(_opened(target))
        if not new.is_exported:
            raise OutputAlreadyExists(target)
        contents = await _contents(old)
        _compare(source, contents, target, await _contents(new))
        state = await new.load()
        if restored:
            mutations = chain((timelines.draw(os.urandom),), forgotten(state.funder, os.urandom))
            while batch := list(islice(mutations, _BATCH_ROWS)):  # one of all would take longer than a lease lasts
                await new.apply(batch)
            state = await new.load()
        else:
            await old.mark_exported(True)
        await new.mark_exported(False)
    digest = sha512(repr(sorted(contents.items())).encode()).digest()[:_HASH_BYTES]
    return Moved(state, entries, sum(count for count, _ in contents.values()), digest.hex())


@asynccontextmanager
async def _opened(name: DatabaseName, *, even_restored: bool = False) -> AsyncIterator[StoredNode]:
    database = await opening.open_database(name, even_exported=True, even_restored=even_restored)
    try:
        yield database
    finally:
        await database.close()


async def _make(old: StoredNode, source: DatabaseName, target: DatabaseName) -> None:
    """Make the new database, unless there is one from a move that did not end."""
    if source == target:
        raise OutputAlreadyExists(target)
    try:
        await opening.create(target, _statements(old), is_exported=True)
    except OutputAlreadyExists:
        if isinstance(target, Path) and not target.is_file():
            raise


def _columns() -> dict[str, tuple[str, ...]]:
    """The columns of all tables, in an order in which no row is inserted before one that it points at."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(tables.SCHEMA)
        names = empty.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid"
        ).fetchall()
        return {
            table: tuple(f'"{column}"' for _, column, *_ in empty.execute(f"PRAGMA table_info({table})"))
            for (table,) in names
        }


async def _rows(database: StoredNode, table: str, columns: tuple[str, ...]) -> AsyncIterator[tuple[Any, ...]]:
    async with aclosing(database.reader.rows(f"SELECT {', '.join(columns)} FROM {table}")) as rows:
        async for row in rows:
            yield row


async def _statements(database: StoredNode) -> AsyncIterator[list[Statement]]:
    """What fills empty tables with all rows of a database."""
    for table, columns in _columns().items():
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        batch: list[Statement] = []
        async for row in _rows(database, table, columns):
            batch.append((insert, row))
            if len(batch) == _BATCH_ROWS:
                yield batch
                batch = []
        yield batch


async def _contents(database: StoredNode) -> dict[str, tuple[int, int]]:
    """
    Of each table the number of its rows, and the sum of their hashes.

    A sum does not depend on the order, in which two engines may differ. It shows what went wrong, and would not stop
    somebody who looks for rows of the same sum; whoever can write a database needs no such rows.
    """
    found = {}
    for table, columns in _columns().items():
        count = total = 0
        async for row in _rows(database, table, columns):
            count += 1
            total += int.from_bytes(sha512(repr(row).encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES], "big")
        found[table] = (count, total % 2 ** (8 * _HASH_BYTES))
    return found


def _compare(
    source: DatabaseName, old: dict[str, tuple[int, int]], target: DatabaseName, new: dict[str, tuple[int, int]]
) -> None:
    for table, (count, _) in old.items():
        if old[table] != new[table]:
            raise LoadDbError(
                target,
                f"its table {table} of {new[table][0]} rows is not that of {source}, which has {count}: it is left of "
                "a move that did not end, or something else; remove it, and move again",
            )
