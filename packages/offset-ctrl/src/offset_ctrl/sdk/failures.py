"""
Why a payment failed, or why nobody can say how it ended.

Every one of them is an `OffsetError`. A `PaymentFailed` means that nothing was paid by this payment, and that what was
frozen for it comes back.

===================  ==============================================================================================
`PaymentFailed`      it was given up, its time was over, or the seller cancelled
`NoIndexServer`      nobody could be asked for a route
`NoRoute`            no route carries the payment; and why, where that can be found out:
                     `NoFriendOnline`, `FriendNotReady`, `NotEnoughCredit`, `SellerUnknown`, `AmountTooLarge`
`FeesTooHigh`        a route is there, and costs more than is allowed
`PartsRefused`       transactions were sent and failed; and who refused them, where that can be told:
                     `SellerRefused`, `MediatorRefused`
`AlreadyPaid`        the invoice was paid before, or a commit for it is there
===================  ==============================================================================================
"""

from offset_proto.errors import OffsetError, RefusedError
from offset_proto.messages.payment import Receipt

__all__ = [
    "AlreadyPaid",
    "AmountTooLarge",
    "FeesTooHigh",
    "FriendNotReady",
    "MediatorRefused",
    "NoFriendOnline",
    "NoIndexServer",
    "NoRoute",
    "NotEnoughCredit",
    "PartsRefused",
    "PaymentEndUnknown",
    "PaymentFailed",
    "SellerRefused",
    "SellerUnknown",
]


class PaymentFailed(RefusedError):
    """Nothing was paid; says why. What was frozen for it is given back."""


class NoIndexServer(PaymentFailed):
    """The node is not connected to an index server, so nobody was asked for a route."""


class NoRoute(PaymentFailed):
    """No route can carry the payment."""

    def __init__(self, why: str = "") -> None:
        super().__init__("no route that can carry the payment" + (f": {why}" if why else ""))


class NoFriendOnline(NoRoute):
    """The node has no connection to any friend now."""

    def __init__(self) -> None:
        super().__init__("no friend is online")


class FriendNotReady(NoRoute):
    """The seller is a friend that was to be paid with nobody in between, and nothing can pass on that link now."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; nothing was sent")


class NotEnoughCredit(NoRoute):
    """
    The friends that are online carry less from us, all together; or the only one that was to be asked does.

    Attributes:
        available: Credits that they carry together; a payment may be split over them.
    """

    def __init__(self, available: int, currency: str, friend: str | None = None) -> None:
        whom = "all friends together" if friend is None else friend
        known = "" if available else ", as far as the index server knows"
        end = "" if friend is None else "; nothing was paid"
        super().__init__(f"not enough credit with {whom}, {available} {currency} at most{known}{end}")
        self.available = available


class SellerUnknown(NoRoute):
    """The index server knows no way to the seller, however small the amount."""

    def __init__(self, currency: str) -> None:
        super().__init__(
            f"the index server knows no way to the seller in {currency}; is its node connected, with an open friend?"
        )


class AmountTooLarge(NoRoute):
    """
    There is a way to the seller that carries less.

    Attributes:
        largest: Credits that could arrive, as far as a few questions have shown.
    """

    def __init__(self, largest: int, currency: str) -> None:
        super().__init__(f"nothing carries that much, {largest} {currency} could be paid")
        self.largest = largest


class FeesTooHigh(PaymentFailed):
    """The mediators want more than the app has allowed, or more than can be counted."""


class PartsRefused(PaymentFailed):
    """
    Transactions were sent and have failed, and there is no other route to send them over.

    Attributes:
        number: How many have failed.
    """

    def __init__(self, number: int, who: str = "") -> None:
        super().__init__(
            f"{number} {'transaction' if number == 1 else 'transactions'} failed: "
            + (who or "the seller or a mediator refused, which can not be told")
        )
        self.number = number


class SellerRefused(PartsRefused):
    """The seller answered no: its invoice is bound to another payment, or is not open any more."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "the seller refused; its invoice is paid by another payment, or is not open any more")


class MediatorRefused(PartsRefused):
    """
    A mediator refused: it or its friend has not enough credit, or wants higher fees.

    Attributes:
        position: Of the mediator on the route that failed last; 1 is our own friend.
    """

    def __init__(self, number: int, position: int) -> None:
        super().__init__(number, f"the mediator at position {position} of the route refused")
        self.position = position


class AlreadyPaid(PaymentFailed):
    """
    The invoice was paid before, or somebody has a commit for it already; it was not paid again.

    Attributes:
        receipt: Of the payment, where it is there.
    """

    def __init__(self, reason: str, receipt: Receipt | None = None) -> None:
        super().__init__(reason)
        self.receipt = receipt


class PaymentEndUnknown(OffsetError):
    """The seller may have the commit, and how the payment ended can not be told: it may be paid. Do not pay again."""
