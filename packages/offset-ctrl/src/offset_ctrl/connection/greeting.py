"""
The order of what a node says to an app: its permissions, then its report, then everything else. Spec 07 §1.1. Pure.

Whoever receives the messages of a connection to a node hands each of them to a `Greeting`, in their order.
"""

from collections.abc import Callable
from typing import Final, Protocol

from offset_proto import wire
from offset_proto.messages.app import AppPermissions, AppServerToApp
from offset_proto.messages.extensions import Extension
from offset_proto.permissions import ExtendedPermissions
from offset_proto.report_view import ReportView

__all__ = ["Greeting", "Listener"]

_KNOWN: Final = sum(Extension)


class Listener(Protocol):
    """Somebody who wants to know what a node says after its greeting."""

    def received(self, message: AppServerToApp) -> None:
        """The node sent a message after its report."""

    def closed(self, reason: str) -> None:
        """The connection is over, and no message follows; *reason* is for people."""


class Greeting:
    """
    The receiving side of an app connection.

    Attributes:
        permissions: What the app may ask for; there after the first message.
        extensions: What the node can do beyond the original's protocol (spec 12 §2), as far as this program knows it;
            there after the first message.
        report: The node's report as it was when the app connected; there after the second message. Whoever takes the
            later messages keeps it up to date.
        is_complete: Whether both have arrived.
    """

    permissions: AppPermissions
    extensions: Extension
    report: ReportView

    def __init__(self, received: Callable[[AppServerToApp], None]) -> None:
        """The greeting has not begun; *received* is called with each message after it."""
        self._received = received
        self._has_permissions = False
        self.is_complete = False

    def take(self, message: bytes) -> None:
        """
        Take the next message of the node.

        Raises:
            PeerError: The message can not be decoded as what has to come next. The fault is the node's.
        """
        if not self._has_permissions:
            greeting = wire.APP_GREETING.decode(message)
            flags = greeting.routes, greeting.buyer, greeting.seller, greeting.config
            self.permissions = ExtendedPermissions(*flags, True) if greeting.history else AppPermissions(*flags)
            self.extensions = Extension(greeting.extensions & _KNOWN)
            self._has_permissions = True
        elif not self.is_complete:
            self.report = ReportView(wire.NODE_REPORT.decode(message))
            self.is_complete = True
        else:
            self._received(wire.APP_SERVER_TO_APP.decode(message))
