"""
The open invoices, as an app that follows them is told. Pure. Spec 12 §3.

Contract: `observe` gets the mutations of each event, `changes` is called when a batch is through. Each answer is what
the state says then, so an invoice that changed several times in a batch is told once.

An app that has sent a commit learns from the acknowledgement only that the node has dealt with it: the invoice may have
come to its end just before. So those who follow are told which invoices were collected. One who was not connected in
that moment gets it from the snapshot, for as long as a collect waits for the token that carries it, and from the
history afterwards, whose entry is stored with that token. Between these two there is no gap.
"""

from collections.abc import Iterable, Iterator

from offset_funder.effects import InvoicePaid, Occurrence
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
from offset_funder.state import Consistent, FunderState, OpenInvoice
from offset_node.waiting.times import PendingTimes
from offset_proto.messages.extensions import OpenInvoiceReport, OpenInvoices
from offset_proto.messages.friend import CollectSendFundsOp
from offset_proto.types import U64, Currency, InvoiceId

__all__ = ["OpenInvoicesView"]


class OpenInvoicesView:
    """
    What is told of the invoices of one node.

    Args:
        state: As it is now.
        times: Since when transactions have been there.

    Attributes:
        currencies: Of the invoices that the last answer names as ended or collected. It has no more than their ids, and
            an app may be one that sees some currencies only.
    """

    def __init__(self, state: FunderState, times: PendingTimes) -> None:
        self.currencies: dict[InvoiceId, Currency] = {}
        self._times = times
        self._known = {invoice_id: invoice.currency for invoice_id, invoice in state.open_invoices.items()}
        self._changed: dict[InvoiceId, None] = {}
        self._collected: set[InvoiceId] = set()
        self._is_all_changed = False

    def snapshot(self, state: FunderState, open_requests: OpenRequests, now: U64) -> OpenInvoices:
        """All open invoices."""
        reports = [self._report(state, open_requests, now, *item) for item in state.open_invoices.items()]
        self.currencies = dict(_being_collected(state))
        return OpenInvoices(True, tuple(reports), (), tuple(self.currencies))

    def observe(self, mutations: Iterable[Mutation], occurrences: Iterable[Occurrence]) -> None:
        """An event has changed the state."""
        self._collected |= {each.invoice_id for each in occurrences if isinstance(each, InvoicePaid)}
        for mutation in mutations:
            if isinstance(mutation, AddInvoice):
                self._known[mutation.invoice_id] = mutation.currency
            match mutation:
                case AddInvoice() | AddIncomingTransaction() | RemoveIncomingTransaction() | RemoveInvoice():
                    self._changed[mutation.invoice_id] = None
                case FriendMutation(_, SetInconsistent()) | RemoveFriend():
                    self._is_all_changed = True  # what came over that channel is gone

    def changes(self, state: FunderState, open_requests: OpenRequests, now: U64) -> OpenInvoices | None:
        """What has changed since the last answer; None where nothing has."""
        changed = [*self._changed, *(state.open_invoices if self._is_all_changed else ())]
        collected = self._collected
        self._changed, self._collected, self._is_all_changed, self.currencies = {}, set(), False, {}
        if not changed:
            return None
        reports, ended = [], []
        for invoice_id in dict.fromkeys(changed):
            invoice = state.open_invoices.get(invoice_id)
            if invoice is None:
                ended.append(invoice_id)
            else:
                reports.append(self._report(state, open_requests, now, invoice_id, invoice))
        self.currencies = {each: self._known.pop(each) for each in ended if each in self._known}
        return OpenInvoices(False, tuple(reports), tuple(ended), tuple(filter(collected.__contains__, ended)))

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


def _being_collected(state: FunderState) -> Iterator[tuple[InvoiceId, Currency]]:
    """The invoices of which a collect is queued for a friend, and their currencies."""
    for friend in state.friends.values():
        if not isinstance(friend.channel, Consistent):
            continue
        ledgers = friend.channel.token_channel.ledgers
        for currency, operation in friend.channel.pending_backwards_ops:
            ledger = ledgers.get(currency)
            if isinstance(operation, CollectSendFundsOp) and ledger is not None:
                transaction = ledger.pending_remote.get(operation.request_id)
                if transaction is not None and not transaction.route:  # others only pass through us
                    yield transaction.invoice_id, currency
