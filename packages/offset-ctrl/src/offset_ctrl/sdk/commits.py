"""
The commits that the invoices of an app were paid with, and those who wait for them.

A seller's app has a part that gets the buyer's commit and a part that waits for the payment. Either of them may come
first, and the two need not know each other. They meet here, for as long as the app runs. Nothing of it is stored: what
was collected is in the node's balances.
"""

import asyncio
from collections import Counter
from typing import Final

from offset_ctrl.sdk.payment import PaymentFailed
from offset_proto.messages.payment import Commit
from offset_proto.types import InvoiceId

__all__ = ["COMMITS_KEPT_MAX", "Commits"]

COMMITS_KEPT_MAX: Final = 10_000
"""Invoices that are remembered, for those who ask late. Beyond that, a new one takes the place of the oldest that has
its commit; those that wait for theirs are kept."""


class Commits:
    """For each invoice the commit that was accepted, or those who wait for one."""

    def __init__(self) -> None:
        self._futures: dict[InvoiceId, asyncio.Future[Commit]] = {}
        self._waiting: Counter[InvoiceId] = Counter()

    async def wait_for(self, invoice_id: InvoiceId) -> Commit:
        """
        Wait until a commit was accepted for an invoice.

        Raises:
            PaymentFailed: The invoice was cancelled meanwhile.
        """
        future = self._future(invoice_id)
        self._waiting[invoice_id] += 1
        try:
            return await asyncio.shield(future)
        finally:
            self._waiting[invoice_id] -= 1
            if not self._waiting[invoice_id]:
                del self._waiting[invoice_id]
                if not future.done() and self._futures.get(invoice_id) is future:
                    del self._futures[invoice_id]  # whoever waited has gone, and nothing has come

    def accept(self, invoice_id: InvoiceId, commit: Commit) -> None:
        """Give a commit to those who wait for it, now or later; the first one of an invoice counts."""
        future = self._future(invoice_id)
        if not future.done():
            future.set_result(commit)

    def cancel(self, invoice_id: InvoiceId) -> None:
        """Let those who wait know that no commit will come, and forget the invoice."""
        future = self._futures.pop(invoice_id, None)
        if future is not None and not future.done():
            future.set_exception(PaymentFailed("the invoice was cancelled"))
            future.exception()  # seen, also where nobody waits

    def _future(self, invoice_id: InvoiceId) -> "asyncio.Future[Commit]":
        if invoice_id not in self._futures:
            if len(self._futures) >= COMMITS_KEPT_MAX:
                done = (key for key, future in self._futures.items() if future.done())
                self._futures.pop(next(done, invoice_id), None)
            self._futures[invoice_id] = asyncio.get_running_loop().create_future()
        return self._futures[invoice_id]
