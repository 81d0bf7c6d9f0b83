"""
Shell: the first entries of the history, moved to an archive. `offset_node.database.tables.archives` says what is moved.

Why nothing is lost and nothing doubled
    ====================================  ==========================================================================
    step                                  if the process ends before the next one
    ====================================  ==========================================================================
    1. the whole book is checked          nothing has changed
    2. a copy under a temporary name      as before; the next run begins it anew
    3. the copy is compared with the      as before
       database, row by row, and read
       back as a book; it is synced
    4. the copy gets its name             each entry is in the database, and also in an archive that is complete. The
                                          next run finds the archive, compares it once more, and goes on here
    5. one transaction takes the entries  they are in the archive, and opening entries in the database. The next run
       out, and puts the opening ones in  finds that this archive is known to the database
    6. the database gives the room back   it is larger than it has to be; the next run goes on here
    ====================================  ==========================================================================

Why the sums stay the balances
    The opening entries are what the copy comes to, entry by entry, up to its last one. The entry after that went on
    from there when the book was checked in step 1, and no other entry changes.

The lock of the database is held all the time, so no node runs on it, and no second archive is made of it.
"""

import asyncio
import itertools
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from offset_funder.bookkeeping import Book
from offset_funder.reports import initial_report
from offset_node.database import tables
from offset_node.database.errors import ArchiveError, DatabaseWriteError, LoadDbError
from offset_node.database.mistaken import ARCHIVE, name_file
from offset_node.database.reading import SqliteHistory
from offset_node.database.sqlite import Database
from offset_node.database.tables import archives, history
from offset_node.state import AddEntry, NodeState
from offset_proto.errors import PeerError
from offset_proto.files import IoError, OutputAlreadyExists, sync_directory
from offset_proto.messages.report import NodeReport
from offset_proto.types import U64
from offset_proto.wire import NODE_REPORT

__all__ = ["Archive", "archive_history", "read_archive"]


@dataclass(frozen=True, slots=True)
class Archive:
    """
    What an archive says of itself.

    Attributes:
        through: Number of the last entry that was moved to it.
        until: All of its entries are from before this time, in seconds since 1970; and those before that time are in it
            or in an earlier archive, as far as the clock of the node went on.
        report: What the node told its apps when the archive was made: the names of friends are in it.
    """

    through: U64
    until: U64
    report: NodeReport


def archive_history(database: Path, until: int, target: Path) -> Archive:
    """
    Move the entries from before a time to an archive, mode 0600. Not from within an event loop.

    If it ended in between, the same call goes on; when all is done, it says the same once more.

    Args:
        database: On which no node runs.
        until: Seconds since 1970, not after the present time.
        target: The archive, a new file.

    Raises:
        ArchiveError: *until* is not past, or there is no entry before it that is not in an archive already.
        OutputAlreadyExists: *target* is there, and is not the archive that this call would make.
        LoadDbError: The database can not be loaded, or its history does not fit; nothing has changed.
        DatabaseInUse: A node runs on it.
        IoError: *target* can not be written; nothing has changed.
        DatabaseWriteError: The entries are in *target*, and the database could not be written; says what is left to do.
    """
    if until > time.time():
        raise ArchiveError("entries are still to come before that time; give one that is past")

    async def archive() -> Archive:
        opened = await Database.open(database)
        reader = SqliteHistory(database)
        try:
            state = await opened.load()
            await reader.check(state)
            await reader.close()
            return await _Archiving(database, state, until, target).run()
        finally:
            await reader.close()
            await opened.close()

    return asyncio.run(archive())


def read_archive(path: Path) -> Archive:
    """
    What an archive says of itself; its entries are read by `SqliteHistory`, those of several by `archive_series`.

    Raises:
        LoadDbError: It is none, is damaged, or is of another version.
    """
    if not path.is_file():
        raise LoadDbError(path, "no such file" if not path.exists() else "not a regular file")
    name = name_file(path)
    if name != ARCHIVE:
        what = "; stmgr archive-history makes one" if name is None else f", but {name}"
        raise LoadDbError(path, f"not an archive of a history{what}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            ((version,),) = connection.execute("PRAGMA user_version")
            if version not in tables.ARCHIVE_VERSIONS:
                raise LoadDbError(path, f"schema version {version}, this program knows {tables.SCHEMA_VERSION}")
            ((through, until, report),) = connection.execute(archives.ARCHIVE)
            return Archive(through, until, NODE_REPORT.decode(report))
    except (sqlite3.Error, ValueError, UnicodeError, PeerError) as error:
        raise LoadDbError(path, f"damaged ({error}); take another copy of this archive") from None


class _Archiving:
    """One call of `archive_history`, with the database locked and its book checked."""

    def __init__(self, database: Path, state: NodeState, until: int, target: Path) -> None:
        self._database = database
        self._state = state
        self._until = until
        self._target = target

    async def run(self) -> Archive:
        archived = self._number(archives.THROUGH)
        if self._target.exists() or self._target.is_symlink():
            archive = self._begun(archived)
        else:
            archive = await self._write(archived)
        if archive.through > archived:
            await self._move(archive)
        self._shrink()
        return archive

    def _number(self, select: str, *values: int) -> int:
        try:
            with closing(_attached(":memory:", self._database)) as connection:
                ((number,),) = connection.execute(select, values)
                return int(number)
        except sqlite3.Error as error:
            raise LoadDbError(self._database, error) from None

    def _begun(self, archived: int) -> Archive:
        """The archive that is there, if this call would make the same."""
        try:
            archive = read_archive(self._target)
        except LoadDbError:
            raise OutputAlreadyExists(self._target) from None
        key = self._state.funder.local_public_key
        is_ours = archive.report.funder_report.local_public_key == key and archive.until == self._until
        try:
            is_moved = archive.through == archived
            if is_ours and (is_moved or (archive.through > archived and self._is_complete(self._target, archive))):
                return archive
        except sqlite3.Error as error:
            raise IoError(self._target, str(error)) from None
        raise OutputAlreadyExists(self._target)

    async def _write(self, archived: int) -> Archive:
        through = self._number(archives.LAST_BEFORE, self._until)
        if through <= archived:
            raise ArchiveError("there is no entry before that time, or all of them are in archives already")
        report = initial_report(self._state.funder, self._state.index_servers)
        archive = Archive(through, self._until, report)
        # One name for each node, which no other process uses while the database is locked.
        key = self._state.funder.local_public_key.hex()[:16]
        temporary = self._target.with_name(f".new.{key}.{self._target.name}")
        try:
            temporary.unlink(missing_ok=True)
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            try:
                self._fill(temporary, archive)
                if not self._is_complete(temporary, archive) or (await _read_book(temporary)).end != through:
                    raise IoError(self._target, "what was written is not what is in the database")
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
                os.link(temporary, self._target)
            finally:
                temporary.unlink()
            sync_directory(self._target.parent)
        except FileExistsError:
            raise OutputAlreadyExists(self._target) from None
        except (OSError, sqlite3.Error) as error:
            raise IoError(self._target, getattr(error, "strerror", None) or str(error)) from None
        return archive

    def _fill(self, path: Path, archive: Archive) -> None:
        with closing(_attached(path, self._database)) as connection:
            # Until it is complete nobody needs the file, so that no journal is kept for it; it is made durable then.
            connection.executescript(
                "PRAGMA main.journal_mode = OFF; PRAGMA main.synchronous = OFF;"
                f"PRAGMA main.application_id = {tables.ARCHIVE_APPLICATION_ID};"
                f"PRAGMA main.user_version = {tables.SCHEMA_VERSION};" + tables.ARCHIVE_SCHEMA
            )
            connection.execute("BEGIN")
            for statement, values in archives.copy(archive.through, archive.until, NODE_REPORT.encode(archive.report)):
                connection.execute(statement, values)
            connection.execute("COMMIT")

    def _is_complete(self, path: Path, archive: Archive) -> bool:
        """Whether the archive at *path* has the rows of the database that it has to have, and no others."""
        with closing(_attached(path, self._database)) as connection:
            for here, there in archives.comparisons(archive.through):
                rows = connection.cursor().execute(*here), connection.cursor().execute(*there)
                if any(one != other for one, other in itertools.zip_longest(*rows)):
                    return False
        return True

    async def _move(self, archive: Archive) -> None:
        openings = (await _read_book(self._target)).openings()
        # They are of the time of the last entry that they stand for, so that times go on in the order of numbers.
        moment = self._number(history.TIME_OF, archive.through)
        first = archive.through - len(openings) + 1
        try:
            with closing(_attached(":memory:", self._database)) as connection:
                connection.executescript("PRAGMA node.synchronous = FULL; PRAGMA foreign_keys = ON;")
                connection.execute("BEGIN IMMEDIATE")
                for statement, values in archives.remove(archive.through, archive.until):
                    connection.execute(statement, values)
                for number, opening in enumerate(openings, first):
                    for statement, values in history.write(AddEntry(number, moment, opening)):
                        connection.execute(statement, values)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            words = f"{error}; the entries are in {self._target}, and in the database as well: try again"
            raise DatabaseWriteError(self._database, words) from None

    def _shrink(self) -> None:
        """Give back the room of what was moved. It is a copy of the whole file, and all or nothing, too."""
        try:
            with closing(_attached(":memory:", self._database)) as connection:
                connection.execute("VACUUM node")
        except sqlite3.Error as error:
            words = f"{error}; the entries are moved to {self._target}, and only their room is still taken: try again"
            raise DatabaseWriteError(self._database, words) from None


async def _read_book(path: Path) -> Book:
    reader = SqliteHistory(path)
    try:
        return await reader.read_book()
    finally:
        await reader.close()


def _attached(main: Path | str, database: Path) -> sqlite3.Connection:
    """A connection to *main* without implicit transactions, with *database* as ``node``."""
    connection = sqlite3.connect(main, isolation_level=None)
    try:
        connection.execute("ATTACH DATABASE ? AS node", (str(database),))
    except BaseException:
        connection.close()
        raise
    return connection
