"""A node that goes on from a backup: what it says to friends before they have spoken. Spec 04 §6.3 step 5, §7."""

from random import Random

import pytest

from offset_funder.effects import SendFriendMessage
from offset_funder.events import FriendMessageReceived, FriendSilent, FriendWentOnline
from offset_funder.invariants import check_pair
from offset_funder.mutations import FriendMutation, SetHeard, apply
from offset_funder.state import (
    CanceledPayment,
    Consistent,
    Incoming,
    Inconsistent,
    InProgress,
    NewTransactions,
    Outgoing,
)
from offset_funder.testing import SimulatedNetwork
from offset_proto.errors import InvariantBroken
from offset_proto.messages.app import (
    AddFriend,
    CommitInvoice,
    Complete,
    EnableFriend,
    PaymentStatusSuccess,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
)
from offset_proto.messages.friend import MoveTokenRequest, ResetTerms
from offset_proto.types import Currency


@pytest.fixture(params=["the backup holds the token", "the friend does"])
def pair(request):
    """A and B as friends, with B owing A 10; either may hold the token."""
    network = SimulatedNetwork("AB", Random(7))
    network.befriend("A", "B")
    network.pay(["B", "A"], 10)
    wanted = Incoming if request.param == "the backup holds the token" else Outgoing
    for _ in range(2):
        if isinstance(direction(network, "A", "B"), wanted):
            break
        reconnect(network)  # whoever holds the token sends it on
    assert isinstance(direction(network, "A", "B"), wanted)
    return network


def friend(network, name, other):
    """The friend *other* as *name* knows it."""
    return network.nodes[name].funder.state.friends[network.nodes[other].key]


def direction(network, name, other):
    """Where the token is for *name*; None on a channel that is broken."""
    channel = friend(network, name, other).channel
    return channel.token_channel.direction if isinstance(channel, Consistent) else None


def terms_of(network, name, other):
    """The reset terms of *name*, and those of *other* that it knows."""
    channel = friend(network, name, other).channel
    assert isinstance(channel, Inconsistent)
    return channel.local_reset_terms, channel.opt_remote_reset_terms


def deliver(network):
    """All messages, without comparing both sides afterwards."""
    while network.step():
        pass


def accept(network, name, other):
    """Let the owner of *name* accept the terms of *other*."""
    _, terms = terms_of(network, name, other)
    network.request(name, ResetFriendChannel(network.nodes[other].key, terms.reset_token))
    network.settle()


def test_a_friend_that_is_where_the_backup_is_goes_on_by_itself(pair):
    """No person is asked, whoever holds the token, and payments pass in both directions."""
    pair.restore("A", pair.back_up("A"))
    assert not friend(pair, "A", "B").is_heard
    pair.connect("A", "B")
    pair.settle()
    assert friend(pair, "A", "B").is_heard
    assert isinstance(pair.pay(["A", "B"], 3).status, PaymentStatusSuccess)
    assert isinstance(pair.pay(["B", "A"], 5).status, PaymentStatusSuccess)
    assert pair.balance("A", "B") == (12, 0, 0)


@pytest.mark.parametrize("payments", [1, 2, 3])
@pytest.mark.parametrize("ends", [False, True], ids=["", "and the friend sends what comes of a last token"])
def test_a_friend_that_is_ahead_breaks_the_channel(pair, payments, ends):
    """Both are shown the other's terms; the forgotten payments are in those of the friend, whose choice brings them."""
    backup = pair.back_up("A")
    for _ in range(payments):
        pair.pay(["B", "A"], 7)
    if ends:
        reconnect(pair)
    pair.restore("A", backup)
    pair.connect("A", "B")
    pair.settle()
    ours, theirs = terms_of(pair, "A", "B")
    assert [entry.balance for entry in ours.balance_for_reset] == [10]
    assert [entry.balance for entry in theirs.balance_for_reset] == [-10 - 7 * payments]
    assert friend(pair, "A", "B").is_heard
    accept(pair, "A", "B")
    assert pair.balance("A", "B") == (10 + 7 * payments, 0, 0)
    assert isinstance(pair.pay(["A", "B"], 5).status, PaymentStatusSuccess)


def test_nothing_is_said_before_the_friend_speaks(pair):
    """Neither a new token nor an old one, though something waits; a crash in between changes nothing."""
    pair.restore("A", pair.back_up("A"))
    key = pair.nodes["B"].key
    for _ in range(2):
        assert not sent(pair.handle("A", FriendWentOnline(key)))
        request = SetFriendCurrencyMaxDebt(key, Currency("another"), 500)  # is told to a friend that is heard
        assert not sent(pair.request("A", request))
        pair.crash("A")
        assert not friend(pair, "A", "B").is_heard


def sent(outcome):
    """What an event sends to friends."""
    return [effect.message for effect in outcome.effects if isinstance(effect, SendFriendMessage)]


def test_a_friend_that_keeps_silent_is_told_terms(pair):
    """Long enough without a word: the channel breaks, and nothing is signed. Never where the friend is heard."""
    key = pair.nodes["B"].key
    assert not pair.handle("A", FriendSilent(key)).mutations
    pair.restore("A", pair.back_up("A"))
    pair.handle("A", FriendWentOnline(key))
    (message,) = sent(pair.handle("A", FriendSilent(key)))
    assert isinstance(message, ResetTerms)
    assert not friend(pair, "A", "B").is_heard
    assert not pair.handle("A", FriendSilent(key)).mutations


def test_two_that_were_restored_do_not_believe_each_other(pair):
    """The old token of one is no proof to the other: both keep silent, then break the channel, and a person chooses."""
    backups = {name: pair.back_up(name) for name in "AB"}
    pair.pay(["B", "A"], 7)
    for name in "AB":
        pair.restore(name, backups[name])
    pair.connect("A", "B")
    deliver(pair)
    assert not friend(pair, "A", "B").is_heard
    assert not friend(pair, "B", "A").is_heard
    pair.handle("A", FriendSilent(pair.nodes["B"].key))
    pair.settle()
    assert friend(pair, "A", "B").is_heard
    assert friend(pair, "B", "A").is_heard
    accept(pair, "B", "A")
    assert pair.balance("A", "B") == (10, 0, 0)
    assert isinstance(pair.pay(["A", "B"], 5).status, PaymentStatusSuccess)


@pytest.mark.parametrize("accepts", ["AB", "BA"])
def test_terms_from_before_are_not_used_again(pair, accepts):
    """
    We accepted the friend's, and have forgotten it; the friend accepted ours, and we have forgotten it.

    The same reset token would get a second successor, by the friend or by us.
    """
    break_channel(pair)
    backup = pair.back_up("A")
    old_ours, old_theirs = terms_of(pair, "A", "B")
    assert old_theirs is not None
    accept(pair, *accepts)
    pair.pay(["B", "A"], 7)
    pair.restore("A", backup)
    ours, theirs = terms_of(pair, "A", "B")
    assert theirs is None
    assert ours.reset_token != old_ours.reset_token
    assert not sent(pair.request("A", ResetFriendChannel(pair.nodes["B"].key, old_theirs.reset_token)))
    pair.connect("A", "B")
    pair.settle()
    accept(pair, "B", "A")
    assert pair.balance("A", "B") == (10, 0, 0)


def break_channel(network):
    """Let A receive a token that is built on nothing that it knows, until both have the other's terms."""
    network.handle("A", FriendMessageReceived(network.nodes["B"].key, foreign_token()))
    network.settle()
    if direction(network, "B", "A") is not None:  # it held the token, and hears of it when it speaks next
        reconnect(network)


def reconnect(network):
    """Let the link of A and B come up anew."""
    network.disconnect("A", "B")
    network.connect("A", "B")
    network.settle()


def foreign_token():
    """A token that belongs to another channel."""
    other = SimulatedNetwork("CD", Random(8))
    other.befriend("C", "D")
    channels = [friend(other, one, two).channel.token_channel for one, two in ("CD", "DC")]
    (token,) = [each.direction.move_token_out for each in channels if isinstance(each.direction, Outgoing)]
    return MoveTokenRequest(token, False)


def test_counters_are_raised_above_what_was_forgotten(pair):
    """After resets that A has forgotten its terms have the counter of the friend's: no proof of old looks newer."""
    backup = pair.back_up("A")
    for _ in range(3):
        break_channel(pair)
        accept(pair, "A", "B")
    pair.restore("A", backup)
    pair.connect("A", "B")
    pair.settle()
    ours, theirs = terms_of(pair, "A", "B")
    assert ours.inconsistency_counter == theirs.inconsistency_counter == 4
    accept(pair, "B", "A")
    assert friend(pair, "A", "B").channel.token_channel.last_incoming.token_info.counters.inconsistency_counter == 4


def test_a_friend_that_was_forgotten_is_heard_first(pair):
    """Added to a database that has forgotten it: nothing is signed on the first token, which has a successor."""
    empty = SimulatedNetwork("AB", Random(7)).back_up("A")
    pair.restore("A", empty)
    key = pair.nodes["B"].key
    pair.request("A", AddFriend(key, (), "B"))
    pair.request("A", EnableFriend(key))
    assert not friend(pair, "A", "B").is_heard
    pair.connect("A", "B")
    pair.settle()
    accept(pair, "A", "B")
    assert pair.balance("A", "B") == (10, 0, 0)


def test_a_new_friend_of_a_node_that_has_forgotten(pair):
    """Two that never were friends begin as always; the one that has forgotten lets the other speak first."""
    for name in "AB":
        network = SimulatedNetwork("AB", Random(7))
        network.restore(name, network.back_up(name))
        network.befriend("A", "B")
        assert isinstance(network.pay(["A", "B"], 5).status, PaymentStatusSuccess)


def test_open_payments_take_no_further_transactions():
    """Their locks may be known to those who carried them in the forgotten time."""
    network = SimulatedNetwork("AB", Random(7))
    network.befriend("A", "B")
    first, second = (network.payment("A", "B", network.invoice("B", 5), 5) for _ in range(2))
    network.transact(["A", "B"], first, 5)
    before = network.nodes["A"].stored.payments
    assert before[first].stage.num_transactions == 1
    assert isinstance(before[second].stage, NewTransactions)
    network.restore("A", network.back_up("A"))
    after = network.nodes["A"].stored.payments
    assert after[first].stage == InProgress(1)
    assert isinstance(after[second].stage, CanceledPayment)
    assert after[first].src_plain_lock == before[first].src_plain_lock


def test_the_watcher_notices_a_node_that_goes_on_from_an_old_state():
    """The tests of this file can fail: without the mark, a second successor of the token that A held is seen."""
    network = SimulatedNetwork("AB", Random(7))
    network.befriend("A", "B")
    if isinstance(direction(network, "A", "B"), Outgoing):
        reconnect(network)
    backup = network.back_up("A")
    network.pay(["B", "A"], 7)
    network.restore("A", backup)
    node = network.nodes["A"]
    node.stored = apply(node.stored, FriendMutation(network.nodes["B"].key, SetHeard(True)))
    network.crash("A")
    network.connect("A", "B")
    with pytest.raises(InvariantBroken, match="two successors"):
        network.settle()


@pytest.mark.parametrize("seed", range(40))
def test_restores_at_random_moments(seed):
    """
    Four nodes in a ring that pay each other; now and then one is restored from a backup of any age, as messages fly.

    No friend sees two successors of a token. Channels that break are reset to the terms of one side, drawn at random;
    then both sides have what was accepted, nothing is frozen, and all credits add up to nothing.
    """
    draws = Random(seed)
    network = SimulatedNetwork("ABCD", draws, returns_tokens=bool(seed % 2))
    ring = [("A", "B"), ("B", "C"), ("C", "D"), ("D", "A")]
    for one, other in ring:
        network.befriend(one, other)
    backups = {name: [network.back_up(name)] for name in "ABCD"}
    for _ in range(12):
        for _ in range(draws.randrange(6)):
            begin_payment(network, draws)
            for _ in range(draws.randrange(12)):
                network.step()
            name = draws.choice("ABCD")
            backups[name].append(network.back_up(name))
        name = draws.choice("ABCD")
        network.restore(name, draws.choice(backups[name]))
        for one, other in ring:
            if name in (one, other):
                network.connect(one, other)
        if draws.random() < 0.7:
            mend(network, ring, draws)
        for _ in range(draws.randrange(40)):
            network.step()
    mend(network, ring, draws)
    for one, other in ring:
        ours, theirs = (friend(network, *names).channel for names in ((one, other), (other, one)))
        check_pair(ours.token_channel, theirs.token_channel)
    total = sum(
        ledger.balance
        for node in network.nodes.values()
        for known in node.stored.friends.values()
        for ledger in known.channel.token_channel.ledgers.values()
    )
    assert total == 0
    assert network.seen.tokens > 50


def begin_payment(network, draws):
    """A payment over one or two hops; its commit is handed over if the response comes within some messages."""
    start, hops = draws.randrange(4), draws.choice([1, 2])
    route = ["ABCD"[(start + hop) % 4] for hop in range(hops + 1)]
    amount = draws.randrange(1, 20)
    invoice_id = network.invoice(route[-1], amount)
    payment_id = network.payment(route[0], route[-1], invoice_id, amount)
    request_id = network.transact(route, payment_id, amount)
    for _ in range(draws.randrange(30)):
        network.step()
    result = network.result(route[0], request_id)
    if isinstance(result, Complete):
        network.request(route[-1], CommitInvoice(result.commit))


def mend(network, ring, draws):
    """Let every friend be heard, and reset what is broken to the terms of one side, until nothing is."""
    for _ in range(20):
        deliver(network)
        for one, other in [*ring, *(edge[::-1] for edge in ring)]:
            network.handle(one, FriendSilent(network.nodes[other].key))
        deliver(network)
        broken = [edge for edge in ring if None in (direction(network, *edge), direction(network, *edge[::-1]))]
        if not broken:
            return
        for one, other in broken:
            names = draws.choice([(one, other), (other, one)])
            terms = None if direction(network, *names) is not None else terms_of(network, *names)[1]
            if terms is None:
                network.disconnect(one, other)
                network.connect(one, other)
            else:
                network.request(names[0], ResetFriendChannel(network.nodes[names[1]].key, terms.reset_token))
    raise AssertionError("a channel that does not work again")
