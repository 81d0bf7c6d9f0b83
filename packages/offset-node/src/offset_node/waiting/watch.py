"""
What the engine of a node asks this room: one place for times, ends, and those who follow. Pure. Spec 12.

==================  =========================================================================================
the engine calls    when
==================  =========================================================================================
`tick`              a tick has passed: what has come to its end, what is to be stored, what is to be said
`follow`            an app asks for what is open, or whom the node waits for: the snapshot
`observe`           an event was handled
`changes`           a batch is through: what those who follow are told
`stop_following`    nobody follows any more: nothing is kept for it
==================  =========================================================================================

While nobody follows, `observe` does nothing.
"""

from collections.abc import Iterable, Mapping

from offset_funder.effects import SendToApps
from offset_funder.engine import Funder, Outcome
from offset_funder.events import AppRequested, Event, InvoiceExpired
from offset_node.state import NodeState
from offset_node.waiting.ends import InvoiceEnds
from offset_node.waiting.invoices import OpenInvoicesView
from offset_node.waiting.payments import OpenPaymentsView
from offset_node.waiting.times import Looked, PendingTimes
from offset_node.waiting.unheard import UnheardView
from offset_proto.messages.app import Failure, TransactionResult
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    OpenInvoices,
    OpenPayments,
    UnheardFriends,
)
from offset_proto.types import U64, Currency, InvoiceId, Uid

__all__ = ["WaitingWatch"]

Waiting = OpenPayments | OpenInvoices | UnheardFriends


class WaitingWatch:
    """
    What waits at one node.

    Args:
        state: As stored.
        now: Seconds since 1970.

    Attributes:
        now: As of the last tick; the time of whatever happens before the next one.
    """

    def __init__(self, state: NodeState, now: U64) -> None:
        self.now = now
        self._times = PendingTimes(state.pending_since)
        self._ends = InvoiceEnds(state.funder.open_invoices)
        self._payments: OpenPaymentsView | None = None
        self._invoices: OpenInvoicesView | None = None
        self._unheard: UnheardView | None = None

    @property
    def long_pending(self) -> int:
        """Requests whose credits have been frozen for more than an hour."""
        return self._times.long_pending

    @property
    def currencies(self) -> Mapping[InvoiceId, Currency]:
        """Of the invoices that the last snapshot, or the last changes, name as ended or collected."""
        return {} if self._invoices is None else self._invoices.currencies

    def tick(self, funder: Funder, now: U64) -> tuple[list[InvoiceExpired], Looked]:
        """It is *now*: invoices that have come to their end, and what is to be stored and said."""
        self.now = now
        due = self._ends.due(now, funder.state.open_invoices)
        return [InvoiceExpired(invoice_id, now) for invoice_id in due], self._times.look(funder.state, now)

    def follow(self, request: FollowPayments | FollowInvoices | FollowUnheard, funder: Funder) -> Waiting:
        """How it is now, for an app that will be told of each change."""
        if isinstance(request, FollowUnheard):
            self._unheard = self._unheard or UnheardView()
            return self._unheard.snapshot(funder.state)
        if isinstance(request, FollowPayments):
            self._payments = self._payments or OpenPaymentsView(funder.state, self._times)
            return self._payments.snapshot(funder.state, self.now)
        self._invoices = self._invoices or OpenInvoicesView(funder.state, self._times)
        return self._invoices.snapshot(funder.state, funder.open_requests, self.now)

    def stop_following(self, kind: type[Waiting]) -> None:
        """No app is to be told of changes of this kind."""
        if kind is OpenPayments:
            self._payments = None
        elif kind is OpenInvoices:
            self._invoices = None
        else:
            self._unheard = None

    def observe(self, funder: Funder, event: Event | None, outcome: Outcome) -> None:
        """An event was handled; None: the tokens were made that several events share."""
        if isinstance(event, AppRequested) and isinstance(event.request, AddExpiringInvoice):
            invoice = funder.state.open_invoices.get(event.request.invoice_id)
            if invoice is not None and invoice.opt_end is not None:
                self._ends.add(invoice.opt_end, event.request.invoice_id)
        if self._payments is not None:
            self._payments.observe(funder.state, self.now, outcome.mutations, frozenset(_failed(outcome)))
        if self._invoices is not None:
            self._invoices.observe(outcome.mutations, outcome.occurrences)
        if self._unheard is not None:
            self._unheard.observe(outcome.mutations)

    def changes(self, funder: Funder) -> list[Waiting]:
        """What has changed of what is followed since the last call."""
        found = (
            None if self._payments is None else self._payments.changes(funder.state, self.now),
            None if self._invoices is None else self._invoices.changes(funder.state, funder.open_requests, self.now),
            None if self._unheard is None else self._unheard.changes(funder.state),
        )
        return [message for message in found if message is not None]


def _failed(outcome: Outcome) -> Iterable[Uid]:
    for effect in outcome.effects:
        match effect:
            case SendToApps(TransactionResult(request_id, Failure())):
                yield request_id
