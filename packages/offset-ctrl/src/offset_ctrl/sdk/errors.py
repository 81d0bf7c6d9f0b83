"""
What a verb of `offset_ctrl.sdk.node.Node` raises besides the errors of a payment (`payment`) and of the connection.

Every one of them is an `OffsetError`. A `RefusedError` means that nothing has changed. The others carry the payment,
which goes on.
"""

from offset_ctrl.sdk.payment import Payment
from offset_proto.errors import OffsetError, RefusedError

__all__ = [
    "CommitNotDelivered",
    "InvoiceEndUnknown",
    "InvoiceNotOpen",
    "NotPermitted",
    "PaymentPending",
    "RequestRefused",
    "UnknownName",
]


class NotPermitted(RefusedError):
    """The ticket of this app does not allow it; nothing was sent."""


class RequestRefused(RefusedError):
    """The node did not carry a request out."""


class InvoiceNotOpen(RefusedError):
    """The invoice was collected already, or cancelled, or has come to its end; the commit collects nothing."""


class InvoiceEndUnknown(OffsetError):
    """A connection was lost while an invoice was collected, and nobody tells this app how it has ended."""


class UnknownName(RefusedError):
    """No friend, relay or index server has this name, or there is no balance of this currency."""


class CommitNotDelivered(OffsetError):
    """
    The seller could not be given the commit. Credits stay frozen until it gets it, or cancels.

    Attributes:
        payment: Goes on; deliver its commit in another way, then wait for its receipt.
    """

    def __init__(self, payment: Payment, error: Exception) -> None:
        super().__init__(f"the commit was not delivered: {type(error).__name__}: {error}")
        self.payment = payment


class PaymentPending(OffsetError):
    """
    The seller has the commit and has not collected in time; it still may.

    Attributes:
        payment: Goes on; wait for its receipt.
    """

    def __init__(self, payment: Payment, seconds: float) -> None:
        super().__init__(f"the seller has not collected within {seconds:g} seconds")
        self.payment = payment
