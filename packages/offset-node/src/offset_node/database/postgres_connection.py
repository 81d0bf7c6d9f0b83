"""
Shell: a connection to a server of PostgreSQL by psycopg, as a node needs it. Spec 08 §6.

How a connection is set up
    =====================  ==========================================================================================
    durability             ``synchronous_commit`` at least ``on``, whatever the server has as its default: a commit that
                           is answered is on the disk, and on the standby where the server has one that is synchronous
    the schema             all tables are in the schema ``offset_node``, so that nothing else in the database is met
    where to               of several hosts, one that takes writes
    a network that is cut  TCP gives a connection up within the length of a lease (`offset_node.database.lease`)
    cells                  integers are sent as 64 bits, and texts escaped (`offset_node.database.dialect`)
    =====================  ==========================================================================================

Session settings and prepared statements need a connection of one's own: a pooler between them, in the mode where
transactions share connections, does not fit.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from offset_node.database.dialect import escape, to_postgres, unescape
from offset_node.database.errors import LoadDbError, ServerNotReached
from offset_node.database.lease import LEASE_SECONDS
from offset_node.database.names import PostgresAddress
from offset_node.database.tables.cells import Statement

__all__ = ["SCHEMA_NAME", "Connection", "connect", "fetch", "limited", "reason", "this_process"]

# psycopg warns of what it has to leave undone on a connection that is lost; whoever used it gets the error itself.
logging.getLogger("psycopg").setLevel(logging.ERROR)

SCHEMA_NAME: Final = "offset_node"

OLDEST_SERVER: Final = 13
"""Major version of the oldest PostgreSQL that has all that is used here."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
)


class _TextDumper(StrDumper):
    """Texts without NUL."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(escape(obj))


class _TextLoader(Loader):
    """Texts as they were given."""

    def load(self, data: Buffer) -> str:
        return unescape(bytes(data).decode())


def this_process() -> str:
    """What a lease calls its holder."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def reason(error: Exception) -> str:
    """What the server or the library says, in one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


async def connect(address: PostgresAddress) -> Connection:
    """
    A connection in which each statement is a transaction, unless there is one around it.

    Raises:
        ServerNotReached: No server answers, it refuses us, or takes no writes.
        LoadDbError: It is too old, or its encoding is another one.
    """
    try:
        connection = await Connection.connect(
            address.text,
            autocommit=True,
            target_session_attrs="read-write",
            application_name="offset-node",
            connect_timeout=LEASE_SECONDS,
            keepalives_idle=LEASE_SECONDS,
            tcp_user_timeout=LEASE_SECONDS * 1000,
        )
    except psycopg.Error as error:
        raise ServerNotReached(address, address.without_secrets(reason(error))) from None
    try:
        await _set_up(connection, address)
    except BaseException as error:
        await connection.close()
        if isinstance(error, psycopg.Error):
            raise ServerNotReached(address, reason(error)) from None
        raise
    return connection


async def _set_up(connection: Connection, address: PostgresAddress) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise LoadDbError(address, f"PostgreSQL {version}; a node needs {OLDEST_SERVER} or newer")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise LoadDbError(address, f"its encoding is {encoding}; a node needs a database whose encoding is UTF8")
    connection.adapters.register_dumper(str, _TextDumper)
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_loader("text", _TextLoader)
    connection.prepare_threshold = 1
    await connection.execute(_DURABLE)
    await connection.execute(f"SET search_path TO {SCHEMA_NAME}".encode())


async def fetch(connection: Connection, statement: Statement) -> list[tuple[Any, ...]]:
    """All rows of a SELECT of `tables`. Raises psycopg.Error."""
    text, values = statement
    return await (await connection.execute(to_postgres(text).encode(), values)).fetchall()


@contextmanager
def limited(connection: Connection, seconds: float) -> Iterator[None]:
    """
    Hang up when what is done within has not ended in time.

    Whoever waits for the server gets an error then, as if it had hung up. To cancel the one who waits would not do:
    psycopg asks the server to stop, and waits for its answer.
    """

    def hang_up() -> None:
        if not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, hang_up)
    try:
        yield
    finally:
        timer.cancel()
