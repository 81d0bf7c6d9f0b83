"""
What our nodes and apps say to each other beyond the original's protocol. Spec 12 (app_server.capnp).

A node announces its extensions in the greeting, and an app sends a request of an extension only to a node that has
announced it. Times are in seconds since 1970-01-01 UTC, by the clock of the node.
"""

import enum
from typing import Annotated, Final

from offset_proto.layout import Optional, declare_enum, member, struct
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.payment import Commit
from offset_proto.types import U32, U64, U128, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "ALL_EXTENSIONS",
    "AddExpiringInvoice",
    "AppGreeting",
    "Extension",
    "FollowInvoices",
    "FollowPayments",
    "FollowUnheard",
    "GiveUpPayment",
    "OpenInvoiceReport",
    "OpenInvoices",
    "OpenPaymentReport",
    "OpenPayments",
    "PartReport",
    "PartStateReport",
    "PaymentStageReport",
    "PaymentTarget",
    "UnheardFriends",
]


class Extension(enum.IntFlag):
    """The extensions that a node may have; each is a bit of the number in its greeting."""

    OPEN_PAYMENTS = 1
    """`FollowPayments` and `FollowInvoices`: what is open, and each change of it."""
    EXPIRING_INVOICES = 2
    """`AddExpiringInvoice`: an invoice that the node cancels by itself."""
    GIVE_UP = 4
    """`GiveUpPayment`: a payment is closed, and what has not been sent of it is not sent any more."""
    HISTORY = 8
    """`ReadHistory` and `FollowHistory`: each change of a balance, and why; and what the owner notes to it."""
    COLLECTED = 16
    """`OpenInvoices.collected`: which of the invoices that have ended were collected."""
    UNHEARD = 32
    """`FollowUnheard`: the friends that have to speak first, and each change of that."""


ALL_EXTENSIONS: Final = (
    Extension.OPEN_PAYMENTS
    | Extension.EXPIRING_INVOICES
    | Extension.GIVE_UP
    | Extension.HISTORY
    | Extension.COLLECTED
    | Extension.UNHEARD
)
"""What a node of this version can have."""


@struct("app_server")
class AppGreeting:
    """
    The first message of a node: what the app may ask for, and which extensions the node has.

    It is `AppPermissions` with two more fields. An original app does not read them, and in what an original node sends
    they are 0.

    Attributes:
        routes, buyer, seller, config: As in `AppPermissions`.
        extensions: A sum of members of `Extension`, as a plain integer; bits that a program does not know mean nothing.
        history: The app may read the history although it may not configure the node.
    """

    routes: bool
    buyer: bool
    seller: bool
    config: bool
    extensions: U64
    history: bool


@member
class FollowPayments:
    """Tell me all payments that are open, and then each change of them, for as long as I am connected."""


@member
class FollowInvoices:
    """Tell me all invoices that are open, and then each change of them, for as long as I am connected."""


@member
class FollowUnheard:
    """Tell me which friends have to speak first, and then each change of that, for as long as I am connected."""


@struct("app_server")
class AddExpiringInvoice:
    """`AddInvoice` with an end: where it is neither paid nor cancelled *seconds* from now, the node cancels it."""

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    seconds: U32


@member
class GiveUpPayment:
    """Close a payment as `RequestClosePayment` does, and cancel the parts of it that are still queued."""

    payment_id: PaymentId


class PartStateReport(enum.Enum):
    """
    Where a part of a payment is.

    Attributes:
        QUEUED: It waits at the buyer's node to be sent to the first friend. No credit is frozen.
        FROZEN: It is under way; its credits are frozen at the buyer, and as far as it has come.
        ANSWERED: The seller has it, and its credits are frozen along the whole route.
        COLLECTED: The seller was paid with it.
        CANCELLED: Its credits are free again.
    """

    QUEUED = "queued"
    FROZEN = "frozen"
    ANSWERED = "answered"
    COLLECTED = "collected"
    CANCELLED = "cancelled"


class PaymentStageReport(enum.Enum):
    """
    Where a payment is.

    Attributes:
        SENDING: The app may add parts.
        CLOSING: It takes no more parts, and has no end yet.
        PAID: There is a receipt, which no app has acknowledged.
        CANCELLED: Nothing was paid, which no app has acknowledged.
        ACKNOWLEDGED: An app has the receipt, and further parts have no end yet.
    """

    SENDING = "sending"
    CLOSING = "closing"
    PAID = "paid"
    CANCELLED = "cancelled"
    ACKNOWLEDGED = "acknowledged"


declare_enum("app_server", PartStateReport)
declare_enum("app_server", PaymentStageReport)


@struct("app_server")
class PartReport:
    """
    A part of an open payment.

    Attributes:
        request_id: Of its transaction.
        route: All keys, the buyer's first and the seller's last.
        dest_payment: Credits for the seller.
        fees: Credits for the mediators; the buyer's node has frozen both.
        state: Where it is. The two ends are told once, and are in no snapshot.
        since: When it was queued; from FROZEN on, when its credits were frozen. The node looks every few seconds, and
            again after a restart, so the time may be that much too late.
    """

    request_id: Uid
    route: FriendsRoute
    dest_payment: U128
    fees: U128
    state: PartStateReport
    since: U64


@struct("app_server")
class PaymentTarget:
    """What a payment pays: *total_dest_payment* credits for an invoice of *dest_public_key*."""

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    dest_public_key: PublicKey


@struct("app_server")
class OpenPaymentReport:
    """
    A payment that the node knows.

    Attributes:
        payment_id: The app chose it.
        stage: Where it is.
        opt_target: What it pays; None where it is closed and no part of it is frozen or queued.
        parts: Those that have no end.
        opt_commit: What lets the seller collect, where all is there for it. Whoever shows it to the seller pays.
    """

    payment_id: PaymentId
    stage: PaymentStageReport
    opt_target: Annotated[PaymentTarget | None, Optional("target")]
    parts: tuple[PartReport, ...]
    opt_commit: Annotated[Commit | None, Optional("commit")]


@struct("app_server")
class OpenPayments:
    """
    The payments that the node knows, or changes of them.

    Attributes:
        is_snapshot: These are all. Otherwise they take the place of what was said of them before.
        payments: As they are now.
        ended: Those that the node has forgotten.
    """

    is_snapshot: bool
    payments: tuple[OpenPaymentReport, ...]
    ended: tuple[PaymentId, ...]


@struct("app_server")
class OpenInvoiceReport:
    """
    An invoice that is neither collected nor cancelled.

    Attributes:
        invoice_id, currency, total_dest_payment: As it was added.
        arrived: Credits that are frozen for it and can be collected with a commit.
        parts: The number of transactions that they came in.
        since: When the first of them came, as far as the node knows; 0 where none has come.
        opt_end: When the node will cancel it; None: never.
    """

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    arrived: U128
    parts: U32
    since: U64
    opt_end: Annotated[U64 | None, Optional("end")]


@struct("app_server")
class OpenInvoices:
    """
    The invoices that are open, or changes of them.

    Attributes:
        is_snapshot: These are all. Otherwise they take the place of what was said of them before.
        invoices: As they are now.
        ended: Those that were collected or cancelled.
        collected: In a change, those of *ended* that were collected. In a snapshot, those that were collected and of
            which something is on its way still; the history has the others. Empty without `Extension.COLLECTED`.
    """

    is_snapshot: bool
    invoices: tuple[OpenInvoiceReport, ...]
    ended: tuple[InvoiceId, ...]
    collected: tuple[InvoiceId, ...]


@struct("app_server")
class UnheardFriends:
    """
    The friends that a node which has forgotten something waits for, or changes of them.

    Attributes:
        is_snapshot: These are all. Otherwise *friends* come to what was said before, and *heard* are taken off it.
        friends: To whom nothing is said before they have spoken.
        heard: Those that have spoken, and those that were removed.
    """

    is_snapshot: bool
    friends: tuple[PublicKey, ...]
    heard: tuple[PublicKey, ...]
