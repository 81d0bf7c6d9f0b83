"""
Paying a request, and how a payment stands.

1. A person pastes a request. The page says what it is for, to whom it goes, by which routes, and what it costs; only
   routes are asked for.
2. The person confirms. The form carries a key that was made with the page: sent twice, it is one payment. A second page
   of the same request leads to the payment that is under way.
3. When enough is frozen there is a commit. Where the request names an address, it is delivered there by itself;
   otherwise, and where that fails, the person hands it to the seller. Whoever has it can let the seller collect; so it
   is shown to the owner who has paid, and to nobody else.
4. When the seller has collected there is a receipt.
"""

from typing import Final

from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.sdk.payment import PayOptions
from offset_ctrl.web.api.buying import give_up_payment
from offset_ctrl.web.payment_book import PaymentRow
from offset_ctrl.web.problems import problem_of, rejection
from offset_ctrl.web.wallet.home import item_path, name_of
from offset_ctrl.web.wallet.taking import take_amount, take_request
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Saved, Shown, Visit
from offset_proto.errors import InvalidInput
from offset_proto.files import COMMIT, INVOICE, RECEIPT, Invoice
from offset_proto.text import format_b64
from offset_proto.uri import format_uri
from offset_proto.web_address import parse_web_address

__all__ = ["pages"]

pages = Pages()

PAY_SECONDS: Final = 120.0
"""Until there is a commit; a seller who is away is not waited for longer."""


@pages.page("/wallet/{node}/pay")
async def show_pay(visit: Visit) -> Answer:
    """Where a request is pasted; and, with one, what it would cost."""
    text = visit.text("text")
    if not text or visit.problem is not None:
        return Shown("pay.html", {"text": text})
    try:
        request = take_request(text)
        if request.invoice.dest_public_key == visit.web_node.node.public_key:
            raise InvalidInput("this is a request of your own; hand it to the person who pays")
    except InvalidInput as error:
        return Shown("pay.html", {"text": text, "problem": problem_of(error)}, 400)
    node, row = visit.web_node, _under_way(visit, request.invoice)
    if row is not None:
        return Gone(item_path(node, "payments", row.payment_id))
    visit.check_reached()
    plan = await node.node.plan_payment(request.invoice, PayOptions(fees_max=None))
    names = {key: friend.name for key, friend in node.node.report.friends.items()}
    routes = [
        ([names.get(key) or format_b64(key) for key in part.public_keys[1:-1]], part.dest_payment, part.fees)
        for part in plan.parts
    ]
    values = {
        "text": format_uri(request),
        "request": request,
        "invoice": request.invoice,
        "seller": name_of(node, request.invoice.dest_public_key),
        "plan": plan,
        "routes": routes,
        "host": _host(request.delivery),
        "is_over": request.end is not None and request.end <= visit.desk.database.now(),
    }
    return Shown("review.html", values)


@pages.form("/wallet/{node}/pay", show_pay)
async def pay(visit: Visit) -> Answer:
    """Pay what the person has seen and confirmed."""
    visit.check_key()
    node, request = visit.web_node, take_request(visit.text("text"))
    fees_max = take_amount(visit.text("fees_max"), "the most that mediators may take")
    row = _under_way(visit, request.invoice)
    if row is None:
        row, _ = node.payments.start(
            visit.call.visitor, visit.call.key, request.invoice, fees_max, PAY_SECONDS, delivery=request.delivery
        )
    visit.desk.requests.keep(request)
    return Gone(item_path(node, "payments", row.payment_id))


def _host(address: str | None) -> str | None:
    """What a person gets to see of the address that a commit is delivered to."""
    return None if address is None else parse_web_address(address, "the delivery address").authority


def _under_way(visit: Visit, invoice: Invoice) -> PaymentRow | None:
    """A payment of the invoice that was not given up and has no end yet."""
    states = (PaymentState.SENDING, PaymentState.COMMITTED)
    for row in visit.desk.payment_book.unsettled(visit.web_node.key):
        if row.invoice.invoice_id == invoice.invoice_id and row.state in states:
            return row
    return None


def _row(visit: Visit) -> PaymentRow:
    row = visit.desk.payment_book.find(visit.call.path["payment_id"])
    if row is None or row.node != visit.web_node.key:
        raise rejection(404, "UnknownPayment", "there is no such payment here")
    return row


@pages.page("/wallet/{node}/payments/{payment_id}")
async def show_payment(visit: Visit) -> Answer:
    """How a payment stands, what to do next, and what proves it."""
    node, row = visit.web_node, _row(visit)
    payment = None if row.is_settled else node.payments.find(row.payment_id)
    is_own = row.owner == visit.call.visitor.owner
    commit = node.payments.commit(row.payment_id) if is_own and row.state is PaymentState.COMMITTED else None
    receipt = node.payments.receipt(row.payment_id) if row.state is PaymentState.PAID else None
    delivery = visit.desk.payment_book.delivery(row.payment_id)
    values = {
        "row": row,
        "delivery": delivery,
        "host": _host(None if delivery is None else delivery.address),
        "request": visit.desk.requests.of(row.invoice),
        "seller": name_of(node, row.invoice.dest_public_key),
        "parts": () if payment is None else payment.parts,
        "is_own": is_own,
        "commit": None if commit is None else format_uri(commit),
        "receipt": None if receipt is None else format_uri(receipt),
    }
    return Shown("payment.html", values)


@pages.form("/wallet/{node}/payments/{payment_id}/give-up", show_payment)
async def give_up(visit: Visit) -> Answer:
    """Send nothing more of a payment that has no commit yet."""
    row = _row(visit)
    await give_up_payment(visit.call)
    return Gone(item_path(visit.web_node, "payments", row.payment_id))


@pages.page("/wallet/{node}/payments/{payment_id}/commit")
async def save_commit(visit: Visit) -> Answer:
    """The commit as a file."""
    row = _row(visit)
    commit = None
    if row.owner == visit.call.visitor.owner and row.state is PaymentState.COMMITTED:
        commit = visit.web_node.payments.commit(row.payment_id)
    if commit is None:
        raise rejection(404, "NoCommit", "this payment has nothing to hand over")
    return Saved(f"payment-{row.payment_id}.commit", COMMIT.format(commit))


@pages.page("/wallet/{node}/payments/{payment_id}/request")
async def save_request(visit: Visit) -> Answer:
    """The request as a file; with the receipt it proves what was paid for."""
    row = _row(visit)
    return Saved(f"payment-{row.payment_id}.invoice", INVOICE.format(row.invoice))


@pages.page("/wallet/{node}/payments/{payment_id}/receipt")
async def save_receipt(visit: Visit) -> Answer:
    """The receipt as a file."""
    row = _row(visit)
    receipt = visit.web_node.payments.receipt(row.payment_id)
    if receipt is None:
        raise rejection(404, "NoReceipt", "this payment has no receipt")
    return Saved(f"payment-{row.payment_id}.receipt", RECEIPT.format(receipt))
