"""Asking for a payment, and how an invoice stands."""

from typing import Final

import msgspec

from offset_ctrl.web import forms, invoice_forms
from offset_ctrl.web.api import selling
from offset_ctrl.web.invoice_book import InvoiceRow, InvoiceState
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.wallet.home import item_path
from offset_ctrl.web.wallet.taking import take_amount, take_commit
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Saved, Shown, Visit
from offset_proto.entered import parse_currency
from offset_proto.files import COMMIT, INVOICE
from offset_proto.message_json import parse_json
from offset_proto.text import format_b64
from offset_proto.uri import format_uri

__all__ = ["pages"]

pages = Pages()

ENDS: Final = {"hour": 3600, "day": 86400, "week": 7 * 86400, "never": None}
"""When a request ends, by what the form says."""


@pages.page("/wallet/{node}/ask")
async def show_ask(visit: Visit) -> Answer:
    """Where a request is made."""
    return Shown("ask.html", {"currencies": visit.currencies})


@pages.form("/wallet/{node}/ask", show_ask)
async def ask(visit: Visit) -> Answer:
    """Make a request."""
    visit.check_key()
    amount = take_amount(visit.text("amount"), "the amount")
    if not amount:
        raise rejection(400, "InvalidInput", "the amount is at least 1")
    currency, note = parse_currency(visit.text("currency")), visit.text("note")
    if visit.text("end") not in ENDS:
        raise rejection(400, "InvalidInput", "choose when the request ends")
    wanted = invoice_forms.NewInvoice(
        currency=str(currency), amount=str(amount), expires_in=ENDS[visit.text("end")], description=note or None
    )
    made, _ = await selling.create_invoice(visit.call, wanted)
    return Gone(item_path(visit.web_node, "invoices", made.invoice.invoice_id))


def _row(visit: Visit) -> InvoiceRow:
    row = visit.desk.invoice_book.find(visit.call.path["invoice_id"])
    if row is None or row.node != visit.web_node.key:
        raise rejection(404, "UnknownInvoice", "there is no such request here")
    return row


@pages.page("/wallet/{node}/invoices/{invoice_id}")
async def show_invoice(visit: Visit) -> Answer:
    """A request to hand over, and whether it is paid."""
    row = _row(visit)
    # Where the node can not be asked, the page says what is written down.
    known = None if visit.web_node.reach.away is not None else await selling.report(visit.call, row)
    values = {
        "row": row,
        "state": row.state.value if known is None else known.state,
        "arrived": 0 if known is None else int(known.arrived or 0),
        "request": (request := selling.request_of(visit.desk, row)),
        "text": format_uri(request),
        "checkout": selling.checkout_address(visit.desk, row),
        "is_own": row.owner == visit.call.visitor.owner,
    }
    return Shown("invoice.html", values)


@pages.page("/wallet/{node}/invoices/{invoice_id}/file")
async def save_invoice(visit: Visit) -> Answer:
    """The request as a file, which holds the invoice alone."""
    row = _row(visit)
    return Saved(f"request-{format_b64(row.invoice.invoice_id)}.invoice", INVOICE.format(row.invoice))


@pages.form("/wallet/{node}/invoices/{invoice_id}/commit", show_invoice)
async def accept(visit: Visit) -> Answer:
    """Collect with what the buyer has handed over."""
    row = _row(visit)
    commit = take_commit(visit.text("text"))
    if commit.invoice_id != row.invoice.invoice_id:
        raise rejection(400, "InvalidProof", "this pays another request than the one on this page")
    await selling.accept_commit(visit.call, msgspec.convert(parse_json(COMMIT.format(commit)), forms.CommitForm))
    return Gone(item_path(visit.web_node, "invoices", format_b64(row.invoice.invoice_id)))


@pages.form("/wallet/{node}/invoices/{invoice_id}/cancel", show_invoice)
async def cancel(visit: Visit) -> Answer:
    """Expect the payment no more."""
    row = _row(visit)
    if row.state is InvoiceState.OPEN:
        await selling.cancel_invoice(visit.call)
    return Gone(item_path(visit.web_node, "invoices", format_b64(row.invoice.invoice_id)))
