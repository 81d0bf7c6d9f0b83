"""What a node tells in its log: changes, each once."""

import logging

import pytest

from offset_funder.mutations import FriendMutation, SetInconsistent
from offset_funder.state import Inconsistent
from offset_node.telling import ADDRESSES_TOLD_MAX, NodeLog
from offset_proto.log_events import Told
from offset_proto.messages.app import CreateTransaction
from offset_proto.messages.friend import CurrencyBalance, FriendsRoute, ResetTerms
from offset_proto.messages.payment import NamedIndexServerAddress, RelayAddress
from offset_proto.text import format_b64
from offset_proto.types import Currency, PaymentId, PublicKey, Signature, Uid

ME, BOB = PublicKey(b"\x01" * 32), PublicKey(b"\x02" * 32)
RELAY = RelayAddress(PublicKey(b"\x03" * 32), "relay.example.net:7001")
SERVER = NamedIndexServerAddress(PublicKey(b"\x04" * 32), "index.example.net:7002", "main")
KEY = format_b64(RELAY.public_key)
OTHER = NamedIndexServerAddress(PublicKey(b"\x05" * 32), "other.example.net:7002", "other")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    """Of a node; tests move it."""
    return Clock()


@pytest.fixture
def told(clock):
    """The log of a node with one friend."""
    return NodeLog({BOB: "bob"}.get, clock)


@pytest.fixture
def events(caplog):
    """All that was told, by name, with the fields."""
    caplog.set_level(logging.INFO, "offset.node")
    return lambda: [(r.msg.event.name, dict(r.msg.fields)) for r in caplog.records if isinstance(r.msg, Told)]


def test_a_friend_that_can_not_be_reached_is_told_once(told, clock, events):
    """Until it has been there again; each end of a link has its reason, and how long it lasted."""
    for _ in range(1000):
        told.friend_not_reached(BOB, RELAY, "timed out")
    clock.now += 30
    told.friend_online(BOB)
    clock.now += 60
    told.friend_offline(BOB, "the tunnel was closed")
    told.friend_not_reached(BOB, RELAY, "timed out")
    names = [name for name, _ in events()]
    assert names == ["friend_not_reached", "friend_online", "friend_offline", "friend_not_reached"]
    (_, online), (_, offline) = events()[1:3]
    assert (online["friend"], online["away"]) == ("bob", 30)
    assert (offline["online"], offline["reason"]) == (60, "the tunnel was closed")


def test_an_index_server_that_is_down_is_told_once_for_each_time_without_any(told, events):
    """Servers are tried in turn; each of them that fails is worth one line."""
    for _ in range(10):
        told.index_lost(SERVER, "refused", 8)
        told.index_lost(OTHER, "refused", 8)
    told.index_connected(OTHER)
    told.index_lost(OTHER, "gone", 1)
    told.index_lost(SERVER, "refused", 8)
    assert [(name, fields["server"]) for name, fields in events()] == [
        ("index_not_reached", "main"),
        ("index_not_reached", "other"),
        ("index_connected", "other"),
        ("index_lost", "other"),
        ("index_not_reached", "main"),
    ]


def test_what_closes_each_link_at_once_is_told_once(told, clock, events):
    """Such as what is no relay. When a link lasts, that is told, with how long there was none."""

    def flap(seconds, reason):
        told.relay_connected(RELAY)
        for _ in range(seconds):
            clock.now += 1
            told.tick()
        told.relay_lost(RELAY, reason, 1)

    for _ in range(50):
        flap(1, "the peer closed the connection")
        clock.now += 3
        told.relay_lost(RELAY, "refused", 8)
    told.relay_connected(RELAY)
    clock.now += 8
    told.tick()
    told.tick()
    told.relay_lost(RELAY, "timed out", 1)
    assert [(name, fields.get("reason"), fields.get("away")) for name, fields in events()] == [
        ("relay_connected", None, 0),
        ("relay_lost", "the peer closed the connection, 1.0 s after it was connected (is it a relay?)", None),
        ("relay_connected", None, 199),
        ("relay_lost", "timed out", None),
    ]


def test_a_relay_that_is_wanted_no_more_is_forgotten(told, clock, events):
    """Nothing is told of it, and when it is wanted again, all begins anew."""
    told.relay_connected(RELAY)
    told.relay_lost(RELAY, "closed", 1)
    told.relay_connected(RELAY)
    told.relay_left(RELAY)
    clock.now += 100
    told.tick()
    told.relay_connected(RELAY)
    assert [name for name, _ in events()] == ["relay_connected", "relay_lost", "relay_connected"]


def test_nothing_is_told_of_what_the_node_closes_when_it_ends(told, events):
    """Whoever reads that a friend went away looks for a fault."""
    told.friend_online(BOB)
    told.index_connected(SERVER)
    told.end()
    told.friend_offline(BOB, "the node has ended")
    told.index_lost(SERVER, "the node has ended", 1)
    assert [name for name, _ in events()] == ["friend_online", "index_connected"]


@pytest.mark.parametrize(("route", "friend"), [((ME, BOB), "bob"), ((ME, RELAY.public_key), KEY), ((ME,), None)])
def test_a_transaction_that_was_refused(told, events, route, friend):
    """The friend over whom it was to go is named, where the route names one."""
    request = CreateTransaction(PaymentId.zero(), Uid.zero(), FriendsRoute(route), 20, 1)
    told.transaction_refused(request, ME, "FriendNotReady(it is offline)")
    ((name, fields),) = events()
    assert (name, fields["friend"], fields["by"]) == ("transaction_refused", friend, "node")
    assert (fields["app"], fields["reason"]) == (format_b64(ME), "FriendNotReady(it is offline)")


def test_terms_are_told_as_both_see_them_when_they_change(told, events):
    """A friend repeats its terms whenever it connects. Its balances are turned round, to be compared with ours."""

    def terms(balance: int) -> ResetTerms:
        return ResetTerms(Signature.zero(), 1, (CurrencyBalance(Currency("FST"), balance),))

    for theirs in (None, None, terms(-10), terms(-10), terms(-11)):
        told.stored([FriendMutation(BOB, SetInconsistent(Inconsistent(None, terms(30), theirs)))], 0.0)
    assert [(fields["ours"], fields["theirs"]) for _, fields in events()] == [
        ({"FST": 30}, None),
        ({"FST": 30}, {"FST": 10}),
        ({"FST": 30}, {"FST": 11}),
    ]


@pytest.mark.parametrize("address", ["", "local host:99999", "relay", "1.2.3.4:0", "::1:7001", "http://x:1/"])
def test_what_can_be_no_address_is_told_as_such_and_once(told, events, address):
    """The original checks nothing, so files and friends may bring it."""
    for _ in range(3):
        told.relay_lost(RelayAddress(RELAY.public_key, address), "no such host", 8)
        told.friend_not_reached(BOB, RelayAddress(RELAY.public_key, address), "no such host")
    ((name, fields),) = events()
    assert (name, fields["address"]) == ("address_unusable", address)
    assert fields["reason"]


def test_addresses_that_friends_make_up_are_remembered_up_to_a_limit(told, events):
    """A friend may change its list of relays for ever."""
    for number in range(2 * ADDRESSES_TOLD_MAX):
        told.friend_not_reached(BOB, RelayAddress(RELAY.public_key, f"relay {number}"), "no such host")
    assert len(events()) == ADDRESSES_TOLD_MAX
