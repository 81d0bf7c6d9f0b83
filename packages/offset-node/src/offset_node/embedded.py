"""A node inside another program, with that program as its only app and no socket for others. Spec 10 §6.3."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from offset_crypto.aio import Receiver, Ticker
from offset_crypto.identity import Identity
from offset_funder.state import FunderState
from offset_node.database.json_file import JsonDatabase
from offset_node.database.original import format_database
from offset_node.node import Node
from offset_node.plugins.host import PluginHost
from offset_node.plugins.loading import find_plugins
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_node.state import NodeState
from offset_proto.errors import PeerError
from offset_proto.types import PublicKey

__all__ = ["InnerConnection", "format_new_database", "run_embedded"]

log = logging.getLogger("offset.node")


class InnerConnection:
    """
    The connection between the node and the program that it runs in.

    It is what a socket is to other apps: it carries encoded messages both ways, in order, and nobody waits.

    Args:
        app: The key that stands for the program.
        outer: Takes what the node says.
    """

    def __init__(self, app: PublicKey, outer: Receiver) -> None:
        self.remote_public_key = app
        self.is_closed = False
        self.close_reason = ""
        self.outbox_bytes_max = 0  # the program is in this process: it takes everything at once
        self._outer = outer
        self._node: Receiver | None = None
        self._reading_paused = False
        self._waiting: deque[bytes] = deque()

    # The program's side.

    def ask(self, message: bytes) -> None:
        """Send an encoded message to the node."""
        if not self.is_closed:
            self._waiting.append(message)
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._waiting and self._node is not None and not self._reading_paused and not self.is_closed:
            try:
                self._node.message_received(self._waiting.popleft())
            except PeerError as error:
                self.close(str(error))

    # The node's side.

    def attach(self, receiver: Receiver) -> None:
        """Hand what the program says to *receiver*, what it has said already first."""
        self._node = receiver
        asyncio.get_running_loop().call_soon(self._deliver)

    def send(self, message: bytes) -> None:
        """Send an encoded message to the program."""
        if not self.is_closed:
            self._outer.message_received(message)

    def close(self, reason: str = "closed") -> None:
        """End the connection, for either side; calling it again does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self.close_reason = reason
        log.debug("closed: %s", reason)
        self._outer.connection_closed()
        if self._node is not None:
            self._node.connection_closed()

    def pause_reading(self) -> None:
        """Keep what the program says until `resume_reading`: the node is busy."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Hand on what the program has said meanwhile, and all that it says from now on."""
        self._reading_paused = False
        asyncio.get_running_loop().call_soon(self._deliver)


def format_new_database(public_key: PublicKey) -> str:
    """The text of the database of a new node."""
    return format_database(NodeState(FunderState(public_key)))


@asynccontextmanager
async def run_embedded(
    path: Path, identity: Identity, outer: Receiver, ticker: Ticker
) -> AsyncIterator[InnerConnection]:
    """
    Run a node for the length of a ``with`` block.

    Args:
        path: Its database, in the form of the original; nobody else uses it.
        identity: The node's.
        outer: Takes what the node says to its app: permissions, report, messages; and that it ended, whatever ended it.
        ticker: Ticks of the process.

    Yields:
        The app's connection, already greeted.

    Raises:
        LoadDbError: The database can not be loaded.
        DatabaseIdentityMismatch: It belongs to another identity.
    """
    database = JsonDatabase(path)
    try:
        state = database.load()
        plugins = PluginHost(find_plugins(only_ticket=True), {}, database, state.funder)
        node = Node(database, state, identity, None, ticker, plugins)
        connection = InnerConnection(identity.public_key, outer)
        running = asyncio.create_task(_run(node, connection))
        try:
            node.apps.open(connection, ALL_PERMISSIONS)
            yield connection
        finally:
            connection.close("the program is done")
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    finally:
        database.close()


async def _run(node: Node, connection: InnerConnection) -> None:
    try:
        await node.run(None)
    except* Exception as errors:  # noqa: BLE001 - whatever ends the node, the program goes on
        for error in errors.exceptions:
            log.error("a node has ended: %s", error)
    finally:
        connection.close("the node has ended")
