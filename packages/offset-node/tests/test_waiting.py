"""What is open and since when; invoices that end; apps that follow. Spec 12."""

import asyncio
from itertools import pairwise
from random import Random

import pytest
from immutables import Map

from offset_funder.ledger import Side
from offset_funder.reports import initial_report
from offset_funder.state import FunderState
from offset_funder.testing import FST, SimulatedNetwork
from offset_funder.unheard import forgotten
from offset_node.apps.connections import AppLinks
from offset_node.apps.outputs import CloseApp, SendToApp
from offset_node.apps.server import AppServer
from offset_node.engine import NodeEngine
from offset_node.links.channeler import ReportOffline, ReportOnline
from offset_node.pauses import ReadingPauses
from offset_node.plugins.host import PluginHost
from offset_node.plugins.loading import find_plugins
from offset_node.plugins.scope import NOTHING, ReportScope
from offset_node.plugins.ticket import ALL_PERMISSIONS, NO_PERMISSIONS, is_permitted
from offset_node.plugins.values import Grant
from offset_node.state import NodeState, RemovePendingSince, SetPendingSince, apply
from offset_node.telling import NodeLog
from offset_node.waiting.ends import InvoiceEnds
from offset_node.waiting.invoices import OpenInvoicesView
from offset_node.waiting.times import LONG_LOOK_TICKS, LONG_SECONDS, LOOK_TICKS, OLD_SECONDS, PendingTimes
from offset_proto.limits import APP_OUTBOX_BYTES_MAX
from offset_proto.messages.app import (
    AckClosePayment,
    AddFriend,
    AppToAppServer,
    CancelInvoice,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    RemoveFriend,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    TransactionResult,
)
from offset_proto.messages.extensions import (
    ALL_EXTENSIONS,
    AddExpiringInvoice,
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
    OpenInvoiceReport,
    OpenInvoices,
    OpenPaymentReport,
    OpenPayments,
    PartStateReport,
    PaymentStageReport,
    UnheardFriends,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.history import EVERY_ENTRY, FollowHistory, ReadHistory
from offset_proto.messages.payment import Commit
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

NOW = 1_800_000_000
"""Seconds since 1970; any."""


# Times.


def _network() -> SimulatedNetwork:
    network = SimulatedNetwork("ABC", Random(1))
    for one, other in pairwise("ABC"):
        network.befriend(one, other)
    return network


def _begin(network: SimulatedNetwork, amount: int = 5) -> tuple[InvoiceId, Uid]:
    """A payment from A over B to C that C has answered, and has no commit for."""
    invoice = network.invoice("C", amount)
    request = network.transact(list("ABC"), network.payment("A", "C", invoice, amount), amount)
    network.settle()
    return invoice, request


def _look(times: PendingTimes, network: SimulatedNetwork, name: str, seconds: range) -> tuple[list, list]:
    """All that is to be stored and said, second by second."""
    stored, said = [], []
    for second in seconds:
        looked = times.look(network.nodes[name].funder.state, NOW + second)
        stored += looked.mutations
        said += [(second, text) for text in looked.warnings]
    return stored, said


def test_what_ends_soon_is_not_written_down():
    """Only what has been pending for a minute costs a row, and its end removes that."""
    network, times = _network(), PendingTimes({})
    invoice, request = _begin(network)
    key = (network.nodes["B"].key, FST, Side.LOCAL, request)
    stored, said = _look(times, network, "A", range(1, OLD_SECONDS))
    assert (stored, said) == ([], [])
    since = times.since(key, NOW + 99)
    assert NOW < since <= NOW + LOOK_TICKS
    stored, _ = _look(times, network, "A", range(OLD_SECONDS, 2 * OLD_SECONDS))
    assert stored == [SetPendingSince(key, since)]
    network.request("C", CancelInvoice(invoice))
    network.settle()
    stored, _ = _look(times, network, "A", range(2 * OLD_SECONDS, 3 * OLD_SECONDS))
    assert stored == [RemovePendingSince(key)]
    assert times.since(key, NOW + 777) == NOW + 777


def test_who_asks_gets_the_same_time_later():
    """Before the next look, at it, and after it."""
    network, times = _network(), PendingTimes({})
    _, request = _begin(network)
    key = (network.nodes["B"].key, FST, Side.LOCAL, request)
    assert [times.since(key, NOW + second) for second in (0, 1)] == [NOW, NOW]
    _look(times, network, "A", range(1, 2 * LOOK_TICKS))
    assert times.since(key, NOW + 99) == NOW


def test_a_payment_that_ends_within_a_minute_leaves_nothing():
    """The memory of it, too, goes with it."""
    network, times = _network(), PendingTimes({})
    invoice, _ = _begin(network)
    _look(times, network, "A", range(1, 30))
    network.request("C", CancelInvoice(invoice))
    network.settle()
    assert _look(times, network, "A", range(30, 10 * OLD_SECONDS)) == ([], [])
    assert times._since == {}
    assert not times._young


def test_times_survive_a_restart():
    """What was stored is known again, and what has ended meanwhile is removed."""
    network, times = _network(), PendingTimes({})
    _, request = _begin(network)
    _look(times, network, "A", range(1, 100))
    friend = network.nodes["B"].key
    key, gone = (friend, FST, Side.LOCAL, request), (friend, FST, Side.LOCAL, Uid(bytes(16)))
    of_nobody = (PublicKey(b"\x66" * 32), FST, Side.LOCAL, Uid(bytes(16)))
    again = PendingTimes({key: NOW + 4, gone: NOW, of_nobody: NOW})
    assert again.since(key, NOW + 500) == NOW + 4
    stored, _ = _look(again, network, "A", range(500, 500 + 2 * OLD_SECONDS))
    assert set(stored) == {RemovePendingSince(gone), RemovePendingSince(of_nobody)}
    assert again.since(key, NOW + 900) == NOW + 4


def test_credits_that_are_frozen_for_long_are_told_of_until_they_are_free():
    """By amount and friend, after an hour, at each doubling, and once when it is over."""
    network, times = _network(), PendingTimes({})
    invoices = [_begin(network, amount)[0] for amount in (5, 7)]
    _, said = _look(times, network, "B", range(1, LONG_SECONDS))
    assert said == []
    _, said = _look(times, network, "B", range(LONG_SECONDS, 5 * LONG_SECONDS))
    assert [second // LONG_SECONDS for second, _ in said] == [1, 2, 4]
    assert said[0][1].startswith("12 FST in 2 requests are frozen behind friend 'C', the oldest for 1 hours")
    assert times.long_pending == 2
    for invoice in invoices:
        network.request("C", CancelInvoice(invoice))
    network.settle()
    _, said = _look(times, network, "B", range(5 * LONG_SECONDS, 5 * LONG_SECONDS + 2 * LONG_LOOK_TICKS))
    assert [text for _, text in said] == ["no credits are frozen behind friend 'C' for more than an hour any more"]
    assert times.long_pending == 0


def test_a_friend_that_is_removed_is_not_told_of():
    """Its credits went with it."""
    network, times = _network(), PendingTimes({})
    _begin(network)
    _look(times, network, "A", range(1, 2 * LONG_SECONDS))
    network.request("A", RemoveFriend(network.nodes["B"].key))
    stored, said = _look(times, network, "A", range(2 * LONG_SECONDS, 2 * LONG_SECONDS + 2 * LONG_LOOK_TICKS))
    assert [type(mutation) for mutation in stored] == [RemovePendingSince]
    assert said == []


def test_ends_come_in_their_order_and_paid_invoices_are_forgotten():
    """However many were added and paid long before their end."""
    ends = InvoiceEnds({})
    ids = [InvoiceId(number.to_bytes(32, "big")) for number in range(1000)]
    for number, invoice_id in enumerate(ids):
        ends.add(NOW + (number * 7919) % 1000, invoice_id)
    assert ends.due(NOW - 1, dict.fromkeys(ids)) == []
    due = ends.due(NOW + 99, dict.fromkeys(ids))
    assert [(ids.index(invoice_id) * 7919) % 1000 for invoice_id in due] == list(range(100))
    assert ends.due(NOW + 99, Map()) == []
    assert ends.due(NOW + 10_000, Map()) == []


# Apps that follow. The first of the pair pays the second.


def _told(pair, kind, node: int = 0) -> list:
    """What the app of a node was told of a kind since the last call."""
    messages = [effect.message for effect in pair.effects[node] if isinstance(effect, SendToApp)]
    pair.effects[node].clear()
    return [message for message in messages if isinstance(message, kind)]


def _uid(number: int) -> Uid:
    return Uid((5000 + number).to_bytes(16, "big"))


def _pay(pair, number: int, *amounts: int, of: int | None = None, seconds: int = 600) -> tuple:
    """An invoice over *of* credits, and parts for it that the seller has answered; the ids of invoice and payment."""
    buyer, seller = pair.nodes
    invoice, payment = InvoiceId(bytes([number]) * 32), PaymentId(bytes([number]) * 16)
    total = sum(amounts) if of is None else of
    seller.ask(AddExpiringInvoice(invoice, FST, total, seconds))
    buyer.ask(CreatePayment(payment, invoice, FST, total, seller.key))
    for position, amount in enumerate(amounts):
        route = FriendsRoute((buyer.key, seller.key))
        buyer.ask(CreateTransaction(payment, _uid(10 * number + position), route, amount, 0))
    pair.settle()
    return invoice, payment


def _tick(pair, now: int) -> None:
    for node in pair.nodes:
        node.engine.tick(now)
    pair.settle()


@pytest.fixture
def pair(new_pair):
    """Two friends whose apps follow what is open; it is `NOW`."""
    made = new_pair()
    _tick(made, NOW)
    made.nodes[0].ask(FollowPayments())
    made.nodes[1].ask(FollowInvoices())
    made.settle()
    return made


def test_an_app_gets_the_snapshot_after_its_acknowledgement(pair):
    """Both come when the batch is stored, and the snapshot is that of the moment."""
    buyer = pair.nodes[0]
    _pay(pair, 1, 30)
    pair.effects[0].clear()
    buyer.ask(FollowPayments())
    batch = buyer.engine.next_batch()
    assert batch.mutations == ()
    acknowledged, snapshot = (effect.message for effect in buyer.engine.stored(batch))
    assert acknowledged == ReportMutations(acknowledged.opt_app_request_id, ())
    assert snapshot.is_snapshot
    assert [report.payment_id for report in snapshot.payments] == [PaymentId(b"\x01" * 16)]


def test_a_payment_is_told_from_its_first_part_to_its_end(pair):
    """Each part by itself, with the commit as soon as there is one; at last it is gone."""
    buyer, seller = pair.nodes
    _told(pair, OpenPayments)
    _, payment = _pay(pair, 1, 10, 20)
    messages = _told(pair, OpenPayments | TransactionResult)
    last = [message for message in messages if isinstance(message, OpenPayments)][-1]
    (report,) = last.payments
    assert (report.stage, report.opt_target.total_dest_payment) == (PaymentStageReport.SENDING, 30)
    assert [(part.dest_payment, part.state, part.since) for part in report.parts] == [
        (10, PartStateReport.ANSWERED, NOW),
        (20, PartStateReport.ANSWERED, NOW),
    ]
    assert all(part.route.public_keys == (buyer.key, seller.key) for part in report.parts)
    (complete,) = [
        message.result
        for message in messages
        if isinstance(message, TransactionResult) and isinstance(message.result, Complete)
    ]
    assert report.opt_commit == complete.commit
    buyer.ask(RequestClosePayment(payment))
    pair.settle()
    (change,) = _told(pair, OpenPayments)
    assert change.payments[0].stage is PaymentStageReport.CLOSING
    assert change.payments[0].opt_target == report.opt_target  # read from its parts now
    assert change.payments[0].opt_commit == report.opt_commit
    seller.ask(CommitInvoice(report.opt_commit))
    pair.settle()
    messages = _told(pair, OpenPayments | ResponseClosePayment)
    ends = [part for message in messages if isinstance(message, OpenPayments) for part in message.payments[0].parts]
    assert [part.state for part in ends if part.state is PartStateReport.COLLECTED] == [PartStateReport.COLLECTED] * 2
    (*_, closed) = [message for message in messages if isinstance(message, ResponseClosePayment)]
    buyer.ask(AckClosePayment(payment, closed.status.ack_uid))
    pair.settle()
    assert _told(pair, OpenPayments)[-1] == OpenPayments(False, (), (payment,))


def test_a_part_that_never_left_is_queued_and_then_cancelled(pair):
    """The friend has the token, so the second part waits; giving up takes it back and leaves the first one frozen."""
    buyer, seller = pair.nodes
    payment = PaymentId(b"\x09" * 16)
    buyer.ask(CreatePayment(payment, InvoiceId(b"\x09" * 32), FST, 30, seller.key))
    route = FriendsRoute((buyer.key, seller.key))
    buyer.ask(CreateTransaction(payment, _uid(1), route, 10, 0))
    buyer.work()
    buyer.ask(CreateTransaction(payment, _uid(2), route, 20, 0))
    effects = buyer.work()
    (report,) = [e.message for e in effects if isinstance(e, SendToApp) and isinstance(e.message, OpenPayments)]
    assert [part.state for part in report.payments[0].parts] == [PartStateReport.FROZEN, PartStateReport.QUEUED]
    buyer.ask(GiveUpPayment(payment))
    effects = buyer.work()
    (report,) = [e.message for e in effects if isinstance(e, SendToApp) and isinstance(e.message, OpenPayments)]
    assert report.payments[0].stage is PaymentStageReport.CLOSING
    assert [(part.request_id, part.state) for part in report.payments[0].parts] == [
        (_uid(1), PartStateReport.FROZEN),
        (_uid(2), PartStateReport.CANCELLED),
    ]
    assert [
        e.message.request_id for e in effects if isinstance(e, SendToApp) and isinstance(e.message, TransactionResult)
    ] == [_uid(2)]


def test_a_seller_sees_what_has_arrived(pair):
    """Partly paid, fully paid, collected."""
    seller = pair.nodes[1]
    _told(pair, OpenInvoices, 1)
    invoice, _ = _pay(pair, 1, 10, of=30)
    last = _told(pair, OpenInvoices, 1)[-1]
    assert last == OpenInvoices(False, (OpenInvoiceReport(invoice, FST, 30, 10, 1, NOW, NOW + 600),), (), ())
    seller.ask(FollowInvoices())
    pair.settle()
    (snapshot,) = _told(pair, OpenInvoices, 1)
    assert snapshot == OpenInvoices(True, last.invoices, (), ())
    seller.ask(CancelInvoice(invoice))
    pair.settle()
    assert _told(pair, OpenInvoices, 1) == [OpenInvoices(False, (), (invoice,), ())]


def _commit(pair) -> Commit:
    """That the buyer's app has been told of last."""
    results = [message.result for message in _told(pair, TransactionResult)]
    (complete,) = [result for result in results if isinstance(result, Complete)]
    return complete.commit


def test_a_seller_learns_which_invoices_were_collected(pair):
    """From the change, and from a snapshot as long as the collect is queued; then the history has it."""
    seller = pair.nodes[1]
    collected, _ = _pay(pair, 1, 30)
    commit = _commit(pair)
    _pay(pair, 2, 20)
    _told(pair, OpenInvoices, 1)
    seller.ask(CommitInvoice(commit))
    seller.ask(FollowInvoices())
    seller.ask(CancelInvoice(InvoiceId(b"\x02" * 32)))
    pair.settle()
    change, snapshot = sorted(_told(pair, OpenInvoices, 1), key=lambda message: message.is_snapshot)
    assert (set(change.ended), change.collected) == ({collected, InvoiceId(b"\x02" * 32)}, (collected,))
    assert snapshot.collected == (collected,)
    seller.ask(FollowInvoices())
    pair.settle()
    assert _told(pair, OpenInvoices, 1) == [OpenInvoices(True, (), (), ())]


def test_an_invoice_that_has_come_to_its_end_was_not_collected(pair):
    """A commit that comes a moment later is acknowledged, and changes nothing."""
    seller = pair.nodes[1]
    invoice, _ = _pay(pair, 1, 30, seconds=600)
    commit = _commit(pair)
    _told(pair, OpenInvoices, 1)
    seller.engine.tick(NOW + 600)
    seller.ask(CommitInvoice(commit))
    pair.settle()
    assert _told(pair, OpenInvoices, 1) == [OpenInvoices(False, (), (invoice,), ())]


def test_what_a_mediator_collects_is_no_invoice_of_its_own():
    """Its apps do not learn the ids of payments that pass."""
    network = _network()
    _, request = _begin(network)
    network.disconnect("A", "B")
    network.request("C", CommitInvoice(network.result("A", request).commit))
    network.settle()
    funder = network.nodes["B"].funder
    assert any(friend.channel.pending_backwards_ops for friend in funder.state.friends.values())
    view = OpenInvoicesView(funder.state, PendingTimes({}))
    assert view.snapshot(funder.state, funder.open_requests, NOW).collected == ()


@pytest.mark.parametrize("currency", ["FST", "EUR"])
def test_an_app_is_told_of_the_invoices_of_its_currencies(pair, currency):
    """Of others it is told nothing, not even that there is something; but a snapshot always comes."""
    seller = pair.nodes[1]
    _told(pair, OpenInvoices, 1)
    seller.engine.apps.close_app(seller.app)
    seller.app, _ = seller.engine.apps.open_app(ALL_PERMISSIONS, ReportScope(None, frozenset({Currency(currency)})))
    is_seen = currency == "FST"
    seller.ask(FollowInvoices())
    pair.settle()
    assert _told(pair, OpenInvoices, 1) == [OpenInvoices(True, (), (), ())]
    collected, _ = _pay(pair, 1, 30)
    commit = _commit(pair)
    cancelled, _ = _pay(pair, 2, 20)
    assert bool(_told(pair, OpenInvoices, 1)) is is_seen
    seller.ask(CommitInvoice(commit))
    seller.ask(FollowInvoices())
    seller.ask(CancelInvoice(cancelled))
    pair.settle()
    told = _told(pair, OpenInvoices, 1)
    snapshots = [message for message in told if message.is_snapshot]
    assert [message.collected for message in snapshots] == [(collected,) if is_seen else ()]
    changes = [(set(message.ended), message.collected) for message in told if not message.is_snapshot]
    assert changes == ([({collected, cancelled}, (collected,))] if is_seen else [])


def test_nobody_is_told_who_has_left(pair):
    """And nothing is kept for it: the next batch drops the view."""
    buyer = pair.nodes[0]
    _told(pair, OpenPayments)
    buyer.engine.apps.close_app(buyer.app)
    buyer.app, _ = buyer.engine.apps.open_app(ALL_PERMISSIONS)
    _pay(pair, 1, 10)
    assert _told(pair, OpenPayments) == []
    assert buyer.engine._waiting._payments is None


def test_the_changes_come_to_what_a_snapshot_says(pair):
    """Whoever applies all changes to an early snapshot has what a late snapshot has. Random payments and ends."""
    buyer, seller = pair.nodes
    draws = Random(7)
    view: dict[PaymentId, OpenPaymentReport] = {}
    for number in range(1, 60):
        amounts = [draws.randrange(1, 5) for _ in range(draws.randrange(1, 4))]
        invoice, payment = _pay(pair, number, *amounts, of=sum(amounts) + draws.randrange(2))
        match draws.randrange(5):
            case 0:
                seller.ask(CancelInvoice(invoice))
            case 1:
                buyer.ask(GiveUpPayment(payment))
            case 2:
                reports = [report for message in _peek(pair) for report in message.payments]
                commits = [report.opt_commit for report in reports if report.payment_id == payment]
                if commits[-1] is not None:
                    seller.ask(CommitInvoice(commits[-1]))
            case _:
                pass
        pair.settle()
        _tick(pair, NOW + number)
        for message in _told(pair, OpenPayments):
            if message.is_snapshot:
                view = {}
            view |= {report.payment_id: report for report in message.payments}
            for ended in message.ended:
                del view[ended]
    buyer.ask(FollowPayments())
    pair.settle()
    (snapshot,) = _told(pair, OpenPayments)
    assert {report.payment_id: _open_parts(report) for report in snapshot.payments} == {
        payment_id: _open_parts(report) for payment_id, report in view.items()
    }
    assert len(view) == 59


def _peek(pair) -> list[OpenPayments]:
    messages = [effect.message for effect in pair.effects[0] if isinstance(effect, SendToApp)]
    return [message for message in messages if isinstance(message, OpenPayments)]


def _open_parts(report: OpenPaymentReport) -> tuple:
    ends = (PartStateReport.COLLECTED, PartStateReport.CANCELLED)
    parts = {part.request_id: (part.state, part.dest_payment) for part in report.parts if part.state not in ends}
    return report.stage, parts, report.opt_commit


# Ends of invoices.


@pytest.mark.parametrize("paid", [0, 10, 30])
def test_an_invoice_ends_by_itself_and_frees_what_came(pair, paid):
    """Unpaid, partly paid, fully paid and not committed: all credits are free again."""
    buyer, seller = pair.nodes
    _pay(pair, 1, *([paid] if paid else []), of=30)
    _tick(pair, NOW + 599)
    assert len(seller.engine.funder_state.open_invoices) == 1
    _tick(pair, NOW + 600)
    assert len(seller.engine.funder_state.open_invoices) == 0
    for node, friend in ((buyer, seller), (seller, buyer)):
        ledger = node.engine.funder_state.friends[friend.key].channel.token_channel.ledgers[FST]
        assert (ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt) == (0, 0, 0)


def test_an_end_survives_a_restart(pair):
    """A node that was down when it came cancels the invoice when it starts."""
    seller = pair.nodes[1]
    invoice, _ = _pay(pair, 1, 10, of=30)
    again = NodeEngine(seller.stored, seller.identity, Random(5).randbytes, now=NOW + 5000)
    again.tick(NOW + 5000)
    stored = seller.stored
    while again.waiting:
        batch = again.next_batch()
        for mutation in batch.mutations:
            stored = apply(stored, mutation)
        again.stored(batch)
    assert invoice not in stored.funder.open_invoices


def test_a_commit_that_was_first_stays(pair):
    """Its invoice is gone when the end comes; what was collected is collected."""
    buyer, seller = pair.nodes
    _pay(pair, 1, 30)
    commit = next(report.opt_commit for m in _peek(pair) for report in m.payments if report.opt_commit)
    seller.ask(CommitInvoice(commit))
    seller.engine.tick(NOW + 600)  # in the same batch, behind the commit
    pair.settle()
    ledger = buyer.engine.funder_state.friends[seller.key].channel.token_channel.ledgers[FST]
    assert (ledger.balance, ledger.local_pending_debt) == (-30, 0)


# Friends that have to speak first. The first of the pair was restored, and its app follows.


@pytest.fixture
def restored(pair):
    """The pair without a link."""
    node, friend = pair.nodes
    for mutation in forgotten(node.stored.funder, Random(4).randbytes):
        node.stored = apply(node.stored, mutation)
    node.engine = NodeEngine(node.stored, node.identity, Random(5).randbytes, now=NOW)
    node.app, _ = node.engine.apps.open_app(ALL_PERMISSIONS)
    friend.engine.follow([ReportOffline(node.key)])
    node.ask(FollowUnheard())
    pair.settle()
    return pair


def _meet(pair) -> None:
    for node, friend in (pair.nodes, pair.nodes[::-1]):
        node.engine.follow([ReportOnline(friend.key)])
    pair.settle()


def test_who_is_not_heard_is_told_until_it_has_spoken(restored):
    """The snapshot comes with the answer, the change when the friend has spoken, and then nothing more."""
    friend = restored.nodes[1].key
    assert _told(restored, UnheardFriends) == [UnheardFriends(True, (friend,), ())]
    _meet(restored)
    assert _told(restored, UnheardFriends) == [UnheardFriends(False, (), (friend,))]
    restored.nodes[0].ask(FollowUnheard())
    restored.settle()
    assert _told(restored, UnheardFriends) == [UnheardFriends(True, (), ())]
    restored.pay(3)
    assert _told(restored, UnheardFriends) == []


def test_who_comes_and_goes_on_such_a_node(restored):
    """A friend that is added may have been one, and is waited for behind its report; who is removed is not any more."""
    node, other = restored.nodes[0], PublicKey(b"\x77" * 32)
    _told(restored, UnheardFriends)
    node.ask(AddFriend(other, (), "other"))
    restored.settle()
    added, change = [m for m in _told(restored, ReportMutations | UnheardFriends) if m != ReportMutations(None, ())]
    assert added.mutations
    assert change == UnheardFriends(False, (other,), ())
    node.ask(RemoveFriend(other))
    restored.settle()
    assert _told(restored, UnheardFriends) == [UnheardFriends(False, (), (other,))]
    node.engine.apps.close_app(node.app)
    node.app, _ = node.engine.apps.open_app(ALL_PERMISSIONS)
    _meet(restored)
    assert _told(restored, UnheardFriends) == []
    assert node.engine._waiting._unheard is None


def test_an_app_is_told_of_the_friends_that_it_sees(restored):
    """Its ticket need not allow anything: this is a part of the report."""
    node, friend = restored.nodes
    for scope, seen in ((ReportScope(frozenset({friend.key})), (friend.key,)), (NOTHING, ())):
        node.app, _ = node.engine.apps.open_app(NO_PERMISSIONS, scope)
        assert is_permitted(NO_PERMISSIONS, FollowUnheard())
        node.ask(FollowUnheard())
        restored.settle()
        snapshots = [
            effect.message
            for effect in restored.effects[0]
            if isinstance(effect, SendToApp)
            and effect.app_id == node.app
            and isinstance(effect.message, UnheardFriends)
        ]
        assert snapshots == [UnheardFriends(True, seen, ())]


def test_an_app_is_not_told_that_something_happens_which_it_does_not_see(restored):
    """An empty change would tell it that a friend has spoken, and when."""
    node, friend = restored.nodes
    node.engine.apps.close_app(node.app)
    node.app, _ = node.engine.apps.open_app(NO_PERMISSIONS, NOTHING)
    node.ask(FollowUnheard())
    restored.settle()
    assert [message for message in _told(restored, UnheardFriends) if message.is_snapshot][-1] == UnheardFriends(
        True, (), ()
    )
    _meet(restored)
    assert node.engine._funder.state.friends[friend.key].is_heard
    assert _told(restored, UnheardFriends) == []


def test_nobody_is_waited_for_where_nothing_was_forgotten(pair):
    """And friends that come and go are not told."""
    node, other = pair.nodes[0], PublicKey(b"\x77" * 32)
    _told(pair, UnheardFriends)
    for request in (FollowUnheard(), AddFriend(other, (), "other"), RemoveFriend(other)):
        node.ask(request)
        pair.settle()
    assert _told(pair, UnheardFriends) == [UnheardFriends(True, (), ())]


# Who may ask.


def test_what_was_not_announced_ends_the_connection(new_node):
    """An app that sends it all the same would wait for something that never comes."""
    node = new_node(1)
    for number, request in enumerate(
        [
            FollowPayments(),
            FollowInvoices(),
            AddExpiringInvoice(InvoiceId(bytes(32)), FST, 1, 1),
            GiveUpPayment(PaymentId(bytes(16))),
            ReadHistory(_uid(1), 0, 0, False, 1, EVERY_ENTRY),
            FollowHistory(),
            FollowUnheard(),
        ]
    ):
        engine = NodeEngine(NodeState(node.stored.funder), node.identity, Random(0).randbytes, extensions=Extension(0))
        app, _ = engine.apps.open_app(ALL_PERMISSIONS)
        (closed,) = engine.apps.receive(app, AppToAppServer(_uid(number), request), Grant())
        assert isinstance(closed, CloseApp)
        assert "did not announce" in closed.reason
    assert len(ALL_EXTENSIONS) == 6


def test_a_snapshot_may_be_larger_than_what_an_app_may_leave_unread():
    """As its greeting may: an app that follows must not lose its connection because much is open."""
    asyncio.run(_follow_much(FullConnection()))


async def _follow_much(connection: "FullConnection") -> None:
    state = FunderState(connection.remote_public_key)
    server = AppServer(initial_report(state, ()), ALL_EXTENSIONS)
    plugins = PluginHost(find_plugins(only_ticket=True), {}, None, state)
    links = AppLinks(
        server, None, plugins, ReadingPauses(), lambda outputs, source: None, log=NodeLog(lambda key: None, lambda: 0.0)
    )
    links.open(connection, ALL_PERMISSIONS)
    invoice = OpenInvoiceReport(InvoiceId(b"\x01" * 32), FST, 2**127, 2**127, 1, NOW, NOW)
    large = OpenInvoices(True, (invoice,) * (APP_OUTBOX_BYTES_MAX // 64), (), ())
    for effect in server.start_following(1, _uid(1), large, {}):
        links.perform(effect)
    assert connection.unread > APP_OUTBOX_BYTES_MAX
    assert not connection.is_closed
    links.perform(SendToApp(1, large))  # what else it leaves unread is bounded as before
    assert connection.is_closed


class FullConnection:
    """A connection whose other end reads nothing."""

    remote_public_key = PublicKey(b"\x05" * 32)

    def __init__(self) -> None:
        self.outbox_bytes_max = APP_OUTBOX_BYTES_MAX
        self.unread = 0
        self.is_closed = False

    def attach(self, receiver) -> None:
        """It says nothing, either."""

    def send(self, message: bytes) -> None:
        self.unread += len(message)
        if self.unread > self.outbox_bytes_max:
            self.close("the peer does not read")

    def close(self, reason: str) -> None:
        self.is_closed = True
