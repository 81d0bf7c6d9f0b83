"""
A node's database as the original keeps it: one JSON file, replaced as a whole for each batch. Spec 07 §7.1, 08 §6.

For the nodes of stcompact, whose store the original's program must be able to go on with at any time. What a batch
costs grows with what is stored; stnode uses `storage`.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from offset_node.database.audit import audit
from offset_node.database.errors import DatabaseWriteError, LoadDbError
from offset_node.database.original import format_database, parse_database
from offset_node.state import (
    BookMutation,
    HistoryScope,
    Mutation,
    NodeState,
    PendingTimeMutation,
    PluginMutation,
    PluginRecords,
    apply,
)
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import read_text, replace_text
from offset_proto.messages.extensions import ALL_EXTENSIONS, Extension
from offset_proto.messages.history import HistoryPage, ReadHistory

__all__ = ["JsonDatabase"]

DATABASE_BYTES_MAX: Final = 1024 * 1024 * 1024


class JsonDatabase:
    """
    An open database; whoever opens it sees to it that nobody else does.

    Args:
        path: The file.

    Attributes:
        extensions: Of the app protocol, for which it has a place: an invoice of the original has no end, and its node
            keeps no history.
        history_end, timeline: There is no entry.
    """

    history_end = 0
    timeline = 0
    extensions = ALL_EXTENSIONS & ~(Extension.EXPIRING_INVOICES | Extension.HISTORY)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: NodeState | None = None
        self._worker = ThreadPoolExecutor(1, "database")

    def load(self) -> NodeState:
        """
        The whole state.

        Raises:
            LoadDbError: Missing, damaged, or its parts do not fit together.
        """
        try:
            state = parse_database(read_text(self._path, DATABASE_BYTES_MAX))
            audit(state)
        except (InvalidInput, OffsetError) as error:
            raise LoadDbError(self._path, error) from None
        self._state = state
        return state

    async def load_plugins(self) -> PluginRecords:
        """Nothing: the original's form has no place for plugins."""
        return PluginRecords({}, [])

    def is_ours(self) -> bool:
        """Always: whoever opened it sees to that."""
        return True

    async def keep(self) -> None:
        """Nothing is to be waited for."""

    async def read_history(self, request: ReadHistory, scope: HistoryScope) -> HistoryPage:
        """There is none, and no node announces it."""
        raise TypeError("this form of a database has no place for a history")

    async def apply(self, mutations: Iterable[Mutation]) -> None:
        """
        Store a batch, all or nothing; durable when this returns.

        Raises:
            DatabaseWriteError: It is not stored.
        """
        assert self._state is not None, "a database is loaded before it is written"
        state = self._state
        for mutation in mutations:
            if isinstance(mutation, PluginMutation | BookMutation):
                raise TypeError("this form of a database has no place for plugins, and none for a history")
            if not isinstance(mutation, PendingTimeMutation):  # no place for these either; they begin anew at a start
                state = apply(state, mutation)
        try:
            loop = asyncio.get_running_loop()
            writing = loop.run_in_executor(self._worker, lambda: replace_text(self._path, format_database(state)))
            await asyncio.shield(writing)
        except OSError as error:
            raise DatabaseWriteError(self._path, error.strerror or error) from None
        self._state = state

    def close(self) -> None:
        """Wait for the batch under way."""
        self._worker.shutdown(wait=True)
