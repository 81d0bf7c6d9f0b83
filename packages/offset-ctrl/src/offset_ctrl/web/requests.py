"""
What payments were for: the requests to pay that people have made and been given in the wallet.

The book of payments and that of invoices hold what nodes know. A request says more (spec 13): what the payment is for,
and until when. So its text is kept beside them, by the id of the invoice, for as long as they are.
"""

from typing import Final

from offset_ctrl.web.database import Database
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.text import format_b64
from offset_proto.uri import PaymentRequest, format_uri, parse_uri_of

__all__ = ["Requests"]

REQUESTS_MAX: Final = 200_000
"""With more, the oldest go."""


class Requests:
    """The requests of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, request: PaymentRequest) -> None:
        """Keep a request for later pages. The first one for an invoice stays: it is what the owner has seen."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO requests (invoice_id, text, created) VALUES (?, ?, ?)",
                (format_b64(request.invoice.invoice_id), format_uri(request), self._database.now()),
            )
            connection.execute("DELETE FROM requests WHERE id <= (SELECT max(id) FROM requests) - ?", (REQUESTS_MAX,))

    def of(self, invoice: Invoice) -> PaymentRequest:
        """The request for an invoice; the bare invoice, where none was kept."""
        return self.find(invoice) or PaymentRequest(invoice)

    def find(self, invoice: Invoice) -> PaymentRequest | None:
        """The request for an invoice; None: none was kept."""
        query = "SELECT text FROM requests WHERE invoice_id = ?"
        row = self._database.ask_one(query, format_b64(invoice.invoice_id))
        if row is not None:
            try:
                kept = parse_uri_of(PaymentRequest, row["text"])
            except InvalidInput:
                return None
            if kept.invoice == invoice:
                return kept
        return None
