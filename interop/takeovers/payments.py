"""Payments that are under way all the time between two nodes, and what they come to."""

import asyncio
import contextlib
import time
from collections import Counter
from typing import Final

from interop.load import PAUSE_SECONDS, insist
from offset_ctrl import InvoiceNotOpen, Node, PaymentEndUnknown, PaymentFailed, PayOptions
from offset_ctrl.rules.proofs import check_receipt
from offset_proto.files import Invoice
from offset_proto.messages.payment import Commit

__all__ = ["CURRENCY", "Payments"]

CURRENCY: Final = "FST"
OPTIONS: Final = PayOptions(timeout=120.0, route_seconds=90.0)


class Payments:
    """
    Payments between two nodes, half of them in each direction, however often a node is away.

    Attributes:
        ended: How many were "paid" and "cancelled", and of how many the "end is not known".
        received: Credits that the first node has more in the end, by the receipts.
    """

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.received = 0
        self._paid = asyncio.Condition()
        self._last_paid = 0.0
        self._ends = False

    async def run(self, first: Node, second: Node, at_once: int) -> None:
        """Pay until `end`; returns when all that is under way has ended."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(at_once):
                if number % 2:
                    tasks.create_task(self._work(first, second, -1 - number))
                else:
                    tasks.create_task(self._work(second, first, 1 + number))

    def end(self) -> None:
        """Begin no further payment."""
        self._ends = True

    async def paid_after(self, moment: float) -> float:
        """When the first payment after *moment*, in seconds of the monotonic clock, had its receipt."""
        async with self._paid:
            await self._paid.wait_for(lambda: self._last_paid > moment)
            return self._last_paid

    async def _work(self, buyer: Node, seller: Node, received: int) -> None:
        """Each payment of this task is of as many credits, so that the sum would tell one that is there twice."""
        while not self._ends:
            end = await self._pay(buyer, seller, abs(received))
            self.ended[end] += 1
            if end == "paid":
                self.received += received
                async with self._paid:
                    self._last_paid = time.monotonic()
                    self._paid.notify_all()
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _pay(self, buyer: Node, seller: Node, amount: int) -> str:
        """One payment, and how it ended."""
        invoice = await insist(lambda: seller.create_invoice(CURRENCY, amount))
        payment = buyer.start_payment(invoice, OPTIONS)
        try:
            commit = await payment.commit()
            await insist(lambda: _hand_over(seller, invoice, commit))
            check_receipt(await payment.receipt(), invoice)
        except PaymentEndUnknown:
            return "end is not known"
        except PaymentFailed:
            await insist(lambda: seller.cancel_invoice(invoice))
            await payment.ended()
            return "cancelled"
        return "paid"


async def _hand_over(seller: Node, invoice: Invoice, commit: Commit) -> None:
    with contextlib.suppress(InvoiceNotOpen):  # collected before, over a connection that was lost; the receipt tells
        await seller.accept_commit(invoice, commit)
