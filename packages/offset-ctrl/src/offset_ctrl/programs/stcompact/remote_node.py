"""A node elsewhere, as stcompact reaches it: the app connection, message by message."""

import asyncio

from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect
from offset_ctrl.connection.client import REPORT_FRAME_BYTES_MAX, ConnectionClosed, NodeConnectionError
from offset_ctrl.connection.greeting import Greeting, Listener
from offset_ctrl.programs.stcompact.store import RemoteEntry
from offset_proto import wire
from offset_proto.limits import APP_GREETING_TICKS
from offset_proto.messages.app import AppPermissions, AppToAppServer
from offset_proto.report_view import ReportView

__all__ = ["RemoteNode", "open_remote"]


class RemoteNode:
    """An open connection; made by `open_remote`. Receives the node's messages."""

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self._connection = connection
        self._listener = listener
        self._greeting = Greeting(listener.received)
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def permissions(self) -> AppPermissions:
        """What the node lets this app ask for, as it said when it greeted."""
        return self._greeting.permissions

    @property
    def report(self) -> ReportView:
        """The node's report; whoever takes the node's messages keeps it up to date."""
        return self._greeting.report

    def send(self, message: AppToAppServer) -> None:
        """Send a request to the node, without waiting for its answer."""
        self._connection.send(wire.APP_TO_APP_SERVER.encode(message))

    async def close(self) -> None:
        """End the connection to the node, which goes on without us."""
        self._connection.close("the app is done")

    def message_received(self, message: bytes) -> None:
        """Take a message of the node."""
        self._greeting.take(message)
        if self._greeting.is_complete and not self.greeted.done():
            self.greeted.set_result(None)

    def connection_closed(self) -> None:
        """Pass on that the connection was lost, also to whoever waits for the greeting."""
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionClosed("the node closed the connection; does it trust this app?"))
            self.greeted.exception()  # seen, also where nobody waits any more
        self._listener.closed("the connection is closed")


async def open_remote(entry: RemoteEntry, listener: Listener, ticker: Ticker) -> RemoteNode:
    """
    Connect to a node elsewhere, and wait until it has greeted.

    Raises:
        NodeConnectionError: Not reached, another key, not trusted, or no greeting in time.
    """
    ticket = entry.ticket
    try:
        connection = await connect(
            ticket.address, entry.app, ticket.public_key, ticker, frame_bytes_max=REPORT_FRAME_BYTES_MAX
        )
    except ConnectFailed as error:
        raise NodeConnectionError(f"ConnectionError({error})") from None
    node = RemoteNode(connection, listener)
    try:
        connection.attach(node)
        async with asyncio.timeout(APP_GREETING_TICKS * ticker.seconds):
            await node.greeted
    except (ConnectionClosed, TimeoutError) as error:
        connection.close("gave up")
        raise NodeConnectionError(f"ConnectionError({ticket.address}: {str(error) or 'no greeting'})") from None
    except BaseException:
        connection.close("gave up")
        raise
    return node
