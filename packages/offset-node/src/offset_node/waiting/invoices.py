"""
The open invoices, as an app that follows them is told. Pure. Spec 12 §3.

Contract: `observe` gets the mutations of each event, `changes` is called when a batch is through. Each answer is what
the state says then, so an invoice that changed several times in a batch is told once.
"""

from collections.abc import Iterable

from offset_funder.ledger import Side
from offset_funder.mutations import (
    AddIncomingTransaction,
    AddInvoice,
    FriendMutation,
    Mutation,
    RemoveFriend,
    RemoveIncomingTransaction,
    RemoveInvoice,
    SetInconsistent,
)
from offset_funder.open_requests import OpenRequests
from offset_funder.seller import incoming_transaction
from offset_funder.state import FunderState, OpenInvoice
from offset_node.waiting.times import PendingTimes
from offset_proto.messages.extensions import OpenInvoiceReport, OpenInvoices
from offset_proto.types import U64, InvoiceId

__all__ = ["OpenInvoicesView"]


class OpenInvoicesView:
    """
    What is told of the invoices of one node.

    Args:
        times: Since when transactions have been there.
    """

    def __init__(self, times: PendingTimes) -> None:
        self._times = times
        self._changed: dict[InvoiceId, None] = {}
        self._is_all_changed = False

    def snapshot(self, state: FunderState, open_requests: OpenRequests, now: U64) -> OpenInvoices:
        """All open invoices."""
        reports = [self._report(state, open_requests, now, *item) for item in state.open_invoices.items()]
        return OpenInvoices(True, tuple(reports), ())

    def observe(self, mutations: Iterable[Mutation]) -> None:
        """An event has changed the state."""
        for mutation in mutations:
            match mutation:
                case AddInvoice() | AddIncomingTransaction() | RemoveIncomingTransaction() | RemoveInvoice():
                    self._changed[mutation.invoice_id] = None
                case FriendMutation(_, SetInconsistent()) | RemoveFriend():
                    self._is_all_changed = True  # what came over that channel is gone

    def changes(self, state: FunderState, open_requests: OpenRequests, now: U64) -> OpenInvoices | None:
        """What has changed since the last answer; None where nothing has."""
        changed = [*self._changed, *(state.open_invoices if self._is_all_changed else ())]
        self._changed, self._is_all_changed = {}, False
        if not changed:
            return None
        reports, ended = [], []
        for invoice_id in dict.fromkeys(changed):
            invoice = state.open_invoices.get(invoice_id)
            if invoice is None:
                ended.append(invoice_id)
            else:
                reports.append(self._report(state, open_requests, now, invoice_id, invoice))
        return OpenInvoices(False, tuple(reports), tuple(ended))

    def _report(
        self, state: FunderState, open_requests: OpenRequests, now: U64, invoice_id: InvoiceId, invoice: OpenInvoice
    ) -> OpenInvoiceReport:
        arrived, times = 0, []
        for request_id in invoice.incoming_transactions:
            source = open_requests.source(invoice.currency, request_id)
            transaction = incoming_transaction(state, open_requests, invoice.currency, request_id)
            if source is not None and transaction is not None:
                arrived += transaction.dest_payment
                times.append(self._times.since((source, invoice.currency, Side.REMOTE, request_id), now))
        return OpenInvoiceReport(
            invoice_id,
            invoice.currency,
            invoice.total_dest_payment,
            arrived,
            len(times),
            min(times, default=0),
            invoice.opt_end,
        )
