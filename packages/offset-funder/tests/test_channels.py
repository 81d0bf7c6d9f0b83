"""Friends, relays, inconsistency and reset between two funders. Spec 05 §5-§11, §18.1, §18.5."""

from dataclasses import replace
from random import Random

import pytest

from offset_crypto.signed import move_token_buffer
from offset_funder.capacities import declared, diff
from offset_funder.effects import ForgetFriend, SendFriendMessage, SendToApps, SetRelays, UpdateFriend
from offset_funder.events import FriendMessageReceived, FriendWentOnline
from offset_funder.open_requests import rebuild
from offset_funder.reports import initial_report
from offset_funder.sender import send_all
from offset_funder.session import Session, Surroundings
from offset_funder.state import Consistent, Incoming, Inconsistent
from offset_funder.testing import FST, SimulatedNetwork
from offset_funder.token_channel import TokenBuilder
from offset_proto.messages.app import (
    AddFriend,
    AddRelay,
    CloseFriendCurrency,
    CommitInvoice,
    Complete,
    CreateTransaction,
    DisableFriend,
    EnableFriend,
    Failure,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveRelay,
    ReportMutations,
    RequestClosePayment,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendName,
    SetFriendRelays,
)
from offset_proto.messages.friend import CurrencyBalance, FriendsRoute, MoveTokenRequest, RequestSendFundsOp, ResetTerms
from offset_proto.messages.payment import NamedRelayAddress, RelayAddress
from offset_proto.messages.report import PkFriendReportMutation
from offset_proto.rate import FREE
from offset_proto.report_view import ReportView
from offset_proto.types import (
    I128_MIN,
    Currency,
    HashedLock,
    InvoiceId,
    NetAddress,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)


def _pair(seed: int = 1) -> SimulatedNetwork:
    network = SimulatedNetwork("AB", Random(seed))
    network.befriend("A", "B")
    return network


def _channel(network: SimulatedNetwork, name: str = "A", friend: str = "B"):
    return network.nodes[name].funder.state.friends[network.nodes[friend].key].channel


def _relay(number: int) -> NamedRelayAddress:
    return NamedRelayAddress(PublicKey(bytes([number]) * 32), NetAddress(f"r:{number}"), f"r{number}")


def _break(network: SimulatedNetwork) -> None:
    """A forgets B and adds it again: the tokens do not fit any more."""
    key = network.nodes["B"].key
    network.disconnect("A", "B")
    network.request("A", RemoveFriend(key))
    network.request("A", AddFriend(key, (), "B"))
    network.request("A", EnableFriend(key))
    network.connect("A", "B")
    network.settle()


def test_reset_by_either_side():
    """Spec 05 §18.5: whoever accepts gives up its own view; both go on trading."""
    for name, other in ("AB", "BA"):
        network = _pair()
        network.pay(["A", "B"], 20)
        _break(network)
        channel = _channel(network, name, other)
        assert isinstance(channel, Inconsistent)
        terms = channel.opt_remote_reset_terms
        assert terms is not None
        network.request(name, ResetFriendChannel(network.nodes[other].key, terms.reset_token))
        network.settle()
        expected = 20 if name == "A" else 0
        if expected:
            assert network.balance("B", "A") == (20, 0, 0)
        for node, friend in ("AB", "BA"):
            assert isinstance(_channel(network, node, friend), Consistent)
            network.set_limit(node, friend, 1000)
            network.request(node, OpenFriendCurrency(network.nodes[friend].key, FST))
        network.settle()
        network.pay(["A", "B"], 5)
        assert network.balance("A", "B") == (-expected - 5, 0, 0)


def test_the_channeler_is_told_once_of_a_reset_that_brings_new_relays():
    """B learns where A is now, and looks for A at all of its own relays: both stand in one update."""
    network = _pair()
    _break(network)
    a, b = network.nodes["A"], network.nodes["B"]
    terms = _channel(network).opt_remote_reset_terms
    outcome = network.request("A", ResetFriendChannel(b.key, terms.reset_token))
    (token,) = (e.message.move_token for e in outcome.effects if isinstance(e, SendFriendMessage))
    token = replace(token, opt_local_relays=(_relay(5).without_name(),))
    token = replace(token, new_token=a.identity.sign(move_token_buffer(token)))
    outcome = network.handle("B", FriendMessageReceived(a.key, MoveTokenRequest(token, token_wanted=False)))
    assert isinstance(_channel(network, "B", "A"), Consistent)
    (update,) = (effect for effect in outcome.effects if isinstance(effect, UpdateFriend))
    assert update.friend_relays == token.opt_local_relays
    assert update.local_relays == tuple(relay.without_name() for relay in b.funder.state.relays)


def test_a_wrong_token_and_a_consistent_channel_can_not_be_reset():
    """NotInvitedToReset, ResetTokenMismatch."""
    network = _pair()
    reset = ResetFriendChannel(network.nodes["B"].key, Signature(b"\x01" * 64))
    assert str(network.request("A", reset).error) == "NotInvitedToReset"
    _break(network)
    assert str(network.request("A", reset).error) == "ResetTokenMismatch"


def test_reset_while_the_friend_is_offline():
    """D39, D38: performed and stored; the token goes out on the next connection, whatever the other says first."""
    network = _pair()
    network.pay(["A", "B"], 20)
    _break(network)
    terms = _channel(network).opt_remote_reset_terms
    network.disconnect("A", "B")
    network.request("A", ResetFriendChannel(network.nodes["B"].key, terms.reset_token))
    assert isinstance(_channel(network), Consistent)
    network.crash("A")
    network.connect("A", "B")
    network.settle()
    assert isinstance(_channel(network, "B", "A"), Consistent)
    assert network.balance("A", "B") == (-20, 0, 0)


@pytest.mark.parametrize("balances", [[(FST, I128_MIN)], [(FST, 1), (FST, 2)]])
def test_hostile_terms_are_stored_and_not_accepted(balances):
    """D36, D37: nothing ends; acceptance is refused."""
    network = _pair()
    _break(network)
    terms = ResetTerms(Signature(b"\x09" * 64), 5, tuple(CurrencyBalance(*entry) for entry in balances))
    network.handle("A", FriendMessageReceived(network.nodes["B"].key, terms))
    outcome = network.request("A", ResetFriendChannel(network.nodes["B"].key, terms.reset_token))
    assert "InvalidResetTerms" in str(outcome.error)
    assert isinstance(_channel(network), Inconsistent)


def test_a_complaint_cancels_what_went_out():
    """D34: after InconsistencyError while waiting, own payments fail instead of staying open for ever."""
    network = _pair()
    invoice = network.invoice("B", 10)
    payment = network.payment("A", "B", invoice, 10)
    request_id = network.transact(["A", "B"], payment, 10)
    network.request("A", RequestClosePayment(payment))
    terms = ResetTerms(Signature(b"\x09" * 64), 1, ())
    if not network._links["A", "B"]:
        network.settle()
    network._links["A", "B"].clear()
    network._links["B", "A"].clear()
    network.handle("A", FriendMessageReceived(network.nodes["B"].key, terms))
    assert isinstance(_channel(network), Inconsistent)
    assert network.result("A", request_id) == Failure()


def test_a_complaint_while_holding_the_token_is_ignored():
    """Spec 05 §7.5."""
    network = _pair()
    for name, other in ("AB", "BA"):
        channel = _channel(network, name, other)
        holds = type(channel.token_channel.direction).__name__ == "Incoming"
        if holds:
            terms = ResetTerms(Signature(b"\x09" * 64), 1, ())
            outcome = network.handle(name, FriendMessageReceived(network.nodes[other].key, terms))
            assert str(outcome.error) == "InconsistencyWhenTokenOwned"
            assert outcome.effects == ()


def test_currencies_of_an_inconsistent_channel_can_not_be_removed():
    """D35: refused, and acknowledged like any other request."""
    network = _pair()
    network.pay(["A", "B"], 1)
    _break(network)
    network.set_limit("A", "B", 5)
    outcome = network.request("A", RemoveFriendCurrency(network.nodes["B"].key, FST))
    assert str(outcome.error) == "ChannelInconsistent"


def test_a_withdrawn_currency_that_becomes_active_gets_a_configuration():
    """D43: our withdrawal crosses the friend's acceptance."""
    network = SimulatedNetwork("AB", Random(0))
    network.befriend("A", "B")
    new = Currency("NEW")
    key_a, key_b = network.nodes["A"].key, network.nodes["B"].key
    network.request("A", SetFriendCurrencyMaxDebt(key_b, new, 5))
    network.settle()
    network.request("B", SetFriendCurrencyMaxDebt(key_a, new, 5))
    network.request("A", RemoveFriendCurrency(key_b, new))
    network.settle()
    friend = network.nodes["A"].funder.state.friends[key_b]
    if new in friend.channel.token_channel.ledgers:
        assert new in friend.currency_configs


def test_own_key_is_no_friend():
    """A request to add oneself is acknowledged, and has no effect (D44)."""
    network = SimulatedNetwork("A", Random(0))
    own = network.nodes["A"].key
    assert network.request("A", AddFriend(own, (), "me")).mutations == ()
    assert str(network.request("A", EnableFriend(own)).error) == "FriendDoesNotExist"


def test_relays_are_announced_and_acknowledged():
    """Spec 05 scenario 9 and D26: new relays reach the channeler of both sides."""
    network = _pair()
    key = network.nodes["B"].key
    outcome = network.request("A", AddRelay(_relay(11)))
    assert isinstance(outcome.effects[0], SetRelays)
    assert len(outcome.effects[0].relays) == 2
    network.settle()
    friend_of_b = network.nodes["B"].funder.state.friends[network.nodes["A"].key]
    assert len(friend_of_b.remote_relays) == 2
    network.request("A", RemoveRelay(_relay(11).public_key))
    network.settle()
    sent = network.nodes["A"].funder.state.friends[key].sent_local_relays
    assert len(sent.relays) == 1


def test_a_friends_new_relays_reach_the_channeler():
    """D26: at once, not at the next restart."""
    network = _pair()
    network.request("A", AddRelay(_relay(12)))
    updates = []
    while any(network._links.values()):
        for (sender, receiver), messages in list(network._links.items()):
            if messages:
                message = messages.popleft()
                outcome = network.handle(receiver, FriendMessageReceived(network.nodes[sender].key, message))
                updates += [e for e in outcome.effects if isinstance(e, UpdateFriend) and receiver == "B"]
    assert any(RelayAddress(_relay(12).public_key, _relay(12).address) in update.friend_relays for update in updates)


def test_seventeen_relays_are_too_many():
    """Spec 05 §5: also where one would only be replaced."""
    network = SimulatedNetwork("A", Random(0))
    for number in range(1, 16):
        assert network.request("A", AddRelay(_relay(number))).error is None
    assert str(network.request("A", AddRelay(_relay(3))).error) == "MaxNodeRelaysReached"


def test_disabled_friends_are_left_alone():
    """Messages are still processed, nothing is sent, the channeler is not told to connect."""
    network = _pair()
    key = network.nodes["B"].key
    outcome = network.request("A", DisableFriend(key))
    assert ForgetFriend(key) in outcome.effects
    network.disconnect("A", "B")
    assert str(network.handle("A", FriendWentOnline(key)).error) == "FriendIsDisabled"
    outcome = network.request("A", SetFriendRelays(key, (RelayAddress(key, NetAddress("x:1")),)))
    assert not any(isinstance(effect, UpdateFriend) for effect in outcome.effects)
    network.request("A", EnableFriend(key))
    network.connect("A", "B")
    network.settle()
    assert network.balance("A", "B") == (0, 0, 0)


def test_unchanged_values_change_nothing():
    """Spec 05 §5: same value, no mutation, but an acknowledgement."""
    network = _pair()
    key = network.nodes["B"].key
    for request in (SetFriendName(key, "B"), OpenFriendCurrency(key, FST), SetFriendCurrencyMaxDebt(key, FST, 1000)):
        outcome = network.request("A", request)
        assert outcome.mutations == ()
        assert len(outcome.effects) == 1


def test_crash_between_storing_and_sending():
    """Spec 07 §7.3: on restart the same token is sent; no second successor is ever signed."""
    network = _pair()
    invoice = network.invoice("B", 10)
    payment = network.payment("A", "B", invoice, 10)
    keys = [network.nodes[name].key for name in "AB"]
    from offset_funder.events import AppRequested
    from offset_proto.messages.friend import FriendsRoute
    from offset_proto.types import Uid

    request = CreateTransaction(payment, Uid(b"\x01" * 16), FriendsRoute(tuple(keys)), 10, 0)
    outcome = network.handle("A", AppRequested(Uid(b"\x02" * 16), request), lose_effects=True)
    lost = [e.message for e in outcome.effects if isinstance(e, SendFriendMessage)]
    network.crash("A")
    network.connect("A", "B")
    sent = [m for m in network._links["A", "B"] if isinstance(m, MoveTokenRequest)]
    if lost and lost[-1].move_token.currencies_operations:
        assert lost[-1].move_token in [message.move_token for message in sent]
    network.settle()
    assert isinstance(network.result("A", Uid(b"\x01" * 16)), Complete)


def test_reports_follow_the_state():
    """Spec 05 scenario 37: the initial report and all mutations give the report of the final state."""
    network = SimulatedNetwork("ABC", Random(3))
    views = {name: ReportView(initial_report(node.funder.state, ())) for name, node in network.nodes.items()}
    original = network.handle

    def handle(name, event, **other):
        outcome = original(name, event, **other)
        for effect in outcome.effects:
            message = getattr(effect, "message", None)
            if isinstance(message, ReportMutations):
                views[name].apply(message.mutations)
        return outcome

    network.handle = handle
    network.befriend("A", "B")
    network.befriend("B", "C")
    network.pay(["A", "B", "C"], 7)
    network.request("B", CloseFriendCurrency(network.nodes["A"].key, FST))
    network.disconnect("A", "B")
    for name, node in network.nodes.items():
        fresh = ReportView(initial_report(node.funder.state, ()))
        assert set(fresh.friends) == set(views[name].friends)
        for key, friend in fresh.friends.items():
            known = views[name].friends[key]
            assert known.channel_status == friend.channel_status
            assert known.opt_last_incoming_move_token == friend.opt_last_incoming_move_token
            assert sorted(map(str, known.currency_configs)) == sorted(map(str, friend.currency_configs))
        assert fresh.relays == views[name].relays


def test_declared_capacities():
    """Spec 05 scenarios 17, 38: open, online and consistent pairs only; a negative balance adds."""
    network = _pair()
    network.pay(["B", "A"], 20)
    state = network.nodes["B"].funder.state
    view = ReportView(initial_report(state, ()))
    assert declared(view.friends) == {}
    import dataclasses

    from offset_proto.messages.report import FriendLivenessReport

    key = network.nodes["A"].key
    view.friends[key] = dataclasses.replace(view.friends[key], liveness=FriendLivenessReport.ONLINE)
    capacities = declared(view.friends)
    assert capacities[key, FST].recv_capacity == 1020
    assert len(diff({}, capacities)) == 1
    assert len(diff(capacities, {})) == 1
    assert diff(capacities, capacities) == ()


def test_commit_survives_a_reset_elsewhere():
    """A collect goes back only over channels that still know the request."""
    network = SimulatedNetwork("ABC", Random(5))
    network.befriend("A", "B")
    network.befriend("B", "C")
    invoice = network.invoice("C", 10)
    payment = network.payment("A", "C", invoice, 10)
    request_id = network.transact(["A", "B", "C"], payment, 10)
    network.settle()
    complete = network.result("A", request_id)
    _break(network)
    network.request("C", CommitInvoice(complete.commit))
    network.settle()
    assert network.balance("C", "B") == (10, 0, 0)
    assert network.result("A", request_id) == Failure()


def test_one_report_of_a_channel_for_each_event():
    """D50: whatever an event changes in a channel, apps are told its last state once."""
    network = SimulatedNetwork("ABC", Random(4))
    network.befriend("A", "B")
    network.befriend("B", "C")
    payment = network.payment("A", "C", network.invoice("C", 20), 20)
    for _ in range(10):
        network.transact(["A", "B", "C"], payment, 2)
    told = 0
    handle = network.handle

    def watch(name, event, **options):
        nonlocal told
        outcome = handle(name, event, **options)
        for effect in outcome.effects:
            if isinstance(effect, SendToApps) and isinstance(effect.message, ReportMutations):
                changes = [mutation.mutation for mutation in effect.message.mutations]
                pairs = [
                    (change.friend_public_key, type(change.friend_report_mutation))
                    for change in changes
                    if isinstance(change, PkFriendReportMutation)
                ]
                assert len(pairs) == len(set(pairs))
                told += len(pairs)
        return outcome

    network.handle = watch
    network.settle()
    assert told > 10


def test_what_waits_for_a_friend_that_is_gone():
    """D47: a friend removed in the same event has nobody who looks after it."""
    network = _pair()
    node, gone = network.nodes["A"], PublicKey(b"\x05" * 32)
    known = network.nodes["B"].key
    online, random_bytes = frozenset((gone, known)), Random(1).randbytes
    surroundings = Surroundings(node.identity, random_bytes, returns_tokens=False)
    session = Session(node.funder.state, rebuild(node.funder.state), online, surroundings)
    session.try_send(gone).resend_outgoing = True
    session.try_send(known).resend_outgoing = True
    send_all(session)
    assert [message.public_key for message in session.outputs.friend_messages] == [known]
    assert not session.flags


def test_a_token_with_very_many_operations():
    """Only senders limit a token, so one may hold 10,000 requests: all are cancelled, sixteen in each answer."""
    network = _pair()
    sender, receiver = network.nodes["B"], network.nodes["A"]
    network.set_limit("A", "B", 2**64)
    network.set_rate("A", "B", FREE, Currency("EUR"))  # B has no answer to this, and keeps the token
    network.settle()
    channel = _channel(network, "B", "A").token_channel
    assert isinstance(channel.direction, Incoming)
    builder = TokenBuilder(channel)
    builder.begin(FST)
    for number in range(10_000):
        request = RequestSendFundsOp(
            request_id=Uid(number.to_bytes(16, "big")),
            src_hashed_lock=HashedLock(bytes(32)),
            route=FriendsRoute((PublicKey(b"\x05" * 32),)),
            dest_payment=1,
            total_dest_payment=1,
            invoice_id=InvoiceId(bytes(32)),
            left_fees=0,
        )
        builder.add(FST, request)
    token, _ = builder.finish(None, RandValue(bytes(16)), sender.identity.sign)
    outcome = receiver.funder.handle(FriendMessageReceived(sender.key, MoveTokenRequest(token, True)))
    assert outcome.error is None
    known = receiver.funder.state.friends[sender.key].channel
    assert isinstance(known, Consistent)
    ledger = known.token_channel.ledgers[FST]
    assert ledger.remote_pending_debt == len(ledger.pending_remote) == 10_000 - 16
    (answer,) = [effect for effect in outcome.effects if isinstance(effect, SendFriendMessage)]
    assert len(answer.message.move_token.currencies_operations[0].operations) == 16
