"""The link to an index server, as the index client asks for it. Spec 06 §7.4."""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_index.client import (
    Connect,
    ConnectedServerChanged,
    Disconnect,
    Effect,
    IndexClient,
    RespondRoutes,
    SendToServer,
)
from offset_proto import wire
from offset_proto.messages.app import ClientResponseRoutes
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import PublicKey

__all__ = ["IndexLink"]

log = logging.getLogger("offset.node")


@dataclass(eq=False)
class _Attempt:
    """The link of one attempt; receives its messages."""

    index: "IndexLink"
    number: int
    connection: Connection

    def message_received(self, message: bytes) -> None:
        received = wire.INDEX_SERVER_TO_CLIENT.decode(message)
        self.index.perform(self.index.client.receive(self.number, received))

    def connection_closed(self) -> None:
        self.index.perform(self.index.client.link_closed(self.number))


class IndexLink:
    """
    The index client of one node on sockets.

    Args:
        servers: In the order of configuration.
        identity: The node's.
        ticker: Ticks of the process.
        on_connected: Told which server is connected, or that none is.
        on_routes: Told each answer to a request for routes.
    """

    def __init__(
        self,
        servers: tuple[NamedIndexServerAddress, ...],
        identity: Identity,
        ticker: Ticker,
        on_connected: Callable[[PublicKey | None], None],
        on_routes: Callable[[ClientResponseRoutes], None],
    ) -> None:
        self.client = IndexClient(servers, identity, os.urandom)
        self._identity = identity
        self._ticker = ticker
        self._on_connected = on_connected
        self._on_routes = on_routes
        self._tasks: asyncio.TaskGroup | None = None
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._current: _Attempt | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Everything runs in *tasks*."""
        self._tasks = tasks
        self._ticker.subscribe(lambda: self.perform(self.client.tick()))
        self.perform(self.client.start())

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what the index client asks for."""
        for effect in effects:
            match effect:
                case Connect(attempt, server):
                    self._begin(attempt, server)
                case Disconnect(attempt):
                    self._end(attempt)
                case SendToServer(attempt, message):
                    if self._current is not None and self._current.number == attempt:
                        self._current.connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(message))
                case ConnectedServerChanged(public_key):
                    self._on_connected(public_key)
                case RespondRoutes(response):
                    self._on_routes(response)

    def _begin(self, attempt: int, server: NamedIndexServerAddress) -> None:
        assert self._tasks is not None
        task = self._connecting[attempt] = self._tasks.create_task(self._connect(attempt, server))
        task.add_done_callback(lambda _: self._connecting.pop(attempt, None))

    def _end(self, attempt: int) -> None:
        task = self._connecting.pop(attempt, None)
        if task is not None:
            task.cancel()
        if self._current is not None and self._current.number == attempt:
            current, self._current = self._current, None
            current.connection.close("another index server")

    async def _connect(self, attempt: int, server: NamedIndexServerAddress) -> None:
        try:
            connection = await connect(server.address, self._identity, server.public_key, self._ticker)
        except ConnectFailed as error:
            log.info("index server not reached: %s", error)
            self.perform(self.client.attempt_failed(attempt))
            return
        self._current = _Attempt(self, attempt, connection)
        connection.attach(self._current)
