"""All inputs of a funder. Spec 05 §1.1."""

from offset_proto.message import frozen
from offset_proto.messages.app import (
    AckClosePayment,
    AddFriend,
    AddInvoice,
    AddRelay,
    CancelInvoice,
    CloseFriendCurrency,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveRelay,
    RequestClosePayment,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_proto.messages.extensions import AddExpiringInvoice, GiveUpPayment
from offset_proto.messages.friend import FriendMessage
from offset_proto.types import U64, Currency, InvoiceId, PublicKey, Uid

__all__ = [
    "AppRequested",
    "Event",
    "FriendMessageReceived",
    "FriendSilent",
    "FriendWentOffline",
    "FriendWentOnline",
    "FunderRequest",
    "InvoiceExpired",
    "Started",
]

FunderRequest = (
    AddRelay
    | RemoveRelay
    | CreatePayment
    | CreateTransaction
    | RequestClosePayment
    | AckClosePayment
    | AddInvoice
    | CancelInvoice
    | CommitInvoice
    | AddFriend
    | SetFriendRelays
    | SetFriendName
    | RemoveFriend
    | EnableFriend
    | DisableFriend
    | OpenFriendCurrency
    | CloseFriendCurrency
    | SetFriendCurrencyMaxDebt
    | SetFriendCurrencyRate
    | RemoveFriendCurrency
    | ResetFriendChannel
    | AddExpiringInvoice
    | GiveUpPayment
)
"""The requests of apps that concern the funder."""


@frozen
class Started:
    """The node has begun to run; this is the first event of each run."""


@frozen
class AppRequested:
    """
    A request of an app; answered by exactly one report with its id, whatever became of it.

    Attributes:
        app_request_id: The app chose it.
        request: What is asked for.
        now: When, in seconds since 1970; only an invoice with an end needs it.
        app: Whose request it is, where that is known; for those who keep the book, and nothing depends on it here.
    """

    app_request_id: Uid
    request: FunderRequest
    now: U64 = 0
    app: PublicKey | None = None


@frozen
class InvoiceExpired:
    """
    The end of an invoice has come.

    No effect where it was collected or cancelled before, or where its end is later than *now*, in seconds since 1970.
    """

    invoice_id: InvoiceId
    now: U64


@frozen
class FriendWentOnline:
    """There is a link to the friend."""

    public_key: PublicKey


@frozen
class FriendWentOffline:
    """The link to the friend is over; until it is online again, nothing is sent to it."""

    public_key: PublicKey


@frozen
class FriendSilent:
    """A friend that is not heard has had a link for long, and has said nothing. No effect where it is heard."""

    public_key: PublicKey


@frozen
class FriendMessageReceived:
    """
    A message of a friend, decoded.

    Attributes:
        public_key: The friend.
        message: What it says.
        refused: Requests in it that are not to be forwarded, whatever their fees: the owner's policy.
    """

    public_key: PublicKey
    message: FriendMessage
    refused: frozenset[tuple[Currency, Uid]] = frozenset()


Event = (
    Started
    | AppRequested
    | InvoiceExpired
    | FriendWentOnline
    | FriendWentOffline
    | FriendSilent
    | FriendMessageReceived
)
