"""The directory of app tickets, whose changes take effect without a restart. Spec 08 §5.1."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from offset_proto.errors import OffsetError
from offset_proto.files import APP_TICKET, AppTicket
from offset_proto.messages.app import AppPermissions
from offset_proto.types import PublicKey

__all__ = ["TrustedApps"]

log = logging.getLogger("offset.node")

_Entry = tuple[str, int, int, int]
"""Name, inode, size and time of change of a file. A file of which any of them differs is read again."""


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

    def read(self) -> Mapping[PublicKey, AppPermissions]:
        """What each app may do now; the files are read again only where one was added, changed or removed."""
        entries = self._list()
        if entries != self._seen:
            self._seen = entries
            self._permissions = {ticket.public_key: ticket.permissions for ticket in self._load(entries)}
        return self._permissions

    def _load(self, entries: list[_Entry]) -> Iterator[AppTicket]:
        for name, *_ in entries:
            try:
                yield APP_TICKET.load(self._directory / name)
            except OffsetError as error:
                log.error("trusted apps: skipped a file: %s", error)

    def _list(self) -> list[_Entry]:
        try:
            with os.scandir(self._directory) as found:
                return sorted(_entry(file) for file in found if not file.is_dir())
        except OSError as error:
            if self._seen != []:
                log.error("trusted apps: %s: %s", self._directory, error.strerror)
            return []


def _entry(file: "os.DirEntry[str]") -> _Entry:
    try:
        stat = file.stat()
    except OSError:  # a link to nowhere, or removed meanwhile: reading it will say so
        return file.name, 0, 0, 0
    return file.name, stat.st_ino, stat.st_size, stat.st_mtime_ns
