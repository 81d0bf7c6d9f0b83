"""
One payment, from the search for routes to the receipt.

What its states mean, and what leads from one to another, is the table of `offset_crypto.payment`; this module performs
what the table says. While it is SENDING, routes are asked for and transactions are sent, and parts that fail are sent
again over other routes.

A payment runs as a task of its own, so it goes on when whoever started it waits no more.

A payment that was SENDING when its process ended is still open at the node, and can go on as if it had never stopped;
`parts` says how. It must not be made anew where the node has forgotten it, since it may have been paid.
"""

import asyncio
import logging
import os
from typing import TypeVar

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.payment import PaymentEffect, PaymentEvent, PaymentState, advance
from offset_ctrl.rules.proofs import check_receipt
from offset_ctrl.sdk.failures import AlreadyPaid, PaymentEndUnknown, PaymentFailed
from offset_ctrl.sdk.journal import JournalEntry, PaymentRecord
from offset_ctrl.sdk.parts import PaymentParts
from offset_ctrl.sdk.search import PayOptions, RouteSearch, Tried
from offset_proto.errors import OffsetError
from offset_proto.files import Invoice
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    Complete,
    CreatePayment,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    Success,
)
from offset_proto.messages.extensions import PartReport, PaymentStageReport
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.text import format_b64
from offset_proto.types import PaymentId

__all__ = ["PayOptions", "Payment", "PaymentEndUnknown", "PaymentFailed", "PaymentState"]

log = logging.getLogger("offset.sdk")


T = TypeVar("T")


class Payment:
    """
    A payment of this app; made by `Node.start_payment`. `resume` makes one of an earlier run.

    Making one touches no file and sends nothing; `run` does both. What a crash must not lose is in the record before
    anybody outside can know it: the payment's id before the node hears of the payment, the commit before it is handed
    out, the receipt before the node is told that it may forget the payment.

    Attributes:
        invoice: What is paid.
        payment_id: By which the node knows it.
        state: Where it stands.
    """

    def __init__(
        self,
        session: NodeSession,
        record: PaymentRecord | None,
        invoice: Invoice,
        options: PayOptions,
        entry: JournalEntry | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.invoice = invoice
        self.payment_id = PaymentId(os.urandom(PaymentId.SIZE)) if entry is None else entry.payment_id
        self.state = PaymentState.SENDING
        self._session = session
        self._record = record
        self._options = options
        self._entry = entry
        self._commit: asyncio.Future[Commit] = loop.create_future()
        self._receipt: asyncio.Future[Receipt] = loop.create_future()
        self._given_up = asyncio.Event()
        self._over: asyncio.Future[None] = loop.create_future()
        self._parts = PaymentParts(session, record, self.payment_id)
        self._search = RouteSearch(session, invoice, options)

    @classmethod
    def resume(
        cls,
        session: NodeSession,
        record: PaymentRecord,
        entry: JournalEntry,
        options: PayOptions,
        *,
        go_on: bool = False,
    ) -> "Payment":
        """
        A payment of an earlier run of the app, as *record* has it; `run` closes it, or waits for its receipt.

        Without a commit it is given up, since nobody has got one: a commit is written down before it is handed out.
        With *go_on* it goes on instead, unless it was given up or paid by then.
        """
        payment = cls(session, record, entry.invoice, options, entry)
        if entry.commit is not None:
            payment._hold(entry.commit, is_written=True)
        elif entry.is_given_up or not go_on or record.receipt_of(entry.payment_id) is not None:
            payment._end(PaymentEvent.GIVE_UP, PaymentFailed("the app ended before the payment was complete"))
        return payment

    # For whoever pays.

    @property
    def parts(self) -> tuple[PartReport, ...]:
        """
        The parts that have no end, as they are now: where each is, and since when.

        Where the node tells what is open, this is what it says. Otherwise it is what the app knows: a part that has
        no answer yet is FROZEN here, as it may be.
        """
        return self._parts.open

    @property
    def fees(self) -> int:
        """Credits for mediators, of all parts that have not failed."""
        return self._parts.fees

    @property
    def tried(self) -> Tried:
        """What was done so far to find a way, by this run of the app."""
        return self._search.tried

    @property
    def is_resumed(self) -> bool:
        """Whether it is one of an earlier run."""
        return self._entry is not None

    async def commit(self, timeout: float = 3600.0) -> Commit:
        """
        Wait for what the seller needs to collect; no credit moves before the seller has it.

        Raises:
            PaymentFailed: There is none.
            TimeoutError: There is none after *timeout* seconds; the payment goes on.
        """
        return await _within(timeout, self._commit, "commit")

    async def receipt(self, timeout: float = 3600.0) -> Receipt:
        """
        Wait until the seller has collected.

        Raises:
            PaymentFailed: The seller cancelled, or there was no commit.
            PaymentEndUnknown: Another app has acknowledged the payment, or its receipt proves nothing.
            TimeoutError: There is no end after *timeout* seconds; the payment goes on.
        """
        return await _within(timeout, self._receipt, "receipt")

    async def ended(self, timeout: float = 3600.0) -> PaymentState:
        """
        Wait until nothing is left to be done, however the payment ended; where it got stuck, that is its state.

        Raises:
            TimeoutError: There is no end after *timeout* seconds; the payment goes on.
        """
        await _within(timeout, self._over, "end")
        return self.state

    def give_up(self, reason: str = "the payment was given up") -> None:
        """
        Close the payment, if there is no commit yet; what is frozen comes back in the background.

        A node that can do so cancels what has not been sent. What is frozen stays frozen until the seller cancels.
        """
        if self.state is PaymentState.SENDING:
            self._give_up(PaymentFailed(reason))

    # The task.

    async def run(self) -> bool:
        """See the payment through to its end, whatever that is; False where its end is not known."""
        try:
            if self.state is PaymentState.SENDING:
                await self._send()
            await self._wait_for_end()
        except Exception as error:
            # Nobody may wait for ever for a payment that nobody looks after, whatever the cause.
            self._end(PaymentEvent.BREAK_OFF, PaymentFailed(f"{type(error).__name__}: {error}"))
            if not isinstance(error, OffsetError):
                raise
            log.error("payment %s did not end well: %s", format_b64(self.payment_id), error)
            return False
        finally:
            self._over.set_result(None)
        return True

    async def _send(self) -> None:
        sending = asyncio.ensure_future(self._find_commit())
        given_up = asyncio.ensure_future(self._given_up.wait())
        watching = asyncio.ensure_future(self._parts.watch())
        try:
            async with asyncio.timeout(self._options.timeout):
                await asyncio.wait({sending, given_up}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                commit = sending.result()
                if commit is not None:
                    self._hold(commit)
        except TimeoutError:
            self._give_up(PaymentFailed(f"no commit within {self._options.timeout:g} seconds"))
        except OffsetError as error:
            self._give_up(error if isinstance(error, PaymentFailed) else PaymentFailed(str(error)))
        finally:
            for task in (sending, given_up, watching):
                task.cancel()
            await asyncio.gather(sending, given_up, watching, return_exceptions=True)
            self._parts.forget()

    async def _find_commit(self) -> Commit | None:
        """The commit; None where the payment has ended at the node without our having got one."""
        if self._entry is None and self._record is not None:
            self._record.begin(self.payment_id, self.invoice)
        if self._entry is None or not await self._parts.take_up(self._entry, self._options.attempts):
            await self._create()
        while self._parts.stage in (PaymentStageReport.SENDING, PaymentStageReport.CLOSING):
            missing = self.invoice.dest_payment - self._parts.dest_payment
            if missing > 0 or self._parts.is_empty:
                if self._parts.stage is PaymentStageReport.CLOSING:
                    raise PaymentFailed("the payment was closed before it was complete")
                self._parts.start(await self._search.choose(missing, self._parts.fees, self._parts.accepted))
            answered = await self._parts.result()
            match answered.result:
                case Complete(commit):
                    return commit
                case Success():
                    self._search.has_answers = self._parts.has_answers  # the seller waits for the other parts
                case Failure():
                    failed = self._parts.fail(answered.request_id)
                    if failed is not None:
                        await self._search.part_failed(failed)
        return None

    async def _create(self) -> None:
        invoice = self.invoice
        await self._session.request(
            CreatePayment(
                self.payment_id, invoice.invoice_id, invoice.currency, invoice.dest_payment, invoice.dest_public_key
            ),
            attempts=self._options.attempts,
        )

    # Ends.

    def _hold(self, commit: Commit, *, is_written: bool = False) -> None:
        """The commit is there. *is_written*: it comes from the record, so it need not be written down."""
        state, effects = advance(self.state, PaymentEvent.COMMIT)
        for effect in effects:
            if effect is PaymentEffect.WRITE_COMMIT:
                if self._record is not None and not is_written:
                    self._record.committed(self.payment_id, commit)
            elif effect is PaymentEffect.HAND_OUT_COMMIT:
                self._commit.set_result(commit)
        self.state = state

    def _give_up(self, failure: PaymentFailed) -> None:
        """It is written down before anybody is told: after that the payment must not go on in another run."""
        try:
            if self._record is not None:
                self._record.given_up(self.payment_id)
        except OffsetError as error:
            log.error("that payment %s was given up can not be written down: %s", format_b64(self.payment_id), error)
        self._end(PaymentEvent.GIVE_UP, failure)

    def _end(self, event: PaymentEvent, failure: PaymentFailed) -> None:
        """Take over the state after *event*, and tell those who wait, where the table says so."""
        self.state, effects = advance(self.state, event)
        for effect in effects:
            if effect is PaymentEffect.TELL_FAILED:
                self._tell(failure)
            elif effect is PaymentEffect.TELL_UNKNOWN:
                self._tell(PaymentEndUnknown(str(failure)))

    def _tell(self, error: OffsetError) -> None:
        self._given_up.set()
        for future in (self._commit, self._receipt):
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen, also where nobody waits

    async def _wait_for_end(self) -> None:
        is_given_up = self.state is PaymentState.CLOSING
        status = (await self._session.close_payment(self.payment_id, give_up=is_given_up)).status
        match status:
            case PaymentStatusSuccess(receipt, ack_uid):
                check_receipt(receipt, self.invoice)
                try:
                    if self._record is not None:
                        self._record.paid(self.payment_id, receipt)
                    await self._session.request(AckClosePayment(self.payment_id, ack_uid))
                finally:
                    self._succeed(receipt)  # it is paid, also where that can not be written down or acknowledged now
            case Canceled(ack_uid):
                await self._session.request(AckClosePayment(self.payment_id, ack_uid))
                self._end(PaymentEvent.CANCELLED, PaymentFailed("the seller cancelled the invoice"))
            case PaymentNotFound():
                self._end_unknown()
        if self._record is not None:
            self._record.ended(self.payment_id)

    def _end_unknown(self) -> None:
        """The node has forgotten the payment: we acknowledged it just before we ended, or another app did."""
        receipt = None if self._record is None else self._record.receipt_of(self.payment_id)
        if receipt is not None:
            self._succeed(receipt)
            return
        self._end(PaymentEvent.FORGOTTEN, PaymentFailed("the node does not know the payment any more"))
        if self.state is PaymentState.UNKNOWN:
            log.error("the node does not know payment %s any more", format_b64(self.payment_id))

    def _succeed(self, receipt: Receipt) -> None:
        self.state, _ = advance(self.state, PaymentEvent.RECEIPT)
        if not self._receipt.done():
            self._receipt.set_result(receipt)
        if not self._commit.done():
            self._commit.set_exception(AlreadyPaid("the seller has collected already; there is a receipt", receipt))
            self._commit.exception()  # seen, also where nobody waits


async def _within(timeout: float, future: "asyncio.Future[T]", what: str) -> T:
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.shield(future)
    except TimeoutError:
        raise TimeoutError(f"no {what} within {timeout:g} seconds; the payment goes on") from None
