"""Invoices: made, paid, cancelled."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from offset_ctrl.rules.shortfall import describe_shortfall
from offset_ctrl.sdk.collecting import last_place
from offset_ctrl.web import forms, invoice_forms, views
from offset_ctrl.web.api.waiting import WaitSeconds, wait_until
from offset_ctrl.web.desk import Desk
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.guard import CHECKOUT_PATH
from offset_ctrl.web.invoice_book import InvoiceRow, InvoiceState
from offset_ctrl.web.operations import Call, Section
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.purposes import note_purpose
from offset_ctrl.web.settling import cancel, collect, settle
from offset_proto.entered import parse_currency
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.messages.extensions import Extension, OpenInvoiceReport
from offset_proto.text import format_b64
from offset_proto.types import InvoiceId
from offset_proto.uri import PaymentRequest
from offset_proto.web_address import parse_web_address

__all__ = ["checkout_address", "report", "request_of", "section"]

CHECKOUT_BYTES: Final = 24
"""Random ones, in the name of a page for a buyer."""

section = Section("selling", "Invoices, and the commits with which they are collected.")


class InvoiceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait for the end of an invoice that is open."""

    wait: WaitSeconds = 0


class ChangesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """After which change to begin, and how many."""

    after: forms.Number = 0
    limit: forms.Limit = 100


@section.post("/nodes/{node}/invoices", may=(Scope.ASK,), status=201, takes_key=True)
async def create_invoice(call: Call, body: invoice_forms.NewInvoice) -> tuple[invoice_forms.InvoiceReport, bool]:
    """
    Expect a payment; hand the invoice to the buyer. The same key makes the same invoice, also after a crash.

    Where no friend could bring the amount now, it is made all the same; the header Offset-Hint says what is missing, to
    a token that may read.
    """
    node, book = call.node, call.desk.invoice_book
    amount, currency = views.read_amount(body.amount), parse_currency(body.currency)
    if not amount:
        raise InvalidInput("an invoice is over 1 credit at least")
    wanted = Invoice(InvoiceId(os.urandom(InvoiceId.SIZE)), currency, node.node.public_key, amount)
    PaymentRequest(wanted, body.description)  # says what is wrong before anything is made
    if body.return_to is not None:
        parse_web_address(body.return_to, "return_to")
    page = {"checkout": format_b64(os.urandom(CHECKOUT_BYTES)), "return_to": body.return_to}
    after = await last_place(node.session)
    row, is_new = book.begin(call.visitor, node.key, call.key, wanted, body.expires_in, after, **page)
    if body.description is not None:
        call.desk.requests.keep(PaymentRequest(row.invoice, body.description, call.desk.delivery, row.expires))
    if row.state is InvoiceState.ADDING:
        await _add(call, row, body.expires_in)
    if is_new and call.visitor.grants.has(Scope.READ):
        lacks = describe_shortfall(node.node.report, currency, amount)
        if lacks is not None:
            call.hints.append(lacks)
    return await report(call, _find(call, format_b64(row.invoice.invoice_id))), is_new


async def _add(call: Call, row: InvoiceRow, expires_in: int | None) -> None:
    """
    Have the node expect the payment, once.

    The same request may come twice at once, and the first one may be through, and its invoice collected, before the
    second one asks: the node would expect the same payment again.
    """
    book, wanted, invoice_id = call.desk.invoice_book, row.invoice, format_b64(row.invoice.invoice_id)
    async with call.desk.in_hand.take(invoice_id):
        if book.get(invoice_id).state is not InvoiceState.ADDING:
            return
        await call.node.node.create_invoice(
            wanted.currency, wanted.dest_payment, expires=expires_in, invoice_id=wanted.invoice_id
        )
        await note_purpose(call.node.node, wanted.invoice_id, lambda: request_of(call.desk, row).description)
        book.change(invoice_id, InvoiceState.OPEN)
    call.desk.bell.ring()


@section.get("/nodes/{node}/invoices", may=(Scope.READ, Scope.ASK))
async def list_invoices(call: Call, query: ChangesQuery) -> invoice_forms.InvoiceList:
    """The invoices that were made here, in the order of their last changes."""
    rows = call.desk.invoice_book.after(call.node.key, query.after, query.limit, call.owner)
    next_sequence = rows[-1].sequence if rows else query.after
    return invoice_forms.InvoiceList(invoices=await _reports(call, rows), next=next_sequence)


@section.get("/nodes/{node}/invoices/{invoice_id}", may=(Scope.READ, Scope.ASK))
async def read_invoice(call: Call, query: InvoiceQuery) -> invoice_forms.InvoiceReport:
    """One invoice; with *wait*, as soon as it is not open any more."""
    invoice_id = call.path["invoice_id"]
    _find(call, invoice_id)
    await wait_until(call.desk, query.wait, lambda: _find(call, invoice_id).state is not InvoiceState.OPEN)
    return await report(call, _find(call, invoice_id))


@section.post("/nodes/{node}/invoices/{invoice_id}/commit", may=(Scope.ASK,))
async def accept_commit(call: Call, body: forms.CommitForm) -> invoice_forms.InvoiceReport:
    """Collect a payment with the buyer's commit. The same commit may be sent again."""
    row, commit = _own(call), views.read_commit(body)
    await collect(call.desk, call.node, row, commit)
    return await report(call, _find(call, call.path["invoice_id"]))


@section.delete("/nodes/{node}/invoices/{invoice_id}", may=(Scope.ASK,))
async def cancel_invoice(call: Call) -> None:
    """Expect a payment no more; what is frozen for it goes back to the buyer."""
    await cancel(call.desk, call.node, _own(call))


@section.get("/nodes/{node}/open-invoices", may=(Scope.READ,))
async def list_open_invoices(call: Call) -> list[invoice_forms.OpenInvoice]:
    """The invoices that the node knows, of all apps; the one that has waited longest comes first."""
    return [views.open_invoice_form(each) for each in await call.node.node.open_invoices()]


def _find(call: Call, invoice_id: str) -> InvoiceRow:
    row = call.desk.invoice_book.find(invoice_id)
    if row is None or row.node != call.node.key or call.owner not in (None, row.owner):
        raise rejection(404, "UnknownInvoice", "no such invoice was made here with this token")
    return row


def _own(call: Call) -> InvoiceRow:
    """The invoice of the path, which the token must have made."""
    row = _find(call, call.path["invoice_id"])
    if row.owner != call.visitor.owner:
        raise rejection(404, "UnknownInvoice", "no such invoice was made here with this token")
    return row


async def _open_reports(call: Call) -> dict[InvoiceId, OpenInvoiceReport] | None:
    """What the node knows to be open; None: it does not tell."""
    node = call.node.node
    if Extension.OPEN_PAYMENTS not in node.extensions or not node.permissions.seller:
        return None
    return {each.invoice_id: each for each in await node.open_invoices()}


def request_of(desk: Desk, row: InvoiceRow) -> PaymentRequest:
    """What is handed to the buyer of an invoice."""
    return desk.requests.find(row.invoice) or PaymentRequest(row.invoice, None, desk.delivery, row.expires)


def checkout_address(desk: Desk, row: InvoiceRow) -> str | None:
    """The address of the page for the buyer; None: there is none, or buyers do not reach it."""
    return None if desk.shop is None or row.checkout is None else f"{desk.shop}{CHECKOUT_PATH}{row.checkout}"


async def report(call: Call, row: InvoiceRow) -> invoice_forms.InvoiceReport:
    """An invoice, as the node knows it now."""
    (known,) = await _reports(call, [row])
    return known


async def _reports(call: Call, rows: Sequence[InvoiceRow]) -> list[invoice_forms.InvoiceReport]:
    """
    Invoices, as the node knows them: of one that is open in the book, and unknown to the node, the end is found out.

    The book is read after the node was asked, and nothing is decided about an invoice that somebody is just collecting
    or cancelling: the node may have done so already.
    """
    known = await _open_reports(call)
    ids = [format_b64(row.invoice.invoice_id) for row in rows]
    if known is not None:
        found = [_find(call, invoice_id) for invoice_id in ids if not call.desk.is_in_hand(invoice_id)]
        ended = [row for row in found if row.state is InvoiceState.OPEN and row.invoice.invoice_id not in known]
        await settle(call.desk, call.node, ended)
    return [_view(call, _find(call, invoice_id), known or {}) for invoice_id in ids]


def _view(call: Call, row: InvoiceRow, known: Mapping[InvoiceId, OpenInvoiceReport]) -> invoice_forms.InvoiceReport:
    opened = known.get(row.invoice.invoice_id)
    arrived = None if opened is None else opened.arrived
    request, checkout = request_of(call.desk, row), checkout_address(call.desk, row)
    return views.invoice_report(row, call.node.name, arrived, request, checkout)
