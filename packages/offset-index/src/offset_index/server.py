"""
The index server: declarations in, floods and routes out. Spec 06 §5.

A pure engine. Connections are named by the shell: clients by any hashable handle, servers by their key.

==========================  ====================================================================
input                       what comes of it
==========================  ====================================================================
update of a client          checked, applied, forwarded to every connected server
update of a server          the same, not back to where it came from
time hash of a server       mixed into our next one
route request               one answer
tick                        a time hash to everybody; silent nodes are forgotten
==========================  ====================================================================

Nothing that a peer sends is fatal. A message that only exceeds a limit is ignored and the connection stays;
an original neighbour would pass such an update on (spec 06 §9.3).

An update goes through these checks in this order (§5.6), and is dropped without an answer at the first that fails:
it is within the limits, its ratchet is not stale, its time proof leads to a recent hash of this server, and its
signature is the node's. Only then does the ratchet advance and the graph change. The update is forwarded, with one
more link of proof, to every connected server but the one that it came from. Since a repetition is stale, each
server takes in and forwards an update at most once, and a flood ends in a federation with cycles too.

The shell calls `open_client` or `open_server` before it passes on what a connection says, and `close_client` or
`close_server` when it ends. A node has one connection, and a newer one replaces the older (D67); of two connections
of one server the first stays. The server with the higher key connects (`initiates`, §5.4). The shell admits only
the servers that it trusts, calls `tick` once a second, and decides when a route request is answered.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from offset_crypto.hashing import is_lower
from offset_crypto.identity import is_signature_valid
from offset_crypto.secure_channel import RandomBytes
from offset_crypto.signed import mutations_update_buffer
from offset_index.currency_graph import Declaration
from offset_index.graph import CapacityGraph
from offset_index.hash_clock import HashClock
from offset_index.ratchet import Ratchets
from offset_index.search import find_routes
from offset_proto.limits import INDEX_MUTATIONS_MAX, TIME_PROOF_HASHES_MAX, TIME_PROOF_LINKS_MAX
from offset_proto.messages.index import (
    ForwardMutationsUpdate,
    IndexMutation,
    IndexServerToClient,
    IndexServerToServer,
    MutationsUpdate,
    RemoveFriendCurrency,
    RequestRoutes,
    ResponseRoutes,
    TimeHash,
    TimeProofLink,
    UpdateFriendCurrency,
)
from offset_proto.types import PublicKey, RandValue

__all__ = [
    "CloseClient",
    "Effect",
    "IndexServer",
    "SendToClient",
    "SendToServer",
    "UpdateEnd",
    "initiates",
]

Client = Hashable


@dataclass(frozen=True, slots=True)
class SendToClient:
    """Send a message to a node that is connected."""

    client: Client
    message: IndexServerToClient


@dataclass(frozen=True, slots=True)
class SendToServer:
    """Send a message to a neighbour that is connected."""

    server: PublicKey
    message: IndexServerToServer


@dataclass(frozen=True, slots=True)
class CloseClient:
    """The same node has connected anew (D67)."""

    client: Client


Effect = SendToClient | SendToServer | CloseClient


class UpdateEnd(StrEnum):
    """What became of an update: taken in, or at which check it was dropped."""

    ACCEPTED = "accepted"
    BEYOND_LIMITS = "beyond_limits"
    STALE = "stale"
    NOT_RECENT = "not_recent"
    FORGED = "forged"


def initiates(local: PublicKey, remote: PublicKey) -> bool:
    """Whether *local* is the side that connects: the higher key. Spec 06 §5.4 [WIRE]."""
    return not is_lower(local, remote)


class IndexServer:
    """
    One index server.

    Args:
        random_bytes: Source of the leaves of its time hashes.

    Attributes:
        updates: How many updates came to which end.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._clock = HashClock()
        self._ratchets = Ratchets()
        self._graph = CapacityGraph()
        self._clients: dict[PublicKey, Client] = {}
        self._servers: dict[PublicKey, None] = {}
        self.updates = dict.fromkeys(UpdateEnd, 0)

    @property
    def nodes(self) -> int:
        """How many nodes were heard of lately, through this server or another one."""
        return len(self._ratchets)

    @property
    def declarations(self) -> int:
        """How many declarations of nodes there are."""
        return self._graph.declarations

    @property
    def declarations_refused(self) -> int:
        """How many declarations found no room, since the start."""
        return self._graph.refused

    # Connections.

    def open_client(self, client: Client, public_key: PublicKey) -> list[Effect]:
        """A node connected; an older connection of it is replaced (D67)."""
        replaced = self._clients.get(public_key)
        self._clients[public_key] = client
        return [] if replaced is None else [CloseClient(replaced)]

    def close_client(self, client: Client, public_key: PublicKey) -> None:
        """A node's connection ended; what it declared stays until it expires."""
        if self._clients.get(public_key) == client:
            del self._clients[public_key]

    def open_server(self, server: PublicKey) -> bool:
        """A trusted server connected; False where it is connected already."""
        if server in self._servers:
            return False
        self._servers[server] = None
        return True

    def close_server(self, server: PublicKey) -> None:
        """The connection of a neighbour ended; it may connect again from now on."""
        self._servers.pop(server, None)
        self._clock.remove_neighbour(server)

    # Messages.

    def receive_update(self, update: MutationsUpdate) -> list[Effect]:
        """A node's update; anybody may submit anybody's [QUIRK]."""
        return self._take_update(update, (), None)

    def receive_from_server(self, server: PublicKey, message: IndexServerToServer) -> list[Effect]:
        """Take a message of a connected neighbour: its time hash, or an update that it passes on."""
        match message:
            case TimeHash(last_hash):
                self._clock.set_neighbour(server, last_hash)
                return []
            case ForwardMutationsUpdate(update, chain):
                return self._take_update(update, chain, server)

    def find_routes(self, request: RequestRoutes) -> ResponseRoutes:
        """The answer to a request; it never fails. Spec 06 §5.8."""
        graph = self._graph.currency(request.currency)
        if graph is None:
            return ResponseRoutes(request.request_id, ())
        found = find_routes(graph, request.source, request.destination, request.capacity, request.opt_exclude)
        return ResponseRoutes(request.request_id, found)

    def tick(self) -> list[Effect]:
        """A second has passed: make a new time hash, tell it to all, and forget silent nodes. Spec 06 §5.7."""
        message = TimeHash(self._clock.tick(RandValue(self._random_bytes(RandValue.SIZE))))
        for node in self._ratchets.tick():
            self._graph.remove_node(node)
        effects: list[Effect] = [SendToServer(server, message) for server in self._servers]
        effects += [SendToClient(client, message) for client in self._clients.values()]
        return effects

    # Updates, spec 06 §5.6.

    def _take_update(
        self, update: MutationsUpdate, chain: tuple[TimeProofLink, ...], source: PublicKey | None
    ) -> list[Effect]:
        node = update.node_public_key
        if not _is_within_limits(update, chain):
            return self._dropped(UpdateEnd.BEYOND_LIMITS)
        # The cheap test comes first; most updates that arrive are repetitions.
        if self._ratchets.is_stale(node, update.session_id, update.counter):
            return self._dropped(UpdateEnd.STALE)
        link = self._clock.verify(update.time_hash, chain)
        if link is None:
            return self._dropped(UpdateEnd.NOT_RECENT)
        if not is_signature_valid(mutations_update_buffer(update), node, update.signature):
            return self._dropped(UpdateEnd.FORGED)
        self.updates[UpdateEnd.ACCEPTED] += 1
        self._ratchets.accept(node, update.session_id, update.counter)
        self._graph.age(node)
        for mutation in update.index_mutations:
            self._apply(node, mutation)
        forward = ForwardMutationsUpdate(update, (*chain, link))
        return [SendToServer(server, forward) for server in self._servers if server != source]

    def _dropped(self, end: UpdateEnd) -> list[Effect]:
        self.updates[end] += 1
        return []

    def _apply(self, node: PublicKey, mutation: IndexMutation) -> None:
        match mutation:
            case UpdateFriendCurrency(friend, currency, recv_capacity, rate):
                self._graph.update(currency, node, friend, Declaration(recv_capacity, rate))
            case RemoveFriendCurrency(friend, currency):
                self._graph.remove(currency, node, friend)


def _is_within_limits(update: MutationsUpdate, chain: tuple[TimeProofLink, ...]) -> bool:
    return (
        len(chain) <= TIME_PROOF_LINKS_MAX
        and all(len(link.hashes) <= TIME_PROOF_HASHES_MAX for link in chain)
        and len(update.index_mutations) <= INDEX_MUTATIONS_MAX
        and all(mutation.public_key != update.node_public_key for mutation in update.index_mutations)
    )
