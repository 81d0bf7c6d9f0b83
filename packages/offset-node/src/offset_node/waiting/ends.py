"""
Invoices with an end, in the order of their ends. Pure. Spec 12 §4.

Contract: call `add` for each invoice with an end, once it is open, and `due` with each tick. What `due` answers may be
over already: whoever cancels looks at the invoice first.
"""

import heapq
from collections.abc import Mapping

from offset_funder.state import OpenInvoice
from offset_proto.types import U64, InvoiceId

__all__ = ["InvoiceEnds"]


class InvoiceEnds:
    """
    The ends that have not come.

    Args:
        invoices: Those that are open when the node starts.
    """

    def __init__(self, invoices: Mapping[InvoiceId, OpenInvoice]) -> None:
        self._heap: list[tuple[U64, InvoiceId]] = []
        self._build(invoices)

    def _build(self, invoices: Mapping[InvoiceId, OpenInvoice]) -> None:
        ends = [(invoice.opt_end, invoice_id) for invoice_id, invoice in invoices.items()]
        self._heap = [(end, invoice_id) for end, invoice_id in ends if end is not None]
        heapq.heapify(self._heap)

    def add(self, end: U64, invoice_id: InvoiceId) -> None:
        """An invoice is open until *end*."""
        heapq.heappush(self._heap, (end, invoice_id))

    def due(self, now: U64, invoices: Mapping[InvoiceId, OpenInvoice]) -> list[InvoiceId]:
        """
        The invoices whose end has come by *now*.

        Args:
            now: Seconds since 1970.
            invoices: Those that are open. Where most of what was added is not among them any more, since it was paid
                long before its end, the rest is forgotten here.
        """
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[1])
        if len(self._heap) > 2 * len(invoices) + 64:
            self._build(invoices)
        return found
