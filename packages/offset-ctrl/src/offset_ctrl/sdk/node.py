"""
A node, as an app sees it: one page of verbs.

    async with connect("node.ticket", "app.ident", journal="payments") as node:
        receipt = await node.pay(invoice, deliver)

Friends, relays and index servers are named by their local names or by their keys, currencies by text.
"""

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.circles import Circle, Transfer
from offset_ctrl.rules.move_steps import Unfinished
from offset_ctrl.rules.moving import Move, MoveRefused, plan_move
from offset_ctrl.rules.open_reports import oldest_invoices, oldest_payments
from offset_ctrl.rules.proofs import check_commit
from offset_ctrl.sdk.capacity import Capacity, ask_capacity
from offset_ctrl.sdk.circles import Circles, ClearedCircle
from offset_ctrl.sdk.commits import Commits
from offset_ctrl.sdk.errors import (
    CommitNotDelivered,
    InvoiceNotOpen,
    NotPermitted,
    PaymentPending,
    RequestRefused,
    UnknownName,
)
from offset_ctrl.sdk.failures import AlreadyPaid
from offset_ctrl.sdk.history import build_filter, note_request, read_entries
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.sdk.move_files import MoveFiles
from offset_ctrl.sdk.moving import MoveRun
from offset_ctrl.sdk.payment import Payment, PaymentState, PayOptions
from offset_ctrl.sdk.planning import PaymentPlan, plan_payment
from offset_proto.entered import parse_currency
from offset_proto.errors import InvalidInput
from offset_proto.files import IDENTITY, TICKET, FriendTicket, Invoice
from offset_proto.messages.app import AddInvoice, AppPermissions, CancelInvoice, CommitInvoice
from offset_proto.messages.extensions import AddExpiringInvoice, Extension, OpenInvoiceReport, OpenPaymentReport
from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.messages.index import Edge, MultiRoute, RequestRoutes
from offset_proto.messages.payment import Commit, Rate, Receipt, RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    FriendReport,
    McBalanceReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import I128, U32, U128, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "CommitNotDelivered",
    "InvoiceNotOpen",
    "Node",
    "NotPermitted",
    "PaymentPending",
    "RequestRefused",
    "UnknownName",
    "connect",
    "use_session",
]

log = logging.getLogger("offset.sdk")

CLOSE_SECONDS: Final = 5.0
"""For payments that are open when the app ends."""

EXPIRES_SECONDS_MAX: Final = 2**32 - 1

Deliver = Callable[[Commit], Awaitable[object]]
FriendName = str | PublicKey


class Node:
    """
    An open node; made by `connect`.

    All verbs of an app stand on this one class, and it is longer than others for that reason: its methods are the page
    that an author looks a verb up on. Each is a few lines, which check, ask and check the answer. What has a life of
    its own is kept elsewhere: payments, commits, and the connection.
    """

    def __init__(self, session: NodeSession, journal: Journal | None, *, goes_on: bool = False) -> None:
        self._session = session
        self._journal = journal
        self._goes_on = goes_on
        self._tasks: dict[Payment, asyncio.Task[bool]] = {}
        self._commits = Commits()
        self._circles = Circles(self, session.tick_seconds)

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

    # What the node says.

    @property
    def public_key(self) -> PublicKey:
        """The key by which friends and buyers know the node."""
        return self._session.report.local_public_key

    @property
    def permissions(self) -> AppPermissions:
        """What this app may ask for."""
        return self._session.permissions

    @property
    def extensions(self) -> Extension:
        """What the node can do beyond the original's protocol; nothing, where it is an original's."""
        return self._session.extensions

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now; a lost one is made again by itself."""
        return self._session.is_connected

    @property
    def report(self) -> ReportView:
        """The node's report at the moment; use it before the next await, or go by `reports`."""
        return self._session.report

    async def reports(self) -> AsyncIterator[ReportView]:
        """
        The report now, and again after it has changed; a slow reader gets the latest and misses those between.

        Each is a copy that does not change any more.
        """
        seen = 0
        while True:
            seen = await self._session.changed(seen)
            yield ReportView(self._session.report.snapshot())

    async def wait_until(self, is_so: Callable[[ReportView], bool], timeout: float = 60.0) -> None:
        """
        Wait until it is so of the report.

        Raises:
            TimeoutError: It is not, for *timeout* seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    seen = self._session.version
                    if is_so(self._session.report):
                        return
                    await self._session.changed(seen)
        except TimeoutError:
            raise TimeoutError(f"the report has not come to say so within {timeout:g} seconds") from None

    def friend(self, name: FriendName) -> FriendReport:
        """
        What the report says of a friend.

        Raises:
            UnknownName: There is none.
        """
        return self.report.friends[self._friend_key(name)]

    def balance(self, friend: FriendName, currency: str) -> I128:
        """
        Credits that a friend owes us; negative where we owe.

        Raises:
            UnknownName: No such friend, or no balance of this currency.
        """
        return self.ledger(friend, currency).balance

    def ledger(self, friend: FriendName, currency: str) -> McBalanceReport:
        """
        Balance and frozen credits with a friend.

        Raises:
            UnknownName: No such friend, or no balance of this currency.
        """
        status = self.friend(friend).channel_status
        reports = status.currency_reports if isinstance(status, ChannelConsistentReport) else ()
        for report in reports:
            if report.currency == currency:
                return report.balance
        raise UnknownName(f"there is no balance of {currency} with {friend!r}")

    def friend_ticket(self) -> FriendTicket:
        """What to hand to somebody who is to become a friend."""
        relays = tuple(RelayAddress(relay.public_key, relay.address) for relay in self.report.relays)
        return FriendTicket(self.public_key, relays)

    async def history(
        self,
        since: int = 0,
        *,
        follow: bool = False,
        friend: FriendName | None = None,
        currency: str | None = None,
        kinds: Iterable[EntryKind] = (),
        not_before: datetime | None = None,
        before: datetime | None = None,
    ) -> AsyncIterator[HistoryEntry]:
        """
        What changed the balances with friends, and why: in order, nothing twice, nothing left out.

        Args:
            since: The number of the last entry that the app has dealt with. An app that writes it down together with
                what it made of the entry goes on exactly there, whatever ends meanwhile.
            follow: Go on with what comes, for ever.
            friend, currency, kinds: Of these only. A friend that was removed is named by its key.
            not_before, before: Bounds of the time; without a zone, local time.

        Raises:
            NotAnnounced: The node keeps no history.
            EntriesArchived: Entries after *since*, which is not 0, were moved to an archive by the owner of the node.
            InvalidInput: The history does not reach to *since*: it is that of another database.
        """
        self._check("history")
        key = friend if friend is None or isinstance(friend, PublicKey) else self._friend_key(friend)
        wanted = build_filter(key, currency, kinds, not_before, before)
        async for entry in read_entries(self._session, since, wanted, follow=follow):
            yield entry

    async def set_note(self, subject: Invoice | InvoiceId | PaymentId | int, note: str) -> None:
        """
        Keep a note in the node's database, where all apps that read the history find it; nobody else gets it.

        Args:
            subject: An invoice of ours, the id of a payment of ours, or the number of an entry of the history. A
                payment or an invoice may be noted to before there is an entry of it. A number without an entry has no
                effect.
            note: One line, 500 letters at most, instead of what was noted before; empty: nothing any more.

        Raises:
            NotAnnounced: The node keeps no history.
            InvalidInput: It is too long, or has letters that can not be shown.
        """
        about = subject.invoice_id if isinstance(subject, Invoice) else subject
        permission = "seller" if isinstance(about, InvoiceId) else "buyer" if isinstance(about, PaymentId) else "config"
        self._check(permission)
        await self._session.request(note_request(about, note))

    # Configuration.

    async def add_relay(self, ticket: RelayAddress, name: str) -> None:
        """Use one more relay, under a local name; friends reach the node through it."""
        await self._change(changes.add_relay(ticket, name))

    async def remove_relay(self, name: str | PublicKey) -> None:
        """Stop using a relay: friends do not reach the node through it any more."""
        await self._change(changes.remove_relay(_key_of("relay", name, self.report.relays)))

    async def add_index_server(self, ticket: RelayAddress, name: str) -> None:
        """Use one more index server, under a local name; routes are asked for there."""
        await self._change(changes.add_index_server(ticket, name))

    async def remove_index_server(self, name: str | PublicKey) -> None:
        """Stop using an index server: no routes are asked for there, and nothing is declared to it."""
        await self._change(changes.remove_index_server(_key_of("index server", name, self.report.index_servers)))

    async def add_friend(self, ticket: FriendTicket, name: str) -> None:
        """Add a friend by its ticket, under a local name; `enable_friend` connects to it."""
        await self._change(changes.add_friend(ticket, name))

    async def rename_friend(self, friend: FriendName, name: str) -> None:
        """Give a friend another local name."""
        await self._change(changes.set_friend_name(self._friend_key(friend), name))

    async def set_friend_relays(self, friend: FriendName, relays: tuple[RelayAddress, ...]) -> None:
        """Say through which relays a friend is reached from now on."""
        await self._change(changes.set_friend_relays(self._friend_key(friend), relays))

    async def enable_friend(self, friend: FriendName) -> None:
        """Connect to a friend, and keep connected until `disable_friend`."""
        await self._change(changes.enable_friend(self._friend_key(friend)))

    async def disable_friend(self, friend: FriendName) -> None:
        """Close the connection to a friend, and open none until `enable_friend`."""
        await self._change(changes.disable_friend(self._friend_key(friend)))

    async def remove_friend(self, friend: FriendName) -> None:
        """Forget a friend, its balances, and all that is open with it."""
        await self._change(changes.remove_friend(self._friend_key(friend)))

    async def open_currency(self, friend: FriendName, currency: str) -> None:
        """Forward requests of and to a friend in a currency."""
        await self._change(changes.open_currency(self._friend_key(friend), Currency(currency)))

    async def close_currency(self, friend: FriendName, currency: str) -> None:
        """Forward no new requests of or to a friend in a currency; what is under way is finished."""
        await self._change(changes.close_currency(self._friend_key(friend), Currency(currency)))

    async def remove_currency(self, friend: FriendName, currency: str) -> None:
        """Withdraw a currency that the friend has not agreed to."""
        await self._change(changes.remove_currency(self._friend_key(friend), Currency(currency)))

    async def set_max_debt(self, friend: FriendName, currency: str, max_debt: U128) -> None:
        """Set how many credits a friend may owe us."""
        await self._change(changes.set_max_debt(self._friend_key(friend), Currency(currency), max_debt))

    async def set_rate(self, friend: FriendName, currency: str, mul: U32 = 0, add: U32 = 0) -> None:
        """Charge a friend floor(amount * mul / 2**32) + add credits for forwarding."""
        await self._change(changes.set_rate(self._friend_key(friend), Currency(currency), Rate(mul, add)))

    async def reset_channel(self, friend: FriendName) -> None:
        """
        Accept a friend's terms for a channel that is inconsistent.

        Raises:
            RequestRefused: It is consistent, or the friend has not said its terms.
        """
        key = self._friend_key(friend)
        status = self.report.friends[key].channel_status
        if not isinstance(status, ChannelInconsistentReport) or status.opt_remote_reset_terms is None:
            raise RequestRefused(f"there are no terms of {friend!r} to accept")
        await self._change(changes.reset_channel(key, status.opt_remote_reset_terms.reset_token))

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
            InvalidInput: *expires* is not between a second and 136 years, or nobody could see or type the currency.
        """
        self._check("seller")
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

    async def cancel_invoice(self, invoice: Invoice) -> None:
        """Expect a payment no more; what was frozen for it goes back to the buyer."""
        self._check("seller")
        await self._session.request(CancelInvoice(invoice.invoice_id))
        self._commits.cancel(invoice.invoice_id)

    async def accept_commit(self, invoice: Invoice, commit: Commit) -> None:
        """
        Collect a payment with the buyer's commit; whoever waits for the payment learns of it.

        Raises:
            InvalidProof: The commit does not pay this invoice; nothing was collected.
            InvoiceNotOpen: It was collected or cancelled before; nothing was collected now. Known only where the node
                tells what is open.
        """
        self._check("seller")
        check_commit(commit, invoice)
        if Extension.OPEN_PAYMENTS in self.extensions:
            await self._session.follow_invoices()
            if invoice.invoice_id not in self._session.invoices.reports:
                raise InvoiceNotOpen("the invoice was collected already, or cancelled, or has come to its end")
        await self._session.request(CommitInvoice(commit))
        self._commits.accept(invoice.invoice_id, commit)

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

    # Circles.

    async def plan_rebalance(
        self, currency: str, amount: U128, out: FriendName, back: FriendName, *, fees_max: U128 | None = None
    ) -> Circle:
        """
        The circle that `rebalance` would pay now; only routes are asked for.

        Raises:
            UnknownName: There is no such friend.
            NoRoute: No circle carries so much; `AmountTooLarge` says what could be.
            FeesTooHigh: It costs more than *fees_max* credits.
            RoutesUnavailable: The node is not connected to an index server.
        """
        self._check("routes")
        wanted = Transfer(self._friend_key(out), self._friend_key(back), amount)
        return await self._circles.plan(Currency(currency), wanted, fees_max)

    async def rebalance(
        self,
        currency: str,
        amount: U128,
        out: FriendName,
        back: FriendName,
        *,
        fees_max: U128 | None = None,
        timeout: float = 60.0,
    ) -> Circle:
        """
        Pay *amount* credits to this node itself, out through one friend and back through another.

        What *out* owes us and what we owe *back* both shrink; nobody else's balance changes but by fees. The node
        must be able to end an invoice, or the app must have a journal, so that nothing stays frozen where it is killed.

        Args:
            currency: Of both balances.
            amount: Credits that are to come back.
            out: The friend through which they go out.
            back: The friend through which they come back.
            fees_max: Credits that mediators may take. Where their rates are not known, so much is offered, and what
                they leave comes back. None: what index servers say.
            timeout: Seconds for the payment.

        Raises:
            NotAnnounced: There is neither; nothing was sent.
            PaymentFailed: Nothing was paid, and why.
            UnknownName, RoutesUnavailable: As `plan_rebalance`.
        """
        self._check_circles()
        wanted = Transfer(self._friend_key(out), self._friend_key(back), amount)
        return await self._circles.pay(Currency(currency), wanted, fees_max, timeout)

    async def plan_clear(
        self,
        currency: str,
        *,
        towards: int = 0,
        keep: Mapping[FriendName, int] | None = None,
        fees_max: U128 | None = None,
    ) -> tuple[Circle, ...]:
        """
        The circles that `clear` would begin with now; only routes are asked for. The arguments are those of `clear`.

        Each is one that could be paid alone: two of them may need the same credit further on.
        """
        self._check("routes")
        return await self._circles.plan_all(Currency(currency), self._targets(towards, keep), fees_max)

    async def clear(
        self,
        currency: str,
        *,
        towards: int = 0,
        keep: Mapping[FriendName, int] | None = None,
        fees_max: U128 | None = None,
        timeout: float = 60.0,
        tell: Callable[[ClearedCircle], None] | None = None,
    ) -> tuple[ClearedCircle, ...]:
        """
        Pay all circles that bring the balances with friends nearer to where they are wanted.

        Args:
            currency: Of the balances.
            towards: The balance that is wanted with each friend, in credits that it owes us.
            keep: Other balances that are wanted with single friends.
            fees_max: Credits that mediators of all circles together may take; None: what index servers say.
            timeout: Seconds for each circle.
            tell: Is told of each circle as soon as it has ended.

        Returns:
            The circles in their order, also those that failed. No balance has gone beyond where it is wanted, but by
            fees that were offered and not taken: rates are rounded, and not always known.

        Raises:
            NotAnnounced, UnknownName, RoutesUnavailable: As `rebalance`.
        """
        self._check_circles()
        targets = self._targets(towards, keep)
        return await self._circles.pay_all(Currency(currency), targets, fees_max, timeout, tell)

    # Moving an account.

    def plan_move(
        self, old: FriendName, ticket: FriendTicket, *, name: str | None = None, counts_frozen: bool = False
    ) -> Move:
        """
        What `move_friend` would carry over, with the balances as they are now; nothing is asked for.

        Raises:
            UnknownName: There is no such friend.
            MoveRefused: It can not be moved as things are, and why.
        """
        return plan_move(self.report, self._friend_key(old), ticket, name, counts_frozen=counts_frozen)

    async def move_friend(
        self,
        old: FriendName,
        ticket: FriendTicket,
        directory: Path,
        *,
        name: str | None = None,
        counts_frozen: bool = False,
        removes_old: bool = False,
        timeout: float = 60.0,
        tell: Callable[[Move, Unfinished], None] = lambda move, unfinished: None,
    ) -> Unfinished | None:
        """
        Move the account of a friend that has lost its key to its new key, as far as that goes now.

        The old friend is disabled at once. The new one gets its limits, rates and openings, and in each currency its
        balance, by one payment over the direct link. What persons have to do for that is in the result; then call this
        again with the same *directory*, which remembers everything, also where the app is killed.

        Args:
            old: The friend whose key was lost.
            ticket: Of its new key.
            directory: Of this move alone; `offset_ctrl.sdk.move_files` says what is in it.
            name: The local name of the new friend in the end; None: that of the old one.
            counts_frozen: Count what is frozen with the old friend, as the terms of a reset do, instead of refusing.
            removes_old: At the end remove the old friend, which forgives its balance.
            timeout: Seconds to wait for the new friend's node, in all.
            tell: Is told of the move and of what it waits for, each time that this is something else.

        Returns:
            What is wanted of persons and waited for; None where the account has moved, and the old friend is gone.

        Raises:
            MoveRefused: It can not be moved as things are, and why.
            UnknownName: There is no such friend, and the directory knows none.
            RequestRefused, IoError, StringSerdeError: The node did not make a change; a file is damaged.
        """
        for permission in ("config", "buyer", "seller"):
            self._check(permission)
        if not directory.exists():
            self.plan_move(old, ticket, name=name, counts_frozen=counts_frozen)  # what is refused makes no directory
        files = MoveFiles(directory)
        with files.locked():
            move = files.load()
            if move is None:
                move = self.plan_move(old, ticket, name=name, counts_frozen=counts_frozen)
                files.save(move)
            if old not in (move.old, move.old_name) or move.new != ticket.public_key:
                raise MoveRefused(f"{directory} belongs to the move of {move.old_name} to another key")
            run = MoveRun(self._session, files, self._change, move, removes=removes_old, timeout=timeout, tell=tell)
            return await run.run()

    # Inside.

    def _check_circles(self) -> None:
        for permission in ("routes", "buyer", "seller"):
            self._check(permission)

    def _targets(self, towards: int, keep: Mapping[FriendName, int] | None) -> dict[PublicKey, int]:
        wanted = {self._friend_key(friend): amount for friend, amount in (keep or {}).items()}
        return {key: wanted.get(key, towards) for key in self.report.friends}

    def _check(self, permission: str) -> None:
        if not self.permissions.allows(permission):
            raise NotPermitted(f"the ticket of this app has no permission {permission!r}")

    async def _change(self, change: Change) -> None:
        self._check("config")
        await self._session.request(change.request)
        if not change.holds(self._session.report):
            raise RequestRefused(f"the node did not carry out {type(change.request).__name__}")

    def _check_unpaid(self, invoice: Invoice) -> None:
        receipt = None if self._journal is None else self._journal.receipt_for(invoice.invoice_id)
        if receipt is not None:
            raise AlreadyPaid("the invoice was paid; the receipt is in the journal", receipt)
        for payment in self.payments:
            if payment.invoice.invoice_id == invoice.invoice_id and payment.state is PaymentState.COMMITTED:
                raise AlreadyPaid("another payment of this invoice has its commit; hand that to the seller")

    def _friend_key(self, name: FriendName) -> PublicKey:
        friends = self.report.friends
        if isinstance(name, PublicKey):
            if name in friends:
                return name
        else:
            keys = [key for key, friend in friends.items() if friend.name == name]
            if keys:
                return min(keys)
        raise UnknownName(f"there is no friend {name!r}")

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


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def public_key(self) -> PublicKey: ...


def _key_of(kind: str, name: str | PublicKey, known: Iterable[_Named]) -> PublicKey:
    for entry in known:
        if name in (entry.name, entry.public_key):
            return entry.public_key
    raise UnknownName(f"there is no {kind} {name!r}")


@asynccontextmanager
async def connect(
    ticket: RelayAddress | Path | str,
    app: Identity | Path | str,
    *,
    journal: Path | str | None = None,
    go_on: PayOptions | None = None,
    ticker: Ticker | None = None,
) -> AsyncIterator[Node]:
    """
    Connect an app to its node, for the length of an ``async with`` block; a lost connection is made again.

    Args:
        ticket: The node's ticket, or the path of its file: where the node is, and the key that it must prove.
        app: The app's identity, or the path of its file; the node must trust it.
        journal: Directory to remember payments in, so that they survive the end of the app.
        go_on: With a journal: payments that have no commit yet are not given up when the app ends. They go on when it
            is back, under these limits, and have their commit as soon as the node has it. None: they are given up.
        ticker: Ticks of the process, where it has some already.

    Raises:
        IoError, StringSerdeError: A file can not be read, or is another one.
        NodeConnectionError: The node was not reached, has another key, or does not trust this app.
    """
    address = ticket if isinstance(ticket, RelayAddress) else TICKET.load(Path(ticket))
    identity = app if isinstance(app, Identity) else Identity(IDENTITY.load(Path(app)).private_key)
    kept = None if journal is None else Journal(Path(journal))
    async with (
        open_session(address.address, address.public_key, identity, ticker) as session,
        use_session(session, kept, go_on) as node,
    ):
        yield node


@asynccontextmanager
async def use_session(session: NodeSession, journal: Journal | None, go_on: PayOptions | None) -> AsyncIterator[Node]:
    """The verbs of a node over a session that is open, for the length of a ``with`` block; see `connect`."""
    node = Node(session, journal, goes_on=go_on is not None and journal is not None)
    node._resume_payments(go_on or PayOptions())
    try:
        yield node
    finally:
        await node.close()
