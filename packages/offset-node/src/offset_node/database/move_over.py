"""
Moving a node with all it remembers from the original to this implementation, and back. Spec 08 §6.

The original keeps no history. An imported database begins one with the balances that it finds; an exported one leaves
its own behind, in the database that it was exported from.

At any time one program only may go on from a state: two would sign two successors of one token. So an exported
database is marked, and no node starts on it again.
"""

import os
from pathlib import Path
from typing import Final

from offset_node.database.audit import audit
from offset_node.database.errors import LoadDbError
from offset_node.database.original import format_database, parse_database
from offset_node.database.sqlite import Database, create_database, run_alone
from offset_node.database.tables import timelines
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import OutputAlreadyExists, StringSerdeError, read_text, save_text

__all__ = ["export_database", "import_database"]

ORIGINAL_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of a database of the original; it writes about 5 kB for a friend."""


def import_database(source: Path, target: Path) -> NodeState:
    """
    Make a database of ours from one of the original.

    Args:
        source: The JSON file; is not changed. The original must not run on it, now or later.
        target: The new database, mode 0600.

    Returns:
        What the node remembers.

    Raises:
        OutputAlreadyExists: *target* is there already; it stays as it is.
        IoError: *source* can not be read, or *target* not be written.
        LoadDbError: *source* has a field that does not check; says which. Nothing is written.
    """
    _check_new(target)
    try:
        state = parse_database(read_text(source, ORIGINAL_BYTES_MAX))
        audit(state)
    except StringSerdeError:
        raise
    except InvalidInput as error:
        raise LoadDbError(source, error) from None
    create_database(target, state, timelines.draw(os.urandom))
    return state


def export_database(source: Path, target: Path, *, copy: bool = False) -> NodeState:
    """
    Write a database of ours in the form of the original.

    Args:
        source: The database; no node runs on it. It is marked first and written out then, so whenever the power
            fails, one program at most can go on. A marked one can be exported again.
        target: The new JSON file, mode 0600.
        copy: Leave *source* unmarked: the export is not to be run on.

    Returns:
        What the node remembers.

    Raises:
        OutputAlreadyExists: *target* is there already; it stays as it is.
        IoError: *target* can not be written; *source* is as it was.
        LoadDbError: *source* can not be loaded.
        DatabaseInUse: A node runs on *source*.
    """
    _check_new(target)
    return run_alone(_export(source, target, copy))


async def _export(source: Path, target: Path, copy: bool) -> NodeState:
    database = await Database.open(source, even_exported=True)
    try:
        state = await database.load()
        if any(not friend.is_heard for friend in state.funder.friends.values()):
            raise LoadDbError(
                source,
                "restored, and some friends have not spoken since: the original has no place for that, and would sign "
                "tokens twice. Run stnode on it until all of them are heard",
            )
        was_exported = database.is_exported
        if not copy:
            await database.mark_exported(True)
        try:
            save_text(target, format_database(state), secret=True)
        except OffsetError:
            await database.mark_exported(was_exported)
            raise
        return state
    finally:
        await database.close()


def _check_new(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise OutputAlreadyExists(path)
