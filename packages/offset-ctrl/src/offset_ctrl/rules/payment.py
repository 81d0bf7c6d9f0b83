"""The life of one payment, as the table of `offset_crypto.payment`, and what a node's word of its end is there."""

from offset_crypto.payment import TRANSITIONS, PaymentEffect, PaymentEvent, PaymentState, advance
from offset_proto.messages.app import Canceled, PaymentNotFound, PaymentStatus, PaymentStatusSuccess

__all__ = ["TRANSITIONS", "PaymentEffect", "PaymentEvent", "PaymentState", "advance", "event_of_end"]


def event_of_end(status: PaymentStatus) -> PaymentEvent:
    """
    What happened to a payment of which the node says *status*.

    A receipt counts as checked. Whoever has the invoice checks it before; whoever has not trusts the node.
    """
    match status:
        case PaymentStatusSuccess():
            return PaymentEvent.RECEIPT
        case Canceled():
            return PaymentEvent.CANCELLED
        case PaymentNotFound():
            return PaymentEvent.FORGOTTEN
