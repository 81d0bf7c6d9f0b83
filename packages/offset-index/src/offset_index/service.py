"""
The index server on sockets. Spec 06 §5.2, §5.4.

Route requests wait in a queue of each client and are answered in turn, one between two looks at the
sockets, so that neither ticks nor updates wait for searches (D69).
"""

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import offset_index
from offset_crypto.aio import ConnectFailed, Connection, Proxy, Ticker, connect, serve
from offset_crypto.backoff import Backoff
from offset_crypto.identity import Identity
from offset_crypto.link_counts import LinkCounts
from offset_crypto.measures import Distribution
from offset_crypto.supervision import tell_ready
from offset_index.server import CloseClient, Effect, IndexServer, SendToClient, SendToServer, initiates
from offset_proto import wire
from offset_proto.errors import LimitExceeded
from offset_proto.limits import INDEX_CLIENT_MUTATIONS, INDEX_CLIENT_REQUESTS_MAX, RELAY_HANDSHAKES_MAX
from offset_proto.log_events import (
    LIMIT_REACHED,
    LINK_REFUSED,
    LISTENING,
    SERVER_CONNECTED,
    SERVER_LOST,
    SERVER_NOT_REACHED,
    STARTED,
    tell,
)
from offset_proto.messages.index import MutationsUpdate, RequestRoutes, ResponseRoutes
from offset_proto.messages.payment import RelayAddress
from offset_proto.presence import Presence
from offset_proto.text import format_b64, format_host_port
from offset_proto.types import PublicKey

__all__ = ["IndexCounts", "IndexService"]

log = logging.getLogger("offset.index")

NEIGHBOUR_OUTBOX_BYTES_MAX = 4 * 1024 * 1024

MUTATIONS_AT_ONCE = 16 * INDEX_CLIENT_MUTATIONS
"""A node that connects declares all its friends."""


@dataclass(eq=False)
class _Client:
    """A node's connection; receives its messages."""

    service: "IndexService"
    connection: Connection
    requests: deque[RequestRoutes] = field(default_factory=deque)
    allowance: int = MUTATIONS_AT_ONCE

    def message_received(self, message: bytes) -> None:
        try:
            received = wire.INDEX_CLIENT_TO_SERVER.decode(message)
        except LimitExceeded as error:
            self.service.counts.oversized += 1
            self._answer_oversized(message, error)
            return
        match received:
            case MutationsUpdate():
                self.allowance -= 1 + len(received.index_mutations)
                self.service.perform(self.service.engine.receive_update(received))
            case RequestRoutes():
                self.requests.append(received)
                self.service.queue_search(self)
        if not self._is_modest():
            limit = "INDEX_CLIENT_MUTATIONS" if self.allowance <= 0 else "INDEX_CLIENT_REQUESTS_MAX"
            tell(log, LIMIT_REACHED, limit=limit, what="a node is not read from until it has less under way")
            self.service.counts.pauses += 1
            self.connection.pause_reading()

    def resume_if_modest(self) -> None:
        """Read from the node again, unless it still has asked or declared too much."""
        if self._is_modest():
            self.connection.resume_reading()

    def tick(self) -> None:
        """A tick passed: the node may declare some more."""
        self.allowance = min(self.allowance + INDEX_CLIENT_MUTATIONS, MUTATIONS_AT_ONCE)
        self.resume_if_modest()

    def _is_modest(self) -> bool:
        return len(self.requests) < INDEX_CLIENT_REQUESTS_MAX and self.allowance > 0

    def _answer_oversized(self, message: bytes, error: LimitExceeded) -> None:
        tell(log, LIMIT_REACHED, limit="a value in a message of a node", what=f"the message is ignored: {error}")
        clipped = wire.INDEX_CLIENT_TO_SERVER.decode(message, clip=True)
        if isinstance(clipped, RequestRoutes):
            self.answer(ResponseRoutes(clipped.request_id, ()))

    def answer(self, response: ResponseRoutes) -> None:
        """Send the answer to a request."""
        self.connection.send(wire.INDEX_SERVER_TO_CLIENT.encode(response))

    def connection_closed(self) -> None:
        self.requests.clear()
        self.service.client_closed(self)


@dataclass(eq=False)
class _Server:
    """A neighbour's connection; receives its messages."""

    service: "IndexService"
    connection: Connection
    public_key: PublicKey
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def message_received(self, message: bytes) -> None:
        try:
            received = wire.INDEX_SERVER_TO_SERVER.decode(message)
        except LimitExceeded as error:
            self.service.counts.oversized += 1
            tell(log, LIMIT_REACHED, limit="a value in a message of a server", what=f"the message is ignored: {error}")
            return
        self.service.perform(self.service.engine.receive_from_server(self.public_key, received))

    def connection_closed(self) -> None:
        self.closed.set()
        self.service.server_closed(self)


@dataclass
class IndexCounts:
    """
    What an index server counts besides its engine.

    Attributes:
        searches: Seconds that each search for routes took.
        fruitless: Searches that found no route.
        pauses: Times that a node had asked or declared too much, and was not read from for a while.
        oversized: Messages that were ignored since they exceed a limit.
    """

    searches: Distribution = field(default_factory=Distribution)
    fruitless: int = 0
    pauses: int = 0
    oversized: int = 0


class IndexService:
    """
    An index server that runs.

    Args:
        identity: The server's.
        trusted: Other index servers, with the addresses of their server ports. The own key is ignored (D68).
        ticker: Ticks of the process.
        proxy: Other index servers are reached through it; None: directly.

    Attributes:
        engine: Knows the nodes, what they declare, and the neighbours.
        counts: What was asked.
    """

    def __init__(
        self,
        identity: Identity,
        trusted: dict[PublicKey, RelayAddress],
        ticker: Ticker,
        proxy: Proxy | None = None,
    ) -> None:
        self.engine = IndexServer(os.urandom)
        self.counts = IndexCounts()
        self._is_listening = False
        self._identity = identity
        self._trusted = self._without_own(trusted)
        self._keeping: dict[PublicKey, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._ticker = ticker
        self._presence = Presence[PublicKey](time.monotonic())
        self._proxy = proxy
        self._clients: dict[_Client, None] = {}
        self._servers: dict[PublicKey, _Server] = {}
        self._searching: deque[_Client] = deque()
        self._search_wanted = asyncio.Event()

    async def run(self, client_address: tuple[str, int], server_address: tuple[str, int]) -> None:
        """Serve until cancelled. Raises OSError where an address can not be listened on."""
        self._ticker.subscribe(self._tick)
        async with (
            self._serve(client_address, self._accept_client) as client_port,
            self._serve(server_address, self._accept_server) as server_port,
            asyncio.TaskGroup() as tasks,
        ):
            self._is_listening = True
            tell(log, LISTENING, address=format_host_port(client_address[0], client_port), what="nodes")
            tell(log, LISTENING, address=format_host_port(server_address[0], server_port), what="index servers")
            self._tell_start()
            tasks.create_task(self._search())
            self._tasks = tasks
            for public_key in self._trusted:
                self._keep(public_key)
            tell_ready()

    def trust(self, trusted: dict[PublicKey, RelayAddress]) -> Callable[[], None] | None:
        """What makes the server trust these, and no others, from now on; None where it does so already."""
        wanted = self._without_own(trusted)
        return None if wanted == self._trusted else functools.partial(self._trust, wanted)

    def _trust(self, wanted: dict[PublicKey, RelayAddress]) -> None:
        """Links to servers that are not trusted any more end; one that is elsewhere now is connected to anew."""
        before, self._trusted = self._trusted, wanted
        for public_key in [key for key, server in before.items() if wanted.get(key) != server]:
            is_ours = initiates(self._identity.public_key, public_key)
            link = self._servers.get(public_key)
            if link is not None and (is_ours or public_key not in wanted):
                link.connection.close("the list of trusted servers has changed")
            if is_ours:
                self._keeping.pop(public_key).cancel()
                if link is not None:
                    self._tell_lost(public_key, link.connection.close_reason, None)
        for public_key in wanted:
            self._keep(public_key)

    def _keep(self, public_key: PublicKey) -> None:
        """Keep a link to a trusted server, where it is for us to connect."""
        if self._tasks is None or public_key in self._keeping or not initiates(self._identity.public_key, public_key):
            return
        self._keeping[public_key] = self._tasks.create_task(self._keep_connected(self._trusted[public_key]))

    def _without_own(self, trusted: dict[PublicKey, RelayAddress]) -> dict[PublicKey, RelayAddress]:
        return {key: server for key, server in trusted.items() if key != self._identity.public_key}

    @property
    def links(self) -> LinkCounts:
        """What the links of the server have done."""
        return self._ticker.links

    @property
    def clients(self) -> int:
        """How many nodes are connected."""
        return len(self._clients)

    @property
    def requests(self) -> int:
        """How many requests for routes wait for their turn."""
        return len(self._searching)

    @property
    def neighbours(self) -> dict[str, float]:
        """How many of the trusted servers are connected, and how many are not."""
        connected = len(self._servers)
        return {"connected": connected, "missing": len(self._trusted) - connected}

    def missing(self) -> list[str]:
        """What keeps the server from knowing all that it could, a line for each."""
        if not self._is_listening:
            return ["the index server does not listen yet"]
        lost = [server for key, server in self._trusted.items() if key not in self._servers]
        return [f"index server {server.address}: not connected" for server in lost]

    def _serve(
        self, address: tuple[str, int], accept: Callable[[Connection], None]
    ) -> contextlib.AbstractAsyncContextManager[int]:
        return serve(*address, self._identity, self._ticker, accept, handshakes_max=RELAY_HANDSHAKES_MAX)

    def _tell_start(self) -> None:
        tell(
            log,
            STARTED,
            program="offset-index",
            version=offset_index.__version__,
            key=format_b64(self._identity.public_key),
            loaded={"trusted servers": len(self._trusted)},
        )

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what the engine asks for."""
        last: tuple[object, bytes] = (None, b"")  # one message often goes to everybody
        for effect in effects:
            match effect:
                case SendToClient(client, message):
                    if last[0] is not message:
                        last = (message, wire.INDEX_SERVER_TO_CLIENT.encode(message))
                    if isinstance(client, _Client):
                        client.connection.send(last[1])
                case SendToServer(public_key, forwarded):
                    if last[0] is not forwarded:
                        last = (forwarded, wire.INDEX_SERVER_TO_SERVER.encode(forwarded))
                    server = self._servers.get(public_key)
                    if server is not None:
                        server.connection.send(last[1])
                case CloseClient(client):
                    if isinstance(client, _Client):
                        client.connection.close("connected anew")

    def queue_search(self, client: _Client) -> None:
        """A client has a request to be answered."""
        self._searching.append(client)
        self._search_wanted.set()

    def client_closed(self, client: _Client) -> None:
        """A node is not connected any more; what it declared stays until it expires."""
        self._clients.pop(client, None)
        self.engine.close_client(client, client.connection.remote_public_key)

    def server_closed(self, server: _Server) -> None:
        """A neighbour is not connected any more; nothing is done where it has connected anew already."""
        if self._servers.get(server.public_key) is server:
            del self._servers[server.public_key]
            self.engine.close_server(server.public_key)
            if not initiates(self._identity.public_key, server.public_key):
                self._tell_lost(server.public_key, server.connection.close_reason, None)

    def _tell_lost(self, public_key: PublicKey, reason: str, next_ticks: int | None) -> None:
        fields = {"key": format_b64(public_key), "reason": reason}
        if self._presence.went(public_key, time.monotonic()) is not None:
            tell(log, SERVER_LOST, **fields, next=next_ticks)
        elif self._presence.is_news(public_key):
            tell(log, SERVER_NOT_REACHED, **fields, next=next_ticks)

    def _tick(self) -> None:
        for client in self._clients:
            client.tick()
        self.perform(self.engine.tick())

    def _accept_client(self, connection: Connection) -> None:
        client = _Client(self, connection)
        self._clients[client] = None
        self.perform(self.engine.open_client(client, connection.remote_public_key))
        connection.attach(client)

    def _accept_server(self, connection: Connection) -> None:
        public_key = connection.remote_public_key
        if public_key not in self._trusted or initiates(self._identity.public_key, public_key):
            self._refuse(connection, "no server that is trusted to connect here")
            return
        self._adopt_server(connection, public_key)

    def _refuse(self, connection: Connection, reason: str) -> None:
        tell(log, LINK_REFUSED, key=format_b64(connection.remote_public_key), reason=reason)
        connection.close(reason)

    def _adopt_server(self, connection: Connection, public_key: PublicKey) -> _Server | None:
        if not self.engine.open_server(public_key):
            self._refuse(connection, "this server is connected already")
            return None
        away = self._presence.came(public_key, time.monotonic())
        tell(log, SERVER_CONNECTED, key=format_b64(public_key), away=away)
        connection.outbox_bytes_max = NEIGHBOUR_OUTBOX_BYTES_MAX
        server = self._servers[public_key] = _Server(self, connection, public_key)
        connection.attach(server)
        return server

    async def _keep_connected(self, address: RelayAddress) -> None:
        backoff = Backoff(os.urandom)
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection = await connect(
                    address.address, self._identity, address.public_key, self._ticker, proxy=self._proxy
                )
            except ConnectFailed as error:
                ticks = backoff.after_failure()
                self._tell_lost(address.public_key, str(error), ticks)
            else:
                since = loop.time()
                try:
                    server = self._adopt_server(connection, address.public_key)
                    if server is not None:
                        await server.closed.wait()
                finally:
                    connection.close("the index server ends")
                ticks = backoff.after_link(int((loop.time() - since) / self._ticker.seconds))
                self._tell_lost(address.public_key, connection.close_reason, ticks)
            await asyncio.sleep(ticks * self._ticker.seconds)

    async def _search(self) -> None:
        while True:
            await self._search_wanted.wait()
            if not self._searching:
                self._search_wanted.clear()
                continue
            client = self._searching.popleft()
            if client.requests:
                request = client.requests.popleft()
                began = time.monotonic()
                found = self.engine.find_routes(request)
                self.counts.searches.observe(time.monotonic() - began)
                self.counts.fruitless += not found.multi_routes
                client.answer(found)
                client.resume_if_modest()
            await asyncio.sleep(0)
