"""
Shell: the node's database on a server of PostgreSQL. Spec 07 §7, 08 §6.

What is durable when
    A batch is one transaction and one round trip: all its statements are sent at once, and the commit with them. When
    `apply` has returned, the server has answered the commit (`postgres_batch`). If the connection is lost before
    the answer, nobody knows whether the batch is stored. Then the node ends without having said anything of it, and the
    next start finds out: either nothing of it has happened, or all of it, and what follows is said again from the
    state.

Whose it is
    `PostgresDatabase.open` takes the lease (`lease`), which it may have to wait for as long as a lease lasts where the
    last holder was killed. A task of the database prolongs it until the database is closed. `is_ours` says, by a clock
    of this machine that goes on while the machine sleeps, whether what is held may be acted on.

    Once `is_ours` has said no it says nothing else, even where nobody has taken over and the server would still take
    batches: whoever asked has kept silent, and what it has not said then nobody makes good but a new start.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

import psycopg

from offset_node.database import lease, tables
from offset_node.database.dialect import to_postgres
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError, LoadDbError, ServerNotReached
from offset_node.database.names import PostgresAddress
from offset_node.database.postgres_batch import BatchSender
from offset_node.database.postgres_connection import (
    Connection,
    connect,
    fetch,
    limited,
    reason,
)
from offset_node.database.postgres_lease import held, lock_holders, take
from offset_node.database.postgres_schema import bring_up, create, recognise
from offset_node.database.reading import HistoryReader
from offset_node.database.stored_node import StoredNode
from offset_node.database.tables.cells import Rows, Statement
from offset_proto.log_events import DATABASE_LOCKED, tell

log = logging.getLogger("offset.node")

__all__ = ["PostgresDatabase", "PostgresHistory", "create"]

_STREAMED_ROWS: Final = 1000
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> float:
    """Seconds on a clock that is never set, and goes on while the machine sleeps where the system has such a one."""
    return time.clock_gettime(_CLOCK)


class PostgresHistory(HistoryReader):
    """Reads the history in a database of PostgreSQL, over a connection of its own, which the first read makes."""

    failure = psycopg.Error

    def __init__(self, address: PostgresAddress) -> None:
        super().__init__(address)
        self._address = address
        self._connection: Connection | None = None

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._address)
        return self._connection

    async def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        return await fetch(await self._connected(), statement)

    async def _stream(self, select: str) -> AsyncIterator[tuple[Any, ...]]:
        connection = await self._connected()
        async with connection.transaction(), connection.cursor("streamed") as cursor:
            cursor.itersize = _STREAMED_ROWS
            await cursor.execute(to_postgres(select).encode())
            async for row in cursor:
                yield row

    async def _let_go(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class PostgresDatabase(StoredNode):
    """
    An open database, made by `PostgresDatabase.open`. All its methods belong to the event loop that it was opened in.

    Attributes:
        term: Of the lease by which it is written.
    """

    failure = psycopg.Error

    def __init__(self, address: PostgresAddress, connection: Connection) -> None:
        super().__init__(address, PostgresHistory(address))
        self.term = 0
        self._address = address
        self._connection = connection
        self._sender = BatchSender(connection)
        self._turn = asyncio.Lock()
        self._ours_until = 0.0
        self._keeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        address: PostgresAddress,
        *,
        even_exported: bool = False,
        even_restored: bool = False,
        locked: Callable[[str], None] | None = None,
    ) -> "PostgresDatabase":
        """
        Open a database, and take the lease.

        Args:
            address: Where `create` has made it.
            even_exported: Also one whose node was moved to another database; to be read, not to run on.
            even_restored: Also one that was restored from a dump, or copied; to be read, not to run on.
            locked: Told, once, who keeps the row locked when nobody has the lease.

        Raises:
            ServerNotReached: No server, or the connection to it was lost.
            LoadDbError: No database of ours on it, of another version, exported, restored from a dump, or a copy.
            DatabaseInUse: Another process holds the lease.
        """
        database = cls(address, await connect(address))
        flags = {"even_exported": even_exported, "even_restored": even_restored}
        try:
            await recognise(database._connection, address, **flags)
            await database._take_lease(locked)
            # It may have changed before it was ours.
            version, database.is_exported = await recognise(database._connection, address, **flags)
            await bring_up(database._connection, version, database.term)
        except BaseException as error:
            with contextlib.suppress(DatabaseWriteError):
                await database.close()
            if isinstance(error, psycopg.OperationalError):
                raise ServerNotReached(address, reason(error)) from None
            if isinstance(error, psycopg.Error):
                raise LoadDbError(address, reason(error)) from None
            raise
        database._keeping = asyncio.create_task(database._keep())
        return database

    # The lease.

    async def _take_lease(self, locked: Callable[[str], None] | None) -> None:
        """Take it, if need be after the end of one that nobody prolongs. Raises DatabaseInUse."""
        seen = tell_after = None
        while True:
            began = _now()
            with limited(self._connection, lease.LEASE_SECONDS):
                term = await take(self._connection)
                if term is not None:
                    self.term = term
                    self._ours_until = began + lease.LEASE_SECONDS - lease.MARGIN_SECONDS
                    return
                found = await held(self._connection, self._address)
            if seen is None:
                log.info(
                    "%s is used by %s; it is taken over when that does not prolong it", self._address, found.holder
                )
            if seen not in (None, found.until):
                raise DatabaseInUse(self._address, found.holder)
            seen = found.until
            if tell_after is None and found.has_ended:
                tell_after = _now() + lease.LEASE_SECONDS  # whoever takes it, or is ended, takes no longer
            if tell_after is not None and tell_after <= _now():
                tell_after = math.inf
                await self._tell_locked(locked)
            await asyncio.sleep(found.look_again_seconds)

    async def _tell_locked(self, locked: Callable[[str], None] | None) -> None:
        with limited(self._connection, lease.LEASE_SECONDS):
            holders = await lock_holders(self._connection)
        tell(log, DATABASE_LOCKED, database=str(self._address), holder=holders)
        if locked is not None:
            locked(holders)

    def is_ours(self) -> bool:
        """Whether what it holds may be acted on: nobody else can have taken over. Once it is not, it never is again."""
        if self._ours_until <= _now():
            self._ours_until = 0.0
        return self._ours_until > 0

    def _left(self) -> float:
        """Seconds for which what it holds may be acted on."""
        return max(0.0, self._ours_until - _now())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(min(lease.RENEW_SECONDS, self._left()))
            if not self.is_ours():
                raise DatabaseWriteError(self._address, await self._who_has_it())
            if self._left() < lease.LEASE_SECONDS - lease.MARGIN_SECONDS - lease.RENEW_SECONDS:
                await self._commit([])  # no batch has prolonged it

    async def keep(self) -> None:
        """
        Wait until it is not ours any more; for ever, where all is well.

        Raises:
            DatabaseWriteError: Another node has taken over, or the server has not answered in time.
        """
        if self._keeping is not None:
            await asyncio.shield(self._keeping)

    async def _who_has_it(self) -> str:
        """Why nothing may be said any more, as far as the server tells; perhaps over a new connection."""
        silent = "this process says nothing more"
        with contextlib.suppress(psycopg.Error, LoadDbError, TimeoutError):
            async with self._turn:
                if self._connection.closed:
                    async with asyncio.timeout(lease.ASK_SECONDS):
                        self._connection = await connect(self._address)
                with limited(self._connection, lease.ASK_SECONDS):
                    found = await held(self._connection, self._address)
            if found.term != self.term:
                return f"{found.holder} has taken over (term {found.term}, after {self.term} of this process); {silent}"
        return f"the right to write has ended, since it was not prolonged for {lease.LEASE_SECONDS} seconds; {silent}"

    # What an engine does.

    async def _read(self, selects: Iterable[str]) -> Rows:
        rows = {}
        for select in selects:
            async with self._turn:  # each for itself: the lease has to be prolonged between them
                rows[select] = await fetch(self._connection, (select, ()))
        return rows

    async def _store(self, statements: list[Statement]) -> None:
        if not self.is_ours():
            raise DatabaseWriteError(self._address, await self._who_has_it())
        try:
            async with self._turn:
                began = _now()
                with limited(self._connection, self._left()):  # whatever comes after that may not be said
                    await self._sender.store([(lease.WRITE, (self.term,)), *statements])
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name == lease.CONSTRAINT:
                self._ours_until = 0.0
                raise DatabaseWriteError(self._address, await self._who_has_it()) from None
            lost = "the connection is lost: " if self._connection.closed else ""
            why = f"{lost}{reason(error)}" if self.is_ours() else await self._who_has_it()
            raise DatabaseWriteError(self._address, why) from None
        if self.is_ours():
            self._ours_until = max(self._ours_until, began + lease.LEASE_SECONDS - lease.MARGIN_SECONDS)
        if not self.is_ours():  # stored, but too late to say so
            raise DatabaseWriteError(self._address, await self._who_has_it())

    async def mark_exported(self, is_exported: bool) -> None:
        """Keep nodes from running on it, or let them again; durable when this returns. Raises DatabaseWriteError."""
        application_id = tables.EXPORTED_APPLICATION_ID if is_exported else tables.APPLICATION_ID
        await self._commit([("UPDATE about SET application_id = ?", (application_id,))])
        self.is_exported = is_exported

    async def _let_go(self) -> None:
        try:
            if self._keeping is not None:
                self._keeping.cancel()
                await asyncio.gather(self._keeping, *self._commits, return_exceptions=True)
            if self.is_ours():
                with contextlib.suppress(psycopg.Error), limited(self._connection, lease.RENEW_SECONDS):
                    await self._connection.execute(to_postgres(lease.LET_GO).encode(), (self.term,))
        finally:
            self._ours_until = 0.0
            await self._connection.close()
