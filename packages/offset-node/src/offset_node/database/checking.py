"""Checking a whole database: its state, and its history from the first entry to the last."""

from offset_node.database.names import DatabaseName
from offset_node.database.opening import open_database
from offset_node.database.sqlite import run_alone
from offset_node.state import NodeState

__all__ = ["check_database"]


def check_database(name: DatabaseName) -> tuple[NodeState, int]:
    """
    Check a database that no node runs on. Not from within an event loop. An exported one can be checked, too.

    Returns:
        The state, and the number of entries of the history.

    Raises:
        LoadDbError: It is damaged, or the history does not fit; names the first entry that does not.
        DatabaseInUse: A node runs on it.
    """

    async def check() -> tuple[NodeState, int]:
        database = await open_database(name, even_exported=True)
        try:
            state = await database.load()
            return state, await database.reader.check(state)
        finally:
            await database.close()

    return run_alone(check())
