"""
Connections that are not read from for a while, each for one or more reasons. Pure.

A connection is paused for the reason "inbox" where it fills the node's inbox, and for the reason "plugins" while a
plugin judges one of its messages. It is read from again when the last of its reasons is gone.
"""

from typing import Protocol

__all__ = ["Pausable", "ReadingPauses"]


class Pausable(Protocol):
    """A connection whose reading can be paused."""

    is_closed: bool

    def pause_reading(self) -> None:
        """Take nothing from the peer until `resume_reading`."""

    def resume_reading(self) -> None:
        """Take what the peer has sent meanwhile, and all that comes."""


class ReadingPauses:
    """The connections of a node that are paused, and the reasons for it."""

    def __init__(self) -> None:
        self._reasons: dict[Pausable, set[str]] = {}

    def pause(self, connection: Pausable, reason: str) -> None:
        """Do not read from *connection* until the *reason* is gone."""
        if connection.is_closed:
            return
        self._reasons.setdefault(connection, set()).add(reason)
        connection.pause_reading()

    def resume(self, connection: Pausable, reason: str) -> None:
        """A reason of *connection* is gone. Nothing happens where it was not paused for it."""
        reasons = self._reasons.get(connection)
        if reasons is None:
            return
        reasons.discard(reason)
        if not reasons or connection.is_closed:
            del self._reasons[connection]
            if not connection.is_closed:
                connection.resume_reading()

    def resume_all(self, reason: str) -> None:
        """A reason is gone for all connections that were paused for it."""
        for connection in list(self._reasons):
            self.resume(connection, reason)
