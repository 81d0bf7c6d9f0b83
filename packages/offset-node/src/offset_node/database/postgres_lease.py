"""
Shell: how the lease of a database on a server is taken, and who has it. What it is, and why that is enough: `lease`.

A holder that was frozen or cut off while it sent a batch may leave a transaction that is half there, and its lock on
the row with it, for hours. Nobody could take over meanwhile. So whoever finds the row locked after the lease has ended
ends those who hold the lock, and whatever they would store now, they may not say any more. That is so where

* the server waits to hear more of them. Whose statements are being carried out, such as those that bring tables to a
  new version, is waited for;
* the transaction has gone on for longer than a lease. Its own sender has hung up by then, or is frozen. A younger one
  may be another contender that takes the lease, over a slow network; two of those would end each other for ever;
* the lease has not been taken meanwhile, or prolonged: what the row says is read again in the same statement;
* it is of this database. The tables of another one may have the same numbers.

What is not so, such as a transaction of another role, or a lock that somebody has asked for by hand, is waited for, and
`lock_holders` says who that is.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg

from offset_node.database import lease
from offset_node.database.errors import LoadDbError
from offset_node.database.names import PostgresAddress
from offset_node.database.postgres_connection import Connection, fetch, this_process

__all__ = ["Held", "held", "lock_holders", "take"]

_PATIENCE: Final = b"SET LOCAL lock_timeout = '1s'"

_END_HOLDERS_OF_THE_ROW: Final = (
    "SELECT pg_terminate_backend(pid) FROM writer, pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE datname = current_database() AND usename = current_user AND wait_event_type = 'Client'"
    " AND relation = 'writer'::regclass AND mode = 'RowExclusiveLock' AND granted"
    f" AND xact_start < clock_timestamp() - interval '{lease.LEASE_SECONDS} seconds' AND until <= clock_timestamp()"
).encode()

_LOCK_HOLDERS: Final = (
    "SELECT DISTINCT pid, usename::text, application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type IS DISTINCT FROM 'Lock'"
    " AND relation = 'writer'::regclass AND mode <> 'AccessShareLock' AND granted ORDER BY pid LIMIT 3"
)


@dataclass(frozen=True, slots=True)
class Held:
    """
    How the lease stands.

    Attributes:
        term: How often it was taken.
        holder: Who took it last, and that it has let go, where it has.
        until: When it ends unless it is prolonged; to be compared, and not with a clock of this machine.
        seconds: Until it ends, by the clock of the server; none or less where it has ended.
    """

    term: int
    holder: str
    until: datetime
    seconds: float

    @property
    def has_ended(self) -> bool:
        """Whether anybody may take it."""
        return self.seconds <= 0

    def is_before(self, seen: "Held") -> bool:
        """Whether it was so before it was as *seen*: in a lower term, or in the same one, which nobody has let go."""
        if self.term != seen.term:
            return self.term < seen.term
        return self.until < seen.until and self.holder == seen.holder

    @property
    def look_again_seconds(self) -> float:
        """After how long to look again: when it ends, if that is soon."""
        return min(lease.LOOK_AGAIN_SECONDS, max(lease.LOOK_SOON_SECONDS, self.seconds))


async def held(connection: Connection, address: PostgresAddress) -> Held:
    """
    How the lease stands; takes no lock.

    Raises:
        LoadDbError: There is no row that says so.
        psycopg.Error: It can not be read.
    """
    rows = await fetch(connection, (lease.HOLDER, ()))
    if not rows:
        raise LoadDbError(address, "the table writer is empty")
    return Held(*rows[0])


async def take(connection: Connection) -> int | None:
    """The new term, if the lease has ended; None where it is held, or has to be tried again. Raises psycopg.Error."""
    try:
        async with connection.transaction():
            await connection.execute(_PATIENCE)
            taken = await fetch(connection, (lease.TAKE, (this_process(),)))
    except psycopg.errors.LockNotAvailable:
        await connection.execute(_END_HOLDERS_OF_THE_ROW)
        return None
    return int(taken[0][0]) if taken else None


async def lock_holders(connection: Connection) -> str:
    """Who keeps the row locked, in words: three at most, and as far as this role may see it. Raises psycopg.Error."""
    rows = await fetch(connection, (_LOCK_HOLDERS, ()))
    named = [f"process {pid} of the server (role {role}, application {name or '-'})" for pid, role, name in rows]
    return ", ".join(named) or "somebody whom the server does not name"
