"""
The node's database: SQLite by aiosqlite, one transaction for each batch of mutations. Spec 07 §7.

What is durable when
    Write-ahead log with ``synchronous=FULL``: when `Database.apply` has returned, the batch survives a power failure.
    `stored_node` says what is done with a batch, whichever engine stores it.

Life of a database
    ====================  =====================================================================================
    open                  `Database.open`: the file is locked, checked to be one of ours, and brought to the
                          present version of the schema
    loaded                `load` has read the whole state; from now on `apply` may be called
    closed                `close` has returned: what was under way is stored, lock and thread are gone
    ====================  =====================================================================================

Threads
    aiosqlite runs each call on a thread of its own, in the order of the calls. It crosses to that thread once for
    each of sqlite3's methods that it offers, and a batch of a busy node has hundreds of statements. So the connection
    is of a class whose ``executemany`` takes a whole batch as well (`_BatchConnection`): one crossing for a batch.

A lock file keeps a second node away from the same database (D80); the operating system releases it however the
process ends.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from offset_node.database import tables
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError, LoadDbError
from offset_node.database.mistaken import check_no_other_file
from offset_node.database.reading import SqliteHistory
from offset_node.database.stored_node import StoredNode
from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import BeginTimeline, NodeState
from offset_proto.files import IoError, OutputAlreadyExists

__all__ = ["Database", "create", "create_database", "load_database", "run_alone"]

T = TypeVar("T")

# aiosqlite logs each statement with its parameters at the level DEBUG; among them are the locks of payments.
logging.getLogger("aiosqlite").setLevel(logging.INFO)

_ONE_TRANSACTION = "-- a batch of statements"
"""Told from SQL by identity."""


_REFUSED: Final = {
    tables.BACKUP_APPLICATION_ID: "a backup, on which no node runs; stmgr restore makes a database from it",
    tables.ARCHIVE_APPLICATION_ID: "an archive of a history, on which no node runs",
}
"""Why nothing runs on these databases, by application id."""


class _BatchConnection(sqlite3.Connection):
    """A connection whose ``executemany`` stores a batch, where it is called with `_ONE_TRANSACTION`."""

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        if sql is not _ONE_TRANSACTION:
            return super().executemany(sql, parameters)
        execute = self.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, values in parameters:
                execute(statement, values)
            return execute("COMMIT")
        except BaseException:
            if self.in_transaction:
                execute("ROLLBACK")
            raise


def _connect(path: Path) -> aiosqlite.Connection:
    """A connection without implicit transactions; it opens, and its thread starts, when it is awaited."""
    return aiosqlite.connect(path, isolation_level=None, factory=_BatchConnection)


def create_database(path: Path, state: NodeState, timeline: BeginTimeline | None = None) -> None:
    """
    Write a new database that holds *state*; complete or not at all, mode 0600. Not from within an event loop.

    Args:
        path: The new file.
        state: Of the node.
        timeline: Where the node has had another database before.

    Raises:
        OutputAlreadyExists: There is a file of that name; it stays as it is.
        IoError: It can not be written.
    """

    async def whole() -> AsyncIterator[list[Statement]]:
        yield list(tables.insert_state(state, int(time.time()), timeline))

    asyncio.run(create(path, whole()))


async def create(path: Path, batches: AsyncIterable[list[Statement]], *, is_exported: bool = False) -> None:
    """
    Write a new database, which is filled by *batches* of statements; complete or not at all, mode 0600.

    Args:
        path: The new file.
        batches: What fills the tables.
        is_exported: No node starts on it before it is marked otherwise.

    Raises:
        OutputAlreadyExists: There is a file of that name; it stays as it is.
        IoError: It can not be written.
    """
    if path.exists() or path.is_symlink():
        raise OutputAlreadyExists(path)
    temporary = path.with_name(f".new.{os.getpid()}.{path.name}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            await _fill(temporary, batches, is_exported)
            os.link(temporary, path)
        finally:
            temporary.unlink()
    except FileExistsError:
        raise OutputAlreadyExists(path) from None
    except OSError as error:
        raise IoError(path, error.strerror or str(error)) from None
    except sqlite3.Error as error:
        raise IoError(path, str(error)) from None


async def _fill(path: Path, batches: AsyncIterable[list[Statement]], is_exported: bool) -> None:
    application_id = tables.EXPORTED_APPLICATION_ID if is_exported else tables.APPLICATION_ID
    async with _connect(path) as connection:
        await connection.executescript(
            f"PRAGMA application_id = {application_id}; PRAGMA user_version = {tables.SCHEMA_VERSION};"
            "PRAGMA synchronous = FULL;" + tables.SCHEMA
        )
        async for statements in batches:
            await connection.executemany(_ONE_TRANSACTION, statements)
        await connection.execute("PRAGMA journal_mode = WAL")  # stays with the file


def load_database(path: Path) -> NodeState:
    """
    The state in a database that no node runs on. Not from within an event loop.

    Raises:
        LoadDbError: It can not be loaded.
        DatabaseInUse: A node runs on it.
    """

    async def load() -> NodeState:
        database = await Database.open(path)
        try:
            return await database.load()
        finally:
            await database.close()

    return run_alone(load())


def run_alone(work: Coroutine[Any, Any, T]) -> T:
    """
    The result of *work*, which gets an event loop of its own. Not from within an event loop.

    Up to Python 3.12 `asyncio.run` makes the repr of the result, twice: its handler of SIGINT holds the task, and
    `signal` looks whether that handler is a member of an enumeration. For the state of a node with 10,000 friends this
    takes as long as loading it, so the task must not hold the result.
    """
    results: list[T] = []

    async def keep() -> None:
        results.append(await work)

    asyncio.run(keep())
    return results[0]


class Database(StoredNode):
    """An open database, made by `Database.open`. All of its methods belong to the event loop that it was opened in."""

    failure = sqlite3.Error

    def __init__(self, path: Path, lock: int, connection: aiosqlite.Connection) -> None:
        super().__init__(path, SqliteHistory(path))
        self._path = path
        self._lock = lock
        self._connection = connection

    @classmethod
    async def open(cls, path: Path, *, even_exported: bool = False) -> "Database":
        """
        Open a database.

        Args:
            path: Made by `create_database`.
            even_exported: Also one whose node was moved to another program; to be read, not to run on.

        Raises:
            LoadDbError: No such file, not one of ours, exported, or a backup.
            DatabaseInUse: Another process holds it.
        """
        if not path.is_file():
            raise LoadDbError(path, "no such file" if not path.exists() else "not a regular file")
        check_no_other_file(path)
        lock = _take_lock(path)
        try:
            connection = await _connect(path)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, sqlite3.Error):
                raise LoadDbError(path, error) from None
            raise
        database = cls(path, lock, connection)
        try:
            await database._prepare(even_exported)
        except (sqlite3.Error, UnicodeError) as error:  # SQLite quotes what is damaged, which may be no text
            await database.close()
            raise LoadDbError(path, error) from None
        except BaseException:
            await database.close()
            raise
        return database

    async def _prepare(self, even_exported: bool) -> None:
        application_id = await self._pragma("application_id")
        version = await self._pragma("user_version")
        self.is_exported = application_id == tables.EXPORTED_APPLICATION_ID
        if application_id in _REFUSED:
            raise LoadDbError(self._path, _REFUSED[application_id])
        if application_id != tables.APPLICATION_ID and not self.is_exported:
            raise LoadDbError(self._path, "not a node database")
        if self.is_exported and not even_exported:
            raise LoadDbError(self._path, "exported: its node may have gone on elsewhere, import it from there")
        if version != tables.SCHEMA_VERSION and version not in tables.MIGRATIONS:
            raise LoadDbError(self._path, f"schema version {version}, this program knows {tables.SCHEMA_VERSION}")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            await self._connection.execute(f"PRAGMA {pragma}")
        for older in range(version, tables.SCHEMA_VERSION):
            migration = f"BEGIN;{tables.MIGRATIONS[older]}PRAGMA user_version = {older + 1};COMMIT;"
            await self._connection.executescript(migration)
        for suffix in ("-wal", "-shm"):
            extra = self._path.with_name(self._path.name + suffix)
            if extra.exists():
                extra.chmod(0o600)

    async def _pragma(self, name: str) -> Any:
        rows = list(await self._connection.execute_fetchall(f"PRAGMA {name}"))
        return rows[0][0]

    async def _read(self, selects: Iterable[str]) -> Rows:
        return {select: [tuple(row) for row in await self._connection.execute_fetchall(select)] for select in selects}

    async def load(self) -> NodeState:
        """
        The whole state; the pages of the file are checked first.

        Raises:
            LoadDbError: Damaged, or it breaks a rule of the ledger.
        """
        try:
            problem = await self._pragma("quick_check(1)")
        except (sqlite3.Error, UnicodeError) as error:
            raise LoadDbError(self._path, error) from None
        if problem != "ok":
            raise LoadDbError(self._path, problem)
        return await super().load()

    async def mark_exported(self, is_exported: bool) -> None:
        """Keep nodes from running on it, or let them again; durable when this returns. Raises DatabaseWriteError."""
        application_id = tables.EXPORTED_APPLICATION_ID if is_exported else tables.APPLICATION_ID
        try:
            await self._connection.execute(f"PRAGMA application_id = {application_id}")
        except sqlite3.Error as error:
            raise DatabaseWriteError(self._path, error) from None
        self.is_exported = is_exported

    def is_ours(self) -> bool:
        """Always: it is locked."""
        return True

    async def keep(self) -> None:
        """Nothing is to be waited for."""

    async def _store(self, statements: list[Statement]) -> None:
        try:
            await self._connection.executemany(_ONE_TRANSACTION, statements)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseWriteError(self._path, error) from None

    async def _let_go(self) -> None:
        try:
            await self._connection.close()
        finally:
            os.close(self._lock)


def _take_lock(path: Path) -> int:
    lock_path = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LoadDbError(lock_path, error.strerror or error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DatabaseInUse(path) from None
    return descriptor
