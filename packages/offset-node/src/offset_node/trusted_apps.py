"""The directory of trusted apps: whatever changes in it takes effect without a restart. Spec 08 §5.1."""

import logging
import os
from pathlib import Path

from offset_proto.errors import OffsetError
from offset_proto.files import APP_TICKET
from offset_proto.messages.app import AppPermissions
from offset_proto.types import PublicKey

__all__ = ["TrustedApps"]

log = logging.getLogger("offset.node")

_Entry = tuple[str, int, int, int]
"""Name, inode, bytes and time of change of a file: what tells that it is another, or was written anew."""


class TrustedApps:
    """
    The tickets in a directory.

    A file that is no ticket is skipped and logged, so that it locks nobody out (D56); where two are of one app, the
    last by name counts. A directory that can not be read trusts nobody.

    Args:
        directory: May be missing, and come later.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: list[_Entry] | None = None
        self._permissions: dict[PublicKey, AppPermissions] = {}

    def find(self, app: PublicKey) -> AppPermissions | None:
        """What the ticket of *app* allows; None where there is no ticket."""
        self.refresh()
        return self._permissions.get(app)

    def refresh(self) -> bool:
        """Look at the directory; read the tickets again where one was added, changed or removed, and tell so."""
        entries = self._list()
        if entries == self._seen:
            return False
        self._seen = entries
        self._permissions = {}
        for name, *_ in entries or []:
            try:
                ticket = APP_TICKET.load(self._directory / name)
            except OffsetError as error:
                log.error("trusted apps: skipped a file: %s", error)
                continue
            self._permissions[ticket.public_key] = ticket.permissions
        return True

    def _list(self) -> list[_Entry]:
        try:
            with os.scandir(self._directory) as found:
                files = [(entry.name, entry.stat()) for entry in found if not entry.is_dir()]
        except OSError as error:
            if self._seen != []:
                log.error("trusted apps: %s: %s", self._directory, error.strerror)
            return []
        return sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in files)
