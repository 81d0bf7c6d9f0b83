"""A node inside stcompact, where offset-node is installed. Imported only when there is one."""

import asyncio
from contextlib import AsyncExitStack

from offset_crypto.aio import Ticker
from offset_ctrl.connection.greeting import Greeting, Listener
from offset_ctrl.programs.stcompact.store import LocalEntry
from offset_node.embedded import InnerConnection, format_new_database, run_embedded
from offset_proto import wire
from offset_proto.errors import OffsetError
from offset_proto.messages.app import AppPermissions, AppToAppServer
from offset_proto.report_view import ReportView

__all__ = ["LocalNode", "format_new_database", "open_local"]


class LocalNode:
    """A node that runs; made by `open_local`. Receives what it says."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._greeting = Greeting(listener.received)
        self._resources = AsyncExitStack()
        self._connection: InnerConnection

    async def start(self, entry: LocalEntry, ticker: Ticker) -> None:
        """Run until `close`. Raises OffsetError where the database can not be used."""
        running = run_embedded(entry.database, entry.identity, self, ticker)
        self._connection = await self._resources.enter_async_context(running)

    @property
    def permissions(self) -> AppPermissions:
        """What the node lets this app ask for: everything, since the node is our own."""
        return self._greeting.permissions

    @property
    def report(self) -> ReportView:
        """The node's report; whoever takes the node's messages keeps it up to date."""
        return self._greeting.report

    def send(self, message: AppToAppServer) -> None:
        """Send a request to the node, without waiting for its answer."""
        self._connection.ask(wire.APP_TO_APP_SERVER.encode(message))

    async def close(self) -> None:
        """End the node; its database is free when this returns."""
        await asyncio.shield(self._resources.aclose())

    def message_received(self, message: bytes) -> None:
        """Take a message of the node."""
        self._greeting.take(message)

    def connection_closed(self) -> None:
        """Pass on that the node has ended."""
        self._listener.closed("the node has ended")


async def open_local(entry: LocalEntry, listener: Listener, ticker: Ticker) -> LocalNode:
    """
    Start a node in this process; it runs until the `LocalNode` is closed.

    Raises:
        OffsetError: Its database can not be loaded, or belongs to another identity.
    """
    node = LocalNode(listener)
    try:
        await node.start(entry, ticker)
    except OffsetError:
        await node.close()
        raise
    return node
