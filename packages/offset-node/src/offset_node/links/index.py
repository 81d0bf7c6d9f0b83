"""Shell of the index client: the link to an index server on a socket. Spec 06 §7.4."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from offset_crypto.aio import ConnectFailed, Connection, Proxy, Ticker, connect
from offset_crypto.identity import Identity
from offset_crypto.measures import Distribution
from offset_index.client import Connect, ConnectedServerChanged, Disconnect, Effect, IndexClient, SendToServer
from offset_node.tasks import NodeTasks
from offset_node.telling import NodeLog
from offset_proto import wire
from offset_proto.messages.index import RequestRoutes, ResponseRoutes
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import Uid

__all__ = ["IndexLink"]

_SEARCHES_TIMED_MAX: Final = 64
"""Requests for routes whose beginning is remembered; the oldest ones were not answered."""


@dataclass(eq=False)
class _Attempt:
    """The link of one attempt; receives its messages."""

    index: "IndexLink"
    number: int
    server: NamedIndexServerAddress
    connection: Connection
    has_spoken: bool = False

    def message_received(self, message: bytes) -> None:
        received = wire.INDEX_SERVER_TO_CLIENT.decode(message)
        self.has_spoken = True
        if isinstance(received, ResponseRoutes):
            self.index.answered(received.request_id)
        outputs = self.index.client.receive(self.number, received)
        if any(isinstance(output, ConnectedServerChanged) for output in outputs):
            self.index.log.index_connected(self.server)
        self.index.on_output(outputs)

    def connection_closed(self) -> None:
        self.index.on_output(self.index.client.link_closed(self.number))
        reason = self.connection.close_reason
        if not self.has_spoken:
            reason = f"{reason}, before it told the hash of a tick (is it an index server?)"
        self.index.log.index_lost(self.server, reason, self.index.client.next_attempt)


class IndexLink:
    """
    The index client of one node on sockets.

    Args:
        client: Decides which server to connect to; it is told what becomes of it.
        identity: The node's.
        ticker: Ticks of the process.
        on_output: Takes what the client says. What of it concerns the link comes back to `perform`.
        log: Told what becomes of the link.
        proxy: Servers are reached through it; None: directly.

    Attributes:
        searches: Seconds from a request for routes to the answer of the index server.
    """

    def __init__(
        self,
        client: IndexClient,
        identity: Identity,
        ticker: Ticker,
        on_output: Callable[[list[Effect]], None],
        *,
        log: NodeLog,
        proxy: Proxy | None,
    ) -> None:
        self.client = client
        self.searches = Distribution()
        self._asked: dict[Uid, float] = {}
        self.on_output = on_output
        self.log = log
        self._identity = identity
        self._ticker = ticker
        self._proxy = proxy
        self._tasks: NodeTasks | None = None
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._current: _Attempt | None = None

    def start(self, tasks: NodeTasks) -> None:
        """Run attempts to connect in *tasks* from now on, and count ticks."""
        self._tasks = tasks
        self._ticker.subscribe(self._tick)
        self.on_output(self.client.start())

    def stop(self) -> None:
        """Count no more ticks, and close the link to the server."""
        self._ticker.unsubscribe(self._tick)
        if self._current is not None:
            self._current.connection.close("the node has ended")

    def _tick(self) -> None:
        self.on_output(self.client.tick())

    def perform(self, effect: Connect | Disconnect | SendToServer) -> None:
        """Do what the index client asks for."""
        match effect:
            case Connect(attempt, server):
                self._begin(attempt, server)
            case Disconnect(attempt):
                self._end(attempt)
            case SendToServer(attempt, message):
                if self._current is not None and self._current.number == attempt:
                    if isinstance(message, RequestRoutes):
                        self._note(message.request_id)
                    self._current.connection.send(wire.INDEX_CLIENT_TO_SERVER.encode(message))

    def _note(self, request_id: Uid) -> None:
        if len(self._asked) >= _SEARCHES_TIMED_MAX:
            del self._asked[next(iter(self._asked))]
        self._asked[request_id] = time.monotonic()

    def answered(self, request_id: Uid) -> None:
        """The server has answered a request for routes."""
        asked_at = self._asked.pop(request_id, None)
        if asked_at is not None:
            self.searches.observe(time.monotonic() - asked_at)

    def _begin(self, attempt: int, server: NamedIndexServerAddress) -> None:
        assert self._tasks is not None
        task = self._tasks.spawn(self._connect(attempt, server))
        if task is not None:
            self._connecting[attempt] = task
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
            connection = await connect(
                server.address, self._identity, server.public_key, self._ticker, proxy=self._proxy
            )
        except ConnectFailed as error:
            self.on_output(self.client.attempt_failed(attempt))
            self.log.index_lost(server, str(error), self.client.next_attempt)
            return
        self._current = _Attempt(self, attempt, server, connection)
        connection.attach(self._current)
