"""
Moving an account to another key: the steps of `offset_ctrl.rules.move_steps`, carried out.

A kill at any moment loses nothing. Each step is written down before the node hears of it, and can be done again: the
node knows invoices, payments and commits by their ids, and takes each of them once.

What the new friend's node does is waited for in one place. What it has refused or not done yet is put aside with the
reason, everything else is done, and when the report has changed or some ticks are over it is tried again.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.rules.changes import Change, enable_friend
from offset_ctrl.rules.move_steps import (
    Asked,
    Collect,
    Configure,
    Done,
    Fix,
    MakeInvoice,
    Papers,
    Pay,
    Remove,
    Settle,
    TakeInvoice,
    TellNode,
    Unfinished,
    Wanted,
    next_step,
)
from offset_ctrl.rules.moving import Move, MovedCurrency, MoveRefused, fix_balances, ledger_with
from offset_ctrl.rules.routes import direct_route
from offset_ctrl.sdk.failures import AlreadyPaid, PaymentEndUnknown, PaymentFailed
from offset_ctrl.sdk.history import build_filter, read_entries
from offset_ctrl.sdk.move_files import MoveFiles
from offset_ctrl.sdk.payment import Payment, PaymentState, PayOptions
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, FRIEND_TOKEN, INVOICE, RECEIPT, Invoice
from offset_proto.messages.app import AddInvoice, CommitInvoice
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EntryKind
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.types import Currency, InvoiceId

__all__ = ["MoveRun"]

AGAIN_TICKS: Final = 2
"""Before a payment is tried again that the new friend has refused: it may not have set its limit for us yet."""

RECEIPT_SECONDS: Final = 3.0
"""For the receipt of a payment whose commit was handed over before; the next run sees to it otherwise."""

CLOSE_SECONDS: Final = 5.0
"""For a payment that has ended, to be acknowledged at the node; the next run sees to it otherwise."""


class MoveRun:
    """
    One run of a move: goes as far as it can.

    Args:
        session: To the node of which both are friends.
        files: The directory of the move; locked.
        change: Asks the node for a change, and checks that it was made.
        move: As it is written down, or is to be.
        removes: Remove the old friend at the end.
        timeout: Seconds to wait for the new friend's node, in all.
        tell: Is told what is wanted and waited for, each time that this is something else.
    """

    def __init__(
        self,
        session: NodeSession,
        files: MoveFiles,
        change: Callable[[Change], Awaitable[None]],
        move: Move,
        *,
        removes: bool,
        timeout: float,
        tell: Callable[[Move, Unfinished], None],
    ) -> None:
        self._session = session
        self._files = files
        self._change = change
        self._move = move
        self._removes = removes
        self._end = asyncio.get_running_loop().time() + timeout
        self._tell = tell
        self._told: set[Currency] = set()
        self._later: dict[Currency, str] = {}
        self._last: Unfinished | None = None

    @property
    def move(self) -> Move:
        """The move, as it is written down."""
        return self._move

    async def run(self) -> Unfinished | None:
        """
        Carry out all steps that can be carried out.

        Returns:
            What is wanted of persons and waited for; None where the account has moved, and the old friend is gone.

        Raises:
            MoveRefused: As `next_step`.
            RequestRefused: The node did not make a change.
            IoError, StringSerdeError: A file can not be read or written, or is damaged.
            NodeConnectionError, ConnectionClosed: The node does not answer. Begin again.
        """
        while True:
            seen = self._session.version
            step = next_step(self._move, self._session.report, self._papers(), removes=self._removes)
            match step:
                case Done():
                    return None
                case Unfinished():
                    if step != self._last:
                        self._tell(self._move, step)
                        self._last = step
                    if not step.waits or not await self._until_changed(seen):
                        return step
                case Configure(change):
                    await self._change(change)
                case Remove(change):
                    self._tell(self._move, Unfinished((Asked(Wanted.REMOVAL),), ()))  # what is about to be forgiven
                    await self._change(change)
                case Fix():
                    await self._fix()
                case MakeInvoice(currency):
                    self._make_invoice(self._move.of(currency))
                case TellNode(invoice):
                    await self._tell_node(invoice)
                case TakeInvoice(invoice):
                    self._save(replace(self._move.of(invoice.currency), invoices=(invoice,)))
                case Collect(currency, commit):
                    await self._collect(self._move.of(currency), commit)
                case Pay(invoice):
                    await self._pay(invoice)
                case Settle():
                    self._settle()

    # What is known.

    def _papers(self) -> Papers:
        invoices, commits = {}, {}
        for moved in self._move.currencies:
            if moved.is_moved:
                continue
            if moved.balance < 0 and not moved.invoices:
                invoice = self._files.found(INVOICE, moved.currency, "invoice")
                if invoice is not None:
                    invoices[moved.currency] = invoice
            elif moved.balance > 0 and not moved.commits:
                commit = self._files.found(COMMIT, moved.currency, "commit")
                if commit is not None:
                    commits[moved.currency] = commit
        return Papers(invoices, commits, frozenset(self._told), dict(self._later))

    async def _until_changed(self, seen: int) -> bool:
        """Wait until the report has changed, or what the new friend refused may be tried again; False: time is over."""
        left = self._left()
        if left <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, AGAIN_TICKS * self._session.tick_seconds)):
                await self._session.changed(seen)
        self._later = {currency: words for currency, words in self._later.items() if not words}
        return True

    def _left(self) -> float:
        return max(self._end - asyncio.get_running_loop().time(), 0.0)

    async def _has_arrived(self, moved: MovedCurrency) -> bool:
        """Whether the new friend has paid our invoice and we have collected: by the history, where the node has one."""
        if not moved.invoices:
            return False
        if Extension.HISTORY not in self._session.extensions:
            ledger = ledger_with(self._session.report, self._move.new, moved.currency)
            return ledger is not None and ledger.balance == moved.balance  # there was no balance before
        wanted = build_filter(self._move.new, moved.currency, (EntryKind.RECEIVED,), None, None)
        received = 0
        async for entry in read_entries(self._session, 0, wanted, follow=False):
            if entry.opt_invoice_id == moved.invoices[0].invoice_id:
                received += entry.amount
        return received == moved.amount

    # Steps.

    def _save(self, moved: MovedCurrency) -> None:
        self._keep(self._move.with_currency(moved))

    def _keep(self, move: Move) -> None:
        self._files.save(move)
        self._move = move

    async def _fix(self) -> None:
        try:
            self._keep(fix_balances(self._move, self._session.report))
        except MoveRefused:
            await self._change(enable_friend(self._move.old))
            self._files.forget()
            raise

    def _make_invoice(self, moved: MovedCurrency) -> None:
        us = self._session.report.local_public_key
        invoice = Invoice(InvoiceId(os.urandom(InvoiceId.SIZE)), moved.currency, us, moved.amount)
        self._save(replace(moved, invoices=(invoice,)))

    async def _tell_node(self, invoice: Invoice) -> None:
        moved = self._move.of(invoice.currency)
        if await self._has_arrived(moved):  # somebody has collected with another command
            self._save(replace(moved, is_moved=True))
            return
        await self._session.request(AddInvoice(invoice.invoice_id, invoice.currency, invoice.dest_payment))
        self._files.keep(INVOICE, self._files.path(invoice.currency, "invoice"), invoice)
        self._told.add(invoice.currency)

    async def _collect(self, moved: MovedCurrency, commit: Commit) -> None:
        collecting = replace(moved, commits=(commit,))
        self._save(collecting)
        if not await self._has_arrived(collecting):
            await self._session.request(CommitInvoice(commit))
        if await self._has_arrived(collecting):
            self._save(replace(collecting, is_moved=True))
        else:
            self._later[moved.currency] = f"{self._move.new_name} to take note that {moved.currency} was collected"

    async def _pay(self, invoice: Invoice) -> None:
        currency, journal = invoice.currency, self._files.journal
        commit_path = self._files.path(currency, "commit")
        entry = next((entry for entry in journal.unfinished() if entry.invoice == invoice), None)
        if entry is None:
            receipt = journal.receipt_for(invoice.invoice_id)
            if receipt is not None:
                self._paid(invoice, receipt)
                return
            commit_path.unlink(missing_ok=True)  # of a payment that came to nothing
        options = PayOptions(timeout=None, routes=direct_route(self._session.report.local_public_key, self._move.new))
        payment = (
            Payment(self._session, journal, invoice, options)
            if entry is None
            else Payment.resume(self._session, journal, entry, options, go_on=True)
        )
        task = asyncio.ensure_future(payment.run())
        try:
            await self._see_through(payment, commit_path)
        except TimeoutError:
            has_commit = commit_path.exists()
            self._later[currency] = "" if has_commit else f"{self._move.new_name} to answer the payment of {currency}"
        except (PaymentFailed, PaymentEndUnknown) as error:
            if isinstance(error, AlreadyPaid) and error.receipt is not None:
                self._paid(invoice, error.receipt)
            else:
                self._later[currency] = (
                    f"{self._move.new_name} to take {invoice.dest_payment} {currency}: it has to open the currency, to "
                    f"let us owe so much, and to have the invoice open ({error})"
                )
        finally:
            with contextlib.suppress(TimeoutError, OffsetError):
                if payment.state not in (PaymentState.SENDING, PaymentState.COMMITTED):
                    await payment.ended(CLOSE_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _see_through(self, payment: Payment, commit_path: Path) -> None:
        """From the search for a commit to the receipt; not further than the commit, where that was not there before."""
        invoice = payment.invoice
        commit = await payment.commit(self._left())
        if not commit_path.exists():
            self._files.keep(COMMIT, commit_path, commit)
            self._later[invoice.currency] = ""
            return
        receipt = await payment.receipt(min(self._left(), RECEIPT_SECONDS))
        with contextlib.suppress(TimeoutError):
            await payment.ended(CLOSE_SECONDS)  # the node has heard that we have the receipt
        self._paid(invoice, receipt)

    def _paid(self, invoice: Invoice, receipt: Receipt) -> None:
        self._files.keep(RECEIPT, self._files.path(invoice.currency, "receipt"), receipt)
        self._save(replace(self._move.of(invoice.currency), is_moved=True))

    def _settle(self) -> None:
        for key, name in ((self._move.old, "old"), (self._move.new, "new")):
            token = self._session.report.friends[key].opt_last_incoming_move_token
            if token is not None:
                self._files.replace(FRIEND_TOKEN, self._files.directory / f"{name}.token", token)
        self._keep(replace(self._move, is_settled=True))
