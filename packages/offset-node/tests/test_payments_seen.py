"""What an app of limited scope is told of the payments of a node."""

from dataclasses import replace

import pytest

from offset_funder.testing import FST
from offset_node.apps.outputs import SendToApp
from offset_node.apps.payments_seen import PaymentsSeen
from offset_node.plugins.scope import NOTHING, ReportScope
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    RequestClosePayment,
    ResponseClosePayment,
)
from offset_proto.messages.extensions import FollowPayments, OpenPayments, PaymentStageReport
from offset_proto.messages.friend import FriendsRoute
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

EUR = Currency("EUR")
APP = PublicKey(b"\x77" * 32)
INVOICE, PAYMENT = InvoiceId(b"\x05" * 32), PaymentId(b"\x05" * 16)


class Follower:
    """An app of limited scope at the node of the buyer, whose first app sees everything and pays."""

    def __init__(self, pair, scope: ReportScope) -> None:
        self.pair, self.buyer = pair, pair.nodes[0]
        self.first = self.buyer.app
        self.connect(scope)

    def connect(self, scope: ReportScope) -> None:
        self.app, _ = self.buyer.engine.apps.open_app(ALL_PERMISSIONS, scope, APP)
        for app in (self.first, self.app):
            self.ask(app, FollowPayments())

    def ask(self, app, request) -> None:
        self.buyer.app = app
        self.buyer.ask(request)
        self.pair.settle()

    def told(self, app) -> list[OpenPayments]:
        """All that an app has been told of payments, from its last snapshot on."""
        effects = [each for each in self.pair.effects[0] if isinstance(each, SendToApp) and each.app_id == app]
        messages = [each.message for each in effects if isinstance(each.message, OpenPayments)]
        (*_, begin) = [place for place, message in enumerate(messages) if message.is_snapshot]
        return messages[begin:]

    def pay(self, app) -> None:
        """From the making of a payment to its receipt, which is not acknowledged."""
        seller = self.pair.nodes[1]
        seller.ask(AddInvoice(INVOICE, FST, 30))
        self.ask(app, CreatePayment(PAYMENT, INVOICE, FST, 30, seller.key))
        route = FriendsRoute((self.buyer.key, seller.key))
        for number, amount in ((1, 10), (2, 20)):
            self.ask(app, CreateTransaction(PAYMENT, Uid(bytes([number]) * 16), route, amount, 0))
        self.ask(app, RequestClosePayment(PAYMENT))
        commits = [report.opt_commit for message in self.told(self.first) for report in message.payments]
        seller.ask(CommitInvoice(commits[-1]))
        self.pair.settle()

    def acknowledge(self, app) -> None:
        effects = [each.message for each in self.pair.effects[0] if isinstance(each, SendToApp)]
        (*_, closed) = [message for message in effects if isinstance(message, ResponseClosePayment)]
        self.ask(app, AckClosePayment(PAYMENT, closed.status.ack_uid))


EMPTY = OpenPayments(True, (), ())


@pytest.mark.parametrize("scope", [ReportScope(currencies=frozenset({EUR})), ReportScope(friends=frozenset()), NOTHING])
def test_an_app_is_not_told_of_payments_out_of_its_scope(new_pair, scope):
    """Neither route, nor commit, nor that there is one, nor when it ends; but a snapshot always comes."""
    follower = Follower(new_pair(), scope)
    follower.pay(follower.first)
    follower.acknowledge(follower.first)
    assert follower.told(follower.first)[-1] == OpenPayments(False, (), (PAYMENT,))
    assert follower.told(follower.app) == [EMPTY]


def test_a_payment_out_of_scope_stays_so(new_pair):
    """Also in a snapshot that comes when nothing of it is open, and nothing shows its currency any more."""
    follower = Follower(new_pair(), ReportScope(currencies=frozenset({EUR})))
    follower.pay(follower.first)
    (told,) = follower.told(follower.first)[-1].payments
    assert (told.stage, told.opt_target) == (PaymentStageReport.PAID, None)
    follower.ask(follower.app, FollowPayments())
    assert follower.told(follower.app) == [EMPTY]


def test_an_app_is_told_of_payments_in_its_scope(new_pair):
    """As one that sees everything; one that sees some friends only, from the first part on."""
    seller = new_pair().nodes[1].key
    for scope, begin in ((ReportScope(currencies=frozenset({FST})), 0), (ReportScope(frozenset({seller})), 1)):
        follower = Follower(new_pair(), scope)
        follower.pay(follower.first)
        follower.acknowledge(follower.first)
        whole, part = follower.told(follower.first), follower.told(follower.app)
        assert (whole[0], part[0]) == (EMPTY, EMPTY)
        assert part[1:] == whole[1 + begin :]
        assert part[-1] == OpenPayments(False, (), (PAYMENT,))
        assert any(report.opt_commit is not None for message in part for report in message.payments)


@pytest.mark.parametrize("scope", [ReportScope(currencies=frozenset({EUR})), ReportScope(friends=frozenset()), NOTHING])
def test_an_app_is_told_of_the_payments_that_it_has_made(new_pair, scope):
    """Whatever its scope, and over another connection: else what it misses would be over, for all that it knows."""
    follower = Follower(new_pair(), scope)
    follower.pay(follower.app)
    assert follower.told(follower.app) == follower.told(follower.first)
    follower.buyer.engine.apps.close_app(follower.app)
    follower.connect(scope)
    (snapshot,) = follower.told(follower.app)
    assert [report.stage for report in snapshot.payments] == [PaymentStageReport.PAID]
    follower.acknowledge(follower.app)
    assert follower.told(follower.app)[-1] == OpenPayments(False, (), (PAYMENT,))


def test_a_payment_that_goes_to_a_friend_out_of_scope_as_well(new_pair):
    """Nothing more is told of it, and its end is: so nobody takes it for open for ever."""
    follower = Follower(new_pair(), NOTHING)
    follower.pay(follower.first)
    buyer, seller = (node.key for node in follower.pair.nodes)
    begin = next(message for message in follower.told(follower.first) if any(each.parts for each in message.payments))
    (report,) = begin.payments
    (part,) = report.parts
    other = replace(part, request_id=Uid(bytes(16)), route=FriendsRoute((buyer, PublicKey(bytes(32)), seller)))
    seen = PaymentsSeen(ReportScope(frozenset({seller})), set())
    assert seen.filter(begin) == begin
    assert seen.filter(OpenPayments(False, (replace(report, parts=(part, other)),), ())) is None
    assert seen.filter(begin) is None
    end = OpenPayments(False, (), (PAYMENT,))
    assert seen.filter(end) == end
    assert seen.filter(end) is None


def test_an_app_learns_the_end_of_a_payment_that_nothing_is_open_of(new_pair):
    """It may have made it before the node was started: then it is told the stage, and may ask for the receipt."""
    follower = Follower(new_pair(), NOTHING)
    follower.pay(follower.first)
    follower.ask(follower.first, FollowPayments())
    (snapshot,) = follower.told(follower.first)
    (report,) = snapshot.payments
    assert (report.payment_id, report.opt_target, report.parts, report.opt_commit) == (PAYMENT, None, (), None)
    assert PaymentsSeen(NOTHING, set()).filter(snapshot) == snapshot
