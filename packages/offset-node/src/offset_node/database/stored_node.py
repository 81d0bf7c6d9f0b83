"""
A node in tables: what SQLite and PostgreSQL have in common, and the life of a batch that is being stored.

The seam
    A node hands a database *mutations*, and takes a *state* from it. `offset_node.database.tables` makes statements of
    the one and the other of rows; it knows no database. What is left to an engine is little: to fetch the rows of some
    SELECTs, to carry statements out in one transaction, to say whose it is, and to end. These are the methods of
    `StoredNode` that are abstract; whatever can be done with them alone is done here, once.

A batch
    `StoredNode.apply` returns when the batch is durable. It is stored as a whole or not at all, and batches are stored
    in the order in which they came.

Cancellation
    The libraries below go on with a call whose caller was cancelled, and drop its result. A commit under way is
    therefore a task of the database: it ends as if nobody had been cancelled, and `close` waits for it. If it fails
    with nobody left to be told, the next `apply`, or `close`, tells it. `close` itself is cancelled only when all is
    closed: a second signal to end the process takes nothing away from a commit under way.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from offset_funder.invariants import check_state
from offset_node.database import tables
from offset_node.database.errors import DatabaseWriteError, LoadDbError
from offset_node.database.reading import HistoryReader
from offset_node.database.tables import history, timelines
from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import WHOLE_HISTORY, HistoryScope, Mutation, NodeState, PluginRecords
from offset_proto.errors import InvalidInput, InvariantBroken
from offset_proto.messages.extensions import ALL_EXTENSIONS
from offset_proto.messages.history import HistoryPage, ReadHistory
from offset_proto.types import U64, PublicKey

__all__ = ["StoredNode"]


class StoredNode(ABC):
    """
    An open database. All of its methods belong to the event loop that it was opened in.

    Args:
        name: What errors call it.
        reader: Of its history; is closed with it.

    Attributes:
        is_exported: Its node was moved to another program, or to another database.
        extensions: Of the app protocol, for which it has a place: all.
        history_end: Number of the last entry of the history, as of `load`.
        reader: As above.
    """

    extensions = ALL_EXTENSIONS
    failure: ClassVar[type[Exception]]
    """What the library of the engine raises where something can not be read."""

    def __init__(self, name: object, reader: HistoryReader) -> None:
        self.is_exported = False
        self.history_end = 0
        self.reader = reader
        self._name = name
        self._local_public_key: PublicKey | None = None
        self._done: set[Statement] = set()  # of `tables.ONCE`: one for each friend, currency and app
        self._commits: set[asyncio.Task[None]] = set()
        self._untold: DatabaseWriteError | None = None
        self._closing: asyncio.Task[None] | None = None

    # What an engine does.

    @abstractmethod
    async def _read(self, selects: Iterable[str]) -> Rows:
        """The rows of each SELECT. Raises `failure`."""

    @abstractmethod
    async def _store(self, statements: list[Statement]) -> None:
        """Carry statements out in order and in one transaction; durable then. Raises DatabaseWriteError."""

    @abstractmethod
    async def _let_go(self) -> None:
        """End the connection; nothing is under way."""

    @abstractmethod
    async def mark_exported(self, is_exported: bool) -> None:
        """Keep nodes from running on it, or let them again; durable when this returns. Raises DatabaseWriteError."""

    @abstractmethod
    def is_ours(self) -> bool:
        """Whether what it holds may be acted on, now: nobody else can write it."""

    @abstractmethod
    async def keep(self) -> None:
        """Wait until it is not ours any more; returns where that can not happen. Raises DatabaseWriteError."""

    # What follows from that.

    @property
    def timeline(self) -> U64:
        """Which history of its node it is, as of `load`."""
        return self.reader.timeline

    async def load(self) -> NodeState:
        """
        The whole state.

        Raises:
            LoadDbError: Damaged, or it breaks a rule of the ledger.
        """
        try:
            # On a thread: it takes as long as the state is large, and meanwhile a lease has to be prolonged.
            state = await asyncio.to_thread(_checked_state, await self._read(tables.STATE_READS))
            about = await self._read([history.END, timelines.TIMELINE])
            ((self.history_end,),), ((self.reader.timeline,),) = about[history.END], about[timelines.TIMELINE]
        except (self.failure, InvalidInput, InvariantBroken, UnicodeError) as error:
            raise LoadDbError(self._name, error) from None
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
        except (self.failure, UnicodeError) as error:
            raise LoadDbError(self._name, error) from None

    async def read_history(self, request: ReadHistory, scope: HistoryScope = WHOLE_HISTORY) -> HistoryPage:
        """
        A page of the entries in *scope*, as far as they are durable. No batch that is being stored waits, or is seen.

        Raises:
            LoadDbError: Damaged.
        """
        return await self.reader.read(request, scope)

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
        statements = tables.write_batch(self._local_public_key, mutations, self._done)
        await self._commit(statements)
        self._done.update(statement for statement in statements if statement[0] in tables.ONCE)

    async def _commit(self, statements: list[Statement]) -> None:
        """Store statements in a task of the database, which goes on where the caller is cancelled."""
        commit = asyncio.create_task(self._store(statements))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            commit.add_done_callback(self._keep_failure)
            raise

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
            await self.reader.close()
        finally:
            await self._let_go()


def _checked_state(rows: Rows) -> NodeState:
    state = tables.read_state(rows)
    check_state(state.funder)
    return state
