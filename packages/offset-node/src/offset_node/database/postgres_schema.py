"""
Shell: the tables of a node's database on a server of PostgreSQL: made, recognised, brought to the present version.

They are the tables of the SQLite database, in a schema of their own (`dialect` says what differs), and two more:
``writer``, which says who may write (`lease`), and ``about``, of one row:

====================  =================================================================================================
`application_id`      what they hold, as in a file of SQLite (`tables`)
`schema_version`      in which version; a newer program brings them to its own, one number after the other
`place`               of which server, which database and which table of it, they are
====================  =================================================================================================

A dump is a copy: a node that went on from one as if nothing had happened would sign a second successor of a token that
it has forgotten. What was restored from a dump is another table, or on another server, and so `place` tells it. What
``CREATE DATABASE ... TEMPLATE`` has copied has the same tables on the same server, and is another database. A standby
of the server is the same server, since it has all that was ever answered.

In the first form of `place` the database was missing. Where it holds in that form it is replaced when the database is
opened; until then a copy by ``TEMPLATE`` can not be told.
"""

from collections.abc import AsyncIterable
from typing import Final

import psycopg

from offset_node.database import lease, tables
from offset_node.database.dialect import to_postgres, to_postgres_schema
from offset_node.database.errors import DatabaseWriteError, LoadDbError
from offset_node.database.names import PostgresAddress
from offset_node.database.postgres_connection import SCHEMA_NAME, Connection, connect, fetch, reason
from offset_node.database.tables.cells import Statement
from offset_proto.files import OutputAlreadyExists

__all__ = ["bring_up", "create", "recognise"]

_FIRST_VERSION: Final = 6
"""Of the schema, that was ever kept on a server: no step that leads to it has to be carried out there."""

_ABOUT: Final = """
CREATE TABLE about (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    application_id BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,
    place TEXT NOT NULL
);
"""
_TABLE: Final = f"'{SCHEMA_NAME}.about'::regclass::oid"
_PLACE: Final = (
    f"(SELECT system_identifier || '/' || pg_database.oid || '/' || {_TABLE}"
    " FROM pg_control_system(), pg_database WHERE datname = current_database())"
)
_FIRST_PLACE: Final = f"(SELECT system_identifier || '/' || {_TABLE} FROM pg_control_system())"
"""The same in its first form, without the database."""

_INSERT_ABOUT: Final = (
    f"INSERT INTO about (id, application_id, schema_version, place) SELECT 1, %s::bigint, %s::bigint, {_PLACE}"
)


async def create(
    address: PostgresAddress, batches: AsyncIterable[list[Statement]], *, is_exported: bool = False
) -> None:
    """
    Make the tables of a new database, and fill them; complete or not at all.

    Args:
        address: Of a database without a schema of that name.
        batches: What fills the tables.
        is_exported: No node starts on it before it is marked otherwise.

    Raises:
        LoadDbError: The server can not be reached, or does not fit.
        OutputAlreadyExists: There is a schema of that name; it stays as it is.
        DatabaseWriteError: It can not be made.
    """
    application_id = tables.EXPORTED_APPLICATION_ID if is_exported else tables.APPLICATION_ID
    connection = await connect(address)
    try:
        async with connection.transaction():
            await connection.execute(f"CREATE SCHEMA {SCHEMA_NAME}".encode())
            schema = to_postgres_schema(tables.SCHEMA) + _ABOUT + lease.SCHEMA
            await connection.execute(schema.encode(), prepare=False)
            await connection.execute(_INSERT_ABOUT.encode(), (application_id, tables.SCHEMA_VERSION))
            await connection.execute(lease.NEW.encode())
            async for statements in batches:
                async with connection.pipeline():
                    for text, values in statements:
                        await connection.execute(to_postgres(text).encode(), values)
            await _count_on(connection)
    except psycopg.errors.DuplicateSchema:
        raise OutputAlreadyExists(f"{address}: schema {SCHEMA_NAME}") from None
    except psycopg.Error as error:
        raise DatabaseWriteError(address, reason(error)) from None
    finally:
        await connection.close()


async def _count_on(connection: Connection) -> None:
    """Let columns that the server counts go on after the numbers that were inserted."""
    counted = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = ? AND is_identity = 'YES'"
    )
    for table, column in await fetch(connection, (counted, (SCHEMA_NAME,))):
        sequence = f"pg_get_serial_sequence('{SCHEMA_NAME}.{table}', '{column}')"
        last = f'SELECT coalesce(max("{column}"), 0) + 1 FROM {table}'
        await connection.execute(f"SELECT setval({sequence}, ({last}), false)".encode())


async def recognise(
    connection: Connection, address: PostgresAddress, *, even_exported: bool, even_restored: bool
) -> tuple[int, bool]:
    """
    What the schema holds.

    Returns:
        Its version, and whether its node was moved elsewhere.

    Raises:
        LoadDbError: Nothing of ours, of another version, exported, restored from a dump, or a copy.
        psycopg.Error: It can not be read.
    """
    try:
        holds = f"place IN ({_PLACE}, {_FIRST_PLACE})"
        rows = await fetch(connection, (f"SELECT application_id, schema_version, {holds} FROM about", ()))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        if await fetch(connection, ("SELECT 1 FROM pg_namespace WHERE nspname = ?", (SCHEMA_NAME,))):
            raise LoadDbError(address, f"its schema {SCHEMA_NAME} is of something else") from None
        raise LoadDbError(address, "no node database is there; stmgr init-node-db makes one") from None
    if len(rows) != 1:
        raise LoadDbError(address, "the table about is empty")
    ((application_id, version, is_in_place),) = rows
    is_exported = application_id == tables.EXPORTED_APPLICATION_ID
    if application_id != tables.APPLICATION_ID and not is_exported:
        raise LoadDbError(address, "not a node database")
    if is_exported and not even_exported:
        raise LoadDbError(address, "exported: its node may have gone on elsewhere, move it from there")
    if not is_in_place and not even_restored:
        raise LoadDbError(
            address,
            "a copy of another database, or restored from a dump, on which no node runs; "
            "stmgr move-db --restored makes a database from it",
        )
    if not _FIRST_VERSION <= version <= tables.SCHEMA_VERSION:
        raise LoadDbError(address, f"schema version {version}, this program knows {tables.SCHEMA_VERSION}")
    return int(version), is_exported


async def bring_up(connection: Connection, version: int, term: int) -> None:
    """Bring the tables to the present version, one number after the other. Raises psycopg.Error."""
    for older in range(version, tables.SCHEMA_VERSION):
        async with connection.transaction():
            await connection.execute(to_postgres(lease.WRITE).encode(), (term,))
            await connection.execute(to_postgres_schema(tables.MIGRATIONS[older]).encode(), prepare=False)
            await connection.execute("UPDATE about SET schema_version = %s", (older + 1,))
    # Whoever does it writes the same, so that it needs no lease; what was copied is in neither place, and stays so.
    await connection.execute(f"UPDATE about SET place = {_PLACE} WHERE place = {_FIRST_PLACE}".encode())
