"""The directory of trusted apps, read for every connection. Spec 08 §5.1."""

import logging
from pathlib import Path

from offset_proto.errors import OffsetError
from offset_proto.files import APP_TICKET
from offset_proto.messages.app import AppPermissions
from offset_proto.types import PublicKey

__all__ = ["find_permissions"]

log = logging.getLogger("offset.node")


def find_permissions(directory: Path, app: PublicKey) -> AppPermissions | None:
    """
    What the ticket of *app* allows; None where there is no ticket.

    A file that is no ticket is skipped and logged, so that it locks nobody out (D56).
    """
    found = None
    try:
        paths = sorted(path for path in directory.iterdir() if not path.is_dir())
    except OSError as error:
        log.error("trusted apps: %s: %s", directory, error.strerror)
        return None
    for path in paths:
        try:
            ticket = APP_TICKET.load(path)
        except OffsetError as error:
            log.error("trusted apps: skipped a file: %s", error)
            continue
        if ticket.public_key == app:
            found = ticket.permissions
    return found
