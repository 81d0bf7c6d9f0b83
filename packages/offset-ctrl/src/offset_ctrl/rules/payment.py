"""The life of one payment, as the table of `offset_crypto.payment`. The SDK takes its names from here."""

from offset_crypto.payment import TRANSITIONS, PaymentEffect, PaymentEvent, PaymentState, advance

__all__ = ["TRANSITIONS", "PaymentEffect", "PaymentEvent", "PaymentState", "advance"]
