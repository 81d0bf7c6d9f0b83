"""What a compact node remembers of payments and invoices, beyond what its node does. Spec 10 §5, §7."""

from dataclasses import dataclass, field, replace

from offset_proto.messages.index import MultiRoute
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.types import U64, U128, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "Committed",
    "CompactState",
    "Failed",
    "FoundRoute",
    "OpenInvoice",
    "OpenPayment",
    "PaymentStatus",
    "SearchingRoute",
    "Sending",
    "Succeeded",
]


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """An invoice that was not collected yet."""

    currency: Currency
    total_dest_payment: U128
    description: str
    opt_commit: Commit | None
    generation: U64


@dataclass(frozen=True, slots=True)
class SearchingRoute:
    """Routes were asked for, by the request *request_routes_id*."""

    request_routes_id: Uid


@dataclass(frozen=True, slots=True)
class FoundRoute:
    """The user is to confirm the fees; *multi_route_choice* has (index of a route, credits) for each part."""

    confirm_id: Uid
    multi_route: MultiRoute
    multi_route_choice: tuple[tuple[int, U128], ...]
    fees: U128


@dataclass(frozen=True, slots=True)
class Sending:
    """Transactions are under way; *open_transactions* have no result yet."""

    fees: U128
    open_transactions: frozenset[Uid]


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit is there; the seller has to collect."""

    commit: Commit
    fees: U128


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The receipt is there; the user has to acknowledge that the payment is over."""

    receipt: Receipt
    fees: U128
    ack_uid: Uid


@dataclass(frozen=True, slots=True)
class Failed:
    """The payment ended without a receipt; the user has to acknowledge that."""

    ack_uid: Uid


PaymentStatus = SearchingRoute | FoundRoute | Sending | Committed | Succeeded | Failed


@dataclass(frozen=True, slots=True)
class OpenPayment:
    """A payment that the user has not acknowledged."""

    invoice_id: InvoiceId
    currency: Currency
    dest_public_key: PublicKey
    dest_payment: U128
    description: str
    generation: U64
    status: PaymentStatus


@dataclass(frozen=True, slots=True)
class CompactState:
    """All invoices and payments of a node; *generation* is the next number of an invoice or payment."""

    open_invoices: dict[InvoiceId, OpenInvoice] = field(default_factory=dict)
    open_payments: dict[PaymentId, OpenPayment] = field(default_factory=dict)
    generation: U64 = 0

    def with_next_generation(self) -> "CompactState":
        """The state after the number *generation* was given to an invoice or a payment."""
        return replace(self, generation=self.generation + 1)

    def with_invoice(self, invoice_id: InvoiceId, invoice: OpenInvoice | None) -> "CompactState":
        """The state with an invoice added or replaced; None: without it."""
        others = {key: value for key, value in self.open_invoices.items() if key != invoice_id}
        return replace(self, open_invoices=others if invoice is None else {**others, invoice_id: invoice})

    def with_payment(self, payment_id: PaymentId, payment: OpenPayment | None) -> "CompactState":
        """The state with a payment added or replaced; None: without it."""
        others = {key: value for key, value in self.open_payments.items() if key != payment_id}
        return replace(self, open_payments=others if payment is None else {**others, payment_id: payment})
