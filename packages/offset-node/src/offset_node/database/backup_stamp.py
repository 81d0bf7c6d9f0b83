"""
Shell: when a database was backed up for the last time, in a file beside it.

``node.db.backup-time`` holds ``{"time":SECONDS}``, seconds since 1970 (UTC). The node reads it for its metrics and for
a reminder in its log. Where the file is missing or damaged there is no last backup; nothing else depends on it. Nor is
there one where its time is still to come: the clock was ahead once, and nobody knows when that was.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

from offset_proto.errors import OffsetError
from offset_proto.files import IoError, read_text, replace_text
from offset_proto.message_json import format_json_line, parse_json

__all__ = ["backup_age", "remind_of_backups", "reminder", "write_stamp"]

log = logging.getLogger("offset.node")

_STAMP_BYTES_MAX: Final = 1024
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_OLD: Final = 7 * _DAY
_AHEAD: Final = _HOUR  # by so much a clock is put back without more ado


def _stamp(database: Path) -> Path:
    return database.with_name(f"{database.name}.backup-time")


def write_stamp(database: Path, moment: int) -> None:
    """
    Remember that *database* was backed up as it stood at *moment*, in seconds since 1970.

    Raises:
        IoError: The file beside the database can not be written.
    """
    try:
        replace_text(_stamp(database), format_json_line({"time": moment}))
    except OSError as error:
        raise IoError(_stamp(database), error.strerror or str(error)) from None


def backup_age(database: Path) -> int | None:
    """Seconds since the last backup of *database*; None where there is none that is known of."""
    try:
        moment = parse_json(read_text(_stamp(database), _STAMP_BYTES_MAX))["time"]
        age = int(time.time()) - int(moment)
    except (OffsetError, LookupError, TypeError, ValueError):
        return None
    return max(0, age) if age >= -_AHEAD else None


def reminder(database: Path, age: int | None) -> str | None:
    """What to say about a last backup so many seconds ago (None: none is known); None where it is young enough."""
    if age is None:
        return f"no backup of {database} is known: stmgr backup -d {database} -o FILE"
    if age <= _OLD:
        return None
    return f"the last backup of {database} is {age // _DAY} days old: stmgr backup -d {database} -o FILE"


async def remind_of_backups(database: Path) -> None:
    """
    Say in the log, once a day, that the last backup is more than a week old, or that there is none; for ever.

    It begins an hour after the start: a node that is only tried out says nothing.
    """
    await asyncio.sleep(_HOUR)
    while True:
        text = reminder(database, backup_age(database))
        if text is not None:
            log.error("%s", text)
        await asyncio.sleep(_DAY)
