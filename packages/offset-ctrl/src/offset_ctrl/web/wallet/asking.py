"""Asking for a payment, and how an invoice stands."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import msgspec

from offset_ctrl.rules.open_reports import InvoiceEnding
from offset_ctrl.rules.shortfall import describe_shortfall
from offset_ctrl.sdk.collecting import last_place
from offset_ctrl.sdk.history import last_before
from offset_ctrl.web import forms, invoice_forms, settling
from offset_ctrl.web.api import selling
from offset_ctrl.web.invoice_book import InvoiceRow, InvoiceState
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.wallet.expecting import expected_of, find_open
from offset_ctrl.web.wallet.home import item_path
from offset_ctrl.web.wallet.taking import take_amount, take_commit
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Saved, Shown, Visit
from offset_proto.entered import parse_currency
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.message_json import parse_json
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import InvoiceId
from offset_proto.uri import format_uri
from offset_proto.web_address import parse_web_address

__all__ = ["pages"]

pages = Pages()

ENDS: Final = {"hour": 3600, "day": 86400, "week": 7 * 86400, "never": None}
"""When a request ends, by what the form says."""


EXPECTED_SHOWN: Final = 100

REMEMBERED_SECONDS: Final = 30 * 86400
"""So far back the history is searched for what has become of a request that was made elsewhere."""


@pages.page("/wallet/{node}/ask")
async def show_ask(visit: Visit) -> Answer:
    """Where a request is made, and collected; and what waits to be paid."""
    expected, number = await expected_of(visit, EXPECTED_SHOWN)
    return Shown("ask.html", {"currencies": visit.currencies, "expected": expected, "number": number})


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


@pages.form("/wallet/{node}/collect", show_ask)
async def collect(visit: Visit) -> Answer:
    """Collect with what a buyer has handed over, whichever request of the node it pays."""
    commit, node = take_commit(visit.text("commit")), visit.web_node
    name = format_b64(commit.invoice_id)
    row = visit.desk.invoice_book.find(name)
    if row is not None and row.node == node.key:
        await settling.collect(visit.desk, node, row, commit)
        return Gone(item_path(node, "invoices", name))
    report = await find_open(visit, commit.invoice_id)
    if report is None:
        detail = "this pays no request that is open at your node; perhaps it was collected or cancelled, or has ended"
        raise rejection(404, "UnknownInvoice", detail)
    amount = report.total_dest_payment
    invoice = Invoice(commit.invoice_id, report.currency, node.node.public_key, amount)
    await node.node.accept_commit(invoice, commit)
    return Gone(item_path(node, "requests", name))


@pages.page("/wallet/{node}/requests/{invoice_id}")
async def show_elsewhere(visit: Visit) -> Answer:
    """A request that was not made here, as the node knows it."""
    visit.check_reached()
    invoice_id = parse_b64(InvoiceId, visit.call.path["invoice_id"])
    report = await find_open(visit, invoice_id)
    if report is None and not await _was_collected(visit, invoice_id):
        raise rejection(404, "UnknownInvoice", "this request is not open at your node, or is no more")
    return Shown(
        "elsewhere.html",
        {"report": report, "name": format_b64(invoice_id), "has_history": visit.keeps_history},
    )


async def _was_collected(visit: Visit, invoice_id: InvoiceId) -> bool:
    """Whether the history of late tells that it was; for that, the whole history is not searched."""
    if not visit.keeps_history:
        return False
    since = datetime.fromtimestamp(visit.desk.database.now() - REMEMBERED_SECONDS, UTC)
    session = visit.web_node.session
    place = replace(await last_place(session), number=await last_before(session, since))
    endings = await visit.web_node.node.invoice_endings({invoice_id: place})
    return endings[invoice_id] is InvoiceEnding.COLLECTED


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
    wanted, is_open = row.invoice, known is not None and known.state == "open"
    report = visit.web_node.node.report
    values = {
        "row": row,
        "state": row.state.value if known is None else known.state,
        "is_proved": _row(visit).is_proved,
        "lacks": describe_shortfall(report, wanted.currency, wanted.dest_payment) if is_open else None,
        "arrived": 0 if known is None else int(known.arrived or 0),
        "request": (request := selling.request_of(visit.desk, row)),
        "text": format_uri(request),
        "checkout": (checkout := selling.checkout_address(visit.desk, row)),
        "is_here_only": checkout is not None and parse_web_address(checkout, "the page").is_here,
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
