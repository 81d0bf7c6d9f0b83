"""
The payments of one node that were made through the API, while the server runs.

What is in the book (`payment_book`) follows what is in the journal of the SDK, and the order of writing makes both hold
after the process is killed at any point:

1. `PaymentBook.begin` stores the payment before its task has run for the first time, so before the node hears of it.
2. The journal stores the id, the commit and the receipt before they take effect, as it always does. `BookedJournal`
   puts the book in between: the fees before the commit is handed out, and the end of a payment after its receipt is
   stored and before the journal forgets it.

So when the server starts, each payment that is not settled is either in the journal, and goes on from there; or the
process ended before it was begun, and nothing was sent. One that has its commit in the book and none in the journal
ended between the two: nobody has got the commit, the SDK gives the payment up, and the book takes the commit back. A
payment that has its commit and is in no journal can not come about like that. Where somebody has removed the files, it
is settled as UNKNOWN, which is what it is.

Payments without a commit are given up when the server ends, since fees and limits of the request end with it.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.sdk.failures import PaymentFailed
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.sdk.node import Node
from offset_ctrl.sdk.payment import Payment, PayOptions
from offset_ctrl.web.bell import Bell
from offset_ctrl.web.deliveries import DeliveryState, try_delivery
from offset_ctrl.web.going_on import Late
from offset_ctrl.web.payment_book import PaymentBook, PaymentRow
from offset_ctrl.web.problems import describe_failure
from offset_ctrl.web.purposes import note_purpose
from offset_ctrl.web.requests import Requests
from offset_ctrl.web.tokens import Visitor
from offset_proto.errors import OffsetError
from offset_proto.files import Invoice, IoError
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import PaymentId

__all__ = ["BookedJournal", "Payments"]

log = logging.getLogger("offset.web")

FOR_EVER: Final = 10.0**9
"""In seconds; whoever waits so long is cancelled when the server ends."""

ROUTE_SECONDS: Final = 10.0


class BookedJournal(Journal):
    """The journal of a node, which tells the book as well."""

    def __init__(self, directory: Path, book: PaymentBook, bell: Bell, late: Late) -> None:
        super().__init__(directory)
        self._book = book
        self._bell = bell
        self._late = late
        self.payments: dict[PaymentId, Payment] = {}
        """Those that run."""

    def committed(self, payment_id: PaymentId, commit: Commit) -> None:
        """The seller is about to get the commit."""
        payment = self.payments.get(payment_id)
        if payment is not None:
            self._book.committed(format_b64(payment_id), payment.fees)
        super().committed(payment_id, commit)
        self._bell.ring()

    def paid(self, payment_id: PaymentId, receipt: Receipt) -> None:
        """The receipt is there. Once its file is, the payment is paid, whether or not the book can be written now."""
        try:
            super().paid(payment_id, receipt)
        except IoError:
            # The node keeps the receipt, since it is not told to forget the payment; the next start asks for it again.
            self._late.write(format_b64(payment_id), lambda: self._paid_late(payment_id, receipt))
            raise
        self._settle(payment_id, PaymentState.PAID)
        self._bell.ring()

    def _paid_late(self, payment_id: PaymentId, receipt: Receipt) -> None:
        super().paid(payment_id, receipt)
        self._book.settle(format_b64(payment_id), PaymentState.PAID)

    def _settle(self, payment_id: PaymentId, state: PaymentState) -> None:
        name = format_b64(payment_id)
        self._late.write(name, lambda: self._book.settle(name, state))

    def ended(self, payment_id: PaymentId) -> None:
        """Nothing is left to be done for a payment."""
        payment = self.payments.pop(payment_id, None)
        if payment is not None and payment.state in (PaymentState.FAILED, PaymentState.UNKNOWN):
            self._settle(payment_id, payment.state)
        super().ended(payment_id)
        self._bell.ring()


class Payments:
    """
    The payments of one node.

    Args:
        node: The node.
        journal: That *node* was opened with.
        book: Where payments are written down.
        bell: Rings at each change.
        late: Writes down what has happened and could not be written down.
        requests: What payments are for; the node keeps it as a note.
    """

    def __init__(
        self, node: Node, journal: BookedJournal, book: PaymentBook, bell: Bell, late: Late, *, requests: Requests
    ) -> None:
        self._node = node
        self._requests = requests
        self._journal = journal
        self._book = book
        self._bell = bell
        self._late = late
        self._tasks: set[asyncio.Task[None]] = set()

    def go_on(self) -> None:
        """Look after the payments of earlier runs; to be called once, before anything is awaited."""
        for payment in self._node.payments:
            if self._journal.commit_of(payment.payment_id) is None:
                self._book.not_committed(format_b64(payment.payment_id))
            self._look_after(payment)
        for row in self._book.unsettled(format_b64(self._node.public_key)):
            payment_id = parse_b64(PaymentId, row.payment_id)
            if payment_id in self._journal.payments:
                continue
            if self._journal.receipt_of(payment_id) is not None:
                self._book.settle(row.payment_id, PaymentState.PAID)
            elif row.state is PaymentState.COMMITTED:
                log.error("payment %s has a commit and is not in the journal any more", row.payment_id)
                self._book.settle(row.payment_id, PaymentState.UNKNOWN)
            else:
                self._fail(row.payment_id, PaymentFailed("the server ended before the payment was sent"))
                self._book.settle(row.payment_id, PaymentState.FAILED)

    def start(
        self,
        visitor: Visitor,
        key: tuple[str, bytes],
        invoice: Invoice,
        fees_max: int,
        timeout: float,
        *,
        delivery: str | None = None,
    ) -> tuple[PaymentRow, bool]:
        """
        Pay an invoice; the payment, and whether it is new. Nothing is awaited, so no two calls mix.

        Args:
            visitor: Who pays.
            key: The idempotency key, and the hash of the request.
            invoice: What is paid.
            fees_max: Credits for mediators, at most.
            timeout: Seconds until there is a commit.
            delivery: The address to which the commit is to be delivered.

        Raises:
            KeyReused, DailyLimitReached, TooManyOpen: See `PaymentBook.begin`.
            AlreadyPaid, NotPermitted: See `Node.start_payment`.
        """
        options = PayOptions(timeout=timeout, route_seconds=min(timeout, ROUTE_SECONDS), fees_max=fees_max)
        started: list[Payment] = []

        def start() -> PaymentId:
            started.append(self._node.start_payment(invoice, options))
            return started[0].payment_id

        try:
            node = format_b64(self._node.public_key)
            row, is_new = self._book.begin(visitor, node, key, invoice, fees_max, start, delivery=delivery)
        except BaseException:
            for payment in started:
                payment.give_up("the payment could not be written down")
            raise
        for payment in started:
            self._look_after(payment)
        if is_new:
            self._bell.ring()
        return row, is_new

    def find(self, payment_id: str) -> Payment | None:
        """A payment that runs; None: it is over, or there is none."""
        return self._journal.payments.get(parse_b64(PaymentId, payment_id))

    def commit(self, payment_id: str) -> Commit | None:
        """The commit of a payment that has not ended, where there is one."""
        return self._journal.commit_of(parse_b64(PaymentId, payment_id))

    def receipt(self, payment_id: str) -> Receipt | None:
        """The receipt of a payment, where there is one."""
        return self._journal.receipt_of(parse_b64(PaymentId, payment_id))

    def receipts(self) -> list[tuple[Invoice, Receipt]]:
        """All that was paid. Raises IoError, StringSerdeError where a file is damaged."""
        return self._journal.receipts()

    async def close(self) -> None:
        """Look after nothing any more; payments go on as the SDK says."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look_after(self, payment: Payment) -> None:
        self._journal.payments[payment.payment_id] = payment
        task = asyncio.create_task(self._watch(payment))
        self._tasks.add(task)
        task.add_done_callback(self._watched)
        # It begins when whoever has started the payment has kept what that is for, and only paid requests are kept.
        noting = asyncio.create_task(self._note(payment))
        self._tasks.add(noting)
        noting.add_done_callback(self._tasks.discard)

    async def _note(self, payment: Payment) -> None:
        await note_purpose(self._node, payment.payment_id, lambda: self._requests.of(payment.invoice).description)

    def _watched(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("nobody delivers the commit of a payment any more: a fault of ours", exc_info=task.exception())

    async def _watch(self, payment: Payment) -> None:
        """Deliver the commit of a payment, where that is wanted, and write down why it fails."""
        delivering = asyncio.create_task(self._deliver(payment))
        try:
            await payment.receipt(FOR_EVER)
        except OffsetError as error:
            self._fail(format_b64(payment.payment_id), error)
        finally:
            delivering.cancel()
            [failure] = await asyncio.gather(delivering, return_exceptions=True)
        self._bell.ring()
        if isinstance(failure, Exception):
            raise failure

    async def _deliver(self, payment: Payment) -> None:
        payment_id = format_b64(payment.payment_id)
        delivery = self._book.delivery(payment_id)
        if delivery is None or delivery.state is not DeliveryState.WAITING:
            return
        try:
            commit = await payment.commit(FOR_EVER)
        except OffsetError:
            return  # there is none, as whoever waits for the receipt learns
        ended = await try_delivery(delivery.address, commit)
        if ended.state is not DeliveryState.DELIVERED:
            log.warning("the commit of payment %s was not delivered: %s", payment_id, ended.detail)
        self._late.write(payment_id, lambda: self._book.tried(payment_id, ended))
        self._bell.ring()

    def _fail(self, payment_id: str, error: OffsetError) -> None:
        failure = msgspec.to_builtins(describe_failure(error))
        self._late.write(payment_id, lambda: self._book.failing(payment_id, failure))
