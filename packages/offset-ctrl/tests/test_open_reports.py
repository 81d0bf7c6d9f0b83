"""What a node says is open: snapshots and changes, one after the other, and over more than one connection. Spec 12."""

from collections.abc import Callable

import pytest

from offset_crypto.aio import Connection
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import ConnectionClosed, NotAnnounced
from offset_ctrl.connection.greeting import Greeting
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.open_reports import (
    InvoiceEnding,
    InvoiceReports,
    OpenReports,
    apply_payments,
    oldest_invoices,
    oldest_payments,
    waiting_parts,
)
from offset_ctrl.testing import ScriptedNode, build_report
from offset_proto import wire
from offset_proto.messages.app import AddInvoice, AppPermissions, AppRequest
from offset_proto.messages.extensions import (
    ALL_EXTENSIONS,
    AddExpiringInvoice,
    AppGreeting,
    Extension,
    FollowInvoices,
    FollowPayments,
    GiveUpPayment,
    OpenInvoiceReport,
    OpenInvoices,
    OpenPaymentReport,
    OpenPayments,
    PartReport,
    PartStateReport,
    PaymentStageReport,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, Uid

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST = Currency("FST")
ROUTE = FriendsRoute((NODE.public_key, APP.public_key))
ALL = Extension.OPEN_PAYMENTS | Extension.EXPIRING_INVOICES | Extension.GIVE_UP | Extension.HISTORY
FROZEN, CANCELLED = PartStateReport.FROZEN, PartStateReport.CANCELLED


def _part(state: PartStateReport, since: int) -> PartReport:
    return PartReport(Uid(bytes([since]) * 16), ROUTE, 20, 1, state, since)


def _payment(number: int, *parts: PartReport) -> OpenPaymentReport:
    return OpenPaymentReport(PaymentId(bytes([number]) * 16), PaymentStageReport.SENDING, None, parts, None)


def _invoice(number: int, parts: int, since: int) -> OpenInvoiceReport:
    return OpenInvoiceReport(InvoiceId(bytes([number]) * 32), FST, 20, parts * 5, parts, since, None)


def test_changes_and_snapshots() -> None:
    """A change takes the place of what was said of the same payment; a snapshot of everything that was said."""
    known: OpenReports[PaymentId, OpenPaymentReport] = OpenReports()
    first, second, third = (_payment(number, _part(FROZEN, number)) for number in (1, 2, 3))
    later = _payment(1, _part(CANCELLED, 1))

    apply_payments(known, OpenPayments(True, (first, second), ()))
    apply_payments(known, OpenPayments(False, (later, third), (second.payment_id, PaymentId(b"\x09" * 16))))
    assert known.reports == {later.payment_id: later, third.payment_id: third}
    assert (known.snapshots, known.version) == (1, 2)

    apply_payments(known, OpenPayments(True, (second,), ()))
    assert known.reports == {second.payment_id: second}
    assert known.snapshots == 2


def test_a_part_that_has_ended_waits_for_nothing() -> None:
    """Its end is there to be seen, and is not counted among what is open."""
    frozen, ended = _part(FROZEN, 1), _part(CANCELLED, 2)
    assert waiting_parts(_payment(1, frozen, ended)) == (frozen,)


def test_the_oldest_come_first() -> None:
    """Payments by their oldest part that waits, invoices by what came first; those that wait for nothing come last."""
    payments: OpenReports[PaymentId, OpenPaymentReport] = OpenReports()
    idle, young, old = _payment(1), _payment(2, _part(FROZEN, 9)), _payment(3, _part(FROZEN, 8), _part(FROZEN, 5))
    apply_payments(payments, OpenPayments(True, (idle, young, old), ()))
    assert oldest_payments(payments) == (old, young, idle)

    invoices = InvoiceReports()
    empty, late, early = _invoice(1, 0, 0), _invoice(2, 1, 9), _invoice(3, 2, 5)
    invoices.take(OpenInvoices(True, (empty, late, early), (), ()))
    assert oldest_invoices(invoices) == (early, late, empty)


ONE, OTHER = (_invoice(number, 0, 0).invoice_id for number in (1, 2))


@pytest.mark.parametrize(
    ("messages", "ending"),
    [
        ([], InvoiceEnding.OPEN),
        ([OpenInvoices(False, (), (OTHER,), (OTHER,))], InvoiceEnding.OPEN),
        ([OpenInvoices(False, (), (ONE, OTHER), (OTHER,))], InvoiceEnding.NOT_COLLECTED),
        ([OpenInvoices(False, (), (ONE, OTHER), (ONE,))], InvoiceEnding.COLLECTED),
        ([OpenInvoices(True, (_invoice(1, 0, 0),), (), (OTHER,))], InvoiceEnding.OPEN),
        ([OpenInvoices(True, (), (), (ONE,))], InvoiceEnding.COLLECTED),
        ([OpenInvoices(True, (_invoice(2, 0, 0),), (), ())], InvoiceEnding.UNKNOWN),
        ([OpenInvoices(False, (), (ONE,), (ONE,)), OpenInvoices(True, (), (), ())], InvoiceEnding.COLLECTED),
        ([OpenInvoices(False, (), (ONE,), ()), OpenInvoices(True, (), (), ())], InvoiceEnding.NOT_COLLECTED),
    ],
)
def test_how_an_invoice_ended(messages: list[OpenInvoices], ending: InvoiceEnding) -> None:
    """As changes say, and as well as a snapshot can say it; what is known stays known."""
    invoices = InvoiceReports()
    invoices.take(OpenInvoices(True, (_invoice(1, 0, 0), _invoice(2, 0, 0)), (), ()))
    with invoices.watch(ONE) as watched:
        for message in messages:
            invoices.take(message)
    assert watched.ending is ending
    invoices.take(OpenInvoices(False, (), (ONE,), (ONE,)))
    assert watched.ending is ending  # nobody waits for it any more


@pytest.mark.parametrize(
    ("sent", "known"), [(0, Extension(0)), (ALL ^ 2, ALL ^ Extension(2)), (2**64 - 1, ALL_EXTENSIONS)]
)
def test_bits_that_are_not_known_mean_nothing(sent: int, known: Extension) -> None:
    """The node of a later version announces more than this program knows."""
    greeting = Greeting(lambda message: None)
    greeting.take(wire.APP_GREETING.encode(AppGreeting(True, False, True, False, int(sent), False)))
    assert greeting.extensions == known
    assert greeting.permissions == AppPermissions(routes=True, buyer=False, seller=True, config=False)


# Over connections.


def _node(extensions: Extension = ALL) -> ScriptedNode:
    node = ScriptedNode(NODE, build_report(NODE.public_key))
    node.extensions = extensions
    return node


def test_what_is_followed_is_kept_up_to_date(run_session: Callable[..., None]) -> None:
    """The snapshot is there when the verb returns; changes come by themselves."""
    fake, payment, invoice = _node(), _payment(1, _part(FROZEN, 1)), _invoice(1, 1, 5)
    fake.payments, fake.invoices = lambda: (payment,), lambda: (invoice,)

    async def body(session: NodeSession) -> None:
        await session.follow_payments()
        await session.follow_invoices()
        assert oldest_payments(session.payments) == (payment,)
        assert oldest_invoices(session.invoices) == (invoice,)
        fake.tell(OpenPayments(False, (), (payment.payment_id,)))
        assert await session.open_changed(10)
        assert session.payments.reports == {}
        assert not await session.open_changed(0.01)

    run_session(fake, body)


def test_what_is_followed_is_followed_again_on_the_next_connection(run_session: Callable[..., None]) -> None:
    """What ended while there was no connection is gone."""
    fake, old, new = _node(), _payment(1), _payment(2)
    fake.payments = lambda: (old,)

    async def body(session: NodeSession) -> None:
        await session.follow_payments()
        fake.payments = lambda: (new,)
        fake.drop()
        while old.payment_id in session.payments.reports:
            assert await session.open_changed(10)
        assert oldest_payments(session.payments) == (new,)

    run_session(fake, body)
    assert fake.asked(FollowPayments) == [FollowPayments(), FollowPayments()]
    assert fake.asked(FollowInvoices) == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (FollowPayments(), "can not tell what is open"),
        (FollowInvoices(), "can not tell what is open"),
        (AddExpiringInvoice(InvoiceId(bytes(32)), FST, 5, 60), "can not end an invoice by itself"),
        (GiveUpPayment(PaymentId(bytes(16))), "can not give a payment up"),
    ],
)
def test_nothing_is_sent_that_was_not_announced(
    request_: AppRequest, words: str, run_session: Callable[..., None]
) -> None:
    """An original would close the connection; the app is told which ability is missing."""
    fake = _node(Extension(0))

    async def body(session: NodeSession) -> None:
        with pytest.raises(NotAnnounced, match=words):
            await session.request(request_)
        for follow in (session.follow_payments, session.follow_invoices):
            with pytest.raises(NotAnnounced):
                await follow()
        await session.request(AddInvoice(InvoiceId(bytes(32)), FST, 5))

    run_session(fake, body)
    assert [type(asked) for asked in fake.requests] == [AddInvoice]


def test_a_snapshot_that_does_not_come_is_not_waited_for_without_end(run_session: Callable[..., None]) -> None:
    """The node acknowledges and says no more; and it goes away instead of answering."""
    fake = _node()
    fake.payments = lambda: None

    def hang_up(connection: Connection, asked: AppRequest) -> bool:
        connection.close("the test wants it")
        return False

    async def body(session: NodeSession) -> None:
        with pytest.raises(ConnectionClosed, match="within 30 seconds"):
            await session.follow_payments()
        fake.before = hang_up
        with pytest.raises(ConnectionClosed, match="closed the connection"):
            await session.follow_payments()

    run_session(fake, body)
