"""What the tests of a buyer's commands share: the bill, its files, a node that says what a test wants, the commands."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.programs.stctrl.buyer import pay_invoice
from offset_ctrl.programs.stctrl.payment_files import PaymentFiles
from offset_ctrl.programs.stctrl.payment_status import payment_status
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_proto.files import INVOICE, PAYMENT, Invoice, PaymentFile
from offset_proto.messages.app import (
    CreateTransaction,
    PaymentStatusSuccess,
)
from offset_proto.messages.extensions import (
    Extension,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, PublicKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
BOB = PublicKey(b"\x05" * 32)
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
OTHER_BILL = replace(BILL, invoice_id=InvoiceId(b"\x08" * 32))
PAYMENT_ID, ACK = PaymentId(b"\x05" * 16), Uid(b"\x01" * 16)
BUILT = build_commit(BILL, SELLER)
PAID = PaymentStatusSuccess(build_receipt(BILL, SELLER), ACK)
ALL = Extension.OPEN_PAYMENTS | Extension.EXPIRING_INVOICES | Extension.GIVE_UP
ORIGINAL = Extension(0)
ROUTE = FriendsRoute((NODE.public_key, BOB, SELLER.public_key))
SINCE = 1_795_973_400  # 2026-11-29T17:30:00Z


def buyers_node(extensions: Extension = ALL, friend: PublicKey = BOB) -> ScriptedNode:
    """A node that has one friend and knows one way, by Bob."""
    bob = build_friend("bob", build_ledger(BILL.currency))
    node = ScriptedNode(NODE, build_report(NODE.public_key, {friend: bob}))
    node.extensions = extensions
    node.routes = lambda asked: (MultiRoute((RouteCapacityRate(ROUTE, 1000, Rate(0, 1)),)),)
    return node


def open_payment(
    stage: PaymentStageReport = PaymentStageReport.SENDING,
    state: PartStateReport = PartStateReport.FROZEN,
    **changes: Any,
) -> OpenPaymentReport:
    """What a node says of the payment of the bill."""
    part = PartReport(Uid(b"\x0e" * 16), ROUTE, 20, 1, state, SINCE)
    target = PaymentTarget(BILL.invoice_id, BILL.currency, 20, SELLER.public_key)
    return replace(OpenPaymentReport(PAYMENT_ID, stage, target, (part,), None), **changes)


@dataclass
class Files:
    """The files that the person names."""

    folder: Path

    def __post_init__(self) -> None:
        self.invoice, self.payment, self.commit, self.receipt = (
            self.folder / f"bill.{kind}" for kind in ("invoice", "payment", "commit", "receipt")
        )
        self.progress = self.folder / "bill.payment.progress"
        INVOICE.save(self.invoice, BILL)

    def left(self) -> list[str]:
        """Which are there beside the invoice."""
        return sorted(path.name.removeprefix("bill.") for path in self.folder.iterdir() if path != self.invoice)

    def begun(self, *, by_us: bool = True) -> None:
        """An earlier command has begun to pay; or another program."""
        if by_us:
            PaymentFiles(self.payment, invoice=self.invoice, commit=self.commit).begin(PAYMENT_ID, BILL)
        else:
            PAYMENT.save(self.payment, PaymentFile(PAYMENT_ID))

    def sent(self) -> CreateTransaction:
        """It has sent one part."""
        self.begun()
        request = CreateTransaction(PAYMENT_ID, Uid(b"\x0e" * 16), ROUTE, 20, 1)
        PaymentFiles(self.payment).sending(PAYMENT_ID, (request,))
        return request


def run_command(fake: ScriptedNode, command: Callable[[NodeSession], Awaitable[int | None]]) -> int | None:
    """What a command returns that runs over a session with *fake*, within 20 seconds."""

    async def main() -> int | None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_session(ticket.address, ticket.public_key, APP, ticker) as session,
        ):
            return await command(session)

    return asyncio.run(main())


def pay(fake: ScriptedNode, files: Files, timeout: float = 10.0, **options: Any) -> int | None:
    """``stctrl buyer pay-invoice``."""
    options = {"extra_fees": 0, "timeout": timeout, **options}
    return run_command(
        fake, lambda session: pay_invoice(session, files.invoice, files.payment, files.commit, **options)
    )


def ask_status(fake: ScriptedNode, files: Files, **options: Any) -> int | None:
    """With the receipt and no commit, as scripts for the original ask."""
    options = {"receipt": files.receipt, "timeout": 0.0, **options}
    return run_command(fake, lambda session: payment_status(session, files.payment, **options))
