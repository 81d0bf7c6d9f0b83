"""
The node's database: SQLite by aiosqlite, one transaction for each batch of mutations. Spec 07 §7.

What is durable when
    Write-ahead log with ``synchronous=FULL``: when `Database.apply` has returned, the batch survives a power failure.
    A batch is stored as a whole or not at all.

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

Cancellation
    aiosqlite goes on with a call whose caller was cancelled, and drops its result. A commit under way is therefore a
    task of the database: it ends as if nobody had been cancelled, and `close` waits for it. If it fails with nobody
    left to be told, the next `apply`, or `close`, tells it. `close` itself is cancelled only when all is closed: a
    second signal to end the process takes neither the lock nor the thread from a commit under way.

A lock file keeps a second node away from the same database (D80); the operating system releases it however the
process ends.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from offset_funder.invariants import check_state
from offset_node.database import tables
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError, LoadDbError
from offset_node.database.reading import HistoryReader
from offset_node.database.tables import history
from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import Mutation, NodeState, PluginRecords
from offset_proto.errors import InvalidInput, InvariantBroken
from offset_proto.files import IoError, OutputAlreadyExists
from offset_proto.messages.extensions import ALL_EXTENSIONS
from offset_proto.messages.history import HistoryPage, ReadHistory
from offset_proto.types import PublicKey

__all__ = ["Database", "create_database", "load_database", "run_alone"]

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


def create_database(path: Path, state: NodeState) -> None:
    """
    Write a new database that holds *state*; complete or not at all, mode 0600. Not from within an event loop.

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
            asyncio.run(_fill(temporary, state))
            os.link(temporary, path)
        finally:
            temporary.unlink()
    except FileExistsError:
        raise OutputAlreadyExists(path) from None
    except OSError as error:
        raise IoError(path, error.strerror or str(error)) from None
    except sqlite3.Error as error:
        raise IoError(path, str(error)) from None


async def _fill(path: Path, state: NodeState) -> None:
    async with _connect(path) as connection:
        await connection.executescript(
            f"PRAGMA application_id = {tables.APPLICATION_ID}; PRAGMA user_version = {tables.SCHEMA_VERSION};"
            "PRAGMA synchronous = FULL;" + tables.SCHEMA
        )
        await connection.executemany(_ONE_TRANSACTION, list(tables.insert_state(state, int(time.time()))))
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


class Database:
    """
    An open database, made by `Database.open`. All of its methods belong to the event loop that it was opened in.

    Attributes:
        is_exported: Its node was moved to another program.
        extensions: Of the app protocol, for which it has a place: all.
        history_end: Number of the last entry of the history, as of `load`.
    """

    extensions = ALL_EXTENSIONS

    def __init__(self, path: Path, lock: int, connection: aiosqlite.Connection) -> None:
        self.is_exported = False
        self.history_end = 0
        self._path = path
        self._lock = lock
        self._connection = connection
        self._local_public_key: PublicKey | None = None
        self._commits: set[asyncio.Task[None]] = set()
        self._untold: DatabaseWriteError | None = None
        self._closing: asyncio.Task[None] | None = None
        self._reader = HistoryReader(path)

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
        if _starts_with(path, b"{"):
            raise LoadDbError(path, "JSON, as the original writes it; stmgr import-db makes a database from that")
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
        The whole state.

        Raises:
            LoadDbError: Damaged, or it breaks a rule of the ledger.
        """
        try:
            problem = await self._pragma("quick_check(1)")
            if problem != "ok":
                raise LoadDbError(self._path, problem)
            state = tables.read_state(await self._read(tables.STATE_READS))
            check_state(state.funder)
            ((self.history_end,),) = (await self._read([history.END]))[history.END]
        except (sqlite3.Error, InvalidInput, InvariantBroken, UnicodeError) as error:
            raise LoadDbError(self._path, error) from None
        self._local_public_key = state.funder.local_public_key
        return state

    async def load_plugins(self) -> PluginRecords:
        """
        What is kept for plugins.

        Raises:
            LoadDbError: Damaged.
        """
        try:
            return tables.read_plugins(await self._read(tables.PLUGIN_READS))
        except (sqlite3.Error, UnicodeError) as error:
            raise LoadDbError(self._path, error) from None

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        """
        A page of the history, as far as it is durable. A batch that is being stored neither waits for it nor is seen.

        Raises:
            LoadDbError: Damaged.
        """
        return await self._reader.read(request)

    async def mark_exported(self, is_exported: bool) -> None:
        """Keep nodes from running on it, or let them again; durable when this returns. Raises DatabaseWriteError."""
        application_id = tables.EXPORTED_APPLICATION_ID if is_exported else tables.APPLICATION_ID
        try:
            await self._connection.execute(f"PRAGMA application_id = {application_id}")
        except sqlite3.Error as error:
            raise DatabaseWriteError(self._path, error) from None
        self.is_exported = is_exported

    async def apply(self, mutations: Iterable[Mutation]) -> None:
        """
        Store a batch, all or nothing; durable when this returns.

        A caller that is cancelled does not know whether the batch is stored; it is being stored all the same.

        Raises:
            DatabaseWriteError: It is not stored; or a batch whose caller was cancelled had failed before this call, and
                nobody has been told.
        """
        if self._local_public_key is None:
            raise InvariantBroken("a database is loaded before it is written")
        if self._closing is not None:
            raise InvariantBroken("a database is not written after it is closed")
        self._tell_untold()
        local = self._local_public_key
        statements = [statement for mutation in mutations for statement in tables.write(local, mutation)]
        commit = asyncio.create_task(self._commit(statements))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            commit.add_done_callback(self._keep_failure)
            raise

    async def _commit(self, statements: list[Statement]) -> None:
        try:
            await self._connection.executemany(_ONE_TRANSACTION, statements)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseWriteError(self._path, error) from None

    def _keep_failure(self, commit: "asyncio.Task[None]") -> None:
        error = None if commit.cancelled() else commit.exception()
        if isinstance(error, DatabaseWriteError):
            self._untold = error

    def _tell_untold(self) -> None:
        untold, self._untold = self._untold, None
        if untold is not None:
            raise untold

    async def close(self) -> None:
        """
        Wait for the batches under way, and let the database go. Harmless the second time.

        A caller that is cancelled is told so when the database is closed, and not before.

        Raises:
            DatabaseWriteError: A batch whose caller had been cancelled was not stored.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not self._closing.done():
            try:
                await asyncio.wait({self._closing})
            except asyncio.CancelledError as error:
                cancelled = error
        self._closing.result()
        self._tell_untold()
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        if self._commits:
            await asyncio.wait(self._commits)
        try:
            await self._reader.close()
            await self._connection.close()
        finally:
            os.close(self._lock)


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError as error:
        raise LoadDbError(path, error.strerror or error) from None


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
