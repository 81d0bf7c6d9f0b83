"""What the API says and hears of invoices, as classes; see `offset_ctrl.web.forms`."""

from typing import Annotated, Literal

from msgspec import Meta

from offset_ctrl.web.form_parts import Amount, Currency, Heard, InvoiceForm, Key, Number, Said, Seconds

__all__ = ["InvoiceList", "InvoiceReport", "NewInvoice", "OpenInvoice"]


class NewInvoice(Heard, frozen=True):
    """
    A payment that is expected; it ends after *expires_in* seconds where it is not paid by then.

    *description* says what it is for, and is a part of the text. *return_to* is the address, of HTTPS or of this
    machine, to which the page for the buyer leads back.
    """

    currency: Currency
    amount: Amount
    expires_in: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None
    description: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    return_to: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class InvoiceReport(Said, frozen=True):
    """
    An invoice that was made through this server.

    *text* is the same as one line for people and QR codes, with the address at which a buyer's program delivers the
    commit, where the server has one. *state* is adding, open, collected, cancelled or over; *arrived* is what a commit
    would collect now, where it is open and the node tells. *checkout* is the address of a page that shows the buyer
    what to pay, and whether it is paid; it needs no token, and is null where buyers do not reach this server.
    """

    invoice: InvoiceForm
    text: str
    checkout: str | None
    node: str
    owner: str
    state: Literal["adding", "open", "collected", "cancelled", "over"]
    arrived: Amount | None
    expires: Seconds | None
    created: Seconds
    changed: Seconds
    sequence: Number


class OpenInvoice(Said, frozen=True):
    """An invoice that the node knows, of any app."""

    invoice_id: Key
    currency: str
    amount: Amount
    arrived: Amount
    since: Seconds | None
    expires: Seconds | None


class InvoiceList(Said, frozen=True):
    """Invoices in the order of their changes; ask for those after *next* to go on."""

    invoices: list[InvoiceReport]
    next: Number
