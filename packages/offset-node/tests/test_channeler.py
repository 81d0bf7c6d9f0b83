"""Links of a node. Spec 03 §6 and §10, cases 11-22 and 45-56."""

from random import Random

import pytest

from offset_crypto.hashing import is_lower
from offset_node.links.channeler import (
    CancelDial,
    Channeler,
    ChannelerOutput,
    CloseFriendLink,
    Dial,
    ReportOffline,
    ReportOnline,
    StartListener,
    StopListener,
)
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import NetAddress, PublicKey

_KEYS = [PublicKey(bytes([number]) * 32) for number in range(1, 20)]
LOCAL = _KEYS[0]
LISTENED = [key for key in _KEYS if is_lower(LOCAL, key)]
DIALED = [key for key in _KEYS[1:] if not is_lower(LOCAL, key)]


def _relay(number: int) -> RelayAddress:
    return RelayAddress(PublicKey(bytes([number]) * 32), NetAddress(f"127.0.0.1:{number}"))


RELAYS = [_relay(number) for number in range(9)]
A, B = object(), object()


@pytest.fixture
def channeler() -> Channeler:
    """One without relays and friends."""
    return Channeler(LOCAL, Random(1).randbytes)


def _started(effects: list[ChannelerOutput]) -> set[RelayAddress]:
    return {effect.relay for effect in effects if isinstance(effect, StartListener)}


def _stopped(effects: list[ChannelerOutput]) -> set[int]:
    return {effect.generation for effect in effects if isinstance(effect, StopListener)}


def _dial(effects: list[ChannelerOutput]) -> Dial:
    (effect,) = effects
    assert isinstance(effect, Dial)
    return effect


def _tick_until_dial(channeler: Channeler, most: int = 40) -> Dial:
    for _ in range(most):
        effects = channeler.tick()
        if effects:
            return _dial(effects)
    raise AssertionError(f"no attempt in {most} ticks")


def _dialed(channeler: Channeler, *addresses: RelayAddress) -> Dial:
    return _dial(channeler.update_friend(DIALED[0], addresses, ()))


def test_listeners_follow_the_relays(channeler):
    """What is new is started, what is gone is stopped, what stays is not touched (spec 03 §10 case 18)."""
    effects = channeler.set_relays(tuple(RELAYS[:3]))
    generations = {effect.relay: effect.generation for effect in effects if isinstance(effect, StartListener)}
    assert set(generations) == set(RELAYS[:3])
    effects = channeler.set_relays((RELAYS[0], RELAYS[1], RELAYS[3], RELAYS[4]))
    assert _started(effects) == {RELAYS[3], RELAYS[4]}
    assert _stopped(effects) == {generations[RELAYS[2]]}
    assert len(_stopped(channeler.set_relays((RELAYS[4],)))) == 3


def test_a_friend_is_listened_for_where_it_looks_for_us(channeler):
    """A friend may come through our relays, and those that it still knows of (spec 03 §10 cases 17, 19, 20)."""
    friend, other = LISTENED[:2]
    channeler.set_relays((RELAYS[0],))
    assert _started(channeler.update_friend(friend, (), (RELAYS[1],))) == {RELAYS[1]}
    effects = channeler.update_friend(friend, (), (RELAYS[2],))
    assert _started(effects) == {RELAYS[2]}
    assert len(_stopped(effects)) == 1
    assert _started(channeler.update_friend(other, (), (RELAYS[2], RELAYS[3]))) == {RELAYS[3]}
    allowed = [[channeler.is_allowed(relay, key) for relay in RELAYS[:4]] for key in (friend, other)]
    assert allowed == [[True, False, True, False], [True, False, True, True]]
    assert len(_stopped(channeler.remove_friend(other))) == 1
    assert not channeler.is_allowed(RELAYS[0], other)
    assert channeler.is_allowed(RELAYS[2], friend)


def test_a_friend_enabled_before_any_relay_exists_is_allowed(channeler):
    """A friend may come through a relay that we began to use after it was enabled (spec 03 §10 case 46, D21)."""
    channeler.update_friend(LISTENED[0], (), ())
    assert not channeler.is_allowed(RELAYS[0], LISTENED[0])
    channeler.set_relays((RELAYS[0],))
    assert channeler.is_allowed(RELAYS[0], LISTENED[0])


def test_a_friend_that_we_dial_may_not_come_to_us(channeler):
    """Of two friends one dials; the other way around it is no link that anybody waits for (spec 03 §10 case 45)."""
    channeler.set_relays((RELAYS[0],))
    _dialed(channeler, RELAYS[0])
    assert not channeler.is_allowed(RELAYS[0], DIALED[0])
    assert channeler.accepted(DIALED[0], A) == [CloseFriendLink(A)]


def test_a_listener_that_ends_starts_again(channeler):
    """Five times in a row; what is said of an earlier listener is ignored (spec 03 §10 case 16, D24)."""
    (start,) = channeler.set_relays((RELAYS[0],))
    seen = set()
    for _ in range(5):
        assert isinstance(start, StartListener)
        seen.add(start.generation)
        assert channeler.listener_ended(RELAYS[0], start.generation) == []
        assert channeler.listener_ended(RELAYS[0], start.generation) == []
        waited = [effects for effects in (channeler.tick() for _ in range(12)) if effects]
        ((start,),) = waited
    assert len(seen) == 5


def test_accepted_links(channeler):
    """One link of a friend; the first stays; one Offline for one Online (spec 03 §10 cases 12 and 48)."""
    friend = LISTENED[0]
    channeler.set_relays((RELAYS[0],))
    channeler.update_friend(friend, (), ())
    for _ in range(3):
        assert channeler.accepted(friend, A) == [ReportOnline(friend)]
        assert channeler.accepted(friend, B) == [CloseFriendLink(B)]
        assert channeler.link_closed(friend, B) == []
        assert channeler.link_closed(friend, A) == [ReportOffline(friend)]
        assert channeler.link_closed(friend, A) == []
    assert channeler.accepted(LISTENED[1], A) == [CloseFriendLink(A)]


def test_removal_while_connected(channeler):
    """The link is closed, Offline comes once, and a new link survives what is late (spec 03 §10 cases 13 and 51)."""
    friend = LISTENED[0]
    channeler.set_relays((RELAYS[0],))
    channeler.update_friend(friend, (), ())
    channeler.accepted(friend, A)
    assert channeler.remove_friend(friend) == [CloseFriendLink(A), ReportOffline(friend)]
    channeler.update_friend(friend, (), ())
    assert channeler.accepted(friend, B) == [ReportOnline(friend)]
    assert channeler.link_closed(friend, A) == []
    assert channeler.link_closed(friend, B) == [ReportOffline(friend)]


def test_dialling_goes_round_the_addresses(channeler):
    """A failed attempt is followed by the next address, after a pause (spec 03 §10 cases 11, 21, 22)."""
    dial = _dialed(channeler, *RELAYS[:3])
    tried = [dial.relay]
    for _ in range(3):
        assert channeler.dial_failed(DIALED[0], dial.attempt) == []
        assert channeler.dial_failed(DIALED[0], dial.attempt) == []
        dial = _tick_until_dial(channeler)
        tried.append(dial.relay)
    assert tried == [*RELAYS[:3], RELAYS[0]]
    assert channeler.dial_succeeded(DIALED[0], dial.attempt, A) == [ReportOnline(DIALED[0])]
    assert [channeler.tick() for _ in range(50)] == [[]] * 50


def test_a_lost_link_is_dialled_again(channeler):
    """At once after a long life; a friend that closes at once is dialled slowly (case 49, D25)."""
    dial = _dialed(channeler, RELAYS[0])
    channeler.dial_succeeded(DIALED[0], dial.attempt, A)
    for _ in range(20):
        channeler.tick()
    offline, again = channeler.link_closed(DIALED[0], A)
    assert offline == ReportOffline(DIALED[0])
    assert isinstance(again, Dial)
    attempts = 0
    dial = again
    for _ in range(100):
        if dial is not None:
            attempts += 1
            link = object()
            channeler.dial_succeeded(DIALED[0], dial.attempt, link)
            channeler.link_closed(DIALED[0], link)
        effects = channeler.tick()
        dial = effects[0] if effects else None
    assert attempts <= 16


def test_late_results_of_an_attempt(channeler):
    """A link that nobody waits for is closed (spec 03 §10 case 14, D23)."""
    dial = _dialed(channeler, RELAYS[0])
    assert channeler.remove_friend(DIALED[0]) == [CancelDial(dial.attempt)]
    assert channeler.dial_succeeded(DIALED[0], dial.attempt, A) == [CloseFriendLink(A)]
    again = _dialed(channeler, RELAYS[0])
    assert again.attempt != dial.attempt
    assert channeler.dial_succeeded(DIALED[0], dial.attempt, A) == [CloseFriendLink(A)]
    assert channeler.dial_succeeded(DIALED[0], again.attempt, B) == [ReportOnline(DIALED[0])]


def test_addresses_change_during_an_attempt(channeler):
    """An attempt goes on while its address is on the list, and is cancelled otherwise (spec 03 §10 case 50)."""
    friend = DIALED[0]
    dial = _dialed(channeler, RELAYS[0], RELAYS[1])
    assert channeler.update_friend(friend, (RELAYS[0], RELAYS[1], RELAYS[0]), ()) == []
    cancel, following = channeler.update_friend(friend, (RELAYS[1], RELAYS[2]), ())
    assert cancel == CancelDial(dial.attempt)
    assert isinstance(following, Dial)
    assert following.relay == RELAYS[1]
    assert channeler.update_friend(friend, (), ()) == [CancelDial(following.attempt)]
    assert [channeler.tick() for _ in range(40)] == [[]] * 40
    assert _dial(channeler.update_friend(friend, (RELAYS[3],), ())).relay == RELAYS[3]


def test_new_addresses_are_used_after_a_loss(channeler):
    """The original goes on with the old ones (spec 03 §10 case 56)."""
    friend = DIALED[0]
    dial = _dialed(channeler, RELAYS[0])
    channeler.dial_succeeded(friend, dial.attempt, A)
    assert channeler.update_friend(friend, (RELAYS[5],), ()) == []
    effects = channeler.link_closed(friend, A)
    dials = [effect for effect in effects if isinstance(effect, Dial)] or [_tick_until_dial(channeler)]
    assert dials[0].relay == RELAYS[5]


def test_one_dead_relay_holds_nobody_up(channeler):
    """D22: a listener that never comes about is no reason to wait with another one, or with a friend to be dialled."""
    assert _started(channeler.set_relays((RELAYS[0],))) == {RELAYS[0]}
    for _ in range(50):
        assert channeler.tick() == []  # nothing was heard of it yet
    assert _started(channeler.set_relays((RELAYS[0], RELAYS[1]))) == {RELAYS[1]}
    assert _dial(channeler.update_friend(DIALED[0], (RELAYS[2],), ())).relay == RELAYS[2]
    channeler.update_friend(LISTENED[0], (), (RELAYS[1],))
    assert channeler.is_allowed(RELAYS[1], LISTENED[0])
