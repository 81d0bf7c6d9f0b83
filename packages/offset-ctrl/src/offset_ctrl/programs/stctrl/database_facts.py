"""What stctrl doctor sees of this machine: the database, where the package offset-node can read it, and the clock."""

import ctypes
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offset_ctrl.rules.diagnosis import DatabaseFacts
from offset_ctrl.rules.findings import command
from offset_ctrl.rules.friendships import Frozen
from offset_proto.errors import OffsetError
from offset_proto.file_forms import LOCKED_BACKUP, ORIGINAL_DATABASE, START_BYTES, application_id, recognize_start
from offset_proto.files import IoError
from offset_proto.messages.report import NodeReport

__all__ = ["StoredNode", "clock_is_set", "read_database"]

_MAX_ERROR_MICROSECONDS: Final = 16_000_000
"""The kernel's largest error of a clock that somebody sets. systemd's timedatectl goes by the same limit."""


@dataclass(frozen=True, slots=True)
class StoredNode:
    """What was found in a database, and what a node would tell that starts from it; None where it can not be read."""

    facts: DatabaseFacts
    report: NodeReport | None


def read_database(path: Path) -> StoredNode:
    """Look into a database, on which a node may run; what is wrong with it is a part of the answer."""
    try:
        if path.exists() and not path.is_file():
            return _no_database(path, "it is no regular file")
        size, disk_free = path.stat().st_size, shutil.disk_usage(path.absolute().parent).free
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        return _no_database(path, f"missing: {path}" if isinstance(error, FileNotFoundError) else f"{error.strerror}")
    unchecked = DatabaseFacts(str(path), None, False, size, disk_free)
    whose = application_id(start)
    if whose is None:
        name = recognize_start(start)
        if name == ORIGINAL_DATABASE:
            return StoredNode(_with_problem(unchecked, "it is one of the original, which its own node checks"), None)
        made = f"; {_restores(path)}" if name == LOCKED_BACKUP else ""
        return _no_database(path, "it does not begin as one does" if name is None else f"it is {name}{made}")
    try:
        from offset_node.database import tables
        from offset_node.database.backup_stamp import backup_age
        from offset_node.database.examining import examine_database
    except ModuleNotFoundError:
        return StoredNode(_with_problem(unchecked, "that needs the package offset-node here"), None)
    if whose != tables.APPLICATION_ID:
        others = {
            tables.BACKUP_APPLICATION_ID: f"it is a backup; {_restores(path)}",
            tables.ARCHIVE_APPLICATION_ID: "it is an archive of a history",
            tables.EXPORTED_APPLICATION_ID: "its node has moved to another program",
        }
        return _no_database(path, others.get(whose, "it is a database of another program"))
    try:
        found = examine_database(path)
    except IoError as error:
        return StoredNode(_with_problem(unchecked, str(error)), None)
    except OffsetError as error:
        return StoredNode(DatabaseFacts(str(path), str(error), True, size, disk_free), None)
    facts = DatabaseFacts(
        str(path),
        None,
        True,
        size,
        disk_free,
        backup_age(path),
        found.entries,
        tuple(Frozen(each.friend, each.currency, each.credits, each.since, each.is_own) for each in found.frozen),
        tuple(found.pending.items()),
        found.unheard,
    )
    return StoredNode(facts, found.report)


def _no_database(path: Path, reason: str) -> StoredNode:
    return StoredNode(DatabaseFacts(str(path), reason, False, 0, 0, is_database=False), None)


def _restores(path: Path) -> str:
    return f"{command('stmgr', 'restore', '-i', str(path), '-o', 'NEW.db')} makes a database from it"


def _with_problem(facts: DatabaseFacts, problem: str) -> DatabaseFacts:
    return DatabaseFacts(facts.path, problem, False, facts.size, facts.disk_free)


class _Timex(ctypes.Structure):
    """The start of ``struct timex`` of Linux (adjtimex(2)), with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * 256),
    )


def clock_is_set() -> bool | None:
    """Whether the kernel says that somebody keeps the clock right; None where it can not be asked. It is only read."""
    if sys.platform != "linux":
        return None
    timex = _Timex()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return int(timex.maxerror) < _MAX_ERROR_MICROSECONDS
