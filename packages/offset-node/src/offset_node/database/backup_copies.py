"""
Shell: copies of databases, and what is in one.

Why a copy is consistent
    SQLite's backup reads all pages within one read transaction. The node goes on writing meanwhile, into the
    write-ahead log, and the copy is what was stored at one moment between two batches. The connection is read-only and
    takes no lock of ours: `node.db.lock` is for those who would go on from the database, which a copy is not for.

Why a copy is a file without a name
    In memory it would take as much as the database. As a file that has lost its name it is this process's alone, and
    the system takes it back when the process ends, however it ends: no friends and balances stay on a disk that nobody
    thinks of. The file is made in a directory that only we can enter, opened, and both names are removed.

Why SQLite opens it twice
    What was copied from a node's database says that there is a write-ahead log beside it, which a copy does not have.
    The mark, the bytes 18 and 19 of the file (2 with a log, 1 without), can only be written over while nobody has read
    it: so one connection copies and is closed, and the other one looks at the file for the first time after that.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Self

from offset_funder.invariants import check_state
from offset_node.database import tables
from offset_node.database.errors import LoadDbError
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput, InvariantBroken
from offset_proto.file_forms import APPLICATION_ID_BYTES
from offset_proto.files import IoError

__all__ = ["Copy", "checked_state", "open_copy", "read_pieces"]

PIECE_BYTES: Final = 64 * 1024
"""What is handed around at a time."""

# Of a file of SQLite, https://www.sqlite.org/fileformat.html.
_LOG_MARK: Final = 18

# Nobody needs the file when this process ends, so it is neither synced nor kept from being half written.
_PRAGMAS: Final = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"


class Copy:
    """
    A file without a name, for one database.

    Args:
        directory: Where its bytes are; there must be room for the database.

    Attributes:
        connection: To the database, once it is filled; without implicit transactions.

    Raises:
        IoError: No file can be made there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            with tempfile.TemporaryDirectory(prefix=".new.", dir=directory) as private:
                path = Path(private) / "copy"
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                self._copying = sqlite3.connect(path, isolation_level=None)
                self.connection = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise IoError(directory, getattr(error, "strerror", None) or str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._copying.close()
        self.connection.close()
        os.close(self._descriptor)

    def take(self, database: Path) -> None:
        """
        Fill it with what *database* holds now, marked as a backup. Once, and instead of `fill`.

        Raises:
            LoadDbError: It is none, is damaged, or may not be copied: it was moved to another program.
            IoError: There is no room for the copy.
        """
        try:
            with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source:
                if _pragma(source, "application_id") != tables.APPLICATION_ID:
                    raise LoadDbError(database, "not the database of a node, or one that no node may run on")
                self._copying.executescript(_PRAGMAS)
                source.backup(self._copying)
        except (sqlite3.Error, UnicodeError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise IoError(self._directory, f"no room for a copy of {database}") from None
            raise LoadDbError(database, error) from None
        self._copying.close()
        os.pwrite(self._descriptor, b"\x01\x01", _LOG_MARK)
        os.pwrite(self._descriptor, tables.BACKUP_APPLICATION_ID.to_bytes(4, "big"), APPLICATION_ID_BYTES.start)

    def fill(self, pieces: Iterable[bytes]) -> None:
        """Fill it with the bytes of a database. Raises IoError where there is no room, and what *pieces* raises."""
        try:
            with open(self._descriptor, "wb", closefd=False) as file:
                file.writelines(pieces)
        except OSError as error:
            raise IoError(self._directory, error.strerror or str(error)) from None

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, `PIECE_BYTES` at a time."""
        position = 0
        while piece := os.pread(self._descriptor, PIECE_BYTES, position):
            yield piece
            position += len(piece)

    def holds(self, pieces: Iterable[bytes]) -> bool:
        """Whether its bytes are these, to the last one."""
        position = 0
        for piece in pieces:
            if os.pread(self._descriptor, len(piece), position) != piece:
                return False
            position += len(piece)
        return position == os.fstat(self._descriptor).st_size


@contextmanager
def open_copy(database: Path) -> Iterator[sqlite3.Connection]:
    """
    A database, whether a node runs on it or not, as it stands now, copied to the directory for temporary files.

    Raises:
        LoadDbError: It is none, or can not be read.
        IoError: There is no room for the copy.
    """
    check_is_file(database)
    with Copy(Path(tempfile.gettempdir())) as copy:
        copy.take(database)
        yield copy.connection


def check_is_file(database: Path) -> None:
    """Raises LoadDbError where there is no such file."""
    if not database.is_file():
        raise LoadDbError(database, "no such file" if not database.exists() else "not a regular file")


def read_pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, `PIECE_BYTES` at a time. Raises IoError where it can not be read."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except (OSError, ValueError) as error:
        raise IoError(path, getattr(error, "strerror", None) or str(error)) from None


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def checked_state(copy: sqlite3.Connection, path: Path) -> NodeState:
    """
    What is in a copy, brought to the present version of the schema, and checked as when a node starts.

    Raises:
        LoadDbError: Damaged, of another version, or it breaks a rule of the ledger; names *path*.
    """
    try:
        copy.executescript(_PRAGMAS)
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
