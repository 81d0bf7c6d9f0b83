"""
One payment, from the search for routes to the receipt.

What its states mean, and what leads from one to another, is the table of `offset_crypto.payment`; this module performs
what the table says. While it is SENDING, routes are asked for and transactions are sent, and parts that fail are sent
again over other routes.

A payment runs as a task of its own, so it goes on when whoever started it waits no more.
"""

import asyncio
import itertools
import logging
import os
from dataclasses import dataclass
from typing import Final

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.payment import PaymentEffect, PaymentEvent, PaymentState, advance
from offset_ctrl.rules.proofs import check_receipt
from offset_ctrl.rules.routes import Part, RouteChoice, choose_routes
from offset_ctrl.sdk.journal import Journal, JournalEntry
from offset_proto.errors import OffsetError, RefusedError
from offset_proto.files import Invoice
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    Success,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RequestRoutes
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.text import format_b64
from offset_proto.types import U32, U128, PaymentId, PublicKey, Uid

__all__ = ["PayOptions", "Payment", "PaymentEndUnknown", "PaymentFailed", "PaymentState"]

log = logging.getLogger("offset.sdk")

FAILED_PARTS_MAX: Final = 16
"""Transactions of one payment that may fail before it is given up."""

AGAIN_TICKS: Final = 2
"""With no other route for so long, one that failed is tried again: a friend may have been away for a moment."""

EXCLUSIONS_MAX: Final = 4
"""When routes are asked for again, they are to avoid at most so many hops of routes that have failed."""


class PaymentFailed(RefusedError):
    """Nothing was paid; says why. What was frozen for it is given back."""


class PaymentEndUnknown(OffsetError):
    """The seller may have the commit, and how the payment ended can not be told: it may be paid. Do not pay again."""


@dataclass(frozen=True, slots=True)
class PayOptions:
    """
    How to pay: limits of time and fees, and routes that are known.

    Attributes:
        timeout: Seconds until the commit must be there.
        route_seconds: Seconds to go on asking where index servers know no route yet.
        fees_max: Credits that all mediators together may take; None: any.
        extra_fees: Credits to offer on each route with a mediator beyond what index servers say; the seller gets what
            mediators leave.
        routes: Known already, the preferred ones first; None: ask an index server.
    """

    timeout: float = 60.0
    route_seconds: float = 10.0
    fees_max: U128 | None = None
    extra_fees: U32 = 0
    routes: tuple[MultiRoute, ...] | None = None


class Payment:
    """
    A payment of this app; made by `Node.start_payment`. `resume` makes one of an earlier run.

    Making one touches no file and sends nothing; `run` does both. What a crash must not lose is in the journal before
    anybody outside can know it: the payment's id before the node hears of the payment, the commit before it is handed
    out, the receipt before the node is told that it may forget the payment.

    Attributes:
        invoice: What is paid.
        payment_id: By which the node knows it.
        state: Where it stands.
        fees: Credits for mediators, of all parts that have not failed.
    """

    def __init__(
        self,
        session: NodeSession,
        journal: Journal | None,
        invoice: Invoice,
        options: PayOptions,
        payment_id: PaymentId | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.invoice = invoice
        self.payment_id = payment_id or PaymentId(os.urandom(PaymentId.SIZE))
        self.state = PaymentState.SENDING
        self.fees = 0
        self._session = session
        self._journal = journal
        self._options = options
        self._commit: asyncio.Future[Commit] = loop.create_future()
        self._receipt: asyncio.Future[Receipt] = loop.create_future()
        self._given_up = asyncio.Event()
        self._over = asyncio.Event()
        self._results: asyncio.Queue[TransactionResult] = asyncio.Queue()
        self._parts: dict[Uid, Part] = {}
        self._failed_routes: list[tuple[PublicKey, ...]] = []

    @classmethod
    def resume(cls, session: NodeSession, journal: Journal, entry: JournalEntry) -> "Payment":
        """
        A payment of an earlier run of the app, as *journal* has it; `run` closes it, or waits for its receipt.

        Without a commit it is given up, since nobody has got one: a commit is written down before it is handed out.
        """
        payment = cls(session, journal, entry.invoice, PayOptions(), entry.payment_id)
        if entry.commit is None:
            payment._fail("the app ended before the payment was complete")
        else:
            payment._hold(entry.commit, is_written=True)
        return payment

    # For whoever pays.

    async def commit(self) -> Commit:
        """
        Wait for what the seller needs to collect; no credit moves before the seller has it.

        Raises:
            PaymentFailed: There is none.
        """
        return await asyncio.shield(self._commit)

    async def receipt(self) -> Receipt:
        """
        Wait until the seller has collected.

        Raises:
            PaymentFailed: The seller cancelled, or there was no commit.
            PaymentEndUnknown: Another app has acknowledged the payment, or its receipt proves nothing.
        """
        return await asyncio.shield(self._receipt)

    async def ended(self) -> PaymentState:
        """Wait until nothing is left to be done, however the payment ended; where it got stuck, that is its state."""
        await self._over.wait()
        return self.state

    def give_up(self, reason: str = "the payment was given up") -> None:
        """Close the payment, if there is no commit yet; what is frozen comes back in the background."""
        if self.state is PaymentState.SENDING:
            self._fail(reason)

    # The task.

    async def run(self) -> bool:
        """See the payment through to its end, whatever that is; False where its end is not known."""
        try:
            if self.state is PaymentState.SENDING:
                await self._send()
            await self._wait_for_end()
        except Exception as error:
            # Nobody may wait for ever for a payment that nobody looks after, whatever the cause.
            self._end(PaymentEvent.BREAK_OFF, f"{type(error).__name__}: {error}")
            if not isinstance(error, OffsetError):
                raise
            log.error("payment %s did not end well: %s", format_b64(self.payment_id), error)
            return False
        finally:
            self._over.set()
        return True

    async def _send(self) -> None:
        sending = asyncio.ensure_future(self._find_commit())
        given_up = asyncio.ensure_future(self._given_up.wait())
        try:
            async with asyncio.timeout(self._options.timeout):
                await asyncio.wait({sending, given_up}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                self._hold(sending.result())
        except TimeoutError:
            self._fail(f"no commit within {self._options.timeout:g} seconds")
        except OffsetError as error:
            self._fail(str(error))
        finally:
            for task in (sending, given_up):
                task.cancel()
            await asyncio.gather(sending, given_up, return_exceptions=True)
            for request_id in self._parts:
                self._session.forget_transaction(request_id)

    async def _find_commit(self) -> Commit:
        invoice = self.invoice
        if self._journal is not None:
            self._journal.begin(self.payment_id, invoice)
        await self._session.request(
            CreatePayment(
                self.payment_id, invoice.invoice_id, invoice.currency, invoice.dest_payment, invoice.dest_public_key
            )
        )
        while True:
            missing = invoice.dest_payment - sum(part.dest_payment for part in self._parts.values())
            if missing > 0 or not self._parts:
                self._start(await self._choose(missing))
            answered = await self._results.get()
            match answered.result:
                case Complete(commit):
                    return commit
                case Success():
                    pass  # the seller holds this part, and waits for the others
                case Failure():
                    self._part_failed(answered.request_id)

    def _start(self, choice: RouteChoice) -> None:
        for part in choice.parts:
            request_id = Uid(os.urandom(Uid.SIZE))
            self._parts[request_id] = part
            route = FriendsRoute(part.public_keys)
            self._session.start_transaction(
                CreateTransaction(self.payment_id, request_id, route, part.dest_payment, part.fees), self._results
            )
        self.fees = sum(part.fees for part in self._parts.values())

    def _part_failed(self, request_id: Uid) -> None:
        part = self._parts.pop(request_id, None)
        if part is None:
            return
        self._session.forget_transaction(request_id)
        self._failed_routes.append(part.public_keys)
        if len(self._failed_routes) >= FAILED_PARTS_MAX:
            raise PaymentFailed(f"{FAILED_PARTS_MAX} transactions failed")

    # Routes.

    async def _choose(self, amount: int) -> RouteChoice:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.route_seconds
        for ticks in itertools.count():
            avoided = frozenset() if ticks >= AGAIN_TICKS else frozenset(self._failed_routes)
            try:
                choice = await self._choose_once(amount, avoided)
                reason = "no route that can carry the payment"
            except RoutesUnavailable as error:
                choice, reason = None, str(error)
            if choice is not None:
                fees = choice.total_fees + sum(part.fees for part in self._parts.values())
                if self._options.fees_max is not None and fees > self._options.fees_max:
                    raise PaymentFailed(f"fees of {fees}, more than {self._options.fees_max}")
                return choice
            if loop.time() >= end or self._options.routes is not None:
                failed = f", after {len(self._failed_routes)} routes that failed" if self._failed_routes else ""
                raise PaymentFailed(reason + failed)
            await asyncio.sleep(self._session.tick_seconds)
        raise AssertionError("a count has no end")

    async def _choose_once(self, amount: int, avoided: frozenset[tuple[PublicKey, ...]]) -> RouteChoice | None:
        if self._options.routes is not None:
            return self._choose_from(self._options.routes, amount, avoided)
        choice = self._choose_from(await self._ask(amount, None), amount, avoided)
        for edge in self._edges_to_avoid():
            if choice is not None:
                break
            choice = self._choose_from(await self._ask(amount, edge), amount, avoided)
        return choice

    async def _ask(self, amount: int, exclude: Edge | None) -> tuple[MultiRoute, ...]:
        return await self._session.request_routes(
            RequestRoutes(
                request_id=Uid(os.urandom(Uid.SIZE)),
                currency=self.invoice.currency,
                capacity=amount,
                source=self._session.report.local_public_key,
                destination=self.invoice.dest_public_key,
                opt_exclude=exclude,
            )
        )

    def _choose_from(
        self, multi_routes: tuple[MultiRoute, ...], amount: int, avoided: frozenset[tuple[PublicKey, ...]]
    ) -> RouteChoice | None:
        fresh = [
            MultiRoute(tuple(route for route in multi.routes if route.route.public_keys not in avoided))
            for multi in multi_routes
        ]
        return choose_routes(tuple(multi for multi in fresh if multi.routes), amount, self._options.extra_fees)

    def _edges_to_avoid(self) -> list[Edge]:
        """Hops of the routes that failed last, those of mediators first: nobody says which hop it was."""
        edges: dict[Edge, None] = {}
        for route in reversed(self._failed_routes):
            hops = [Edge(one, other) for one, other in itertools.pairwise(route)]
            edges |= dict.fromkeys([*hops[1:], *hops[:1]])
        return list(edges)[:EXCLUSIONS_MAX]

    # Ends.

    def _hold(self, commit: Commit, *, is_written: bool = False) -> None:
        """The commit is there. *is_written*: it comes from the journal, so it need not be written down."""
        state, effects = advance(self.state, PaymentEvent.COMMIT)
        for effect in effects:
            if effect is PaymentEffect.WRITE_COMMIT:
                if self._journal is not None and not is_written:
                    self._journal.committed(self.payment_id, commit)
            elif effect is PaymentEffect.HAND_OUT_COMMIT:
                self._commit.set_result(commit)
        self.state = state

    def _fail(self, reason: str) -> None:
        self._end(PaymentEvent.GIVE_UP, reason)

    def _end(self, event: PaymentEvent, reason: str) -> None:
        """Take over the state after *event*, and tell those who wait, where the table says so."""
        self.state, effects = advance(self.state, event)
        for effect in effects:
            if effect is PaymentEffect.TELL_FAILED:
                self._tell(PaymentFailed(reason))
            elif effect is PaymentEffect.TELL_UNKNOWN:
                self._tell(PaymentEndUnknown(reason))

    def _tell(self, error: OffsetError) -> None:
        self._given_up.set()
        for future in (self._commit, self._receipt):
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen, also where nobody waits

    async def _wait_for_end(self) -> None:
        status = (await self._session.close_payment(self.payment_id)).status
        match status:
            case PaymentStatusSuccess(receipt, ack_uid):
                check_receipt(receipt, self.invoice)
                try:
                    if self._journal is not None:
                        self._journal.paid(self.payment_id, receipt)
                    await self._session.request(AckClosePayment(self.payment_id, ack_uid))
                finally:
                    self._succeed(receipt)  # it is paid, also where that can not be written down or acknowledged now
            case Canceled(ack_uid):
                await self._session.request(AckClosePayment(self.payment_id, ack_uid))
                self._end(PaymentEvent.CANCELLED, "the seller cancelled the invoice")
            case PaymentNotFound():
                self._end_unknown()
        if self._journal is not None:
            self._journal.ended(self.payment_id)

    def _end_unknown(self) -> None:
        """The node has forgotten the payment: we acknowledged it just before we ended, or another app did."""
        receipt = None if self._journal is None else self._journal.receipt_of(self.payment_id)
        if receipt is not None:
            self._succeed(receipt)
            return
        self._end(PaymentEvent.FORGOTTEN, "the node does not know the payment any more")
        if self.state is PaymentState.UNKNOWN:
            log.error("the node does not know payment %s any more", format_b64(self.payment_id))

    def _succeed(self, receipt: Receipt) -> None:
        self.state, _ = advance(self.state, PaymentEvent.RECEIPT)
        if not self._receipt.done():
            self._receipt.set_result(receipt)
