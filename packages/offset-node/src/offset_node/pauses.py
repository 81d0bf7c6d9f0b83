"""Connections that are not read from for a while, each for one or more reasons."""

from typing import Protocol

__all__ = ["Pausable", "ReadingPauses"]


class Pausable(Protocol):
    """What can be paused: a connection."""

    is_closed: bool

    def pause_reading(self) -> None:
        """Take nothing from the peer."""

    def resume_reading(self) -> None:
        """Go on."""


class ReadingPauses:
    """Reading goes on when the last reason is gone."""

    def __init__(self) -> None:
        self._reasons: dict[Pausable, set[str]] = {}

    def pause(self, connection: Pausable, reason: str) -> None:
        """Do not read from *connection* until the *reason* is gone."""
        if connection.is_closed:
            return
        self._reasons.setdefault(connection, set()).add(reason)
        connection.pause_reading()

    def resume(self, connection: Pausable, reason: str) -> None:
        """The reason is gone; harmless where there was none."""
        reasons = self._reasons.get(connection)
        if reasons is None:
            return
        reasons.discard(reason)
        if not reasons or connection.is_closed:
            del self._reasons[connection]
            if not connection.is_closed:
                connection.resume_reading()

    def resume_all(self, reason: str) -> None:
        """The reason is gone for all connections."""
        for connection in list(self._reasons):
            self.resume(connection, reason)
