"""
Shell: a backup again and again, of which the newest are kept.

Each backup is a file of its own, named after the database and the moment, for instance
``node.db.2026-11-29T18-05-00Z.backup``. Names sort as the moments do. Whatever has another form of name is not ours,
and is never deleted; and nothing is deleted before a newer backup is complete.

A backup that fails, for a full disk or an unplugged one, is one line in the log, and the next one is tried at its time.
The same where the machine slept over the time of one.

Where the clock was ahead and was put back
    Backups have names of moments to come. They do not count among the newest, or the one that was just made would be
    deleted as the oldest; they stay until their time has come, and the log says that they are there. The next backup
    was planned for a time that is far away now; it is made at once, and the times go on from there. The wait goes by
    the clock of the day all the same: the other one stands still while the machine sleeps.
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
            planned = self._wait(planned + self.interval, end)
            if end.is_set():
                return

    def _wait(self, planned: float, end: threading.Event) -> float:
        """Wait until *planned*, in seconds since 1970, or for *end*; the time that the next one is planned from."""
        while (seconds := planned - time.time()) > 0:
            if seconds > self.interval + _LOOK_SECONDS:
                log.error("backups: the clock was put back; the next one is made now")
                return time.time()
            if end.wait(min(seconds, self.interval, _LOOK_SECONDS)):
                return planned
        late = -seconds
        if late <= self.interval:
            return planned
        log.error("backups: the one of %d s ago was not made; the machine may have slept", late)
        return time.time()

    def step(self, moment: float) -> bool:
        """
        Make one backup, named after *moment*, and delete those up to it that are too many; tells whether that was done.
        """
        name = self.database.name + time.strftime(".%Y-%m-%dT%H-%M-%SZ.backup", time.gmtime(moment))
        try:
            back_up(self.database, self.directory / name, self.passphrase)
            backups = self.backups()
            through = backups.index(self.directory / name) + 1
            for old in backups[: max(0, through - self.keep)]:
                old.unlink(missing_ok=True)
        except (OffsetError, OSError) as error:
            log.error("backups: %s", error)
            return False
        if later := len(backups) - through:
            words = "backups: %d in %s are named after times to come, the last one %s; the clock was wrong, then or now"
            log.error(words, later, self.directory, backups[-1].name)
        return True

    def backups(self) -> list[Path]:
        """The backups that are there, the oldest first. Raises OSError."""
        pattern = re.compile(re.escape(self.database.name) + _MOMENT)
        return sorted(path for path in self.directory.iterdir() if pattern.fullmatch(path.name))
