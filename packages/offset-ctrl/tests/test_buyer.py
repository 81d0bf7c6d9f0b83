"""stctrl buyer at every event that ends a payment: the words, the files, and what the node is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.programs.stctrl.buyer import pay_invoice, payment_status
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.testing import ScriptedNode, build_commit, build_receipt
from offset_proto.files import COMMIT, INVOICE, PAYMENT, RECEIPT, Invoice, PaymentFile
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    Complete,
    Failure,
    PaymentNotFound,
    PaymentStatus,
    PaymentStatusSuccess,
    Success,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.report import FunderReport, IndexClientReport, NodeReport, PkFriendReportList
from offset_proto.rate import FREE
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
PAYMENT_ID, ACK = PaymentId(b"\x05" * 16), Uid(b"\x01" * 16)
PAID = PaymentStatusSuccess(build_receipt(BILL, SELLER), ACK)


def _node() -> ScriptedNode:
    node = ScriptedNode(
        NODE, NodeReport(FunderReport(NODE.public_key, (), PkFriendReportList(())), IndexClientReport((), None))
    )
    route = RouteCapacityRate(FriendsRoute((NODE.public_key, SELLER.public_key)), 1000, FREE)
    node.routes = lambda asked: (MultiRoute((route,)),)
    return node


def _run(fake: ScriptedNode, command: Callable[[NodeConnection], Awaitable[None]]) -> None:
    async def main() -> None:
        ticker = Ticker(0.1)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_node(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            await command(node)

    asyncio.run(main())


def _pay(fake: ScriptedNode, folder: Path) -> None:
    INVOICE.save(folder / "bill.invoice", BILL)
    _run(
        fake,
        lambda node: pay_invoice(
            node, folder / "bill.invoice", folder / "bill.payment", folder / "bill.commit", extra_fees=0
        ),
    )


def test_a_commit_is_saved_for_the_seller(tmp_path: Path) -> None:
    """The payment and the commit are two files; the end of the payment is left to the other command."""
    fake = _node()
    fake.results = lambda asked: Complete(build_commit(BILL, SELLER))
    _pay(fake, tmp_path)
    assert COMMIT.load(tmp_path / "bill.commit") == build_commit(BILL, SELLER)
    assert PAYMENT.load(tmp_path / "bill.payment").payment_id
    assert fake.asked(AckClosePayment) == []


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        (Failure(), None, "CreateTransactionFailed(the payment did not get through)"),
        (Success(), Canceled(ACK), "CreateTransactionFailed(Canceled)"),
        (None, Canceled(ACK), "CreateTransactionFailed(Canceled)"),
        (None, PaymentNotFound(), "CreateTransactionFailed(PaymentNotFound)"),
        (None, PAID, "CreateTransactionFailed(PaymentStatusSuccess)"),
    ],
)
def test_without_a_commit_the_command_fails(
    tmp_path: Path, result: Failure | Success | None, status: PaymentStatus | None, words: str
) -> None:
    """Every event that ends the search is named, and no file of a commit is left that a seller could be given."""
    fake = _node()
    fake.results = lambda asked: result
    fake.status = lambda asked: status
    with pytest.raises(CommandError) as raised:
        _pay(fake, tmp_path)
    assert words in str(raised.value)
    assert not (tmp_path / "bill.commit").exists()
    assert (tmp_path / "bill.payment").exists()


@pytest.mark.parametrize(
    ("status", "words", "acknowledged"),
    [
        (PAID, "Payment succeeded. Saving receipt to file.\n", [AckClosePayment(PAYMENT_ID, ACK)]),
        (Canceled(ACK), "Payment was canceled.\n", [AckClosePayment(PAYMENT_ID, ACK)]),
        (PaymentNotFound(), "Payment could not be found\n", []),
    ],
)
def test_the_end_of_a_payment(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: PaymentStatus,
    words: str,
    acknowledged: list[AckClosePayment],
) -> None:
    """The receipt is on the disk before the node may forget it, and the payment is over for the person."""
    payment, receipt = tmp_path / "bill.payment", tmp_path / "bill.receipt"
    PAYMENT.save(payment, PaymentFile(PAYMENT_ID))
    fake = _node()
    fake.status = lambda asked: status
    saved_before: list[bool] = []

    def before(_: object, asked: object) -> bool:
        if isinstance(asked, AckClosePayment):
            saved_before.append(receipt.exists())
        return True

    fake.before = before
    _run(fake, lambda node: payment_status(node, payment, receipt))
    assert capsys.readouterr().out == words
    assert fake.asked(AckClosePayment) == acknowledged
    assert saved_before == [status == PAID for _ in acknowledged]
    assert (RECEIPT.load(receipt) if receipt.exists() else None) == (PAID.receipt if status == PAID else None)
    assert not payment.exists()
