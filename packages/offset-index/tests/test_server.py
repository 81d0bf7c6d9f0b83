"""Index servers together. Spec 06 §5, §11 cases 13-14, 30, 33-36, 44."""

from collections import deque
from dataclasses import replace
from random import Random

import pytest

from offset_crypto.identity import Identity
from offset_crypto.signed import mutations_update_buffer
from offset_index.server import CloseClient, IndexServer, SendToClient, SendToServer, initiates
from offset_proto.limits import INDEX_NODE_TICKS
from offset_proto.messages.index import (
    ForwardMutationsUpdate,
    IndexMutation,
    MutationsUpdate,
    RemoveFriendCurrency,
    RequestRoutes,
    TimeHash,
    TimeProofLink,
    UpdateFriendCurrency,
)
from offset_proto.rate import FREE
from offset_proto.types import Currency, HashResult, PrivateKey, PublicKey, RandValue, Signature, Uid

FST = Currency("FST")
NODE, FRIEND = (Identity(PrivateKey(bytes([value]) * 32)) for value in (1, 2))
SESSION = Uid(b"\x05" * 16)


class _Federation:
    """Servers with their messages in flight; a client of server 0 hears the time hashes."""

    def __init__(self, count: int, links: list[tuple[int, int]]) -> None:
        self.keys = [PublicKey(bytes([number]) * 32) for number in range(count)]
        self.servers = [IndexServer(Random(number).randbytes) for number in range(count)]
        self.forwards: list[tuple[int, int]] = []
        self.time_hash = HashResult(bytes(32))
        for a, b in links:
            assert self.servers[a].open_server(self.keys[b])
            assert self.servers[b].open_server(self.keys[a])
        self.servers[0].open_client("client", NODE.public_key)

    def tick(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            for number, server in enumerate(self.servers):
                self._deliver(number, server.tick())

    def update(self, update: MutationsUpdate) -> None:
        self._deliver(0, self.servers[0].receive_update(update))

    def _deliver(self, source: int, effects) -> None:
        queue = deque((source, effect) for effect in effects)
        while queue:
            sender, effect = queue.popleft()
            match effect:
                case SendToClient("client", TimeHash(time_hash)):
                    self.time_hash = time_hash
                case SendToServer(key, message):
                    receiver = self.keys.index(key)
                    if isinstance(message, ForwardMutationsUpdate):
                        self.forwards.append((sender, receiver))
                        assert len(self.forwards) < 100, "the update goes around for ever"
                    made = self.servers[receiver].receive_from_server(self.keys[sender], message)
                    queue.extend((receiver, effect) for effect in made)


def _declare(node: Identity, friend: Identity, capacity: int = 100) -> UpdateFriendCurrency:
    return UpdateFriendCurrency(friend.public_key, FST, capacity, FREE)


def _sign(
    time_hash: HashResult, mutations: list[IndexMutation], counter: int, node: Identity = NODE, session: Uid = SESSION
) -> MutationsUpdate:
    nonce = RandValue(b"\x09" * 16)
    unsigned = MutationsUpdate(
        node.public_key, tuple(mutations), time_hash, session, counter, nonce, Signature(bytes(64))
    )
    return replace(unsigned, signature=node.sign(mutations_update_buffer(unsigned)))


def _route(server: IndexServer) -> bool:
    request = RequestRoutes(Uid(b"\x01" * 16), FST, 10, NODE.public_key, FRIEND.public_key, None)
    response = server.find_routes(request)
    assert response.request_id == request.request_id
    return bool(response.multi_routes)


def _declare_both(federation: _Federation) -> None:
    federation.update(_sign(federation.time_hash, [_declare(NODE, FRIEND)], 0))
    federation.update(_sign(federation.time_hash, [_declare(FRIEND, NODE)], 0, node=FRIEND))


def _single() -> _Federation:
    federation = _Federation(1, [])
    federation.tick()
    return federation


def test_flood_through_five_servers():
    """An update is applied on all servers; over two paths it is forwarded once (spec 06 §11 case 14)."""
    federation = _Federation(5, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)])
    federation.tick(32)
    federation.update(_sign(federation.time_hash, [_declare(FRIEND, NODE)], 0, node=FRIEND))
    # 3 hears it twice and sends it on once; where it came from it is not sent.
    assert sorted(federation.forwards) == [(0, 1), (0, 2), (1, 3), (2, 3), (3, 2), (3, 4)]
    federation.update(_sign(federation.time_hash, [_declare(NODE, FRIEND)], 0))
    assert all(_route(server) for server in federation.servers)


def test_ring_with_alternating_sessions_comes_to_rest():
    """Sessions that replace each other do not go around a ring of servers for ever (spec 06 §11 case 33)."""
    federation = _Federation(3, [(0, 1), (1, 2), (2, 0)])
    federation.tick(8)
    for counter in range(3):
        for session in (b"\x0a", b"\x0b"):
            before = len(federation.forwards)
            federation.update(_sign(federation.time_hash, [], counter, session=Uid(session * 16)))
            # A counts until B has replaced it; then neither it nor what it repeats goes further.
            assert (len(federation.forwards) > before) is (session == b"\x0b" or counter == 0)


def test_single_server():
    """No route, declarations, a route, a removal, no route (spec 06 §11 case 13)."""
    federation = _single()
    assert not _route(federation.servers[0])
    _declare_both(federation)
    assert _route(federation.servers[0])
    federation.update(_sign(federation.time_hash, [RemoveFriendCurrency(FRIEND.public_key, FST)], 1))
    assert not _route(federation.servers[0])


def test_updates_that_do_not_count():
    """A repetition, a forgery, an unknown time hash, a declaration about itself: ignored, each by itself."""
    federation = _single()
    _declare_both(federation)
    remove = [RemoveFriendCurrency(FRIEND.public_key, FST)]
    good = _sign(federation.time_hash, remove, 7)
    for bad in (
        _sign(federation.time_hash, remove, 0),
        replace(good, signature=Signature(bytes(64))),
        replace(good, counter=8),
        _sign(HashResult(b"\x77" * 32), remove, 7),
        _sign(federation.time_hash, [*remove, _declare(NODE, NODE)], 7),
    ):
        federation.update(bad)
        assert _route(federation.servers[0])
    federation.update(good)
    assert not _route(federation.servers[0])


def test_time_hash_grows_old():
    """Fresh in its 60th tick, not in the next (spec 06 §11 case 31)."""
    federation = _single()
    origin = federation.time_hash
    federation.tick(INDEX_NODE_TICKS - 1)
    federation.update(_sign(origin, [_declare(NODE, FRIEND)], 0))
    federation.update(_sign(origin, [_declare(FRIEND, NODE)], 0, node=FRIEND))
    assert _route(federation.servers[0])
    federation.tick()
    federation.update(_sign(origin, [RemoveFriendCurrency(FRIEND.public_key, FST)], 1))
    assert _route(federation.servers[0])


def test_silent_nodes_are_forgotten():
    """A node is forgotten after 60 ticks without an update (spec 06 §11 case 29)."""
    federation = _single()
    _declare_both(federation)
    federation.tick(INDEX_NODE_TICKS - 1)
    assert _route(federation.servers[0])
    federation.tick()
    assert not _route(federation.servers[0])


def test_removal_in_an_unknown_currency():
    """A removal of what is unknown has no effect, and is forwarded all the same (spec 06 §11 case 30, D60)."""
    federation = _Federation(2, [(0, 1)])
    federation.tick(3)
    federation.update(_sign(federation.time_hash, [RemoveFriendCurrency(FRIEND.public_key, Currency("XXX"))], 0))
    assert federation.forwards == [(0, 1)]


def test_order_within_an_update():
    """The last word about a pair counts (spec 06 §11 case 36)."""
    federation = _single()
    federation.update(_sign(federation.time_hash, [_declare(FRIEND, NODE)], 0, node=FRIEND))
    remove = RemoveFriendCurrency(FRIEND.public_key, FST)
    for counter, (mutations, found) in enumerate(
        [([_declare(NODE, FRIEND), remove], False), ([remove, _declare(NODE, FRIEND)], True), ([], True)]
    ):
        federation.update(_sign(federation.time_hash, mutations, counter))
        assert _route(federation.servers[0]) is found


@pytest.mark.parametrize(("links", "hashes"), [(10_000, 1), (1, 10_000)])
def test_oversized_proofs_are_ignored(links, hashes):
    """A neighbour can not make us hash without end, nor end us."""
    federation = _Federation(2, [(0, 1)])
    federation.tick(3)
    update = _sign(federation.time_hash, [], 0)
    chain = tuple([TimeProofLink((HashResult(bytes(32)),) * hashes)] * links)
    assert federation.servers[0].receive_from_server(federation.keys[1], ForwardMutationsUpdate(update, chain)) == []


def test_a_node_that_connects_again_replaces_itself():
    """The end of an old connection does not end the new one (spec 06 §11 case 44, D67)."""
    server = IndexServer(Random(0).randbytes)
    assert server.open_client("old", NODE.public_key) == []
    assert server.open_client("new", NODE.public_key) == [CloseClient("old")]
    server.close_client("old", NODE.public_key)
    assert [effect.client for effect in server.tick() if isinstance(effect, SendToClient)] == ["new"]


def test_servers_connect_once():
    """A second connection of a server is refused until the first one ends; one side initiates (spec 06 §11 case 43)."""
    server = IndexServer(Random(0).randbytes)
    assert server.open_server(NODE.public_key)
    assert not server.open_server(NODE.public_key)
    server.close_server(NODE.public_key)
    assert server.open_server(NODE.public_key)
    keys = NODE.public_key, FRIEND.public_key
    assert initiates(*keys) is not initiates(*reversed(keys))
