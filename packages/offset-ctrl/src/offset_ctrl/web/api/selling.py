"""Invoices: made, paid, cancelled."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from offset_ctrl.rules.open_reports import InvoiceEnding
from offset_ctrl.rules.proofs import check_commit
from offset_ctrl.sdk.errors import InvoiceNotOpen
from offset_ctrl.web import forms, invoice_forms, views
from offset_ctrl.web.api.waiting import WaitSeconds, wait_until
from offset_ctrl.web.desk import Desk, WebNode
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.guard import CHECKOUT_PATH
from offset_ctrl.web.invoice_book import InvoiceBook, InvoiceRow, InvoiceState
from offset_ctrl.web.operations import Call, Section
from offset_ctrl.web.problems import rejection
from offset_proto.entered import parse_currency
from offset_proto.errors import RefusedError
from offset_proto.files import Invoice
from offset_proto.messages.extensions import Extension, OpenInvoiceReport
from offset_proto.messages.payment import Commit
from offset_proto.text import format_b64
from offset_proto.types import InvoiceId
from offset_proto.uri import PaymentRequest
from offset_proto.web_address import parse_web_address

__all__ = ["checkout_address", "collect", "report", "request_of", "section"]

COLLECTING_MAX: Final = 64
"""Invoices of which a commit is in hand at once: its signature is being checked, or the node asked."""

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
    """Expect a payment; hand the invoice to the buyer. The same key makes the same invoice, also after a crash."""
    node, book = call.node, call.desk.invoice_book
    amount, currency = views.read_amount(body.amount), parse_currency(body.currency)
    wanted = Invoice(InvoiceId(os.urandom(InvoiceId.SIZE)), currency, node.node.public_key, amount)
    PaymentRequest(wanted, body.description)  # says what is wrong before anything is made
    if body.return_to is not None:
        parse_web_address(body.return_to, "return_to")
    page = {"checkout": format_b64(os.urandom(CHECKOUT_BYTES)), "return_to": body.return_to}
    row, is_new = book.begin(call.visitor, node.key, call.key, wanted, body.expires_in, **page)
    if body.description is not None:
        call.desk.requests.keep(PaymentRequest(row.invoice, body.description, call.desk.delivery, row.expires))
    if row.state is InvoiceState.ADDING:
        invoice_id = row.invoice.invoice_id
        await node.node.create_invoice(currency, amount, expires=body.expires_in, invoice_id=invoice_id)
        book.change(format_b64(invoice_id), InvoiceState.OPEN)
        call.desk.bell.ring()
    return await report(call, _find(call, format_b64(row.invoice.invoice_id))), is_new


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


async def collect(desk: Desk, node: WebNode, row: InvoiceRow, commit: Commit) -> None:
    """
    Collect the payment of an invoice with the buyer's commit; nothing happens where that very commit has done so.

    Raises:
        InvalidProof: The commit does not pay this invoice.
        InvoiceNotOpen: It was collected with another commit, or cancelled, or has come to its end.
        RequestRefused: The node does not take the commit.
        Rejected: Too many are being collected.
        InvoiceEndUnknown, NodeConnectionError, ConnectionClosed: The node has not said how it ended; it may be asked
            again with the same commit.
    """
    check_commit(commit, row.invoice)
    invoice_id, book = format_b64(row.invoice.invoice_id), desk.invoice_book
    async with (lock := _lock_of(desk, invoice_id)):
        if book.was_collected_with(invoice_id, commit):
            return
        state = book.get(invoice_id).state
        if state in (InvoiceState.COLLECTED, InvoiceState.CANCELLED):
            raise InvoiceNotOpen(f"the invoice was {state.value} before")
        was_handed = book.was_handed(invoice_id, commit)
        book.collecting(invoice_id, commit)
        try:
            await node.node.accept_commit(row.invoice, commit)
        except RefusedError:
            # Somebody may have collected before: we ourselves with this commit, and then were killed.
            await _settle(desk, node, [book.get(invoice_id)])
            is_collected = book.get(invoice_id).state is InvoiceState.COLLECTED
            if not was_handed:
                book.collecting(invoice_id, None)
            if not (was_handed and is_collected):
                raise
            return
        # Until it is written, the invoice is in hand: the lock is held by whoever has to write it.
        desk.late.write(invoice_id, partial(_change, lock, book, invoice_id, InvoiceState.COLLECTED))
    desk.bell.ring()


def _change(held: asyncio.Lock, book: InvoiceBook, invoice_id: str, state: InvoiceState) -> None:
    """Write down what has become of an invoice; *held* stays in `Desk.collecting` for as long as this is to be done."""
    book.change(invoice_id, state)


async def _settle(desk: Desk, node: WebNode, rows: Sequence[InvoiceRow]) -> None:
    """
    Write down how invoices have ended that the book has as open, and the node does not.

    One whose commit the node was handed stays open where the node does not tell what became of it.
    """
    if not rows:
        return
    endings = await node.node.invoice_endings(
        [row.invoice.invoice_id for row in rows], min(row.created for row in rows)
    )
    book = desk.invoice_book
    for row in rows:
        invoice_id = format_b64(row.invoice.invoice_id)
        if book.get(invoice_id).state is not InvoiceState.OPEN:
            continue  # somebody else has seen its end meanwhile
        match endings[row.invoice.invoice_id]:
            case InvoiceEnding.OPEN:
                pass
            case InvoiceEnding.COLLECTED:
                book.change(invoice_id, InvoiceState.COLLECTED)
            case InvoiceEnding.UNKNOWN if book.was_handed(invoice_id):
                pass
            case _:
                book.change(invoice_id, InvoiceState.OVER)


def _lock_of(desk: Desk, invoice_id: str) -> asyncio.Lock:
    """Held by whoever collects or cancels an invoice. Raises Rejected where that happens to too many at once."""
    lock = desk.collecting.get(invoice_id)
    if lock is None:
        if len(desk.collecting) >= COLLECTING_MAX:
            raise rejection(429, "TooManyCommits", "too many commits have come at once", {"retry-after": "1"})
        lock = desk.collecting[invoice_id] = asyncio.Lock()
    return lock


@section.delete("/nodes/{node}/invoices/{invoice_id}", may=(Scope.ASK,))
async def cancel_invoice(call: Call) -> None:
    """Expect a payment no more; what is frozen for it goes back to the buyer."""
    _own(call)
    async with (lock := _lock_of(call.desk, call.path["invoice_id"])):
        row = _own(call)  # a commit may have come before us
        if row.state is InvoiceState.COLLECTED:
            raise InvoiceNotOpen("the invoice was collected before")
        try:
            await call.node.node.cancel_invoice(row.invoice, row.created)
        except InvoiceNotOpen:
            await _settle(call.desk, call.node, [row])
            raise
        change = (call.desk.invoice_book, call.path["invoice_id"], InvoiceState.CANCELLED)
        call.desk.late.write(call.path["invoice_id"], partial(_change, lock, *change))
    call.desk.bell.ring()


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
        found = [_find(call, invoice_id) for invoice_id in ids if invoice_id not in call.desk.collecting]
        ended = [row for row in found if row.state is InvoiceState.OPEN and row.invoice.invoice_id not in known]
        await _settle(call.desk, call.node, ended)
    return [_view(call, _find(call, invoice_id), known or {}) for invoice_id in ids]


def _view(call: Call, row: InvoiceRow, known: Mapping[InvoiceId, OpenInvoiceReport]) -> invoice_forms.InvoiceReport:
    opened = known.get(row.invoice.invoice_id)
    arrived = None if opened is None else opened.arrived
    request, checkout = request_of(call.desk, row), checkout_address(call.desk, row)
    return views.invoice_report(row, call.node.name, arrived, request, checkout)
