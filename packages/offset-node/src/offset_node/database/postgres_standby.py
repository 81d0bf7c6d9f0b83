"""
Shell: a standby, which waits as long as another node holds the lease of a database, and takes over when it has ended.

    what it finds                      what it does
    =================================  ===============================================================================
    the lease is held                  looks again; tells it once for each term, since another one has it then
    the server is not reached          tries again; tells it once, and when it is there again
    the lease has ended                opens the database as any node does, which takes the lease
    somebody else was faster           looks again
    the row is locked for long         waits for the end of that; tells it once, and by whom
    the server was set back            takes nothing any more, tells it once, and shows it until it is ended
    the database is another by then    ends, with the reason: exported, restored, of a version that it does not know
    its tables are gone                ends as soon as it looks, with the reason

To look is one small statement, over a connection of its own, in no transaction: it takes no lock that a batch would
wait for. Nothing of the node is read before the lease is held. So what a standby goes on from is what was stored last,
and never what was there while it waited. Only whose database it is it looks at when it starts, since a standby of
another node would be noticed on the day on which it is needed.

A server that was set back
    If a server is set back to an earlier moment, or a replica is promoted with something missing, what a node was
    answered as durable may be gone, and with it what it has said to friends. Whoever goes on from there signs a second
    successor of a token. A standby that was there before has seen the term and its end. Over a new connection it
    finds an earlier state then, or it takes a term that there was already. (Over the same connection it is the same
    server, and an earlier end means that its clock was set.) It does not end, since it would be started again, and
    then it would have forgotten what it has seen.

    This is no proof of the opposite: what was stored after its last look it has not seen, and a node that is started
    has seen nothing.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

import psycopg

from offset_node.database import lease, tables
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError, LoadDbError, ServerNotReached
from offset_node.database.names import PostgresAddress
from offset_node.database.postgres import PostgresDatabase
from offset_node.database.postgres_connection import Connection, connect, fetch, limited, reason
from offset_node.database.postgres_lease import Held, held
from offset_node.database.postgres_schema import recognise
from offset_proto.log_events import (
    DATABASE_LOST,
    DATABASE_REACHED,
    DATABASE_SET_BACK,
    STANDING_BY,
    TAKEN_OVER,
    tell,
)
from offset_proto.text import format_b64
from offset_proto.types import PublicKey

__all__ = ["stand_by"]

log = logging.getLogger("offset.node")


async def stand_by(address: PostgresAddress, node: PublicKey, show: Callable[[str], None]) -> PostgresDatabase:
    """
    Open a database as soon as nobody else holds its lease, however long that takes.

    Args:
        address: Of the database.
        node: Whose it has to be.
        show: Told what is waited for, in words, whenever that changes.

    Raises:
        LoadDbError: Not reached at the start, of another node, or none that a node may run on. Once it waits, a server
            that is not reached ends nothing, and tables that are gone do.
    """
    post = _Post(address, node, show)
    await _check(address, node)
    try:
        while True:
            found = await post.look()
            if found is not None and found.has_ended:
                try:
                    database = await PostgresDatabase.open(address, locked=post.locked)
                except DatabaseInUse:
                    continue  # another one was faster
                except ServerNotReached as error:
                    post.lost(error.reason)
                else:
                    if database.term > found.term:
                        post.tell_end(database.term)
                        return database
                    with contextlib.suppress(DatabaseWriteError):
                        await database.close()
                    await post.refuse(found.term, database.term)
            await asyncio.sleep(lease.LOOK_AGAIN_SECONDS if found is None else found.look_again_seconds)
    finally:
        await post.leave()


async def _check(address: PostgresAddress, node: PublicKey) -> None:
    async with _connected(address) as connection:
        await recognise(connection, address, even_exported=False, even_restored=False)
        owners = await fetch(connection, (tables.OWNER, ()))
    if owners != [(node,)]:
        raise LoadDbError(address, f"it is the database of another node than {format_b64(node)}")


@contextlib.asynccontextmanager
async def _connected(address: PostgresAddress) -> AsyncIterator[Connection]:
    connection = await connect(address)
    try:
        yield connection
    except psycopg.Error as error:
        raise LoadDbError(address, reason(error)) from None
    finally:
        await connection.close()


class _Post:
    """Where a standby stands: the connection by which it looks, and what it has told."""

    def __init__(self, address: PostgresAddress, node: PublicKey, show: Callable[[str], None]) -> None:
        self._address = address
        self._node = node
        self._show = show
        self._began = time.monotonic()
        self._connection: Connection | None = None
        self._behind: Held | None = None
        self._seen: Held | None = None
        self._lost_at: float | None = None

    async def look(self) -> Held | None:
        """How the lease stands; None where the server can not be asked. Raises LoadDbError where none is there."""
        try:
            is_new = self._connection is None or self._connection.closed
            if self._connection is None or self._connection.closed:
                self._connection = await connect(self._address)
            with limited(self._connection, lease.LEASE_SECONDS):
                found = await held(self._connection, self._address)
        except ServerNotReached as error:
            self.lost(error.reason)
            return None
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            await _check(self._address, self._node)  # says it better where nothing of it is left
            raise LoadDbError(self._address, reason(error)) from None
        except psycopg.Error as error:
            await self.leave()  # a new connection finds out more
            self.lost(reason(error))
            return None
        if is_new and self._seen is not None and found.is_before(self._seen):
            await self.refuse(self._seen.term, found.term)
        self._seen = found
        self._reached()
        if not found.has_ended:
            self._tell_behind(found)
        return found

    def lost(self, why: str) -> None:
        """The server is not reached; told once, until it is again."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            tell(log, DATABASE_LOST, database=str(self._address), reason=why)
            self._show(f"stands by; the database is not reached: {why}")

    def locked(self, who: str) -> None:
        """Nobody has the lease, and nobody can take it, since *who* has locked its row."""
        self._show(f"stands by; the right to write has ended, and its row is locked by {who}")

    def _reached(self) -> None:
        if self._lost_at is not None:
            tell(log, DATABASE_REACHED, database=str(self._address), away=time.monotonic() - self._lost_at)
            self._lost_at = None
            self._show_behind()

    def _tell_behind(self, found: Held) -> None:
        if self._behind is None or self._behind.term != found.term:
            self._behind = found
            tell(log, STANDING_BY, holder=found.holder, term=found.term)
            self._show_behind()

    def _show_behind(self) -> None:
        if self._behind is not None:
            self._show(f"stands by, behind {self._behind.holder} (term {self._behind.term})")

    async def refuse(self, seen: int, found: int) -> None:
        """Take nothing any more, and never return: after term *seen* there was *found*, or an earlier moment of it."""
        tell(log, DATABASE_SET_BACK, database=str(self._address), seen=seen, found=found)
        self._show(
            f"takes nothing over: the server was set back from term {seen} to term {found}, or within it; "
            "end all nodes and standbys of it, and move the database with stmgr move-db --restored"
        )
        await self.leave()
        await asyncio.Event().wait()

    def tell_end(self, term: int) -> None:
        """The lease is ours; told where it was somebody else's before."""
        if self._behind is not None:
            waited = time.monotonic() - self._began
            tell(log, TAKEN_OVER, term=term, holder=self._behind.holder, waited=waited)

    async def leave(self) -> None:
        """Hang up."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
