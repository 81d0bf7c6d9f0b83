"""Payments that go on where an earlier run of the app has stopped, and what a node tells of what is open. Spec 12."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import AlreadyPaid, Node, NotAnnounced, PaymentFailed, PaymentState, PayOptions, blocking, connect
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.sdk.journal import Journal, JournalEntry
from offset_ctrl.sdk.payment import Payment
from offset_ctrl.testing import ScriptedNode, build_commit, build_receipt, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.messages.app import (
    Canceled,
    Complete,
    CreatePayment,
    CreateTransaction,
    PaymentNotFound,
    PaymentStatusSuccess,
    RequestClosePayment,
    RequestResult,
    Success,
)
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    Extension,
    GiveUpPayment,
    OpenInvoiceReport,
    OpenPaymentReport,
    OpenPayments,
    PartReport,
    PartStateReport,
    PaymentStageReport,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import RelayAddress
from offset_proto.rate import FREE
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, PublicKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
BOB, EVE = PublicKey(b"\x05" * 32), PublicKey(b"\x06" * 32)
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
COMMIT, RECEIPT = build_commit(BILL, SELLER), build_receipt(BILL, SELLER)
PAYMENT_ID, REQUEST_ID, ACK = PaymentId(b"\x0d" * 16), Uid(b"\x0e" * 16), Uid(b"\x01" * 16)
PART = PartReport(
    REQUEST_ID, FriendsRoute((NODE.public_key, BOB, SELLER.public_key)), 20, 1, PartStateReport.FROZEN, 1000
)
REPORT = OpenPaymentReport(PAYMENT_ID, PaymentStageReport.SENDING, None, (PART,), None)
QUICK = PayOptions(timeout=5.0, route_seconds=0.0)
ALL = Extension.OPEN_PAYMENTS | Extension.EXPIRING_INVOICES | Extension.GIVE_UP


def _node(*payments: OpenPaymentReport, extensions: Extension = ALL) -> ScriptedNode:
    node = ScriptedNode(NODE, build_report(NODE.public_key))
    node.extensions = extensions
    node.routes = lambda asked: (
        MultiRoute((RouteCapacityRate(FriendsRoute((NODE.public_key, EVE, SELLER.public_key)), 1000, FREE),)),
    )
    node.results = lambda asked: Complete(COMMIT)
    node.status = lambda asked: PaymentStatusSuccess(RECEIPT, ACK)
    node.payments = lambda: payments
    return node


def _run(
    fake: ScriptedNode, body: Callable[[Node], Awaitable[None]], journal: Path | None, go_on: PayOptions | None = QUICK
) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            connect(ticket, APP, journal=journal, go_on=go_on, ticker=ticker) as node,
        ):
            await body(node)

    asyncio.run(main())


def _leave(journal: Path) -> None:
    Journal(journal).begin(PAYMENT_ID, BILL)


async def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come to be so")


async def _only(node: Node) -> Payment:
    (payment,) = node.payments
    return payment


# Going on.


def test_a_commit_that_the_node_has_is_handed_out(tmp_path: Path) -> None:
    """The app ended before it was told; nothing is sent again, and the commit is in the journal before it is used."""
    _leave(tmp_path)
    fake = _node(replace(REPORT, opt_commit=COMMIT))
    fake.status = lambda asked: None

    async def body(node: Node) -> None:
        payment = await _only(node)
        assert await payment.commit(10) == COMMIT
        assert (payment.state, payment.fees) == (PaymentState.COMMITTED, 1)
        (entry,) = Journal(tmp_path).unfinished()
        assert entry.commit == COMMIT

    _run(fake, body, tmp_path)
    assert fake.asked(CreatePayment) == fake.asked(CreateTransaction) == []


def test_a_commit_that_comes_later_is_handed_out_too(tmp_path: Path) -> None:
    """Also where another program has closed the payment meanwhile: it takes no more parts, and needs none."""
    _leave(tmp_path)
    fake = _node(replace(REPORT, stage=PaymentStageReport.CLOSING))
    fake.status = lambda asked: None

    async def body(node: Node) -> None:
        payment = await _only(node)
        await _until(lambda: bool(payment.parts))
        assert payment.parts == (PART,)
        fake.tell(OpenPayments(False, (replace(REPORT, opt_commit=COMMIT),), ()))
        assert await payment.commit(10) == COMMIT

    _run(fake, body, tmp_path)
    assert fake.asked(CreateTransaction) == []


def test_a_part_that_was_cancelled_is_sent_over_another_route(tmp_path: Path) -> None:
    """The node says so to everybody who follows, and not only to the app that has sent the part."""
    _leave(tmp_path)
    fake = _node(REPORT)

    async def body(node: Node) -> None:
        payment = await _only(node)
        await _until(lambda: bool(payment.parts))
        cancelled = replace(PART, state=PartStateReport.CANCELLED)
        fake.tell(OpenPayments(False, (replace(REPORT, parts=(cancelled,)),), ()))
        assert await payment.commit(10) == COMMIT

    _run(fake, body, tmp_path)
    (sent,) = fake.asked(CreateTransaction)
    assert sent.payment_id == PAYMENT_ID
    assert EVE in sent.route.public_keys


def test_only_what_is_missing_is_sent(tmp_path: Path) -> None:
    """A part of 15 is on its way; the other five are sent now."""
    _leave(tmp_path)
    fake = _node(replace(REPORT, parts=(replace(PART, dest_payment=15),)))

    async def body(node: Node) -> None:
        assert await (await _only(node)).commit(10) == COMMIT

    _run(fake, body, tmp_path)
    assert [asked.dest_payment for asked in fake.asked(CreateTransaction)] == [5]


@pytest.mark.parametrize("extensions", [ALL, Extension(0)])
def test_a_payment_that_the_node_has_not_heard_of_begins(tmp_path: Path, extensions: Extension) -> None:
    """The app ended just after it had written the payment down. An original's node can be asked twice, too."""
    _leave(tmp_path)
    fake = _node(extensions=extensions)

    async def body(node: Node) -> None:
        assert await (await _only(node)).receipt(10) == RECEIPT

    _run(fake, body, tmp_path)
    assert [asked.payment_id for asked in fake.asked(CreatePayment)] == [PAYMENT_ID]


def test_a_payment_whose_parts_the_node_has_forgotten_is_not_made_anew(run_session: Callable[..., None]) -> None:
    """It may have been paid, and another program may have acknowledged that."""
    sent = CreateTransaction(PAYMENT_ID, REQUEST_ID, PART.route, 20, 1)
    fake = _node()
    fake.status = lambda asked: PaymentNotFound()

    async def body(session: NodeSession) -> None:
        payment = Payment(session, None, BILL, QUICK, JournalEntry(PAYMENT_ID, BILL, None, False, (sent,)))
        await payment.run()
        with pytest.raises(PaymentFailed, match="does not know the payment any more"):
            await payment.commit()

    run_session(fake, body)
    assert fake.asked(CreatePayment) == fake.asked(CreateTransaction) == []


def test_an_originals_node_is_sent_the_same_transactions_again(run_session: Callable[..., None]) -> None:
    """Under their old ids, so that it carries none out twice; it answers with the results that it has."""
    sent = CreateTransaction(PAYMENT_ID, REQUEST_ID, PART.route, 20, 1)
    fake = _node(extensions=Extension(0))

    async def body(session: NodeSession) -> None:
        payment = Payment(session, None, BILL, QUICK, JournalEntry(PAYMENT_ID, BILL, None, False, (sent,)))
        await payment.run()
        assert await payment.receipt() == RECEIPT

    run_session(fake, body)
    assert fake.asked(CreateTransaction) == [sent]
    assert fake.asked(CreatePayment) == []


def test_a_payment_that_was_closed_too_early_is_not_waited_for(tmp_path: Path) -> None:
    """It can never be complete; what is frozen for it is given up."""
    _leave(tmp_path)
    fake = _node(replace(REPORT, stage=PaymentStageReport.CLOSING, parts=(replace(PART, dest_payment=15),)))
    fake.status = lambda asked: Canceled(ACK)

    async def body(node: Node) -> None:
        with pytest.raises(PaymentFailed, match="closed before it was complete"):
            await (await _only(node)).commit(10)

    _run(fake, body, tmp_path)
    assert fake.asked(GiveUpPayment) == [GiveUpPayment(PAYMENT_ID)]


def test_a_payment_that_was_paid_meanwhile_has_its_receipt(tmp_path: Path) -> None:
    """Another program has handed the commit over; there is none to be had any more, and nothing to be paid."""
    _leave(tmp_path)
    fake = _node(replace(REPORT, stage=PaymentStageReport.PAID, parts=()))

    async def body(node: Node) -> None:
        payment = await _only(node)
        assert await payment.receipt(10) == RECEIPT
        with pytest.raises(AlreadyPaid, match="there is a receipt"):
            await payment.commit()

    _run(fake, body, tmp_path)
    assert Journal(tmp_path).receipts() == [(BILL, RECEIPT)]


def test_what_was_given_up_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody was told that nothing is paid; that holds in every later run."""
    monkeypatch.setattr("offset_ctrl.sdk.trade.CLOSE_SECONDS", 0.1)
    _leave(tmp_path)
    fake = _node(REPORT)
    fake.status = lambda asked: None

    async def give_up(node: Node) -> None:
        (await _only(node)).give_up()

    async def look(node: Node) -> None:
        with pytest.raises(PaymentFailed):
            await (await _only(node)).commit(10)

    _run(fake, give_up, tmp_path)
    fake.payments = lambda: (replace(REPORT, opt_commit=COMMIT),)
    _run(fake, look, tmp_path)
    fake.status = lambda asked: Canceled(ACK)
    _run(fake, look, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_the_app_gives_nothing_up_that_goes_on(tmp_path: Path) -> None:
    """The payment is under way, and is so at the next start."""
    fake = _node()
    fake.results = lambda asked: None

    async def begin(node: Node) -> None:
        node.start_payment(BILL, QUICK)
        await _until(lambda: bool(fake.asked(CreateTransaction)))

    _run(fake, begin, tmp_path)
    assert fake.asked(RequestClosePayment) == fake.asked(GiveUpPayment) == []
    (entry,) = Journal(tmp_path).unfinished()
    assert (entry.commit, entry.is_given_up) == (None, False)


# What is open.


def test_parts_as_the_node_tells_them() -> None:
    """Each where it is, and since when; a part that has ended is none any more."""
    fake = _node()
    fake.results = lambda asked: None

    async def body(node: Node) -> None:
        payment = node.start_payment(BILL, QUICK)
        await _until(lambda: bool(payment.parts))
        (own,) = payment.parts
        told = replace(own, state=PartStateReport.QUEUED, since=1000)
        ended = replace(PART, state=PartStateReport.CANCELLED)
        report = OpenPaymentReport(payment.payment_id, PaymentStageReport.SENDING, None, (told, ended), None)
        fake.tell(OpenPayments(False, (report,), ()))
        await _until(lambda: payment.parts == (told,))
        fake.tell(OpenPayments(False, (replace(report, opt_commit=COMMIT),), ()))
        assert await payment.commit(10) == COMMIT

    _run(fake, body, None)


def test_parts_as_far_as_the_app_knows_them() -> None:
    """An original's node does not tell; what has no answer may be frozen, and is called so."""
    fake, asked = _node(extensions=Extension(0)), []

    def results(transaction: CreateTransaction) -> RequestResult | None:
        asked.append(transaction)
        return Success() if len(asked) == 1 else None

    fake.results = results
    route = FriendsRoute((NODE.public_key, SELLER.public_key))
    fake.routes = lambda _: (MultiRoute((RouteCapacityRate(route, 10, FREE), RouteCapacityRate(route, 10, FREE))),)

    async def body(node: Node) -> None:
        payment = node.start_payment(BILL, QUICK)
        await _until(
            lambda: [part.state for part in payment.parts] == [PartStateReport.ANSWERED, PartStateReport.FROZEN]
        )
        assert [part.dest_payment for part in payment.parts] == [10, 10]

    _run(fake, body, None)


def test_open_payments_and_invoices_of_everybody() -> None:
    """Whichever app began them."""
    invoice = OpenInvoiceReport(BILL.invoice_id, BILL.currency, 20, 5, 1, 1000, None)
    fake = _node(REPORT)
    fake.invoices = lambda: (invoice,)

    async def body(node: Node) -> None:
        assert node.extensions == ALL
        assert await node.open_payments() == (REPORT,)
        assert await node.open_invoices() == (invoice,)
        assert node.payments == []

    _run(fake, body, None)

    async def of_an_original(node: Node) -> None:
        for ask in (node.open_payments, node.open_invoices):
            with pytest.raises(NotAnnounced):
                await ask()

    _run(_node(extensions=Extension(0)), of_an_original, None)


# Ends that are asked for.


@pytest.mark.parametrize(("extensions", "kind"), [(ALL, GiveUpPayment), (Extension(0), RequestClosePayment)])
def test_giving_up(extensions: Extension, kind: type) -> None:
    """A node that can do so cancels what was not sent; an original's takes no more parts, which is all that it can."""
    fake = _node(extensions=extensions)
    fake.results, fake.status = lambda asked: None, lambda asked: Canceled(ACK)

    async def body(node: Node) -> None:
        payment = node.start_payment(BILL, QUICK)
        await _until(lambda: bool(fake.asked(CreateTransaction)))
        payment.give_up()
        assert await payment.ended(10) is PaymentState.FAILED

    _run(fake, body, None)
    assert len(fake.asked(kind)) == 1
    assert len(fake.asked(GiveUpPayment)) + len(fake.asked(RequestClosePayment)) == 1


@pytest.mark.parametrize(
    ("expires", "seconds"), [(30, 30), (0.2, 1), (timedelta(hours=1), 3600), (timedelta(milliseconds=1500), 2)]
)
def test_an_invoice_with_an_end(expires: timedelta | float, seconds: int) -> None:
    """It is the node that ends it; whole seconds, never earlier than asked."""
    fake = _node()

    async def body(node: Node) -> None:
        invoice = await node.create_invoice("FST", 20, expires=expires)
        assert fake.requests == [AddExpiringInvoice(invoice.invoice_id, BILL.currency, 20, seconds)]

    _run(fake, body, None)


def test_an_invoice_whose_end_can_not_be_kept_is_not_made() -> None:
    """No such time, and no such node."""
    fake = _node()

    async def wrong(node: Node) -> None:
        for expires in (0, -1, timedelta(0), 2.0**32):
            with pytest.raises(InvalidInput, match="can not expire after"):
                await node.create_invoice("FST", 20, expires=expires)

    _run(fake, wrong, None)
    original = _node(extensions=Extension(0))

    async def refused(node: Node) -> None:
        with pytest.raises(NotAnnounced, match="end an invoice by itself"):
            await node.create_invoice("FST", 20, expires=60)

    _run(original, refused, None)
    assert fake.requests == original.requests == []


def test_without_an_event_loop(tmp_path: Path) -> None:
    """The same verbs for scripts: what is open, a payment step by step, an invoice with an end."""
    fake = _node(REPORT)

    async def main() -> None:
        async with asyncio.timeout(20), fake.serve(Ticker(0.03)) as ticket:
            await asyncio.to_thread(script, ticket)

    def script(ticket: RelayAddress) -> None:
        with blocking.connect(ticket, APP, journal=tmp_path, go_on=QUICK) as node:
            assert node.extensions == ALL
            assert node.open_payments() == (REPORT,)
            assert node.open_invoices() == ()
            assert node.create_invoice("FST", 5, expires=60).dest_payment == 5
            payment = node.start_payment(BILL, QUICK)
            assert payment.invoice == BILL
            assert payment.commit(10) == COMMIT
            assert payment.receipt(10) == RECEIPT
            assert payment.ended(10) is payment.state is PaymentState.PAID
            fake.results, fake.status = lambda asked: None, lambda asked: Canceled(ACK)
            with pytest.raises(AlreadyPaid) as raised:
                node.start_payment(BILL, QUICK)
            assert raised.value.receipt == RECEIPT
            other = node.start_payment(replace(BILL, invoice_id=InvoiceId(b"\x08" * 32)), QUICK)
            with pytest.raises(TimeoutError, match=r"no commit within 0\.01 seconds; the payment goes on"):
                other.commit(0.01)
            assert [known.payment_id for known in node.payments] == [other.payment_id]
            other.give_up()
            assert other.ended(10) is PaymentState.FAILED

    asyncio.run(main())
