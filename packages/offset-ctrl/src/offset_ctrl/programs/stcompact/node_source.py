"""
Where the server of a wallet gets its nodes from, and how it hears of what they say. Pure.

A node is opened by a `NodeSource`, which gives a `NodeHandle` to ask it by. What the node says comes to a
`NodeListener`, which makes events of it for the server's queue. A node may speak before the server has given it an id,
since the id belongs to the opening, and an attempt to open a node can fail; what was said so far is kept until then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from offset_ctrl.connection.greeting import Listener
from offset_ctrl.programs.stcompact.store import LocalEntry, RemoteEntry
from offset_proto.messages.app import AppPermissions, AppServerToApp, AppToAppServer
from offset_proto.report_view import ReportView
from offset_proto.types import PublicKey

__all__ = ["NodeHandle", "NodeListener", "NodeSource", "Received", "SourceClosed"]


class NodeHandle(Protocol):
    """A node that is reached: what it said first, and a way to ask it."""

    @property
    def permissions(self) -> AppPermissions:
        """What the node lets this app ask for."""

    @property
    def report(self) -> ReportView:
        """The node's report; whoever takes the node's messages keeps it up to date."""

    def send(self, message: AppToAppServer) -> None:
        """Send a request to the node; its answer comes as a message like any other."""

    async def close(self) -> None:
        """Leave it; a node in this process has ended when this returns."""


class NodeSource(Protocol):
    """Opens the nodes of a wallet; each of them goes on speaking to the *listener* that it was opened with."""

    async def open_local(self, entry: LocalEntry, listener: Listener) -> NodeHandle:
        """Start a node in this process. Raises OffsetError."""

    async def open_remote(self, entry: RemoteEntry, listener: Listener) -> NodeHandle:
        """Connect to a node elsewhere. Raises OffsetError."""

    def format_database(self, public_key: PublicKey) -> str:
        """The database of a new local node. Raises OffsetError where there can be none."""


@dataclass(frozen=True, slots=True)
class Received:
    """An open node sent a message."""

    node_id: int
    message: AppServerToApp


@dataclass(frozen=True, slots=True)
class SourceClosed:
    """An open node has ended, or the connection to it was lost; it sends nothing after this."""

    node_id: int
    reason: str


class NodeListener:
    """
    Puts what a node says into the server's queue, under its id as soon as it has one.

    Args:
        put: Takes an event for the server; never waits.
    """

    def __init__(self, put: Callable[[Received | SourceClosed], None]) -> None:
        self._put = put
        self._node_id: int | None = None
        self._early: list[AppServerToApp] = []
        self._closed: str | None = None

    def received(self, message: AppServerToApp) -> None:
        """Pass a message of the node on, or keep it until the node has an id."""
        if self._node_id is None:
            self._early.append(message)
        else:
            self._put(Received(self._node_id, message))

    def closed(self, reason: str) -> None:
        """Pass on that the node is gone, or keep that until the node has an id."""
        self._closed = reason
        if self._node_id is not None:
            self._put(SourceClosed(self._node_id, reason))

    def open(self, node_id: int) -> None:
        """The node has got an id: pass on what was kept for it, and from now on everything at once."""
        self._node_id = node_id
        for message in self._early:
            self._put(Received(node_id, message))
        self._early.clear()
        if self._closed is not None:
            self._put(SourceClosed(node_id, self._closed))
