"""What a node says to an app, sorted: permissions, report, then everything else. Spec 07 §1.1. Pure."""

from typing import Protocol

from offset_proto import wire
from offset_proto.messages.app import AppPermissions, AppServerToApp
from offset_proto.report_view import ReportView

__all__ = ["Greeting", "Listener"]


class Listener(Protocol):
    """Who takes what a node says."""

    def received(self, message: AppServerToApp) -> None:
        """A message after the report."""

    def closed(self, reason: str) -> None:
        """Nothing more will come."""


class Greeting:
    """
    The receiving side of an app connection.

    Attributes:
        permissions: What we may ask for.
        report: The node's report, as it was at first; whoever listens keeps it up to date.
        is_complete: Whether both are there.
    """

    permissions: AppPermissions
    report: ReportView

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._messages = 0

    @property
    def is_complete(self) -> bool:
        """Whether permissions and report are there."""
        return self._messages >= 2

    def take(self, message: bytes) -> None:
        """Take one message. Raises PeerError where it is none."""
        self._messages += 1
        if self._messages == 1:
            self.permissions = wire.APP_PERMISSIONS.decode(message)
        elif self._messages == 2:
            self.report = ReportView(wire.NODE_REPORT.decode(message))
        else:
            self._listener.received(wire.APP_SERVER_TO_APP.decode(message))

    def end(self, reason: str) -> None:
        """Nothing more will come."""
        self._listener.closed(reason)
