"""
Why a payment failed, or why nobody can say how it ended.

Every one of them is an `OffsetError`. A `PaymentFailed` means that nothing was paid, and that what was frozen for it
comes back.
"""

from offset_proto.errors import OffsetError, RefusedError

__all__ = ["PaymentEndUnknown", "PaymentFailed"]


class PaymentFailed(RefusedError):
    """Nothing was paid; says why. What was frozen for it is given back."""


class PaymentEndUnknown(OffsetError):
    """The seller may have the commit, and how the payment ended can not be told: it may be paid. Do not pay again."""
