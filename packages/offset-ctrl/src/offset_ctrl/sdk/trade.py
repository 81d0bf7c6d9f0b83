"""How an app asks for routes, sells and buys. Payments have a life of their own (`offset_ctrl.sdk.payment`)."""

import asyncio
import logging
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from offset_ctrl.connection.history import BEGINNING, HistoryPlace
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.open_reports import InvoiceEnding, oldest_invoices, oldest_payments
from offset_ctrl.rules.proofs import check_commit
from offset_ctrl.sdk.capacity import Capacity, ask_capacity
from offset_ctrl.sdk.collecting import Handing, cancel, collect, endings_of
from offset_ctrl.sdk.commits import Commits
from offset_ctrl.sdk.configuration import NodeConfiguration
from offset_ctrl.sdk.errors import CommitNotDelivered, PaymentPending
from offset_ctrl.sdk.failures import AlreadyPaid
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.sdk.payment import Payment, PaymentState, PayOptions
from offset_ctrl.sdk.planning import PaymentPlan, plan_payment
from offset_ctrl.sdk.view import FriendName
from offset_proto.entered import parse_currency
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.messages.app import AddInvoice
from offset_proto.messages.extensions import AddExpiringInvoice, OpenInvoiceReport, OpenPaymentReport
from offset_proto.messages.index import Edge, MultiRoute, RequestRoutes
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.types import U128, Currency, InvoiceId, PublicKey, Uid

__all__ = ["Deliver", "NodeTrade"]

log = logging.getLogger("offset.sdk")

CLOSE_SECONDS: Final = 5.0
"""For payments that are open when the app ends."""

EXPIRES_SECONDS_MAX: Final = 2**32 - 1

Deliver = Callable[[Commit], Awaitable[object]]
"""Hands a commit to the seller."""


class NodeTrade(NodeConfiguration):
    """The verbs of `offset_ctrl.Node` that need the permissions *routes*, *seller* and *buyer*."""

    def __init__(self, session: NodeSession, journal: Journal | None, *, goes_on: bool = False) -> None:
        super().__init__(session)
        self._journal = journal
        self._goes_on = goes_on
        self._tasks: dict[Payment, asyncio.Task[bool]] = {}
        self._commits = Commits()

    @property
    def payments(self) -> list[Payment]:
        """
        Payments of this app that have not ended, also of earlier runs where there is a journal.

        Those of other apps are among `open_payments`.
        """
        return list(self._tasks)

    @property
    def has_journal(self) -> bool:
        """Whether payments survive the end of the app."""
        return self._journal is not None

    # Routes.

    async def find_routes(
        self,
        currency: str,
        amount: U128,
        destination: PublicKey,
        *,
        source: PublicKey | None = None,
        exclude: Edge | None = None,
    ) -> tuple[MultiRoute, ...]:
        """
        Ask an index server for routes.

        Args:
            currency: Of the payment.
            amount: Credits that are to arrive.
            destination: The seller's key.
            source: The buyer's key; by default this node's.
            exclude: A hop that must not be used. A cycle back to us is asked for as a route to the friend before us,
                without the direct hop to it.

        Returns:
            Alternatives, the best first; empty where the server knows none.

        Raises:
            RoutesUnavailable: The node is not connected to an index server.
        """
        self._check("routes")
        source = source or self.public_key
        uid = Uid(os.urandom(Uid.SIZE))
        return await self._session.request_routes(
            RequestRoutes(uid, Currency(currency), amount, source, destination, exclude)
        )

    async def capacity(self, currency: str, to: FriendName | None = None) -> Capacity:
        """
        How much can be paid and received now, by friend; with *to*, also the most that can arrive there.

        The index server is asked a question for each friend that is online, 32 at most, and 12 at most for *to*.
        Nothing is reserved.

        Args:
            currency: Which amounts are meant.
            to: A friend by its local name, or any node by its key.

        Raises:
            UnknownName: No friend has this name.
            RoutesUnavailable: With *to*: the node is not connected to an index server.
        """
        self._check("routes")
        key = to if to is None or isinstance(to, PublicKey) else self._friend_key(to)
        return await ask_capacity(self._session.request_routes, self.report, Currency(currency), key)

    # Selling.

    async def create_invoice(
        self,
        currency: str,
        amount: U128,
        *,
        expires: timedelta | float | None = None,
        invoice_id: InvoiceId | None = None,
    ) -> Invoice:
        """
        Expect a payment; hand the invoice to the buyer.

        Args:
            currency: Of the payment.
            amount: Credits that are to arrive.
            expires: After this time (seconds, rounded up) the node cancels the invoice by itself, if no commit was
                accepted by then; what is frozen for it goes back to the buyer. None: it stays open until
                `cancel_invoice`.
            invoice_id: By which the node is to know it. An app that has written it down before can ask again after a
                crash, as long as nobody was given the invoice, and there is one invoice all the same. None: a new id.

        Raises:
            NotAnnounced: The node can not end an invoice by itself. There is no invoice.
            InvalidInput: *amount* is 0, *expires* is not between a second and 136 years, or nobody could see or type
                the currency.
        """
        self._check("seller")
        if not amount:
            raise InvalidInput("an invoice is over 1 credit at least")
        invoice_id = invoice_id or InvoiceId(os.urandom(InvoiceId.SIZE))
        invoice = Invoice(invoice_id, parse_currency(currency), self.public_key, amount)
        if expires is None:
            await self._session.request(AddInvoice(invoice.invoice_id, invoice.currency, amount))
        else:
            seconds = _whole_seconds(expires)
            await self._session.request(AddExpiringInvoice(invoice.invoice_id, invoice.currency, amount, seconds))
        return invoice

    async def open_invoices(self) -> tuple[OpenInvoiceReport, ...]:
        """
        The invoices that are neither collected nor cancelled, of all apps, with what has arrived for each.

        The one that credits have waited for longest comes first.

        Raises:
            NotAnnounced: The node does not tell.
        """
        self._check("seller")
        await self._session.follow_invoices()
        return oldest_invoices(self._session.invoices)

    async def cancel_invoice(self, invoice: Invoice, after: HistoryPlace = BEGINNING) -> InvoiceEnding:
        """
        Expect a payment no more; what was frozen for it goes back to the buyer.

        Args:
            invoice: Which one.
            after: What `accept_commit` has told of it. By default all entries of the history are looked at where the
                invoice is not open any more.

        Returns:
            NOT_COLLECTED; or UNKNOWN where it was not open any more, and the node does not tell this app whether it was
            collected.

        Raises:
            InvoiceNotOpen: It was collected before; known only where the node tells that.
            RequestRefused: The node does not cancel it, and it is still open; known only where the node tells that.
        """
        self._check("seller")
        ending = await cancel(self._session, invoice.invoice_id, after)
        self._commits.cancel(invoice.invoice_id)
        return ending

    async def accept_commit(self, invoice: Invoice, commit: Commit, handing: Handing = lambda after: None) -> None:
        """
        Collect a payment with the buyer's commit; whoever waits for the payment learns of it.

        Args:
            invoice: Which one.
            commit: Of the buyer.
            handing: Called once before the commit is sent, with a place in the history that `invoice_endings` and
                `cancel_invoice` take; an app that writes it down can ask for the end also after it was killed. What it
                raises keeps the commit back.

        Raises:
            InvalidProof: The commit does not pay this invoice; nothing was collected.
            InvoiceNotOpen: It was collected or cancelled before, or has come to its end; nothing was collected now.
                Known only where the node tells what is open.
            RequestRefused: The node does not take the commit; the invoice stays open.
            InvoiceEndUnknown: A connection was lost, and the history does not tell this app: it may not read it or not
                see all of it, or the entries were archived, or a channel has broken.
        """
        self._check("seller")
        check_commit(commit, invoice)
        await collect(self._session, commit, handing)
        self._commits.accept(invoice.invoice_id, commit)

    async def invoice_endings(
        self, invoices: Mapping[InvoiceId, HistoryPlace], *, pages_max: int | None = None
    ) -> Mapping[InvoiceId, InvoiceEnding]:
        """
        How invoices have ended that this node had; for apps that were stopped while they collected.

        Args:
            invoices: For each id the place that `accept_commit` told before the commit was sent; `HistoryPlace(0)`:
                none is known, and all entries of the history are looked at.
            pages_max: Pages of the history that are read, the newest first; None: as many as it takes.

        Returns:
            For each of them UNKNOWN where the node does not tell: nothing of the invoice is on its way any more, and
            the app may not read the history or not see all of it, or entries after the place were archived, or a
            channel has broken since, or the node has forgotten some of it; or it does not stand on the pages that were
            read.
        """
        self._check("seller")
        return await endings_of(self._session, invoices, pages_max)

    async def wait_for_payment(self, invoice: Invoice, timeout: float = 3600.0) -> Commit:
        """
        Wait until a commit for *invoice* was accepted by `accept_commit`.

        Raises:
            TimeoutError: None came; the invoice stays open.
            PaymentFailed: The invoice was cancelled.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._commits.wait_for(invoice.invoice_id)
        except TimeoutError:
            raise TimeoutError(f"no commit within {timeout:g} seconds; the invoice stays as it is") from None

    # Buying.

    def start_payment(
        self,
        invoice: Invoice,
        options: PayOptions = PayOptions(),
    ) -> Payment:
        """
        Begin to pay; wait for `Payment.commit`, hand that to the seller, wait for `Payment.receipt`.

        Raises:
            AlreadyPaid: The journal has a receipt of this invoice, or another payment of it has its commit. Nothing was
                sent.
        """
        self._check("buyer")
        self._check("routes")
        self._check_unpaid(invoice)
        return self._run(Payment(self._session, self._journal, invoice, options))

    async def plan_payment(self, invoice: Invoice, options: PayOptions = PayOptions()) -> PaymentPlan:
        """
        What `pay` would do now: parts, routes, fees, and the most that could be paid; only routes are asked for.

        An invoice that can not be paid is no error here: `PaymentPlan.failure` says why.
        """
        self._check("routes")
        return await plan_payment(self._session, invoice, options)

    async def open_payments(self) -> tuple[OpenPaymentReport, ...]:
        """
        The payments that the node knows, of all apps and earlier runs, with the state of each part.

        The one that has waited longest comes first.

        Raises:
            NotAnnounced: The node does not tell.
        """
        self._check("buyer")
        await self._session.follow_payments()
        return oldest_payments(self._session.payments)

    async def pay(
        self,
        invoice: Invoice,
        deliver: Deliver,
        options: PayOptions = PayOptions(),
        *,
        deliver_timeout: float = 300.0,
        receipt_timeout: float = 300.0,
    ) -> Receipt:
        """
        Pay an invoice, from the search for routes to the receipt.

        Cancelled before there is a commit, the payment is closed in the background, and what was frozen comes back.
        Cancelled later, it goes on in the background, as the seller may have the commit: see `payments`.

        Args:
            invoice: Of the seller.
            deliver: Hands the commit to the seller.
            options: Limits of fees and time.
            deliver_timeout: Seconds for *deliver*; then it is cancelled.
            receipt_timeout: Seconds for the seller to collect, once it has the commit.

        Raises:
            PaymentFailed: Nothing was paid, and why.
            CommitNotDelivered: *deliver* failed, or its time was over.
            PaymentPending: The seller takes its time.
            PaymentEndUnknown: It may be paid: another app acknowledged it, or its receipt proves nothing.
        """
        payment = self.start_payment(invoice, options)
        try:
            commit = await payment.commit()
        except BaseException:
            payment.give_up()
            raise
        try:
            async with asyncio.timeout(deliver_timeout):
                await deliver(commit)
        except Exception as error:
            raise CommitNotDelivered(payment, error) from error
        try:
            return await payment.receipt(receipt_timeout)
        except TimeoutError:
            raise PaymentPending(payment, receipt_timeout) from None

    # Inside.

    def _check_unpaid(self, invoice: Invoice) -> None:
        receipt = None if self._journal is None else self._journal.receipt_for(invoice.invoice_id)
        if receipt is not None:
            raise AlreadyPaid("the invoice was paid; the receipt is in the journal", receipt)
        for payment in self.payments:
            if payment.invoice.invoice_id == invoice.invoice_id and payment.state is PaymentState.COMMITTED:
                raise AlreadyPaid("another payment of this invoice has its commit; hand that to the seller")

    def _resume_payments(self, options: PayOptions) -> None:
        """Go on with the payments of earlier runs of the app."""
        if self._journal is not None:
            for entry in self._journal.unfinished():
                self._run(Payment.resume(self._session, self._journal, entry, options, go_on=self._goes_on))

    def _run(self, payment: Payment) -> Payment:
        task = self._tasks[payment] = asyncio.create_task(payment.run())

        def ended(task: "asyncio.Task[bool]") -> None:
            if task.cancelled():
                return
            if task.exception() is not None:
                log.error("a fault of ours in a payment", exc_info=task.exception())
            elif task.result():
                del self._tasks[payment]

        task.add_done_callback(ended)
        return payment

    async def close(self) -> None:
        """Give up what has no commit yet, and wait a moment for that; the rest goes on when the app is back."""
        for payment in [] if self._goes_on else self.payments:
            payment.give_up("the app ended")
        closing = [task for payment, task in self._tasks.items() if payment.state is PaymentState.CLOSING]
        if closing and self._session.is_connected:
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left and self._journal is None:
            log.warning("%d payments have not ended, and there is no journal to remember them", len(left))


def _whole_seconds(expires: timedelta | float) -> int:
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if not 0 < seconds <= EXPIRES_SECONDS_MAX:
        raise InvalidInput(f"an invoice can not expire after {seconds:g} seconds, but after 1 to {EXPIRES_SECONDS_MAX}")
    return math.ceil(seconds)
