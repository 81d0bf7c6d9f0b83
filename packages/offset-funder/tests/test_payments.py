"""Payments over several funders; stories with the numbers of spec 04 §10, 05 §18 and its test scenarios."""

from itertools import pairwise
from random import Random

import pytest

from offset_crypto.verify import verify_receipt
from offset_funder.effects import InvoicePaid, PaymentFinished, RequestForwarded, SendFriendMessage, SendToApps
from offset_funder.engine import Funder, Outcome
from offset_funder.events import (
    AppRequested,
    FriendMessageReceived,
    FriendWentOffline,
    FriendWentOnline,
    InvoiceExpired,
)
from offset_funder.mutations import FriendMutation, PushBackPendingBackwardsOp
from offset_funder.state import Consistent, NewTransactions
from offset_funder.testing import FST, SimulatedNetwork
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    CancelInvoice,
    CloseFriendCurrency,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    RemoveFriend,
    RequestClosePayment,
    Success,
    TransactionResult,
)
from offset_proto.messages.extensions import AddExpiringInvoice, GiveUpPayment
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    FriendsRoute,
    MoveToken,
    MoveTokenRequest,
)
from offset_proto.messages.payment import Commit, Rate
from offset_proto.types import Currency, HashResult, InvoiceId, PaymentId, PublicKey, RandValue, Signature, Uid


def _chain(*names: str, seed: int = 1) -> SimulatedNetwork:
    network = SimulatedNetwork(names, Random(seed))
    for first, second in pairwise(names):
        network.befriend(first, second)
    return network


def test_direct_payment():
    """Spec 05 scenario 8: 16 with fees of 4; what is left of the fees stays with the destination."""
    network = _chain("A", "B")
    closed = network.pay(["A", "B"], 16, fees=4)
    assert isinstance(closed.status, PaymentStatusSuccess)
    verify_receipt(closed.status.receipt, network.nodes["B"].key)
    assert (closed.status.receipt.dest_payment, closed.status.receipt.total_dest_payment) == (16, 16)
    assert network.balance("A", "B") == (-20, 0, 0)
    assert network.balance("B", "A") == (20, 0, 0)
    network.request("A", AckClosePayment(closed.payment_id, closed.status.ack_uid))
    network.request("A", RequestClosePayment(closed.payment_id))
    assert network.nodes["A"].closes[-1].status == PaymentNotFound()


@pytest.mark.parametrize(("returns_tokens", "messages"), [(False, 15), (True, 12)])
def test_who_is_to_collect_need_not_ask_for_the_token(returns_tokens, messages):
    """Over three friendships a payment takes one message less on each, and leads to the same balances."""
    network = SimulatedNetwork("ABCD", Random(1), returns_tokens=returns_tokens)
    for one, other in pairwise("ABCD"):
        network.befriend(one, other, limit=1000)
    network.pay(list("ABCD"), 10)
    before = network.delivered
    network.pay(list("ABCD"), 10)
    assert network.delivered - before == messages
    assert [network.balance(one, other) for one, other in pairwise("ABCD")] == [(-20, 0, 0)] * 3


def test_fees_of_two_mediators():
    """Spec 04 §10.1: 20 over B (10 % + 1) and C (2), fees 5: A -25, B +3, C +2, D +20."""
    network = _chain("A", "B", "C", "D")
    network.set_rate("B", "A", Rate(429496730, 1))
    network.set_rate("C", "B", Rate(0, 2))
    network.pay(["A", "B", "C", "D"], 20, fees=5)
    assert network.balance("A", "B") == (-25, 0, 0)
    assert network.balance("B", "C") == (-22, 0, 0)
    assert network.balance("D", "C") == (20, 0, 0)
    network.pay(["A", "B", "C", "D"], 20, fees=7)
    assert network.balance("D", "C") == (42, 0, 0)


@pytest.mark.parametrize(("fees", "paid"), [(11, False), (12, True)])
def test_too_small_a_fee_is_cancelled(fees, paid):
    """Spec 05 scenario 39: 50 % + 5 of 15 is 12."""
    network = _chain("A", "B", "C")
    network.set_rate("B", "A", Rate(2**31, 5))
    closed = network.pay(["A", "B", "C"], 15, fees=fees)
    assert isinstance(closed.status, PaymentStatusSuccess if paid else Canceled)
    assert network.balance("A", "B") == ((-27, 0, 0) if paid else (0, 0, 0))


def test_limits_of_trust():
    """Spec 04 §10.5: equality is accepted, one more is not; the payer's credit is free again."""
    network = _chain("A", "B")
    network.set_limit("B", "A", 24)
    assert isinstance(network.pay(["A", "B"], 25).status, Canceled)
    assert network.balance("A", "B") == (0, 0, 0)
    assert isinstance(network.pay(["A", "B"], 24).status, PaymentStatusSuccess)
    assert isinstance(network.pay(["A", "B"], 1).status, Canceled)


def test_a_payment_over_two_routes():
    """Spec 05 §18.4: 60 + 40; one commit releases both; the receipt is that of the first collect."""
    network = SimulatedNetwork("ABCD", Random(0))
    for first, second in ("AB", "AC", "BD", "CD"):
        network.befriend(first, second)
    invoice = network.invoice("D", 100)
    payment = network.payment("A", "D", invoice, 100)
    first = network.transact(["A", "B", "D"], payment, 60)
    network.settle()
    assert network.result("A", first) == Success()
    second = network.transact(["A", "C", "D"], payment, 40)
    third = network.transact(["A", "C", "D"], payment, 5)
    network.settle()
    complete = network.result("A", second)
    assert isinstance(complete, Complete)
    assert complete.commit.dest_payment == 40
    assert network.result("A", third) == Failure()
    network.request("D", CommitInvoice(complete.commit))
    network.request("A", RequestClosePayment(payment))
    network.settle()
    assert isinstance(network.nodes["A"].closes[-1].status, PaymentStatusSuccess)
    assert network.balance("D", "B")[0] + network.balance("D", "C")[0] == 100
    assert not network.nodes["A"].funder.state.open_transactions


def test_the_seller_cancels_after_responding():
    """Spec 05 §18.3c: the buyer gets Failure although Complete was reported before."""
    network = _chain("A", "B", "C")
    invoice = network.invoice("C", 10)
    payment = network.payment("A", "C", invoice, 10)
    request_id = network.transact(["A", "B", "C"], payment, 10)
    network.request("A", RequestClosePayment(payment))
    network.settle()
    assert isinstance(network.result("A", request_id), Complete)
    network.request("C", CancelInvoice(invoice))
    network.settle()
    assert network.result("A", request_id) == Failure()
    assert isinstance(network.nodes["A"].closes[-1].status, Canceled)
    assert network.balance("A", "B") == (0, 0, 0)


def test_other_currencies_do_not_pay_an_invoice():
    """D32: a request in another currency than the invoice's is cancelled, and the next one is served."""
    network = _chain("A", "B")
    junk = Currency("JUNK")
    network.befriend("A", "B", currency=junk)
    invoice = network.invoice("B", 10)
    payment = network.payment("A", "B", invoice, 10, junk)
    request_id = network.transact(["A", "B"], payment, 10)
    network.settle()
    assert network.result("A", request_id) == Failure()
    assert network.balance("A", "B", junk) == (0, 0, 0)
    paid = network.payment("A", "B", invoice, 10)
    request_id = network.transact(["A", "B"], paid, 10)
    network.settle()
    assert isinstance(network.result("A", request_id), Complete)


def test_a_cycle_back_to_the_buyer():
    """D29: payer and destination are one node; the payment completes."""
    network = SimulatedNetwork("ABC", Random(0))
    for first, second in ("AB", "BC", "CA"):
        network.befriend(first, second)
    invoice = network.invoice("A", 10)
    payment = network.payment("A", "A", invoice, 10)
    request_id = network.transact(["A", "B", "C", "A"], payment, 10)
    network.settle()
    complete = network.result("A", request_id)
    assert isinstance(complete, Complete)
    network.request("A", CommitInvoice(complete.commit))
    network.request("A", RequestClosePayment(payment))
    network.settle()
    assert isinstance(network.nodes["A"].closes[-1].status, PaymentStatusSuccess)
    assert network.balance("A", "B") == (-10, 0, 0)
    assert network.balance("A", "C") == (10, 0, 0)


def test_two_friends_with_one_request_id():
    """D28: the newer request is cancelled, the older one goes through; nobody dies."""
    network = SimulatedNetwork("ABCD", Random(0))
    for first, second in ("AC", "BC", "CD"):
        network.befriend(first, second)
    invoice = network.invoice("D", 10)
    request_id = Uid(b"\x07" * 16)
    for buyer in "AB":
        payment = network.payment(buyer, "D", invoice, 10)
        keys = FriendsRoute(tuple(network.nodes[name].key for name in (buyer, "C", "D")))
        network.request(buyer, CreateTransaction(payment, request_id, keys, 10, 0))
    network.settle()
    results = [network.result(buyer, request_id) for buyer in "AB"]
    assert sum(isinstance(result, Complete) for result in results) == 1
    assert results.count(Failure()) == 1
    winner = next(result for result in results if isinstance(result, Complete))
    network.request("D", CommitInvoice(winner.commit))
    network.settle()
    assert network.balance("D", "C") == (10, 0, 0)


def test_the_origin_is_removed_while_a_request_is_under_way():
    """D31: the reply is applied to the replying friend's ledger and dropped."""
    network = _chain("A", "B", "C")
    invoice = network.invoice("C", 10)
    payment = network.payment("A", "C", invoice, 10)
    request_id = network.transact(["A", "B", "C"], payment, 10)
    network.settle()
    complete = network.result("A", request_id)
    assert isinstance(complete, Complete)
    network.request("B", RemoveFriend(network.nodes["A"].key))
    network.crash("B")  # and it loads again
    network.connect("B", "C")
    network.settle()
    network.request("C", CommitInvoice(complete.commit))
    network.settle()
    assert network.balance("B", "C") == (-10, 0, 0)


def test_invoices_forget_transactions_that_vanished():
    """D33: after the paying friend was removed the invoice can be paid by somebody else, or cancelled."""
    network = SimulatedNetwork("ABC", Random(0))
    network.befriend("A", "C")
    network.befriend("B", "C")
    invoice = network.invoice("C", 10)
    lost = network.payment("A", "C", invoice, 10)
    network.transact(["A", "C"], lost, 4)
    network.settle()
    network.request("C", RemoveFriend(network.nodes["A"].key))
    network.request("C", CancelInvoice(invoice))
    assert invoice not in network.nodes["C"].funder.state.open_invoices


def _lose_by_removal(network: SimulatedNetwork, name: str) -> None:
    network.request("D", RemoveFriend(network.nodes[name].key))


def _lose_by_a_broken_channel(network: SimulatedNetwork, name: str) -> None:
    token = MoveToken(
        Signature(b"\x07" * 64), (), None, None, HashResult(bytes(32)), RandValue(bytes(16)), Signature(b"\x08" * 64)
    )
    network.handle("D", FriendMessageReceived(network.nodes[name].key, MoveTokenRequest(token, False)))


def _half_paid() -> tuple[SimulatedNetwork, InvoiceId, PaymentId, Commit]:
    """D has an invoice of 100, 60 of it by way of B and 40 by way of C, and A has the commit and may go on paying."""
    network = SimulatedNetwork("ABCD", Random(0))
    for first, second in ("AB", "AC", "BD", "CD"):
        network.befriend(first, second)
    invoice = network.invoice("D", 100)
    payment = network.payment("A", "D", invoice, 100)
    network.transact(["A", "B", "D"], payment, 60)
    network.settle()
    last = network.transact(["A", "C", "D"], payment, 40)
    network.settle()
    return network, invoice, payment, network.result("A", last).commit


@pytest.mark.parametrize("lost", ["B", "C", "BC"])
@pytest.mark.parametrize("lose", [_lose_by_removal, _lose_by_a_broken_channel])
def test_a_commit_collects_the_whole_payment_or_nothing(lost, lose):
    """D105: parts went with their channel after the commit was made, and nothing is handed out for the rest."""
    network, invoice, _, commit = _half_paid()
    for name in lost:
        lose(network, name)
    outcome = network.request("D", CommitInvoice(commit))
    assert str(outcome.error) == "InvoiceNotComplete"
    assert network.nodes["D"].occurrences == []
    assert invoice in network.nodes["D"].funder.state.open_invoices
    network.request("D", CancelInvoice(invoice))
    network.settle()
    assert invoice not in network.nodes["D"].funder.state.open_invoices
    assert [network.balance("D", name) for name in "BC" if name not in lost] == [(0, 0, 0)] * (2 - len(lost))


def test_what_went_with_a_channel_may_be_paid_anew():
    """The commit that was refused holds for the payment that is whole again."""
    network, invoice, payment, commit = _half_paid()
    _lose_by_removal(network, "C")
    network.settle()
    assert str(network.request("D", CommitInvoice(commit)).error) == "InvoiceNotComplete"
    network.transact(["A", "B", "D"], payment, 40)
    network.settle()
    assert network.request("D", CommitInvoice(commit)).error is None
    network.settle()
    assert network.nodes["D"].occurrences == [InvoicePaid(invoice, FST, 100)]
    assert network.balance("D", "B") == (100, 0, 0)


def test_a_request_of_the_same_id_takes_no_place():
    """
    C sends a request of the id by which B has paid, and is gone before it hears that it is refused; then B is removed.

    What stands in C's ledger is about to be cancelled, and pays nothing.
    """
    network = SimulatedNetwork("BCD", Random(0))
    network.befriend("B", "D")
    network.befriend("C", "D", limit=0)
    invoice = network.invoice("D", 100)
    request_id = network.transact(["B", "D"], network.payment("B", "D", invoice, 100), 100)
    network.settle()
    commit = network.result("B", request_id).commit
    keys = {name: node.key for name, node in network.nodes.items()}
    other = CreateTransaction(
        network.payment("C", "D", invoice, 100), request_id, FriendsRoute((keys["C"], keys["D"])), 100, 0
    )
    network.request("C", other)
    while "RequestSendFundsOp" not in repr(network._links["C", "D"]):
        assert network.step()
    funder = network.nodes["D"].funder
    for message in network._links["C", "D"]:
        funder.handle(FriendMessageReceived(keys["C"], message), hold=True)
    funder.handle(FriendWentOffline(keys["C"]), hold=True)
    funder.send_held()
    friend = funder.state.friends[keys["C"]]
    assert isinstance(friend.channel, Consistent)
    assert request_id in friend.channel.token_channel.ledgers[FST].pending_remote
    funder.handle(AppRequested(Uid(bytes(16)), RemoveFriend(keys["B"])))
    outcome = funder.handle(AppRequested(Uid(bytes(16)), CommitInvoice(commit)))
    assert str(outcome.error) == "InvoiceNotComplete"
    assert not outcome.occurrences


@pytest.mark.parametrize("before", ["collected", "cancelled"])
def test_a_node_that_has_forgotten_how_an_invoice_ended(before):
    """Its commit is refused until the friend has spoken, who knows how it ended; so nothing is handed out twice."""
    network = _chain("A", "B")
    invoice = network.invoice("B", 100)
    request_id = network.transact(["A", "B"], network.payment("A", "B", invoice, 100), 100)
    network.settle()
    commit = network.result("A", request_id).commit
    backup = network.back_up("B")
    network.request("B", CommitInvoice(commit) if before == "collected" else CancelInvoice(invoice))
    network.settle()
    network.restore("B", backup)
    network.nodes["B"].occurrences.clear()
    assert str(network.request("B", CommitInvoice(commit)).error) == "FriendNotHeard"
    network.connect("A", "B")
    network.settle()
    assert str(network.request("B", CommitInvoice(commit)).error) == "InvoiceNotComplete"
    assert network.nodes["B"].occurrences == []


def test_a_backup_from_before_the_collect_that_nothing_has_followed():
    """The friend says that nothing has happened since, and the commit collects."""
    network = _chain("A", "B")
    invoice = network.invoice("B", 100)
    request_id = network.transact(["A", "B"], network.payment("A", "B", invoice, 100), 100)
    network.settle()
    commit = network.result("A", request_id).commit
    network.restore("B", network.back_up("B"))
    assert str(network.request("B", CommitInvoice(commit)).error) == "FriendNotHeard"
    network.connect("A", "B")
    network.settle()
    assert network.request("B", CommitInvoice(commit)).error is None
    network.settle()
    assert network.balance("B", "A") == (100, 0, 0)


@pytest.mark.parametrize(
    ("amount", "fees", "total"), [(11, 0, 10), (10, 2**128 - 1, 10), (2**127, 0, 2**127), (2**128 - 1, 1, 2**128 - 1)]
)
def test_impossible_transactions_fail_and_change_nothing(amount, fees, total):
    """D30, D41: beyond the total, beyond 128 bits, beyond the range of the friend's balance."""
    network = _chain("A", "B")
    network.set_limit("B", "A", 2**128 - 1)
    invoice = network.invoice("B", total)
    payment = network.payment("A", "B", invoice, total)
    request_id = network.transact(["A", "B"], payment, amount, fees)
    network.settle()
    assert network.result("A", request_id) == Failure()
    assert network.balance("A", "B") == (0, 0, 0)
    stage = network.nodes["A"].funder.state.payments[payment].stage
    assert isinstance(stage, NewTransactions)
    assert stage.num_transactions == 0


def test_refusals_of_a_transaction():
    """Spec 05 §12.2-3 and D45: each answers Failure."""
    network = _chain("A", "B", "C")
    keys = {name: network.nodes[name].key for name in "ABC"}
    invoice = network.invoice("C", 10)
    payment = network.payment("A", "C", invoice, 10)
    for route in ("BC", "AB", "ABAC", "AC", "A"):
        request_id = Uid(network.draws.randbytes(16))
        path = FriendsRoute(tuple(keys[name] for name in route))
        network.request("A", CreateTransaction(payment, request_id, path, 10, 0))
        assert network.result("A", request_id) == Failure()
    unknown = network.transact(["A", "B", "C"], PaymentId(b"\x09" * 16), 10)
    assert network.result("A", unknown) == Failure()
    network.request("A", RequestClosePayment(payment))
    late = network.transact(["A", "B", "C"], payment, 10)
    assert network.result("A", late) == Failure()


def test_results_can_be_asked_for_again_in_every_stage():
    """D46: a repeated createTransaction is answered with the stored result, also after the close."""
    network = _chain("A", "B")
    invoice = network.invoice("B", 10)
    payment = network.payment("A", "B", invoice, 10)
    keys = FriendsRoute((network.nodes["A"].key, network.nodes["B"].key))
    request = CreateTransaction(payment, Uid(b"\x01" * 16), keys, 10, 0)
    network.disconnect("A", "B")
    network.connect("A", "B")
    network.request("A", request)
    network.request("A", request)  # under way: only acknowledged
    assert network.nodes["A"].results == []
    network.settle()
    network.request("A", RequestClosePayment(payment))
    network.nodes["A"].results.clear()
    network.request("A", request)
    assert isinstance(network.result("A", request.request_id), Complete)


def test_tokens_are_filled_in_order():
    """Spec 05 scenario 22: sixteen operations a token, the rest waits, nothing is lost or out of order."""
    network = _chain("A", "B")
    network.disconnect("A", "B")
    network.connect("A", "B")
    network.settle()
    invoice = network.invoice("B", 1000)
    payment = network.payment("A", "B", invoice, 1000)
    ids = [network.transact(["A", "B"], payment, 1) for _ in range(30)]
    sizes = []
    while network.step():
        for (sender, _), messages in network._links.items():
            if sender == "A" and messages and isinstance(messages[-1], MoveTokenRequest):
                sizes.append(sum(len(block.operations) for block in messages[-1].move_token.currencies_operations))
    assert max(sizes) == 16
    assert [network.result("A", request_id) for request_id in ids] == [Success()] * 30


def test_no_more_than_32_requests_of_the_user_wait():
    """Spec 05 scenario 23."""
    network = _chain("A", "B")
    invoice = network.invoice("B", 1000)
    payment = network.payment("A", "B", invoice, 1000)
    for _ in range(40):
        network.transact(["A", "B"], payment, 1)
    refused = [result for result in network.nodes["A"].results if result.result == Failure()]
    assert len(refused) in (40 - 32, 40 - 33)  # one may be in the token that left at once


def test_closing_a_currency_cancels_what_is_forwarded():
    """Spec 05 §9.4: forwarded requests go back, those of the own user stay."""
    network = _chain("A", "B", "C")
    network.disconnect("B", "C")
    network.connect("B", "C")
    network.settle()
    network._links["B", "C"].clear()
    network.request("B", CloseFriendCurrency(network.nodes["C"].key, FST))
    assert isinstance(network.pay(["A", "B", "C"], 5).status, Canceled)


def test_an_offline_friend_cancels_what_is_queued():
    """Spec 05 §18.3e: the next friend goes offline while the request waits for the token."""
    network = _chain("A", "B", "C")
    invoice = network.invoice("C", 5)
    payment = network.payment("A", "C", invoice, 5)
    request_id = network.transact(["A", "B", "C"], payment, 5)
    network.disconnect("B", "C")
    network.settle()
    assert network.result("A", request_id) == Failure()
    assert network.balance("A", "B") == (0, 0, 0)


def test_commits_are_checked():
    """Spec 05 §13: before completion, of another invoice, twice."""
    network = _chain("A", "B")
    first, second = network.invoice("B", 10), network.invoice("B", 10)
    payment = network.payment("A", "B", first, 10)
    request_id = network.transact(["A", "B"], payment, 10)
    network.settle()
    commit = network.result("A", request_id).commit
    other = type(commit)(*[second if name == "invoice_id" else getattr(commit, name) for name in commit.__slots__])
    assert str(network.request("B", CommitInvoice(other)).error) == "InvalidCommit"
    assert network.request("B", CommitInvoice(commit)).error is None
    assert str(network.request("B", CommitInvoice(commit)).error) == "InvoiceDoesNotExist"


def test_every_request_is_acknowledged_once():
    """Spec 05 §1.2: one report with the id, before any result, whatever became of the request."""
    network = _chain("A", "B")
    bad = CreatePayment(PaymentId(b"\x01" * 16), network.invoice("B", 1), FST, 1, network.nodes["B"].key)
    for _ in range(2):
        outcome = network.request("A", bad)
        told = [effect.message for effect in outcome.effects if isinstance(effect, SendToApps)]
        assert len(told) == 1
        assert told[0].opt_app_request_id is not None
    outcome = network.handle("A", FriendWentOnline(network.nodes["B"].key))
    assert str(outcome.error) == "FriendAlreadyOnline"
    assert outcome.mutations == ()
    assert not any(isinstance(effect, SendFriendMessage | TransactionResult) for effect in outcome.effects)


@pytest.mark.parametrize("seed", range(12))
def test_random_payments_with_losses_and_crashes(seed):
    """No order of losses and crashes loses a credit: sums stay zero, every payment ends, nothing stays frozen."""
    names = "ABCDE"
    network = SimulatedNetwork(names, Random(seed))
    pairs = [("A", "B"), ("B", "C"), ("C", "D"), ("D", "E"), ("B", "D")]
    for pair in pairs:
        network.befriend(*pair, limit=200)
    source = Random(seed)
    routes = ["ABC", "ABD", "ABCDE", "EDB", "DBA", "CBA", "EDCBA", "ABDE"]
    open_payments = []
    for _ in range(60):
        event = source.random()
        if event < 0.5:
            route = list(source.choice(routes))
            amount = source.randrange(1, 40)
            invoice = network.invoice(route[-1], amount)
            payment = network.payment(route[0], route[-1], invoice, amount)
            request_id = network.transact(route, payment, amount)
            open_payments.append((route, invoice, payment, request_id))
        elif event < 0.6:
            network.disconnect(*source.choice(pairs))
        elif event < 0.7:
            network.crash(source.choice(names))
        for _ in range(source.randrange(20)):
            network.step()
        for pair in pairs:
            if pair not in network._links and source.random() < 0.3:
                network.connect(*pair)
    _finish(network, pairs, open_payments)


def _finish(network, pairs, open_payments):
    """Heal all links, end every payment, and look at the books."""
    for pair in pairs:
        if pair not in network._links:
            network.connect(*pair)
    network.settle()
    for route, invoice, payment, request_id in open_payments:
        keys = FriendsRoute(tuple(network.nodes[name].key for name in route))
        network.request(route[0], CreateTransaction(payment, request_id, keys, 0, 0))
        network.settle()
        result = network.result(route[0], request_id)
        if isinstance(result, Complete):
            network.request(route[-1], CommitInvoice(result.commit))
        else:
            network.request(route[-1], CancelInvoice(invoice))
        network.request(route[0], RequestClosePayment(payment))
        network.settle()
        ended = [close for close in network.nodes[route[0]].closes if close.payment_id == payment]
        assert ended, "every payment ends"
    total = 0
    for first, second in pairs:
        for name, other in ((first, second), (second, first)):
            balance, local_debt, remote_debt = network.balance(name, other)
            assert (local_debt, remote_debt) == (0, 0)
            total += balance
    assert total == 0


def test_what_watchers_learn_of_a_payment():
    """Each of the three nodes of a route tells once what happened at it; a repeated question tells nothing new."""
    network = _chain("A", "B", "C")
    network.set_rate("B", "A", Rate(0, 3))
    closed = network.pay(["A", "B", "C"], 20, fees=3)
    network.request("A", RequestClosePayment(closed.payment_id))
    assert isinstance(closed.status, PaymentStatusSuccess)
    keys = {name: node.key for name, node in network.nodes.items()}
    receipt = closed.status.receipt
    (forwarded,) = network.nodes["B"].occurrences
    assert isinstance(forwarded, RequestForwarded)
    assert (forwarded.friend, forwarded.next_friend) == (keys["A"], keys["C"])
    assert (forwarded.currency, forwarded.dest_payment, forwarded.fee) == (FST, 20, 3)
    assert network.nodes["A"].occurrences == [PaymentFinished(closed.payment_id, receipt)]
    assert network.nodes["C"].occurrences == [InvoicePaid(receipt.invoice_id, FST, 20)]


def test_a_refused_request_is_cancelled_and_frees_the_credits():
    """A mediator's owner may refuse to forward one request and let the next one pass."""
    network = _chain("A", "B", "C")
    invoice_id = network.invoice("C", 20)
    payment_id = network.payment("A", "C", invoice_id, 20)
    refused = network.transact(["A", "B", "C"], payment_id, 20)
    network.nodes["B"].refused.add((FST, refused))
    network.settle()
    assert network.result("A", refused) == Failure()
    assert network.balance("B", "A") == (0, 0, 0)
    assert network.nodes["B"].occurrences == []
    passed = network.transact(["A", "B", "C"], payment_id, 20)
    network.settle()
    assert isinstance(network.result("A", passed), Complete)
    network.request("A", RequestClosePayment(payment_id))
    network.request("C", CancelInvoice(invoice_id))
    network.settle()
    assert network.nodes["A"].occurrences == [PaymentFinished(payment_id, None)]


def test_friends_do_not_repeat_themselves():
    """
    Thirty requests in each direction at once: each token is said once, and once more at most to ask for the other's.

    Two friends that answered each repetition with one of their own went on for ever, and had no time for payments.
    """
    network = _chain("A", "B")
    invoices = {
        name: [(network.invoice(seller, 1), seller) for _ in range(30)] for name, seller in (("A", "B"), ("B", "A"))
    }
    before = network.delivered
    for name, open_invoices in invoices.items():
        for invoice_id, seller in open_invoices:
            network.transact([name, seller], network.payment(name, seller, invoice_id, 1), 1)
    network.settle()
    for name in ("A", "B"):
        assert sum(isinstance(result.result, Complete) for result in network.nodes[name].results) == 30
    # Requests of both in four tokens of sixteen operations at most, and as many for the responses.
    assert network.delivered - before < 40


def test_events_of_a_batch_share_a_token():
    """Sixteen requests that are held go into one token; a request that is refused in between takes nothing with it."""
    network = _chain("A", "B")
    node = network.nodes["A"]
    payments = [network.payment("A", "B", network.invoice("B", 1), 1) for _ in range(16)]
    keys = FriendsRoute((node.key, network.nodes["B"].key))
    for number, payment_id in enumerate(payments):
        request = CreateTransaction(payment_id, Uid(bytes([number]) * 16), keys, 1, 0)
        held = node.funder.handle(AppRequested(Uid(bytes([number]) * 16), request), hold=True)
        assert not any(isinstance(effect, SendFriendMessage) for effect in held.effects)
        refused = node.funder.handle(AppRequested(Uid(bytes(16)), CancelInvoice(InvoiceId(bytes(32)))), hold=True)
        assert refused.error is not None
        assert node.funder.handle(FriendWentOnline(PublicKey(bytes(32))), hold=True).error is not None
    (sent,) = [effect for effect in node.funder.send_held().effects if isinstance(effect, SendFriendMessage)]
    assert isinstance(sent.message, MoveTokenRequest)
    (block,) = sent.message.move_token.currencies_operations
    assert len(block.operations) == 16
    assert node.funder.send_held().effects == ()


def test_a_transaction_that_can_not_be_sent_says_why():
    """The app is answered with a failure, which has no words; so the reason is the error of the outcome."""
    network = _chain("A", "B")
    node, friend = network.nodes["A"], network.nodes["B"].key
    payment = network.payment("A", "B", network.invoice("B", 1), 1)
    other = CreatePayment(PaymentId(b"\x07" * 16), InvoiceId(b"\x07" * 32), Currency("GBP"), 1, friend)
    node.funder.handle(AppRequested(Uid(bytes(16)), other))

    def why(payment_id: PaymentId, *route: PublicKey) -> str:
        request = CreateTransaction(payment_id, Uid(b"\x08" * 16), FriendsRoute((node.key, *route)), 1, 0)
        outcome = node.funder.handle(AppRequested(Uid(b"\x09" * 16), request))
        answers = [effect.message for effect in outcome.effects if isinstance(effect, SendToApps)]
        assert any(isinstance(answer, TransactionResult) for answer in answers)
        assert outcome.mutations == ()
        return str(outcome.error)

    assert why(other.payment_id, friend) == "FriendNotReady(GBP is not open on both sides)"
    assert why(payment, PublicKey(b"\x55" * 32), friend) == "FriendDoesNotExist"
    node.funder.handle(FriendWentOffline(friend))
    assert why(payment, friend) == "FriendNotReady(it is offline)"
    assert why(PaymentId(b"\x55" * 16), friend) == "OpenPaymentNotFound"


# Payments that are given up, invoices that end. Spec 12.


def test_giving_up_takes_back_what_is_queued_and_nothing_else():
    """B has the token, so two parts wait; the payment ends when the part that is frozen ends."""
    network = _chain("A", "B", "C")
    invoice = network.invoice("C", 30)
    payment = network.payment("A", "C", invoice, 30)
    other = network.payment("A", "C", network.invoice("C", 7), 7)
    first, *waiting = [network.transact(["A", "B", "C"], payment, amount) for amount in (5, 10, 15)]
    of_other = network.transact(["A", "B", "C"], other, 7)
    network.request("A", GiveUpPayment(payment))
    node = network.nodes["A"]
    failed = [result.request_id for result in node.results if isinstance(result.result, Failure)]
    assert failed == waiting
    assert set(node.funder.state.open_transactions) == {first, of_other}
    network.settle()
    assert network.balance("A", "B") == (0, 12, 0)
    network.request("C", CancelInvoice(invoice))
    network.settle()
    assert [close.status.__class__ for close in node.closes] == [Canceled]
    assert network.balance("A", "B") == (0, 7, 0)


def test_giving_up_what_is_not_known_says_so():
    """As closing it does."""
    network = _chain("A", "B")
    network.request("A", GiveUpPayment(PaymentId(bytes(16))))
    assert network.nodes["A"].closes[-1].status == PaymentNotFound()


RACES = 300
"""Of the end of an invoice with its commit; docs/security.md tells of more."""


def test_an_end_never_cancels_what_was_committed():
    """In any order, among other events: the first does all, the other nothing, and never something of both."""
    outcomes = run_races(RACES, Random(11))
    assert outcomes["collected"] + outcomes["cancelled"] == RACES
    assert all(outcomes.values())


def run_races(count: int, draws: Random) -> dict[str, int]:
    """Let ends and commits race *count* times; how many were collected, and how many cancelled."""
    network, invoice, commit = _fully_paid()
    seller = network.nodes["D"]
    found = {"collected": 0, "cancelled": 0}
    for _ in range(count):
        funder = Funder(seller.stored, seller.identity, draws.randbytes)
        collect, end = AppRequested(Uid(bytes(16)), CommitInvoice(commit)), InvoiceExpired(invoice, 100)
        others = [InvoiceExpired(invoice, 99), InvoiceExpired(InvoiceId(bytes(32)), 100)]
        others += [FriendWentOnline(network.nodes[name].key) for name in "BC"]
        events = [collect, end, *others]
        draws.shuffle(events)
        sent = [op for event in events for op in _answers(funder.handle(event, hold=draws.random() < 0.5))]
        sent += _answers(funder.send_held())
        first = min(collect, end, key=events.index)
        kind = CollectSendFundsOp if first is collect else CancelSendFundsOp
        assert [type(op) for op in sent] == [kind, kind]  # one to each of the friends that the parts came from
        assert invoice not in funder.state.open_invoices
        found["collected" if first is collect else "cancelled"] += 1
    return found


def _fully_paid() -> tuple[SimulatedNetwork, InvoiceId, Commit]:
    """D has an invoice that ends at 100, and both parts for it, by way of B and C; and the commit that A got."""
    network = SimulatedNetwork("ABCD", Random(3))
    for one, other in ("AB", "AC", "BD", "CD"):
        network.befriend(one, other)
    invoice = InvoiceId(b"\x07" * 32)
    network.request("D", AddExpiringInvoice(invoice, FST, 30, 100))
    payment = network.payment("A", "D", invoice, 30)
    requests = [network.transact(["A", name, "D"], payment, 15) for name in "BC"]
    network.settle()
    (commit,) = [
        result.commit for result in (network.result("A", request) for request in requests) if result != Success()
    ]
    return network, invoice, commit


def _answers(outcome: Outcome) -> list[CollectSendFundsOp | CancelSendFundsOp]:
    """What an event queues for friends."""
    parts = [mutation.part for mutation in outcome.mutations if isinstance(mutation, FriendMutation)]
    return [part.op for part in parts if isinstance(part, PushBackPendingBackwardsOp)]
