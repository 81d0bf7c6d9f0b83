"""
Shell: a node's database by its name, whichever engine keeps it.

The library for PostgreSQL is an extra of the package, and is imported only where an address of a server is given.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TYPE_CHECKING

from offset_node.database import sqlite, tables
from offset_node.database.names import DatabaseName, PostgresAddress
from offset_node.database.stored_node import StoredNode
from offset_node.database.tables.cells import Statement
from offset_node.state import BeginTimeline, NodeState
from offset_proto.errors import OffsetError
from offset_proto.types import PublicKey

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["create", "create_database", "open_database", "stand_by"]


def _postgres(module: str = "postgres") -> "ModuleType":
    try:
        return importlib.import_module(f"offset_node.database.{module}")
    except ImportError as error:
        if error.name is not None and not error.name.startswith("psycopg"):
            raise
        raise OffsetError(f"PostgreSQL needs psycopg ({error}): pip install 'offset-node[postgres]'") from None


async def open_database(name: DatabaseName, *, even_exported: bool = False, even_restored: bool = False) -> StoredNode:
    """
    Open a database; a file is locked, and of a server the lease is taken.

    Args:
        name: Made by `create_database`.
        even_exported: Also one whose node was moved elsewhere; to be read, not to run on.
        even_restored: Also one that was restored from a dump of a server; to be read, not to run on.

    Raises:
        LoadDbError: There is none, not one of ours, exported, a backup, or the server can not be reached.
        DatabaseInUse: Another process holds it.
        OffsetError: The library for PostgreSQL is not installed.
    """
    if isinstance(name, PostgresAddress):
        opened: StoredNode = await _postgres().PostgresDatabase.open(
            name, even_exported=even_exported, even_restored=even_restored
        )
        return opened
    return await sqlite.Database.open(name, even_exported=even_exported)


async def stand_by(name: PostgresAddress, node: PublicKey, show: Callable[[str], None]) -> StoredNode:
    """
    Open a database as soon as no other process holds its lease, however long that takes.

    Args:
        name: Made by `create_database`; of a server, since only there one may wait for another machine.
        node: Whose it has to be.
        show: Told what is waited for, in words, whenever that changes.

    Raises:
        LoadDbError: Not reached at the start, of another node, or none that a node may run on.
        OffsetError: The library for PostgreSQL is not installed.
    """
    opened: StoredNode = await _postgres("postgres_standby").stand_by(name, node, show)
    return opened


async def create(name: DatabaseName, batches: AsyncIterable[list[Statement]], *, is_exported: bool = False) -> None:
    """
    Make the tables of a new database, and fill them; complete or not at all.

    Args:
        name: Of the new one.
        batches: What fills the tables.
        is_exported: No node starts on it before it is marked otherwise.

    Raises:
        OutputAlreadyExists: There is one of that name; it stays as it is.
        IoError: The file can not be written.
        LoadDbError: The server can not be reached.
        DatabaseWriteError: The server refuses.
        OffsetError: The library for PostgreSQL is not installed.
    """
    if isinstance(name, PostgresAddress):
        await _postgres().create(name, batches, is_exported=is_exported)
    else:
        await sqlite.create(name, batches, is_exported=is_exported)


def create_database(name: DatabaseName, state: NodeState, timeline: BeginTimeline | None = None) -> None:
    """
    Make a new database that holds *state*. Not from within an event loop. Raises as `create`.

    Args:
        name: Of the new one.
        state: Of the node.
        timeline: Where the node has had another database before.
    """

    async def whole() -> AsyncIterator[list[Statement]]:
        yield list(tables.insert_state(state, int(time.time()), timeline))

    asyncio.run(create(name, whole()))
