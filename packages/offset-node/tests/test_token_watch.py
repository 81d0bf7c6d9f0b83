"""Friends that keep the token while something waits for them: when it is said, and that it is said no more."""

from random import Random

from offset_funder.testing import SimulatedNetwork
from offset_node.links.token_watch import LOOK_TICKS, PATIENCE_TICKS, TokenWatch
from offset_proto.messages.app import RemoveFriend


def _pair() -> SimulatedNetwork:
    network = SimulatedNetwork("AB", Random(1))
    network.befriend("A", "B")
    return network


def _begin_payments(network: SimulatedNetwork, count: int) -> None:
    """The first goes out in a token; the others wait until B returns it."""
    for _ in range(count):
        invoice = network.invoice("B", 5)
        network.transact(["A", "B"], network.payment("A", "B", invoice, 5), 5)


def _look(watch: TokenWatch, network: SimulatedNetwork, ticks: int) -> list[tuple[int, str]]:
    """What is said, and after how many ticks."""
    funder = network.nodes["A"].funder
    said = []
    for passed in range(LOOK_TICKS, ticks + 1, LOOK_TICKS):
        said += [(passed, text) for text in watch.look(funder.state, funder.online)]
    return said


def test_a_friend_that_does_not_answer_is_told_of_at_each_doubling():
    """It has the token, three requests wait; what it is asked again does not begin the time anew."""
    network, watch = _pair(), TokenWatch()
    _begin_payments(network, 4)
    assert _look(watch, network, LOOK_TICKS) == []
    said = _look(watch, network, 8 * PATIENCE_TICKS)
    assert [ticks for ticks, _ in said] == [PATIENCE_TICKS, 2 * PATIENCE_TICKS, 4 * PATIENCE_TICKS, 8 * PATIENCE_TICKS]
    assert said[0][1].startswith(f"friend 'B' has kept the token for {PATIENCE_TICKS} seconds: 3 operations wait")
    assert watch.overdue == 1


def test_an_answer_is_told_once():
    """Where the silence was told, and only there."""
    network, watch = _pair(), TokenWatch()
    _begin_payments(network, 3)
    _look(watch, network, 2 * PATIENCE_TICKS)
    network.settle()
    assert [text for _, text in _look(watch, network, PATIENCE_TICKS)] == ["friend 'B' no longer keeps the token"]
    assert watch.overdue == 0
    _begin_payments(network, 3)
    _look(watch, network, PATIENCE_TICKS // 2)
    network.settle()
    assert _look(watch, network, PATIENCE_TICKS) == []


def test_a_friend_may_keep_the_token_while_nothing_waits():
    """So it is most of the time."""
    network, watch = _pair(), TokenWatch()
    _begin_payments(network, 1)
    assert _look(watch, network, 4 * PATIENCE_TICKS) == []


def test_a_friend_that_is_gone_is_not_told_of():
    """Offline, or removed: the channeler and the owner know."""
    for remove in (False, True):
        network, watch = _pair(), TokenWatch()
        _begin_payments(network, 3)
        _look(watch, network, 2 * PATIENCE_TICKS)
        network.disconnect("A", "B")
        if remove:
            network.request("A", RemoveFriend(network.nodes["B"].key))
        assert _look(watch, network, 4 * PATIENCE_TICKS) == []
        assert watch.overdue == 0
