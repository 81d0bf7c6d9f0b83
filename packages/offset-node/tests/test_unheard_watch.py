"""Friends that have to speak first, and do not: when the funder is told."""

from random import Random

import pytest

from offset_funder.events import FriendSilent
from offset_funder.testing import SimulatedNetwork
from offset_node.links.token_watch import LOOK_TICKS
from offset_node.links.unheard_watch import SILENCE_TICKS, UnheardWatch


@pytest.fixture
def network() -> SimulatedNetwork:
    """A is restored and friends with B and C, neither of which has a link to it."""
    network = SimulatedNetwork("ABC", Random(1))
    for friend in "BC":
        network.befriend("A", friend)
    network.restore("A", network.back_up("A"))
    return network


def _look(watch: UnheardWatch, network: SimulatedNetwork, online: str, ticks: int) -> list[FriendSilent]:
    keys = frozenset(network.nodes[name].key for name in online)
    silent: list[FriendSilent] = []
    for _ in range(0, ticks, LOOK_TICKS):
        watch.look(network.nodes["A"].funder.state, keys)
        silent += watch.silent
    return silent


def test_only_the_time_of_one_link_counts(network):
    """A friend without a link can not speak; with a new link its time begins anew."""
    watch = UnheardWatch(network.nodes["A"].funder.state)
    assert watch.unheard == 2
    assert not _look(watch, network, "", 2 * SILENCE_TICKS)
    for _ in range(3):
        assert not _look(watch, network, "B", SILENCE_TICKS)
        assert not _look(watch, network, "", LOOK_TICKS)
    silent = _look(watch, network, "BC", SILENCE_TICKS + LOOK_TICKS)
    assert {event.public_key for event in silent} == {network.nodes[name].key for name in "BC"}


def test_who_has_spoken_or_is_broken_is_not_waited_for(network):
    """B is heard; the channel with C breaks, which happens once, and its terms are waited for without an end."""
    watch = UnheardWatch(network.nodes["A"].funder.state)
    network.connect("A", "B")
    network.settle()
    network.handle("A", FriendSilent(network.nodes["C"].key))
    assert not _look(watch, network, "BC", 2 * SILENCE_TICKS)
    assert watch.unheard == 1


def test_what_the_owner_reads(network):
    """At the start who is waited for; then once for each friend what came of it; nothing where there is no news."""
    watch, funder = UnheardWatch(network.nodes["A"].funder.state), network.nodes["A"].funder
    (text,) = watch.look(funder.state, frozenset())
    assert text.endswith("before they have said where they are: 'B', 'C'")
    assert watch.look(funder.state, frozenset()) == []
    network.connect("A", "B")
    network.settle()
    assert watch.look(funder.state, funder.online) == ["friend 'B' is heard, and all goes on with it"]
    network.handle("A", FriendSilent(network.nodes["C"].key))
    (text,) = watch.look(funder.state, funder.online)
    assert text.startswith("friend 'C' is not where this node remembers it to be")
    assert watch.look(funder.state, funder.online) == []


def test_a_node_that_has_forgotten_nothing(network):
    """Nobody is waited for."""
    watch = UnheardWatch(network.nodes["B"].funder.state)
    assert watch.unheard == 0
    assert not watch.look(network.nodes["B"].funder.state, frozenset(network.nodes["B"].funder.state.friends))
