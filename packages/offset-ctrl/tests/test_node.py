"""The SDK against a node that says what the test wants: payments, invoices, reconnecting. Spec 07 §5."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.identity import Identity
from offset_ctrl import (
    CommitNotDelivered,
    ConnectionClosed,
    InvalidProof,
    Node,
    NodeConnectionError,
    NotPermitted,
    PaymentEndUnknown,
    PaymentFailed,
    PaymentPending,
    PaymentState,
    PayOptions,
    RequestRefused,
    RoutesUnavailable,
    UnknownName,
    blocking,
    connect,
)
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import FriendTicket, Invoice
from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    AppPermissions,
    AppRequest,
    Canceled,
    CancelInvoice,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    ReportMutations,
    RequestClosePayment,
    RequestResult,
    ResponseClosePayment,
    Success,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Commit, NamedRelayAddress, Rate, Receipt, RelayAddress
from offset_proto.messages.report import (
    AddRelayReport,
    FriendReport,
    FriendStatusReport,
    FunderMutationReport,
    NodeReport,
    PkFriendReportMutation,
    SetStatus,
)
from offset_proto.types import (
    Currency,
    InvoiceId,
    NetAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Uid,
)

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
FST = Currency("FST")
BOB, EVE = PublicKey(b"\x05" * 32), PublicKey(b"\x06" * 32)
INVOICE_OF_20 = Invoice(InvoiceId(b"\x07" * 32), FST, SELLER.public_key, 20)
ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
NOTHING = AppPermissions(routes=False, buyer=False, seller=False, config=False)
QUICK = PayOptions(timeout=5.0, route_seconds=0.0)


def _friend(name: str, balance: int) -> FriendReport:
    return build_friend(name, build_ledger(FST, balance), status=FriendStatusReport.DISABLED)


def _report() -> NodeReport:
    return build_report(NODE.public_key, {BOB: _friend("bob", -7), EVE: _friend("eve", 9)})


def _receipt(invoice: Invoice) -> Receipt:
    return build_receipt(invoice, SELLER)


def _commit(invoice: Invoice) -> Commit:
    return build_commit(invoice, SELLER)


def _route(*via: PublicKey, capacity: int = 1000, fee: int = 0) -> RouteCapacityRate:
    keys = FriendsRoute((NODE.public_key, *via, SELLER.public_key))
    return RouteCapacityRate(keys, capacity, Rate(0, fee))


def _node() -> ScriptedNode:
    """A node that pays the invoice of 20 over its friend Bob."""
    node = ScriptedNode(NODE, _report())
    node.routes = lambda asked: (MultiRoute((_route(BOB),)),)
    node.results = lambda asked: Complete(_commit(INVOICE_OF_20))
    node.status = lambda asked: PaymentStatusSuccess(_receipt(INVOICE_OF_20), Uid(b"\x01" * 16))
    return node


def _run(
    fake: ScriptedNode, body: Callable[[Node], Awaitable[None]], *, journal: Path | None = None, seconds: float = 20.0
) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(seconds),
            fake.serve(ticker) as ticket,
            connect(ticket, APP, journal=journal, ticker=ticker) as node,
        ):
            await body(node)

    asyncio.run(main())


async def _hand_over(commit: Commit) -> None:
    """Deliver a commit to a seller who takes it."""


# Paying.


def test_a_payment_from_routes_to_receipt():
    """Payment, transaction, close, receipt, acknowledgement: in this order, each once."""
    fake, handed = _node(), []

    async def body(node: Node) -> None:
        async def deliver(commit: Commit) -> None:
            handed.append(commit)

        assert await node.pay(INVOICE_OF_20, deliver, QUICK) == _receipt(INVOICE_OF_20)
        await asyncio.sleep(0)
        assert node.payments == []

    _run(fake, body)
    assert handed == [_commit(INVOICE_OF_20)]
    kinds = [type(request) for request in fake.requests]
    assert kinds == [CreatePayment, RequestRoutes, CreateTransaction, RequestClosePayment, AckClosePayment]
    (transaction,) = fake.asked(CreateTransaction)
    assert (transaction.dest_payment, transaction.fees) == (20, 0)


def test_a_payment_is_split():
    """Two routes of 15 and 10: both are used, each has its fee; the last result is complete."""
    fake = _node()
    fake.routes = lambda asked: (MultiRoute((_route(BOB, capacity=15, fee=1), _route(EVE, capacity=10, fee=2))),)
    seen = []

    def results(asked: CreateTransaction) -> RequestResult:
        seen.append(asked)
        return Success() if len(seen) == 1 else Complete(_commit(INVOICE_OF_20))

    fake.results = results

    async def body(node: Node) -> None:
        payment = node.start_payment(INVOICE_OF_20, QUICK)
        await payment.commit()
        assert payment.fees == 3
        assert payment.state is PaymentState.COMMITTED
        await payment.receipt()

    _run(fake, body)
    assert sum(asked.dest_payment for asked in seen) == 20
    assert sorted(asked.fees for asked in seen) == [1, 2]


def test_what_fails_is_sent_over_another_route():
    """The first route fails; the server has the other one only when a hop of the first is left out."""
    fake = _node()

    def routes(asked: RequestRoutes) -> tuple[MultiRoute, ...]:
        avoided = Edge(BOB, SELLER.public_key)
        return (MultiRoute((_route(EVE if asked.opt_exclude == avoided else BOB),)),)

    fake.routes = routes
    fake.results = lambda asked: Failure() if BOB in asked.route.public_keys else Complete(_commit(INVOICE_OF_20))

    async def body(node: Node) -> None:
        await node.pay(INVOICE_OF_20, _hand_over, QUICK)

    _run(fake, body)
    assert [asked.route.public_keys[1] for asked in fake.asked(CreateTransaction)] == [BOB, EVE]


@pytest.mark.parametrize("has_another", [True, False])
def test_hops_that_have_failed_are_not_used_again_at_once(has_another):
    """A route that shares a hop with the one that failed comes first; it is taken only where there is no other."""
    fake, dan, carol = _node(), PublicKey(b"\x0a" * 32), PublicKey(b"\x0b" * 32)
    keys = [(BOB, dan), (carol, dan), *([(EVE,)] if has_another else [])]
    routes = [
        MultiRoute((replace(_route(BOB), route=FriendsRoute((NODE.public_key, *each, SELLER.public_key))),))
        for each in keys
    ]
    fake.routes = lambda asked: tuple(routes)
    fake.results = lambda asked: Failure() if BOB in asked.route.public_keys else Complete(_commit(INVOICE_OF_20))

    async def body(node: Node) -> None:
        await node.pay(INVOICE_OF_20, _hand_over, QUICK)

    _run(fake, body)
    firsts = [asked.route.public_keys[1] for asked in fake.asked(CreateTransaction)]
    assert firsts == [BOB, EVE if has_another else carol]


def test_only_the_part_that_failed_is_sent_again():
    """Of 15 and 5 the 5 fail; they go over a third route, and what the seller holds stays."""
    fake, third = _node(), PublicKey(b"\x0a" * 32)
    fake.routes = lambda asked: (
        (MultiRoute((_route(BOB, capacity=15), _route(EVE, capacity=5))),)
        if asked.capacity == 20
        else (MultiRoute((_route(EVE),)), MultiRoute((_route(third),)))
    )

    def results(asked: CreateTransaction) -> RequestResult:
        if EVE in asked.route.public_keys:
            return Failure()
        return Success() if BOB in asked.route.public_keys else Complete(_commit(INVOICE_OF_20))

    fake.results = results

    async def body(node: Node) -> None:
        await node.pay(INVOICE_OF_20, _hand_over, QUICK)

    _run(fake, body)
    sent = [(asked.route.public_keys[1], asked.dest_payment) for asked in fake.asked(CreateTransaction)]
    assert sorted(sent[:2]) == [(BOB, 15), (EVE, 5)]
    assert sent[2:] == [(third, 5)]
    assert [asked.capacity for asked in fake.asked(RequestRoutes)] == [20, 5]


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"routes": lambda asked: ()}, QUICK, "no route that can carry"),
        ({"routes": lambda asked: None}, QUICK, "not connected to an index server"),
        ({"routes": lambda asked: (MultiRoute((_route(BOB, capacity=19),)),)}, QUICK, "no route that can carry"),
        (
            {"results": lambda asked: Failure()},
            QUICK,
            "1 transaction failed: the seller or a mediator",
        ),
        (
            {"routes": lambda asked: (MultiRoute((_route(BOB, fee=3),)),)},
            PayOptions(route_seconds=0.0, fees_max=2),
            "fees of 3, more than 2",
        ),
        ({"results": lambda asked: None}, PayOptions(timeout=0.1), "no commit within 0.1 seconds"),
    ],
)
def test_what_can_not_be_paid_says_why_and_is_closed(changes, options, reason):
    """The node is told that there is no more to come, and its answer is acknowledged: nothing is left there."""
    fake = _node()
    fake.status = lambda asked: Canceled(Uid(b"\x0b" * 16))
    for name, value in changes.items():
        setattr(fake, name, value)

    async def body(node: Node) -> None:
        with pytest.raises(PaymentFailed, match=reason):
            await node.pay(INVOICE_OF_20, _hand_over, options)

    _run(fake, body)
    assert len(fake.asked(RequestClosePayment)) == 1
    assert [asked.ack_uid for asked in fake.asked(AckClosePayment)] == [Uid(b"\x0b" * 16)]


def test_routes_that_are_not_known_yet_are_asked_for_again():
    """Index servers learn of friends within seconds."""
    fake, asked_before = _node(), []

    def routes(asked: RequestRoutes) -> tuple[MultiRoute, ...]:
        asked_before.append(asked)
        return (MultiRoute((_route(BOB),)),) if len(asked_before) > 3 else ()

    fake.routes = routes

    async def body(node: Node) -> None:
        await node.pay(INVOICE_OF_20, _hand_over, PayOptions(route_seconds=5.0))

    _run(fake, body)
    assert len(asked_before) == 4


def test_routes_that_the_app_knows():
    """No index server is asked; where they fail, the payment does."""
    fake = _node()
    known = PayOptions(routes=(MultiRoute((_route(BOB, fee=1),)), MultiRoute((_route(EVE, fee=2),))))
    fake.results = lambda asked: Failure() if BOB in asked.route.public_keys else Complete(_commit(INVOICE_OF_20))

    async def body(node: Node) -> None:
        payment = node.start_payment(INVOICE_OF_20, known)
        await payment.receipt()
        assert payment.fees == 2
        fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(Uid(bytes(16)))
        with pytest.raises(PaymentFailed, match="2 transactions failed"):
            await node.pay(INVOICE_OF_20, _hand_over, known)

    _run(fake, body)
    assert fake.asked(RequestRoutes) == []


def test_the_only_route_is_tried_again_after_a_while():
    """A mediator was away for a moment; nobody knows another route."""
    fake, sent = _node(), []

    def results(asked: CreateTransaction) -> RequestResult:
        sent.append(asked)
        return Failure() if len(sent) < 3 else Complete(_commit(INVOICE_OF_20))

    fake.results = results

    async def body(node: Node) -> None:
        await node.pay(INVOICE_OF_20, _hand_over, PayOptions(route_seconds=5.0))

    _run(fake, body)
    assert len({asked.request_id for asked in sent}) == 3


def test_a_payment_of_nothing():
    """An invoice over 0 credits is paid by one transaction."""
    fake, free = _node(), Invoice(InvoiceId(b"\x0c" * 32), FST, SELLER.public_key, 0)
    fake.results = lambda asked: Complete(_commit(free))
    fake.status = lambda asked: PaymentStatusSuccess(_receipt(free), Uid(bytes(16)))

    async def body(node: Node) -> None:
        assert (await node.pay(free, _hand_over, QUICK)).total_dest_payment == 0

    _run(fake, body)


def test_a_receipt_that_proves_nothing_is_not_acknowledged():
    """The node still has it, and somebody may look; the payer does not wait for ever."""
    fake = _node()
    other = Invoice(INVOICE_OF_20.invoice_id, FST, SELLER.public_key, 19)
    fake.status = lambda asked: PaymentStatusSuccess(_receipt(other), Uid(bytes(16)))

    async def body(node: Node) -> None:
        with pytest.raises(PaymentEndUnknown, match="DestPaymentMismatch"):
            await node.pay(INVOICE_OF_20, _hand_over, QUICK)
        assert len(node.payments) == 1

    _run(fake, body)
    assert fake.asked(AckClosePayment) == []


def test_a_payment_that_the_node_forgot_after_the_commit_may_be_paid():
    """Another app has acknowledged it: nobody here can say that nothing was paid."""
    fake = _node()
    fake.status = lambda asked: PaymentNotFound()

    async def body(node: Node) -> None:
        payment = node.start_payment(INVOICE_OF_20, QUICK)
        await payment.commit()
        with pytest.raises(PaymentEndUnknown, match="does not know the payment"):
            await payment.receipt()
        assert await payment.ended() is PaymentState.UNKNOWN

    _run(fake, body)


@pytest.mark.parametrize("trouble", ["node", "disk"])
def test_what_was_paid_is_never_called_unpaid(tmp_path, monkeypatch, trouble):
    """The receipt is there; that it can not be acknowledged or written down is left to the next start."""
    fake = _node()
    if trouble == "node":

        def before(connection: Connection, asked: AppRequest) -> bool:
            if isinstance(asked, AckClosePayment):
                connection.close("gone")
            return not isinstance(asked, AckClosePayment)

        fake.before = before
    else:

        def paid(journal: Journal, payment_id: PaymentId, receipt: Receipt) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Journal, "paid", paid)

    async def body(node: Node) -> None:
        assert await node.pay(INVOICE_OF_20, _hand_over, QUICK) == _receipt(INVOICE_OF_20)
        (payment,) = node.payments
        assert await payment.ended() is PaymentState.PAID

    _run(fake, body, journal=tmp_path)
    assert len(Journal(tmp_path).unfinished()) == 1
    assert bool(fake.asked(AckClosePayment)) == (trouble == "node")


# Cancellation.


def test_a_payment_cancelled_before_its_commit_is_closed():
    """Whoever waited is gone; the node is told all the same, and hears that its answer has arrived."""
    fake = _node()
    fake.results = lambda asked: None
    fake.status = lambda asked: Canceled(Uid(bytes(16)))

    async def body(node: Node) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await node.pay(INVOICE_OF_20, _hand_over)
        await node.wait_until(lambda report: True)
        for payment in node.payments:
            with pytest.raises(PaymentFailed, match="given up"):
                await payment.receipt()

    _run(fake, body)
    assert len(fake.asked(CreateTransaction)) == len(fake.asked(RequestClosePayment)) == 1
    assert len(fake.asked(AckClosePayment)) == 1


def test_a_payment_cancelled_after_its_commit_goes_on():
    """The seller may have it: the receipt is waited for, and acknowledged."""
    fake, paid = _node(), asyncio.Event()
    fake.status = lambda asked: None

    async def body(node: Node) -> None:
        async def deliver(commit: Commit) -> None:
            paid.set()
            await asyncio.sleep(60)

        paying = asyncio.create_task(node.pay(INVOICE_OF_20, deliver, QUICK))
        await paid.wait()
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying
        (payment,) = node.payments
        paid_at_last = PaymentStatusSuccess(_receipt(INVOICE_OF_20), Uid(bytes(16)))
        fake.tell(ResponseClosePayment(payment.payment_id, paid_at_last))
        assert await payment.receipt() == _receipt(INVOICE_OF_20)

    _run(fake, body)
    assert len(fake.asked(AckClosePayment)) == 1


def test_a_seller_who_can_not_be_reached():
    """The payment is not lost: its commit can be delivered in another way."""
    fake = _node()

    async def body(node: Node) -> None:
        async def deliver(commit: Commit) -> None:
            raise OSError("no such host")

        with pytest.raises(CommitNotDelivered, match="OSError: no such host") as raised:
            await node.pay(INVOICE_OF_20, deliver, QUICK)
        assert await raised.value.payment.commit() == _commit(INVOICE_OF_20)
        assert await raised.value.payment.receipt() == _receipt(INVOICE_OF_20)

    _run(fake, body)


def test_a_seller_who_takes_time_or_cancels():
    """Waiting has a limit, the payment has not; a cancelled invoice fails it."""
    fake = _node()
    fake.status = lambda asked: None

    async def body(node: Node) -> None:
        with pytest.raises(PaymentPending, match=r"within 0\.1 seconds") as raised:
            await node.pay(INVOICE_OF_20, _hand_over, QUICK, receipt_timeout=0.1)
        payment = raised.value.payment
        fake.tell(ResponseClosePayment(payment.payment_id, Canceled(Uid(bytes(16)))))
        with pytest.raises(PaymentFailed, match="the seller cancelled"):
            await payment.receipt()

    _run(fake, body)


# Lost connections.


def test_a_connection_lost_in_the_middle_of_a_payment():
    """Everything is asked for again on the next connection; the transaction keeps its id."""
    fake = _node()
    lost: set[type] = set()

    def before(connection: Connection, asked: AppRequest) -> bool:
        if type(asked) in lost:
            return True
        lost.add(type(asked))
        connection.close("the test wants it")
        return False

    fake.before = before

    async def body(node: Node) -> None:
        assert await node.pay(INVOICE_OF_20, _hand_over, PayOptions(timeout=15.0)) == _receipt(INVOICE_OF_20)

    _run(fake, body)
    assert lost == {CreatePayment, RequestRoutes, CreateTransaction, RequestClosePayment, AckClosePayment}
    assert len({asked.request_id for asked in fake.asked(CreateTransaction)}) == 1
    assert len({asked.payment_id for asked in fake.asked(CreatePayment)}) == 1


def test_a_request_that_the_node_answers_by_hanging_up():
    """It is given up after three connections."""
    fake = _node()

    def before(connection: Connection, asked: AppRequest) -> bool:
        connection.close("not allowed")
        return False

    fake.before = before

    async def body(node: Node) -> None:
        with pytest.raises(ConnectionClosed):
            await node.create_invoice("FST", 5)

    _run(fake, body)
    assert len(fake.asked(AddInvoice)) == 3


def test_a_node_that_is_away():
    """A request waits for half a minute, then says why; the report stays the last one seen; it comes back by itself."""
    fake = _node()

    async def body(node: Node) -> None:
        fake.accepts = False
        fake.drop()
        with pytest.raises(NodeConnectionError, match="no connection to the node"):
            await node.create_invoice("FST", 5)
        assert not node.is_connected
        assert node.balance("bob", "FST") == -7
        fake.accepts = True
        await node.wait_until(lambda report: node.is_connected)
        await node.create_invoice("FST", 5)

    _run(fake, body)


def test_a_node_that_can_not_be_reached_at_first():
    """Another key, and nobody there: an error at once."""

    async def main() -> None:
        ticker = Ticker(0.03)
        async with serve("127.0.0.1", 0, SELLER, ticker, lambda connection: None, handshakes_max=4) as port:
            for address in (f"127.0.0.1:{port}", "127.0.0.1:1", "nonsense"):
                with pytest.raises(NodeConnectionError):
                    async with connect(RelayAddress(NODE.public_key, NetAddress(address)), APP, ticker=ticker):
                        raise AssertionError("there is no such node")

    asyncio.run(main())


# Selling, configuration, report.


def test_an_invoice_with_an_id_of_the_app():
    """The node hears of this id, however often it is asked."""
    fake = _node()

    async def body(node: Node) -> None:
        invoice_id = InvoiceId(b"\x11" * 32)
        first = await node.create_invoice("FST", 20, invoice_id=invoice_id)
        assert await node.create_invoice("FST", 20, invoice_id=invoice_id) == first
        assert first.invoice_id == invoice_id
        assert fake.asked(AddInvoice) == [AddInvoice(invoice_id, FST, 20)] * 2

    _run(fake, body)


def test_an_invoice_and_its_commit():
    """A commit that does not fit collects nothing; the right one ends the wait, whoever hands it in, early or late."""
    fake = _node()

    async def body(node: Node) -> None:
        with pytest.raises(InvalidInput, match="1 credit at least"):
            await node.create_invoice("FST", 0)
        invoice = await node.create_invoice("FST", 20)
        assert fake.asked(AddInvoice) == [AddInvoice(invoice.invoice_id, FST, 20)]
        of_seller = Invoice(invoice.invoice_id, FST, SELLER.public_key, 20)
        for wrong in (INVOICE_OF_20, Invoice(invoice.invoice_id, FST, SELLER.public_key, 19)):
            with pytest.raises(InvalidProof):
                await node.accept_commit(of_seller, _commit(wrong))
        with pytest.raises(TimeoutError):
            await node.wait_for_payment(of_seller, timeout=0.05)
        waiting = asyncio.create_task(node.wait_for_payment(of_seller))
        await asyncio.sleep(0)
        await node.accept_commit(of_seller, _commit(of_seller))
        assert await waiting == _commit(of_seller)
        assert await node.wait_for_payment(of_seller) == _commit(of_seller)
        cancelled = await node.create_invoice("FST", 5)
        waiting = asyncio.create_task(node.wait_for_payment(cancelled))
        await asyncio.sleep(0)
        await node.cancel_invoice(cancelled)
        with pytest.raises(PaymentFailed, match="the invoice was cancelled"):
            await waiting

    _run(fake, body)
    assert len(fake.asked(CommitInvoice)) == 1
    assert len(fake.asked(CancelInvoice)) == 1


def test_the_report():
    """Friends by name or key; balances with their sign; a copy that stays as it is."""
    fake = _node()
    fake.mutations = lambda asked: (
        (FunderMutationReport(PkFriendReportMutation(BOB, SetStatus(FriendStatusReport.ENABLED))),)
        if isinstance(asked, EnableFriend)
        else ()
    )

    async def body(node: Node) -> None:
        assert (node.public_key, node.permissions) == (NODE.public_key, ALL)
        assert node.balance("bob", "FST") == -7
        assert node.balance(EVE, "FST") == 9
        for friend, currency in (("nobody", "FST"), ("bob", "EUR"), (APP.public_key, "FST")):
            with pytest.raises(UnknownName):
                node.balance(friend, currency)
        reports = aiter(node.reports())
        first = await anext(reports)
        await node.enable_friend("bob")
        second = await anext(reports)
        assert first.friends[BOB].status is FriendStatusReport.DISABLED
        assert second.friends[BOB].status is FriendStatusReport.ENABLED
        with pytest.raises(RequestRefused, match="EnableFriend"):
            await node.enable_friend("eve")
        with pytest.raises(RequestRefused, match="AddFriend: this ticket is that of the node itself"):
            await node.add_friend(FriendTicket(NODE.public_key, ()), "me")
        with pytest.raises(UnknownName, match="there is no friend 'nobody'; there are bob, eve"):
            await node.enable_friend("nobody")
        with pytest.raises(UnknownName, match="there is no 'XYZ' with 'bob'; there "):
            await node.remove_currency("bob", "XYZ")

    _run(fake, body)


def test_what_nobody_could_use_is_not_asked_for():
    """A verb checks what a person enters; what is taken away may have any name (`test_changes`)."""
    fake = _node()

    async def body(node: Node) -> None:
        for entering in (
            node.add_relay(RelayAddress(BOB, NetAddress("localhost")), "relay"),
            node.add_index_server(RelayAddress(BOB, NetAddress("localhost:1")), " "),
            node.rename_friend("bob", ""),
            node.open_currency("bob", "F\n"),
            node.set_max_debt("bob", "F\n", 1),
            node.set_rate("bob", "F\n"),
        ):
            with pytest.raises(InvalidInput):
                await entering

    _run(fake, body)
    assert fake.requests == []


def test_a_slow_reader_of_reports_gets_the_latest():
    """And never waits for a change that came while it was busy."""
    fake = _node()

    async def body(node: Node) -> None:
        reports = aiter(node.reports())
        await anext(reports)
        for number in range(3):
            relay = NamedRelayAddress(PublicKey(bytes([number]) * 32), NetAddress("a:1"), f"relay{number}")
            fake.tell(ReportMutations(None, (FunderMutationReport(AddRelayReport(relay)),)))
        await node.wait_until(lambda report: len(report.relays) == 3)
        latest = await anext(reports)
        assert len(latest.relays) == 3
        assert [relay.address for relay in node.friend_ticket().relays] == ["a:1"] * 3

    _run(fake, body)


def test_what_the_ticket_does_not_allow_is_not_asked():
    """Which saves the connection: the node would close it."""
    fake = _node()
    fake.permissions = NOTHING

    async def body(node: Node) -> None:
        for verb in (
            node.create_invoice("FST", 5),
            node.enable_friend("bob"),
            node.find_routes("FST", 5, BOB),
            node.pay(INVOICE_OF_20, _hand_over),
        ):
            with pytest.raises(NotPermitted):
                await verb

    _run(fake, body)
    assert fake.requests == []


def test_routes():
    """Asked for on behalf of this node, or of another; without an index server an error."""
    fake = _node()

    async def body(node: Node) -> None:
        assert await node.find_routes("FST", 5, SELLER.public_key) == (MultiRoute((_route(BOB),)),)
        fake.routes = lambda asked: None
        with pytest.raises(RoutesUnavailable):
            await node.find_routes("FST", 5, SELLER.public_key, source=BOB)

    _run(fake, body)
    assert [asked.source for asked in fake.asked(RequestRoutes)] == [NODE.public_key, BOB]


# Without an event loop.


def test_blocking(tmp_path):
    """The same verbs, from a script; errors are the same."""
    fake = _node()
    handed: list[Commit] = []

    async def main() -> None:
        ticker = Ticker(0.03)
        async with fake.serve(ticker) as ticket:
            await asyncio.to_thread(script, ticket)

    def script(ticket: RelayAddress) -> None:
        with blocking.connect(ticket, APP, journal=tmp_path) as node:
            assert node.public_key == NODE.public_key
            assert node.permissions == ALL
            assert node.balance("bob", "FST") == -7
            assert node.friend("eve").name == "eve"
            assert node.pay(INVOICE_OF_20, handed.append, QUICK) == _receipt(INVOICE_OF_20)
            with pytest.raises(UnknownName):
                node.enable_friend("nobody")
            assert len(node.report.friends) == 2
        with pytest.raises(NodeConnectionError), blocking.connect(ticket, SELLER):
            raise AssertionError("there is nobody")

    def accept_app_only(connection: Connection) -> None:
        if connection.remote_public_key != APP.public_key:
            connection.close("not trusted")
        else:
            ScriptedNode.accept(fake, connection)

    fake.accept = accept_app_only
    asyncio.run(main())
    assert handed == [_commit(INVOICE_OF_20)]
