"""The index client. Spec 06 §7, §11 cases 15-21, 47-48."""

from random import Random

from offset_crypto.identity import Identity, is_signature_valid
from offset_crypto.signed import mutations_update_buffer
from offset_index.client import (
    Connect,
    ConnectedServerChanged,
    Disconnect,
    Effect,
    IndexClient,
    RespondRoutes,
    SendToServer,
)
from offset_index.rotation import Rotation
from offset_proto.limits import (
    INDEX_CLIENT_REQUESTS_MAX,
    INDEX_CONNECT_TICKS,
    INDEX_MUTATIONS_MAX,
    INDEX_REFRESH_TICKS,
    INDEX_REQUEST_TICKS,
)
from offset_proto.messages.app import ClientResponseRoutes, RoutesFailure, RoutesFound
from offset_proto.messages.index import (
    MutationsUpdate,
    RemoveFriendCurrency,
    RequestRoutes,
    ResponseRoutes,
    TimeHash,
    UpdateFriendCurrency,
)
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.rate import FREE
from offset_proto.types import Currency, HashResult, PrivateKey, PublicKey, Uid

NODE = Identity(PrivateKey(b"\x01" * 32))
FST = Currency("FST")


def _server(number: int, name: str | None = None) -> NamedIndexServerAddress:
    return NamedIndexServerAddress(PublicKey(bytes([number]) * 32), f"127.0.0.1:{number}", name or str(number))


def _hash(number: int) -> TimeHash:
    return TimeHash(HashResult(bytes([number]) * 32))


def _declare(number: int, capacity: int = 5) -> UpdateFriendCurrency:
    return UpdateFriendCurrency(PublicKey(bytes([number]) * 32), FST, capacity, FREE)


def _request(number: int) -> RequestRoutes:
    key = PublicKey(bytes(32))
    return RequestRoutes(Uid(bytes([number]) * 16), FST, 20, NODE.public_key, key, None)


def _failed(number: int) -> RespondRoutes:
    return RespondRoutes(ClientResponseRoutes(Uid(bytes([number]) * 16), RoutesFailure()))


def _updates(effects: list[Effect]) -> list[MutationsUpdate]:
    sent = [effect.message for effect in effects if isinstance(effect, SendToServer)]
    return [message for message in sent if isinstance(message, MutationsUpdate)]


def _client(*servers: NamedIndexServerAddress) -> IndexClient:
    return IndexClient(servers, NODE, Random(1).randbytes)


def _connected(*declared: UpdateFriendCurrency) -> IndexClient:
    client = _client(_server(1), _server(2))
    client.apply_mutations(declared)
    assert client.start() == [Connect(1, _server(1))]
    client.receive(1, _hash(1))
    return client


def _tick_until(client: IndexClient, kind: type, most: int = 200) -> list[Effect]:
    for _ in range(most):
        effects = client.tick()
        if any(isinstance(effect, kind) for effect in effects):
            return effects
    raise AssertionError(f"no {kind.__name__} in {most} ticks")


def test_usable_after_the_first_time_hash():
    """Connected, and everything declared, once, in a signed update (spec 06 §11 case 16)."""
    client = _client(_server(1))
    client.apply_mutations((_declare(7), _declare(8), _declare(7, 9)))
    client.start()
    effects = client.receive(1, _hash(3))
    assert effects[0] == ConnectedServerChanged(_server(1).public_key)
    (update,) = _updates(effects)
    assert update.index_mutations == (_declare(8), _declare(7, 9))
    assert (update.counter, update.time_hash) == (0, _hash(3).hash)
    assert is_signature_valid(mutations_update_buffer(update), NODE.public_key, update.signature)


def test_updates_carry_the_newest_hash_and_a_growing_counter():
    """A change is sent with one more pair in turn (spec 06 §11 cases 17 and 19)."""
    client = _connected(_declare(7), _declare(8))
    for number in range(2, 8):
        assert client.receive(1, _hash(number)) == []
    (first,) = _updates(client.apply_mutations((_declare(9),)))
    client.tick()
    (second,) = _updates(client.apply_mutations((_declare(9, 1),)))
    assert first.index_mutations == (_declare(9), _declare(7))
    assert second.index_mutations == (_declare(9, 1), _declare(8))
    assert (first.counter, second.counter) == (1, 2)
    assert first.time_hash == _hash(7).hash
    assert first.session_id == second.session_id


def test_removal_is_guarded():
    """D76: an original server that does not know the currency would end."""
    client = _connected(_declare(7))
    removed = RemoveFriendCurrency(_declare(7).public_key, FST)
    (update,) = _updates(client.apply_mutations((removed,)))
    assert update.index_mutations == (_declare(7, 0), removed)


def test_refresh_without_changes():
    """Spec 06 §7.6: an update in each refresh interval, even where nothing is declared."""
    client = _connected()
    ticks = [len(_updates(client.tick())) for _ in range(2 * INDEX_REFRESH_TICKS)]
    assert ticks == 2 * [*[0] * (INDEX_REFRESH_TICKS - 1), 1]


def test_a_new_pair_is_declared_again():
    """A server may have lost it, for a link to the next one that was not up yet; each time with what holds by then."""
    client = _connected(_declare(7))
    client.apply_mutations((_declare(8), _declare(9)))
    told = {tick: update.index_mutations[:2] for tick in range(1, 10) for update in _updates(client.tick())}
    assert told == {4: (_declare(8), _declare(9)), 8: (_declare(8), _declare(9))}
    client.apply_mutations((_declare(8, 2), RemoveFriendCurrency(_declare(9).public_key, FST)))
    told = {tick: update.index_mutations for tick in range(10, 36) for update in _updates(client.tick())}
    assert list(told) == [12, 16]
    assert [changes[0] for changes in told.values()] == [_declare(8, 2), _declare(8, 2)]
    assert not [change for changes in told.values() for change in changes if change.public_key[0] == 9]


def test_a_server_that_never_sends_a_hash_is_left():
    """A server that breaks the rules is left, and the next one in turn is tried (spec 06 §11 case 47, D72)."""
    client = _client(_server(1), _server(2))
    client.start()
    for _ in range(INDEX_CONNECT_TICKS - 1):
        assert client.tick() == []
    assert client.tick() == [Disconnect(1)]
    assert _tick_until(client, Connect) == [Connect(2, _server(2))]
    assert client.receive(1, _hash(1)) == []


def test_failures_go_round_all_servers():
    """A server that closes at once does not make a storm; what is late is ignored (spec 06 §11 case 47)."""
    client = _client(_server(1), _server(2))
    client.start()
    tried = []
    for attempt in range(1, 7):
        assert client.attempt_failed(attempt) == []
        assert client.attempt_failed(attempt) == []
        (connect,) = _tick_until(client, Connect)
        assert isinstance(connect, Connect)
        tried.append(connect.server.public_key[0])
    assert tried == [2, 1, 2, 1, 2, 1]


def test_lost_connection_fails_open_requests():
    """Each is answered, then it connects elsewhere and declares everything again (spec 06 §11 case 47)."""
    client = _connected(_declare(7))
    client.request_routes(_request(1))
    client.request_routes(_request(2))
    assert client.link_closed(1) == [_failed(1), _failed(2), ConnectedServerChanged(None)]
    assert _tick_until(client, Connect) == [Connect(2, _server(2))]
    (update,) = _updates(client.receive(2, _hash(2)))
    assert (update.index_mutations, update.counter) == ((_declare(7),), 0)


def test_servers_come_and_go():
    """The server in use is left when it is removed; a new address replaces the old one (spec 06 §11 case 18)."""
    client = _connected()
    assert client.add_server(_server(3)) == client.remove_server(_server(2).public_key) == []
    assert client.add_server(_server(3, "moved")) == []
    assert client.remove_server(_server(1).public_key) == [Disconnect(1), ConnectedServerChanged(None)]
    assert _tick_until(client, Connect) == [Connect(2, _server(3, "moved"))]
    assert client.remove_server(_server(3).public_key) == [Disconnect(2)]
    assert [client.tick() for _ in range(100)] == [[]] * 100
    assert client.add_server(_server(4)) == [Connect(3, _server(4))]


def test_routes():
    """An answer is delivered once; one that nobody asked for is ignored (spec 06 §11 case 20)."""
    client = _connected()
    assert client.request_routes(_request(1)) == [SendToServer(1, _request(1))]
    answer = ResponseRoutes(_request(1).request_id, ())
    expected = RespondRoutes(ClientResponseRoutes(_request(1).request_id, RoutesFound(())))
    assert client.receive(1, answer) == [expected]
    assert client.receive(1, answer) == []


def test_route_requests_always_end():
    """Without a server, with too many at once, with the same id, without an answer (spec 06 §11 cases 21 and 47)."""
    assert _client().request_routes(_request(1)) == [_failed(1)]
    client = _connected()
    for number in range(INDEX_CLIENT_REQUESTS_MAX):
        client.request_routes(_request(number))
    assert client.request_routes(_request(99)) == [_failed(99)]
    assert client.request_routes(_request(0))[0] == _failed(0)
    ended = [
        effect for _ in range(INDEX_REQUEST_TICKS) for effect in client.tick() if isinstance(effect, RespondRoutes)
    ]
    assert sorted(ended, key=repr) == [_failed(number) for number in range(INDEX_CLIENT_REQUESTS_MAX)]


def test_rotation():
    """Each pair once in a cycle, whatever changes (spec 06 §11 case 15)."""
    rotation = Rotation()
    rotation.apply([_declare(1), _declare(2), _declare(3)])
    assert [rotation.next() for _ in range(4)] == [_declare(1), _declare(2), _declare(3), _declare(1)]
    rotation.apply([RemoveFriendCurrency(_declare(3).public_key, FST), _declare(4), _declare(2, 9)])
    assert [rotation.next() for _ in range(3)] == [_declare(1), _declare(4), _declare(2, 9)]
    rotation.apply([RemoveFriendCurrency(_declare(number).public_key, FST) for number in (1, 2, 4)])
    assert rotation.next() is None
    assert len(rotation) == 0


def test_changes_of_one_tick_are_told_together():
    """The first at once, all others at the next tick, each with its latest value; a lost server has forgotten them."""
    client = _connected(_declare(7))
    assert len(_updates(client.apply_mutations((_declare(8, 1),)))) == 1
    for capacity in range(2, 50):
        assert client.apply_mutations((_declare(8, capacity), _declare(9, capacity))) == []
    (told,) = _updates(client.tick())
    assert [change for change in told.index_mutations if change != _declare(7)][:2] == [
        _declare(8, 49),
        _declare(9, 49),
    ]
    assert client.apply_mutations((_declare(8, 50),)) == []
    assert len(_updates(client.tick())) == 1
    assert _updates(client.tick()) == []
    assert len(_updates(client.apply_mutations((_declare(8, 51),)))) == 1


def test_many_changes_of_one_tick_make_several_updates():
    """A relay that fails takes thousands of friends with it; a server takes no update of so many changes as one."""
    client = _connected(_declare(7))
    friends = [PublicKey(number.to_bytes(32, "big")) for number in range(1, 5001)]
    client.apply_mutations((_declare(8),))
    for friend in friends:
        assert client.apply_mutations((RemoveFriendCurrency(friend, FST),)) == []
    told = _updates(client.tick())
    assert max(len(update.index_mutations) for update in told) <= INDEX_MUTATIONS_MAX
    removed = [
        change.public_key
        for update in told
        for change in update.index_mutations
        if isinstance(change, RemoveFriendCurrency)
    ]
    assert removed == friends
    assert [update.counter for update in told] == list(range(2, 2 + len(told)))
