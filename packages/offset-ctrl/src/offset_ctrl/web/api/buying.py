"""Payments: made, looked at, given up; and their receipts."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.sdk.payment import PayOptions
from offset_ctrl.web import forms, views
from offset_ctrl.web.api.waiting import WaitSeconds, wait_until
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_ctrl.web.payment_book import PaymentRow
from offset_ctrl.web.problems import rejection

__all__ = ["section", "view"]

section = Section("buying", "Payments and receipts.")


class PaymentQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait, and for what: the commit (or that there will be none), or the end."""

    wait: WaitSeconds = 0
    wait_for: Literal["commit", "end"] = "commit"


class PaymentsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """After which change to begin, and how many."""

    after: forms.Number = 0
    limit: forms.Limit = 100


class ReceiptsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of the receipts."""

    skip: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: forms.Limit = 100


@section.post("/nodes/{node}/payments", may=(Scope.PAY,), status=201, takes_key=True)
async def create_payment(call: Call, query: PaymentQuery, body: forms.NewPayment) -> tuple[forms.PaymentReport, bool]:
    """
    Pay an invoice.

    When *state* is committed, hand *commit* to the seller; nothing is paid before that. Where a *text* names an address
    for it, it is delivered there. The same key gives the same payment, also after a crash, and never a second one.
    """
    request, fees_max = views.read_asked(body), views.read_amount(body.fees_max)
    row, is_new = call.node.payments.start(
        call.visitor, call.key, request.invoice, fees_max, body.timeout, delivery=request.delivery
    )
    if request.description is not None:
        call.desk.requests.keep(request)
    await _wait(call, row.payment_id, query)
    return view(call, _find(call, row.payment_id)), is_new


@section.post("/nodes/{node}/payments/plan", may=(Scope.READ, Scope.PAY))
async def plan_payment(call: Call, body: forms.NewPayment) -> forms.Plan:
    """What a payment would do now: parts, fees, and why it would fail. Only routes are asked for."""
    request, fees_max = views.read_asked(body), views.read_amount(body.fees_max)
    return views.plan_form(await call.node.node.plan_payment(request.invoice, PayOptions(fees_max=fees_max)))


@section.get("/nodes/{node}/payments", may=(Scope.READ, Scope.PAY))
async def list_payments(call: Call, query: PaymentsQuery) -> forms.PaymentList:
    """The payments that were made here, in the order of their last changes."""
    rows = call.desk.payment_book.after(call.node.key, query.after, query.limit, call.owner)
    return forms.PaymentList(
        payments=[view(call, row) for row in rows], next=rows[-1].sequence if rows else query.after
    )


@section.get("/nodes/{node}/payments/{payment_id}", may=(Scope.READ, Scope.PAY))
async def read_payment(call: Call, query: PaymentQuery) -> forms.PaymentReport:
    """One payment; with *wait*, as soon as there is what is waited for."""
    payment_id = call.path["payment_id"]
    _find(call, payment_id)
    await _wait(call, payment_id, query)
    return view(call, _find(call, payment_id))


@section.post("/nodes/{node}/payments/{payment_id}/give-up", may=(Scope.PAY,))
async def give_up_payment(call: Call) -> forms.PaymentReport:
    """Close a payment that has no commit yet; what is frozen comes back when the seller cancels."""
    row = _find(call, call.path["payment_id"])
    if row.owner != call.visitor.owner:
        raise rejection(404, "UnknownPayment", "no such payment was made here with this token")
    payment = call.node.payments.find(row.payment_id)
    if payment is None or payment.state is not PaymentState.SENDING:
        raise rejection(409, "PaymentNotOpen", "only a payment that has no commit can be given up")
    payment.give_up()
    query = PaymentQuery(wait=5.0, wait_for="end")
    await _wait(call, row.payment_id, query)
    return view(call, _find(call, row.payment_id))


@section.get("/nodes/{node}/open-payments", may=(Scope.READ,))
async def list_open_payments(call: Call) -> list[forms.OpenPayment]:
    """The payments that the node knows, of all apps, without their commits; the one that waits longest comes first."""
    return [views.open_payment_form(each) for each in await call.node.node.open_payments()]


@section.get("/nodes/{node}/receipts", may=(Scope.READ,))
async def list_receipts(call: Call, query: ReceiptsQuery) -> list[forms.PaidInvoice]:
    """What was paid through this server: invoices and their receipts."""
    found = call.node.payments.receipts()[query.skip : query.skip + query.limit]
    return [
        forms.PaidInvoice(invoice=views.invoice_form(invoice), receipt=views.receipt_form(receipt))
        for invoice, receipt in found
    ]


def _find(call: Call, payment_id: str) -> PaymentRow:
    row = call.desk.payment_book.find(payment_id)
    if row is None or row.node != call.node.key or call.owner not in (None, row.owner):
        raise rejection(404, "UnknownPayment", "no such payment was made here with this token")
    return row


async def _wait(call: Call, payment_id: str, query: PaymentQuery) -> None:
    def is_there() -> bool:
        row = call.desk.payment_book.get(payment_id)
        return row.is_settled if query.wait_for == "end" else row.state is not PaymentState.SENDING

    await wait_until(call.desk, query.wait, is_there)


def view(call: Call, row: PaymentRow) -> forms.PaymentReport:
    """A payment. Its commit is for the token that pays alone, since whoever has it can let the seller collect."""
    payments = call.node.payments
    payment = None if row.is_settled else payments.find(row.payment_id)
    is_own = row.owner == call.visitor.owner and call.visitor.grants.has(Scope.PAY)
    commit = payments.commit(row.payment_id) if is_own and row.state is PaymentState.COMMITTED else None
    receipt = payments.receipt(row.payment_id) if row.state is PaymentState.PAID else None
    parts, delivery = () if payment is None else payment.parts, call.desk.payment_book.delivery(row.payment_id)
    return views.payment_report(row, call.node.name, parts, commit, receipt, delivery)
