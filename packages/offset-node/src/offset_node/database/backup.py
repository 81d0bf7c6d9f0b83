"""
Shell: a copy of the database of a node that runs, and a database from a copy. Spec 08 §6.6.

Why a copy is consistent
    SQLite's backup reads all pages within one read transaction. The node goes on writing meanwhile, into the
    write-ahead log, and the copy is what was stored at one moment between two batches. The connection is read-only and
    takes no lock of ours: `node.db.lock` is for those who would go on from the database, which a backup does not.

Why a copy can be believed
    The copy is made in memory, and written as a whole under a temporary name. What was written is then read back,
    opened, and checked like the database of a node that starts: the pages by SQLite, every value, and the rules of the
    ledger. Only then does it get its name, so whenever this ends in between, there is no file of that name. Since the
    copy is made in memory, nothing is written unlocked for a locked backup; it takes up to five times the size of the
    database.

Why nothing runs on a copy
    A copy has an application id of its own. A node that goes on from an old state as if nothing had happened would sign
    a second successor of a token that it has forgotten, which is the one thing that a node must never do. In a database
    that was restored each friend is marked as one that has to speak first (`offset_funder.unheard`).

A locked backup is one line of JSON, which says what the lock costs, and after it the sealed copy
(`offset_crypto.locking`).
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from offset_crypto.locking import new_lock, seal, unseal
from offset_funder.invariants import check_state
from offset_funder.reports import initial_report
from offset_funder.unheard import forgotten
from offset_node.database import tables
from offset_node.database.backup_stamp import write_stamp
from offset_node.database.errors import LoadDbError
from offset_node.state import NodeState, apply
from offset_proto.errors import InvalidInput, InvariantBroken
from offset_proto.files import OutputAlreadyExists, PassphraseLock, read_bytes, save_bytes
from offset_proto.message import frozen
from offset_proto.message_json import CAMEL_CASE, JsonForm, format_json_line, parse_json
from offset_proto.messages.report import NodeReport
from offset_proto.types import U32, Salt

__all__ = ["BACKUP_BYTES_MAX", "back_up", "checked_state", "open_copy", "read_report", "restore"]

BACKUP_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of a database that is backed up: SQLite keeps no larger one in memory."""

_LOCK_LINE_BYTES_MAX: Final = 1024
_VERSION: Final = 1
_PURPOSE: Final = b"Offset locked backup, version 1"


# Of a file of SQLite, https://www.sqlite.org/fileformat.html.
_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION_ID: Final = slice(68, 72)


@frozen
class _LockedBackup:
    """The first line of a locked backup; *locked_backup* is the version of the form."""

    locked_backup: U32
    lock: PassphraseLock


_FORM: Final = JsonForm(_LockedBackup, camel_case=CAMEL_CASE)


def back_up(database: Path, target: Path, passphrase: str | None = None) -> NodeState:
    """
    Write a backup of a database, whether a node runs on it or not; mode 0600. Its time is remembered beside *database*.

    Args:
        database: The node's.
        target: The new file.
        passphrase: Locks the backup; None: whoever can read the file can read the balances.

    Returns:
        What is in the backup.

    Raises:
        OutputAlreadyExists: *target* is there already; it stays as it is.
        LoadDbError: *database* is none, is damaged, or may not be backed up: it was moved to another program.
        IoError: *target* can not be written, or the time of the backup not be remembered.
    """
    if target.exists() or target.is_symlink():
        raise OutputAlreadyExists(target)
    moment = int(time.time())
    data = _image_of(database)
    if passphrase is not None:
        data = _locked(data, passphrase)
    states: list[NodeState] = []

    def check(written: Path) -> None:
        with _open_backup(written, lambda: passphrase or "") as copy:
            states.append(checked_state(copy, database))

    save_bytes(target, data, secret=True, check=check)
    write_stamp(database, moment)
    return states[0]


def restore(backup: Path, target: Path, ask_passphrase: Callable[[], str]) -> NodeState:
    """
    Make a database from a backup, mode 0600, on which a node says nothing to a friend before the friend has spoken.

    Args:
        backup: Made by `back_up`; is not changed.
        target: The new database.
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
    with _open_backup(backup, ask_passphrase) as copy:
        state = checked_state(copy, backup)
        copy.execute(f"PRAGMA application_id = {tables.APPLICATION_ID}")
        copy.execute("BEGIN")
        for mutation in list(forgotten(state.funder, os.urandom)):
            for statement, values in tables.write(state.funder.local_public_key, mutation):
                copy.execute(statement, values)
            state = apply(state, mutation)
        copy.execute("COMMIT")
        save_bytes(target, copy.serialize(), secret=True)
    return state


def read_report(path: Path, ask_passphrase: Callable[[], str]) -> NodeReport:
    """
    What a node tells its apps that goes on from a database, on which one may run, or from a backup.

    Args:
        path: Of the one or the other; is not changed.
        ask_passphrase: Gives the passphrase of a locked backup.

    Raises:
        LoadDbError: It is neither, is damaged, or has another passphrase.
        IoError: It can not be read.
    """
    data = read_bytes(path, BACKUP_BYTES_MAX + 2 * _LOCK_LINE_BYTES_MAX)
    if data[_APPLICATION_ID] != tables.APPLICATION_ID.to_bytes(4, "big"):
        with _open_backup(path, ask_passphrase) as copy:
            state = checked_state(copy, path)
    else:
        with open_copy(path) as copy:
            state = checked_state(copy, path)
    return initial_report(state.funder, state.index_servers)


def open_copy(database: Path) -> closing[sqlite3.Connection]:
    """
    A database, whether a node runs on it or not, as it stands now, copied into memory.

    Raises:
        LoadDbError: It is none, or can not be read.
    """
    image = _image_of(database)
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.deserialize(image)
    return closing(copy)


def _image_of(database: Path) -> bytes:
    """The bytes of a database file that holds what *database* holds now, marked as a backup."""
    if not database.is_file():
        raise LoadDbError(database, "no such file" if not database.exists() else "not a regular file")
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(":memory:", isolation_level=None)) as copy,
        ):
            application_id = _pragma(source, "application_id")
            if application_id != tables.APPLICATION_ID:
                raise LoadDbError(database, "not the database of a node, or one that no node may run on")
            if _pragma(source, "page_count") * _pragma(source, "page_size") > BACKUP_BYTES_MAX:
                raise LoadDbError(database, f"more than {BACKUP_BYTES_MAX} bytes")
            source.backup(copy)
            copy.execute(f"PRAGMA application_id = {tables.BACKUP_APPLICATION_ID}")
            return _without_log(copy.serialize())
    except (sqlite3.Error, UnicodeError) as error:
        raise LoadDbError(database, error) from None


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _without_log(image: bytes) -> bytes:
    """
    *image* without the mark that says that there is a write-ahead log beside it, which a copy does not have.

    The mark is the bytes 18 and 19: 2 with a log, 1 without. SQLite opens no database with it from memory.
    """
    return image[:18] + b"\x01\x01" + image[20:]


def _locked(image: bytes, passphrase: str) -> bytes:
    lock = new_lock(Salt(os.urandom(Salt.SIZE)))
    line = format_json_line(_FORM.to_value(_LockedBackup(_VERSION, lock)))
    return line.encode() + b"\n" + seal(image, lock, passphrase, _PURPOSE)


def _unlocked(data: bytes, ask_passphrase: Callable[[], str]) -> bytes:
    line, line_end, _ = data[:_LOCK_LINE_BYTES_MAX].partition(b"\n")
    if not line_end:
        raise InvalidInput("a backup that is locked begins with a line about its lock; this one does not")
    try:
        header = _FORM.from_value(parse_json(line.decode()))
    except UnicodeDecodeError:
        raise InvalidInput("the line about its lock is not UTF-8") from None
    if header.locked_backup != _VERSION:
        raise InvalidInput(f"lockedBackup: version {header.locked_backup}, this program knows {_VERSION}")
    return unseal(data[len(line) + 1 :], header.lock, ask_passphrase(), _PURPOSE)


def _open_backup(path: Path, ask_passphrase: Callable[[], str]) -> closing[sqlite3.Connection]:
    """A backup as a database in memory."""
    data = read_bytes(path, BACKUP_BYTES_MAX + 2 * _LOCK_LINE_BYTES_MAX)
    try:
        image = _unlocked(data, ask_passphrase) if data.startswith(b"{") else data
        if not image.startswith(_MAGIC) or image[_APPLICATION_ID] != tables.BACKUP_APPLICATION_ID.to_bytes(4, "big"):
            raise InvalidInput("not a backup of a node database; stmgr backup makes one")
        copy = sqlite3.connect(":memory:", isolation_level=None)
        copy.deserialize(image)
    except (sqlite3.Error, InvalidInput) as error:
        raise LoadDbError(path, error) from None
    return closing(copy)


def checked_state(copy: sqlite3.Connection, path: Path) -> NodeState:
    """
    What is in a copy, brought to the present version of the schema, and checked as when a node starts.

    Raises:
        LoadDbError: Damaged, of another version, or it breaks a rule of the ledger; names *path*.
    """
    try:
        version = _pragma(copy, "user_version")
        if version != tables.SCHEMA_VERSION and version not in tables.MIGRATIONS:
            raise LoadDbError(path, f"schema version {version}, this program knows {tables.SCHEMA_VERSION}")
        for older in range(version, tables.SCHEMA_VERSION):
            copy.executescript(f"{tables.MIGRATIONS[older]}PRAGMA user_version = {older + 1};")
        problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise LoadDbError(path, problem)
        state = tables.read_state({select: copy.execute(select).fetchall() for select in tables.STATE_READS})
        check_state(state.funder)
    except (sqlite3.Error, InvalidInput, InvariantBroken, UnicodeError) as error:
        raise LoadDbError(path, error) from None
    return state
