"""What can go wrong with a node's database; each names the file, or the server."""

from offset_proto.errors import OffsetError

__all__ = ["ArchiveError", "DatabaseInUse", "DatabaseWriteError", "LoadDbError", "ServerNotReached"]


class ArchiveError(OffsetError):
    """There is nothing to archive; nothing has changed."""

    def __init__(self, reason: object) -> None:
        super().__init__(f"ArchiveError({reason})")


class LoadDbError(OffsetError):
    """
    The database is missing, of another kind, damaged, or breaks a rule of the ledger.

    Attributes:
        reason: What is wrong, without the name.
    """

    def __init__(self, name: object, reason: object) -> None:
        self.reason = str(reason)
        super().__init__(f"LoadDbError({name}: {reason})")


class ServerNotReached(LoadDbError):
    """The server of a database does not answer, or takes nobody; it may later."""


class DatabaseInUse(OffsetError):
    """Another process runs on this database."""

    def __init__(self, name: object, holder: str = "another process, such as a node that runs on it") -> None:
        super().__init__(f"DatabaseInUse({name} is used by {holder}; stop that first)")


class DatabaseWriteError(OffsetError):
    """Something could not be stored: a node must end, and nothing that depends on it was sent."""

    def __init__(self, name: object, reason: object) -> None:
        super().__init__(f"DatabaseError({name}: {reason})")
