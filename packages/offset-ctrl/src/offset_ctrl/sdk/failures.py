"""
Why a payment failed, or why nobody can say how it ended.

Every one of them is an `OffsetError`. A `PaymentFailed` means that nothing was paid, and that what was frozen for it
comes back.
"""

from offset_proto.errors import OffsetError, RefusedError

__all__ = ["FeesTooHigh", "NoIndexServer", "NoRoute", "PartsRefused", "PaymentEndUnknown", "PaymentFailed"]


class PaymentFailed(RefusedError):
    """Nothing was paid; says why. What was frozen for it is given back."""


class NoIndexServer(PaymentFailed):
    """The node is not connected to an index server, so nobody was asked for a route."""


class NoRoute(PaymentFailed):
    """No route can carry the payment."""


class FeesTooHigh(PaymentFailed):
    """The mediators want more than the app has allowed, or more than can be counted."""


class PartsRefused(PaymentFailed):
    """Transactions were sent and have failed, and there is no other route to send them over."""


class PaymentEndUnknown(OffsetError):
    """The seller may have the commit, and how the payment ended can not be told: it may be paid. Do not pay again."""
