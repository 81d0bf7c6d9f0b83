"""Relays and index servers of a simulated network: the engines that the programs run, on simulated links."""

from dataclasses import dataclass
from typing import Any

from offset_crypto.backoff import Backoff
from offset_crypto.identity import Identity
from offset_index.server import CloseClient, IndexServer, SendToClient, SendToServer, initiates
from offset_index.server import Effect as IndexEffect
from offset_node.simulation.world import LinkEnd, World
from offset_proto.errors import PeerError
from offset_proto.messages.index import MutationsUpdate, RequestRoutes
from offset_proto.types import NetAddress, PublicKey
from offset_relay.server import CloseLink, JoinLinks, NotifyListener, RelayServer
from offset_relay.server import Effect as RelayEffect

__all__ = ["SimulatedIndexServer", "SimulatedRelay"]


@dataclass(eq=False)
class _RelayLink:
    """A link before it is part of a tunnel."""

    relay: "SimulatedRelay"
    end: LinkEnd
    is_first: bool = True

    def message_received(self, message: Any) -> None:
        self.relay.message_received(self, message)

    def link_closed(self) -> None:
        self.relay.link_closed(self)


@dataclass(eq=False)
class _Splice:
    """One direction of a tunnel."""

    other: LinkEnd

    def message_received(self, message: Any) -> None:
        self.other.send(message)

    def link_closed(self) -> None:
        self.other.close()


class SimulatedRelay:
    """A relay; after a crash it knows nobody."""

    def __init__(self, world: World, identity: Identity, address: NetAddress) -> None:
        self.public_key = identity.public_key
        self.address = address
        self.is_up = True
        self.slowness = 1.0
        self._world = world
        self._engine = RelayServer()
        self._ends: dict[LinkEnd, None] = {}
        world.hosts[address] = self
        world.after(world.chance.random(), self._tick)

    def accept(self, end: LinkEnd) -> None:
        """Take a connection of somebody who has proved a key."""
        link = _RelayLink(self, end)
        self._ends[end] = None
        self._engine.open_link(link)
        end.attach(link)

    def crash(self, down_ticks: float) -> None:
        """End, and start again later without any memory of links and declarations."""
        self.is_up = False
        for end in self._ends:
            end.drop()
        self._ends.clear()
        self._engine = RelayServer()
        self._world.after(down_ticks, self._restart)

    def message_received(self, link: _RelayLink, message: Any) -> None:
        """A message of a link that is no tunnel yet."""
        if not self.is_up:
            return
        if link.is_first:
            link.is_first = False
            self._perform(self._engine.receive_first(link, link.end.remote, message))
        elif self._engine.is_listener(link):
            self._perform(self._engine.receive_reject(link, message))
        elif self._engine.is_waiting(link):
            self._perform(self._engine.receive_pending(link, message))

    def link_closed(self, link: _RelayLink) -> None:
        """A link that is no tunnel ended."""
        self._ends.pop(link.end, None)
        self._perform(self._engine.close_link(link))

    def _restart(self) -> None:
        self.is_up = True

    def _tick(self) -> None:
        self._world.after(1, self._tick)
        if self.is_up:
            self._perform(self._engine.tick())

    def _perform(self, effects: list[RelayEffect]) -> None:
        for effect in effects:
            match effect:
                case CloseLink(_RelayLink() as link):
                    link.end.close()
                case NotifyListener(_RelayLink() as link, message):
                    link.end.send(message)
                case JoinLinks(_RelayLink() as connector, _RelayLink() as acceptor, pending):
                    for earlier in pending:
                        acceptor.end.send(earlier)
                    connector.end.attach(_Splice(acceptor.end))
                    acceptor.end.attach(_Splice(connector.end))


@dataclass(eq=False)
class _IndexClientLink:
    server: "SimulatedIndexServer"
    end: LinkEnd

    def message_received(self, message: Any) -> None:
        match message:
            case MutationsUpdate():
                self.server.perform(self.server.engine.receive_update(message))
            case RequestRoutes():
                self.end.send(self.server.engine.find_routes(message))

    def link_closed(self) -> None:
        self.server.client_closed(self)


@dataclass(eq=False)
class _NeighbourLink:
    server: "SimulatedIndexServer"
    end: LinkEnd

    def message_received(self, message: Any) -> None:
        try:
            self.server.perform(self.server.engine.receive_from_server(self.end.remote, message))
        except PeerError:
            self.end.close()

    def link_closed(self) -> None:
        self.server.neighbour_closed(self)


class SimulatedIndexServer:
    """An index server and its neighbours; after a crash it has forgotten every declaration."""

    def __init__(self, world: World, identity: Identity, address: NetAddress) -> None:
        self.public_key = identity.public_key
        self.address = address
        self.is_up = True
        self.slowness = 1.0
        self.engine = IndexServer(world.chance.randbytes)
        self._world = world
        self._neighbours: dict[PublicKey, NetAddress] = {}
        self._backoffs: dict[PublicKey, Backoff] = {}
        self._links: dict[PublicKey, _NeighbourLink] = {}
        self._clients: dict[_IndexClientLink, None] = {}
        world.hosts[address] = self
        world.after(world.chance.random(), self._tick)

    def trust(self, other: "SimulatedIndexServer") -> None:
        """Exchange declarations with another server; to be said to both."""
        self._neighbours[other.public_key] = other.address
        self._backoffs[other.public_key] = Backoff(self._world.chance.randbytes)
        if initiates(self.public_key, other.public_key):
            self._connect(other.public_key)

    def accept(self, end: LinkEnd) -> None:
        """Take a connection of a node or of a neighbour."""
        if end.remote in self._neighbours:
            self._adopt(end)
            return
        client = _IndexClientLink(self, end)
        self._clients[client] = None
        self.perform(self.engine.open_client(client, end.remote))
        end.attach(client)

    def crash(self, down_ticks: float) -> None:
        """End, and start again later without any memory of links and declarations."""
        self.is_up = False
        for end in [*(link.end for link in self._links.values()), *(link.end for link in self._clients)]:
            end.drop()
        self._links.clear()
        self._clients.clear()
        self.engine = IndexServer(self._world.chance.randbytes)
        self._world.after(down_ticks, self._restart)

    def perform(self, effects: list[IndexEffect]) -> None:
        """Carry out what the engine asks for."""
        for effect in effects:
            match effect:
                case SendToClient(_IndexClientLink() as client, message):
                    client.end.send(message)
                case SendToServer(public_key, forwarded) if public_key in self._links:
                    self._links[public_key].end.send(forwarded)
                case CloseClient(_IndexClientLink() as client):
                    client.end.close()
                case _:
                    pass  # a neighbour that has just gone

    def client_closed(self, client: _IndexClientLink) -> None:
        """The link of a node ended."""
        if self._clients.pop(client, client) is None:
            self.engine.close_client(client, client.end.remote)

    def neighbour_closed(self, link: _NeighbourLink) -> None:
        """The link of a neighbour ended; the side that opens such links does so again."""
        public_key = link.end.remote
        if self._links.get(public_key) is link:
            del self._links[public_key]
            self.engine.close_server(public_key)
            self._connect_later(public_key)

    def _restart(self) -> None:
        self.is_up = True
        for public_key in self._neighbours:
            self._connect_later(public_key)

    def _connect_later(self, public_key: PublicKey) -> None:
        if initiates(self.public_key, public_key):
            self._world.after(self._backoffs[public_key].after_failure(), lambda: self._connect(public_key))

    def _connect(self, public_key: PublicKey) -> None:
        if self.is_up and public_key not in self._links:
            address = self._neighbours[public_key]
            self._world.connect(address, public_key, self, self._adopt, lambda: self._connect_later(public_key))

    def _adopt(self, end: LinkEnd) -> None:
        if not self.engine.open_server(end.remote):
            end.close()
            return
        link = self._links[end.remote] = _NeighbourLink(self, end)
        end.attach(link)

    def _tick(self) -> None:
        self._world.after(1, self._tick)
        if self.is_up:
            self.perform(self.engine.tick())
