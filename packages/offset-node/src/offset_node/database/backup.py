"""
Shell: a copy of the database of a node that runs, and a database from a copy. Spec 08 §6.6.

Why a backup can be believed
    The copy is made beside the database (`backup_copies`), and written piece by piece under a temporary name. What was
    written is then read back, unlocked, and compared with the copy to the last byte; and the copy is checked like the
    database of a node that starts: the pages by SQLite, every value, and the rules of the ledger. Only then does the
    backup get its name, so whenever this ends in between, there is no file of that name. A locked backup is sealed on
    its way (`locked_backup`): where it is written, nothing of it has ever been unlocked.

Why memory does not grow with the database
    Of the files, one piece at a time is in memory. The state of the node is, as it is in a node that runs on it; the
    history, which is what grows for ever, is not.

Why nothing runs on a copy
    A copy has an application id of its own. A node that goes on from an old state as if nothing had happened would sign
    a second successor of a token that it has forgotten, which is the one thing that a node must never do. In a database
    that was restored each friend is marked as one that has to speak first (`offset_funder.unheard`).
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from offset_funder.reports import initial_report
from offset_funder.unheard import forgotten
from offset_node.database import tables
from offset_node.database.backup_copies import Copy, check_is_file, checked_state, open_copy, read_pieces
from offset_node.database.backup_stamp import write_stamp
from offset_node.database.errors import LoadDbError
from offset_node.database.locked_backup import is_locked, lock_backup, unlock_backup
from offset_node.database.mistaken import BACKUP, name_start
from offset_node.database.tables import timelines
from offset_node.state import NodeState, apply
from offset_proto.errors import InvalidInput
from offset_proto.file_forms import LOCKED_BACKUP, application_id
from offset_proto.files import IoError, OutputAlreadyExists, save_bytes
from offset_proto.messages.report import NodeReport
from offset_proto.types import Salt, SymmetricKey

__all__ = ["back_up", "read_report", "restore"]


def back_up(database: Path, target: Path, passphrase: str | None = None) -> NodeState:
    """
    Write a backup of a database, whether a node runs on it or not; mode 0600. Its time is remembered beside *database*.

    Args:
        database: The node's; beside it there must be room for a copy.
        target: The new file.
        passphrase: Locks the backup; None: whoever can read the file can read the balances.

    Returns:
        What is in the backup.

    Raises:
        OutputAlreadyExists: *target* is there already; it stays as it is.
        LoadDbError: *database* is none, is damaged, or may not be backed up: it was moved to another program.
        IoError: *target* can not be written, the database not be copied, or the time of the backup not be remembered.
        InvalidInput: The passphrase can be none.
    """
    if target.exists() or target.is_symlink():
        raise OutputAlreadyExists(target)
    check_is_file(database)
    moment = int(time.time())
    states: list[NodeState] = []
    with Copy(database.absolute().parent) as copy:
        copy.take(database)

        def check(written: Path) -> None:
            try:
                is_same = copy.holds(_pieces_of(written, lambda: passphrase or ""))
            except InvalidInput:
                is_same = False
            if not is_same:
                raise IoError(target, "what is read back is not what was written")
            states.append(checked_state(copy.connection, database))

        pieces = copy.pieces()
        if passphrase is not None:
            salt, key = Salt(os.urandom(Salt.SIZE)), SymmetricKey(os.urandom(SymmetricKey.SIZE))
            pieces = lock_backup(pieces, passphrase, salt, key)
        save_bytes(target, pieces, secret=True, check=check)
    write_stamp(database, moment)
    return states[0]


def restore(backup: Path, target: Path, ask_passphrase: Callable[[], str]) -> NodeState:
    """
    Make a database from a backup, mode 0600, on which a node says nothing to a friend before the friend has spoken.

    Args:
        backup: Made by `back_up`; is not changed.
        target: The new database; beside it there must be room for a copy.
        ask_passphrase: Gives the passphrase of a locked backup.

    Returns:
        What is in the database.

    Raises:
        OutputAlreadyExists: *target* is there already; it stays as it is.
        LoadDbError: *backup* is none, is damaged, or has another passphrase.
        IoError: *backup* can not be read, or *target* not be written.
    """
    if target.exists() or target.is_symlink():
        raise OutputAlreadyExists(target)
    with Copy(target.absolute().parent) as copy:
        state = _checked_backup(copy, backup, ask_passphrase)
        try:
            state = _with_the_marks(copy.connection, state)
        except sqlite3.Error as error:
            raise IoError(target, str(error)) from None
        save_bytes(target, copy.pieces(), secret=True)
    return state


def _with_the_marks(copy: sqlite3.Connection, state: NodeState) -> NodeState:
    """Make a copy a database that a node runs on, and that knows that it has forgotten."""
    copy.execute(f"PRAGMA application_id = {tables.APPLICATION_ID}")
    copy.execute("BEGIN")
    for statement, values in timelines.write(timelines.draw(os.urandom)):
        copy.execute(statement, values)
    for mutation in list(forgotten(state.funder, os.urandom)):
        for statement, values in tables.write(state.funder.local_public_key, mutation):
            copy.execute(statement, values)
        state = apply(state, mutation)
    copy.execute("COMMIT")
    return state


def read_report(path: Path, ask_passphrase: Callable[[], str]) -> NodeReport:
    """
    What a node tells its apps that goes on from a database, on which one may run, or from a backup.

    Args:
        path: Of the one or the other; is not changed. A copy is made in the directory for temporary files.
        ask_passphrase: Gives the passphrase of a locked backup.

    Raises:
        LoadDbError: It is neither, is damaged, or has another passphrase.
        IoError: It can not be read, or there is no room for the copy.
    """
    if application_id(next(read_pieces(path), b"")) == tables.APPLICATION_ID:
        with open_copy(path) as connection:
            state = checked_state(connection, path)
    else:
        with Copy(Path(tempfile.gettempdir())) as copy:
            state = _checked_backup(copy, path, ask_passphrase)
    return initial_report(state.funder, state.index_servers)


def _checked_backup(copy: Copy, path: Path, ask_passphrase: Callable[[], str]) -> NodeState:
    """Fill a copy with what is in the backup at *path*, all of which is found to be genuine, and check it."""
    try:
        copy.fill(_pieces_of(path, ask_passphrase))
    except InvalidInput as error:
        raise LoadDbError(path, error) from None
    return checked_state(copy.connection, path)


def _pieces_of(path: Path, ask_passphrase: Callable[[], str]) -> Iterator[bytes]:
    """The database in a backup. Raises InvalidInput, also after some of it, where it is none or not whole."""
    start = next(read_pieces(path), b"")
    name = name_start(start)
    if name not in (None, BACKUP, LOCKED_BACKUP):
        raise InvalidInput(f"not a backup of a node database, but {name}")
    pieces = unlock_backup(read_pieces(path), ask_passphrase) if is_locked(start) else read_pieces(path)
    first = next(pieces, b"")
    if application_id(first) != tables.BACKUP_APPLICATION_ID:
        raise InvalidInput("not a backup of a node database; stmgr backup makes one")
    yield first
    yield from pieces
