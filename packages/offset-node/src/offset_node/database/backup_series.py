"""
Shell: a backup again and again, of which the newest are kept.

Each backup is a file of its own, named after the database and the moment, for instance
``node.db.2026-11-29T18-05-00Z.backup``. Names sort as the moments do. Whatever has another form of name is not ours,
and is never deleted; and nothing is deleted before a newer backup is complete.

A backup that fails, for a full disk or an unplugged one, is one line in the log, and the next one is tried at its time.
The same where the machine slept over the time of one.
"""

import logging
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from offset_node.database.backup import back_up
from offset_proto.errors import OffsetError
from offset_proto.files import IoError

__all__ = ["BackupSeries"]

log = logging.getLogger("offset.backup")

_LOOK_SECONDS = 30.0  # a machine that sleeps stops the clock that a wait goes by
_MOMENT = r"\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.backup"


@dataclass(frozen=True, slots=True)
class BackupSeries:
    """
    Backups of one database in a directory.

    Args:
        database: The node's.
        directory: There; for backups of several databases, if they have different names.
        keep: How many of the newest stay, at least 1.
        interval: Seconds from one backup to the next.
        passphrase: Locks them; None: they are not locked.
    """

    database: Path
    directory: Path
    keep: int
    interval: float
    passphrase: str | None

    def run(self, end: threading.Event) -> None:
        """
        Make a backup now and after each interval, until *end* is set; one that is under way is made to its end.

        Raises:
            IoError: *directory* is none.
        """
        if not self.directory.is_dir():
            raise IoError(self.directory, "not a directory")
        planned = time.time()
        while True:
            self.step(time.time())
            planned += self.interval
            while (seconds := planned - time.time()) > 0:
                if end.wait(min(seconds, self.interval, _LOOK_SECONDS)):
                    return
            if end.is_set():
                return
            late = -seconds
            if late > self.interval:
                log.error("backups: the one of %d s ago was not made; the machine may have slept", late)
                planned = time.time()

    def step(self, moment: float) -> bool:
        """Make one backup, named after *moment*, and delete those that are too many; tells whether that was done."""
        name = self.database.name + time.strftime(".%Y-%m-%dT%H-%M-%SZ.backup", time.gmtime(moment))
        try:
            back_up(self.database, self.directory / name, self.passphrase)
            for old in self.backups()[: -self.keep]:
                old.unlink(missing_ok=True)
        except (OffsetError, OSError) as error:
            log.error("backups: %s", error)
            return False
        return True

    def backups(self) -> list[Path]:
        """The backups that are there, the oldest first. Raises OSError."""
        pattern = re.compile(re.escape(self.database.name) + _MOMENT)
        return sorted(path for path in self.directory.iterdir() if pattern.fullmatch(path.name))
