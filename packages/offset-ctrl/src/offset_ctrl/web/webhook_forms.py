"""What the API says of webhooks and hears of them, and what it sends to them."""

from typing import Annotated, Literal

from msgspec import Meta

from offset_ctrl.web.form_parts import Amount, Heard, Id, Key, Number, Said, Seconds
from offset_proto.web_address import ADDRESS_BYTES_MAX

__all__ = [
    "InvoicePaid",
    "NewWebhook",
    "PaidInvoiceData",
    "PaymentData",
    "PaymentFinished",
    "Topic",
    "WebhookMade",
    "WebhookReport",
]

Topic = Literal["invoice.paid", "payment.finished"]


class NewWebhook(Heard, frozen=True):
    """An address that is to hear of events: https, or http on the machine of the server."""

    address: Annotated[str, Meta(min_length=1, max_length=ADDRESS_BYTES_MAX)]
    topics: Annotated[list[Topic], Meta(min_length=1, max_length=2)]


class WebhookReport(Said, frozen=True):
    """
    An address that hears of events.

    *waiting* events are still to be sent; *lost* ones were given up, since they were too old or too many. *failure*
    says why the last attempt has failed, where it has. *is_over*: the receiver has answered 410, and gets no more.
    """

    webhook_id: Id
    node: str
    owner: str
    address: str
    topics: list[Topic]
    created: Seconds
    is_over: bool
    waiting: Number
    lost: Number
    failure: str | None


class WebhookMade(WebhookReport, frozen=True):
    """The same, with the secret under which everything is signed; it is said here and nowhere else."""

    secret: str


class PaidInvoiceData(Said, frozen=True):
    """An invoice that was collected."""

    node: Key
    invoice_id: Key
    currency: str
    amount: Amount


class PaymentData(Said, frozen=True):
    """A payment that has ended."""

    node: Key
    payment_id: Id
    invoice_id: Key
    currency: str
    amount: Amount
    fees: Amount | None
    state: Literal["paid", "failed", "unknown"]


class InvoicePaid(Said, frozen=True, tag_field="type", tag="invoice.paid"):
    """An invoice that was made through this server was paid."""

    timestamp: str
    data: PaidInvoiceData


class PaymentFinished(Said, frozen=True, tag_field="type", tag="payment.finished"):
    """A payment that was made through this server has ended."""

    timestamp: str
    data: PaymentData
