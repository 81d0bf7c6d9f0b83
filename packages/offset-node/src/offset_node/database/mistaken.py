"""
Shell: what a file is that was given in place of a database, a backup or an archive; in words, for whoever gave it.

Files of SQLite are told apart by their application ids; the others are those of `offset_proto.file_forms`.
"""

from pathlib import Path
from typing import Final

from offset_node.database import tables
from offset_node.database.errors import LoadDbError
from offset_proto.file_forms import LOCKED_BACKUP, ORIGINAL_DATABASE, START_BYTES, application_id, recognize_start

__all__ = ["ARCHIVE", "BACKUP", "check_no_other_file", "name_file", "name_start"]

BACKUP: Final = "a backup"
ARCHIVE: Final = "an archive of a history"

_DATABASES: Final = {
    tables.APPLICATION_ID: "the database of a node",
    tables.BACKUP_APPLICATION_ID: BACKUP,
    tables.ARCHIVE_APPLICATION_ID: ARCHIVE,
    tables.EXPORTED_APPLICATION_ID: "the database of a node that has moved to another program",
}

_REMEDIES: Final = {
    ORIGINAL_DATABASE: "JSON, as the original writes it; stmgr import-db makes a database from that",
    LOCKED_BACKUP: "a locked backup, on which no node runs; stmgr restore makes a database from it",
}
"""What to say where a database of a node is wanted."""


def name_start(start: bytes) -> str | None:
    """What a file is that begins with these bytes, `START_BYTES` of them or all; None: nothing that is known."""
    whose = application_id(start)
    return recognize_start(start) if whose is None else _DATABASES.get(whose, "a database of another program")


def name_file(path: Path) -> str | None:
    """As `name_start`, of the file at *path*. Raises LoadDbError where it can not be read."""
    return name_start(_start(path))


def check_no_other_file(path: Path) -> None:
    """
    Refuse what is known to be something else than a database, by its name. Files of SQLite are left to who opens them.

    Raises:
        LoadDbError: It is known, or it can not be read.
    """
    start = _start(path)
    name = recognize_start(start) if application_id(start) is None else None
    if name is not None:
        raise LoadDbError(path, _REMEDIES.get(name, f"not a node database, but {name}"))


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise LoadDbError(path, error.strerror or error) from None
