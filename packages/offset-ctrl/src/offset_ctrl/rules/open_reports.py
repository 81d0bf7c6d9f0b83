"""
The payments and invoices that a node says are open, kept up to date. Spec 12 §3. Pure.

A node tells everything once, in a snapshot, and then each change. `OpenReports` takes both and holds what is open now.
It outlives a connection: the snapshot of the next one takes the place of all that was known, so that nothing which
ended meanwhile is left, and nothing that was missed is missing.

A part that has ended is told once more, with its end, and not again. It is kept with its payment until the payment
is told again, so whoever looks after each message sees every end; `waiting_parts` leaves it out.

Of an invoice one has to know how it ended, if one has just sent its commit. `InvoiceReports.watch` follows one:

    OPEN --- a change names it as collected, or a snapshot does --> COLLECTED
      |----- a change says that it has ended, and not as collected --> NOT_COLLECTED
      '----- a snapshot does not name it at all -------------------> UNKNOWN

The last one comes about where a connection was lost in between: the history has the answer then.
"""

import enum
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from offset_proto.messages.extensions import (
    OpenInvoiceReport,
    OpenInvoices,
    OpenPaymentReport,
    OpenPayments,
    PartReport,
    PartStateReport,
)
from offset_proto.types import InvoiceId, PaymentId

__all__ = [
    "InvoiceEnding",
    "InvoiceReports",
    "OpenReports",
    "WatchedInvoice",
    "apply_payments",
    "oldest_invoices",
    "oldest_payments",
    "waiting_parts",
]

ENDS: Final = frozenset({PartStateReport.COLLECTED, PartStateReport.CANCELLED})

Key = TypeVar("Key")
Report = TypeVar("Report")


class OpenReports(Generic[Key, Report]):
    """
    What is open, by its id; empty at first.

    Attributes:
        reports: What was said last of each.
        snapshots: How many snapshots have arrived; before the first one, nothing is known.
        version: Counts the messages.
        is_stale: What is known comes from an earlier connection; set by whoever connects, until the next snapshot.
    """

    def __init__(self) -> None:
        self.reports: dict[Key, Report] = {}
        self.snapshots = 0
        self.version = 0
        self.is_stale = False

    def apply(
        self, reports: Iterable[Report], key: Callable[[Report], Key], ended: Iterable[Key], *, is_snapshot: bool
    ) -> None:
        """Take a message of the node; what ended without having been known is no fault."""
        if is_snapshot:
            self.reports.clear()
            self.snapshots += 1
            self.is_stale = False
        self.reports |= {key(report): report for report in reports}
        for gone in ended:
            self.reports.pop(gone, None)
        self.version += 1


class InvoiceEnding(enum.Enum):
    """How an invoice has ended, as far as a node has said."""

    OPEN = "open"
    COLLECTED = "collected"
    NOT_COLLECTED = "not collected"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class WatchedInvoice:
    """An invoice whose end somebody waits for; *ending* says what is known by now."""

    invoice_id: InvoiceId
    ending: InvoiceEnding = InvoiceEnding.OPEN


class InvoiceReports(OpenReports[InvoiceId, OpenInvoiceReport]):
    """The invoices that are open, and how those have ended that somebody watches."""

    def __init__(self) -> None:
        super().__init__()
        self._watched: list[WatchedInvoice] = []

    @contextmanager
    def watch(self, invoice_id: InvoiceId) -> Iterator[WatchedInvoice]:
        """Take note of how an invoice ends, for the length of a ``with`` block."""
        watched = WatchedInvoice(invoice_id)
        self._watched.append(watched)
        try:
            yield watched
        finally:
            self._watched = [each for each in self._watched if each is not watched]

    def take(self, message: OpenInvoices) -> None:
        """Take what a node says of its invoices."""
        self.apply(message.invoices, lambda each: each.invoice_id, message.ended, is_snapshot=message.is_snapshot)
        for watched in self._watched:
            if watched.ending in (InvoiceEnding.OPEN, InvoiceEnding.UNKNOWN):
                watched.ending = self._ending_by(message, watched)

    def _ending_by(self, message: OpenInvoices, watched: WatchedInvoice) -> InvoiceEnding:
        if watched.invoice_id in message.collected:
            return InvoiceEnding.COLLECTED
        if message.is_snapshot:
            return InvoiceEnding.OPEN if watched.invoice_id in self.reports else InvoiceEnding.UNKNOWN
        return InvoiceEnding.NOT_COLLECTED if watched.invoice_id in message.ended else watched.ending


def apply_payments(known: OpenReports[PaymentId, OpenPaymentReport], message: OpenPayments) -> None:
    """Take what a node says of its payments."""
    known.apply(message.payments, lambda payment: payment.payment_id, message.ended, is_snapshot=message.is_snapshot)


def waiting_parts(payment: OpenPaymentReport) -> tuple[PartReport, ...]:
    """The parts of a payment that have no end yet."""
    return tuple(part for part in payment.parts if part.state not in ENDS)


def oldest_payments(known: OpenReports[PaymentId, OpenPaymentReport]) -> tuple[OpenPaymentReport, ...]:
    """All that are open, the one that has waited longest first; those of which nothing waits come last."""

    def age(payment: OpenPaymentReport) -> tuple[float, PaymentId]:
        moments = [part.since for part in waiting_parts(payment)]
        return min(moments, default=float("inf")), payment.payment_id

    return tuple(sorted(known.reports.values(), key=age))


def oldest_invoices(known: InvoiceReports) -> tuple[OpenInvoiceReport, ...]:
    """All that are open, the one that credits have waited for longest first; those that nothing came for come last."""
    return tuple(
        sorted(
            known.reports.values(),
            key=lambda invoice: (invoice.since if invoice.parts else float("inf"), invoice.invoice_id),
        )
    )
