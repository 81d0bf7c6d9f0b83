"""Between an application and its node. Spec 07 §2.1 (app_server.capnp)."""

from typing import Annotated

from offset_proto.layout import Optional, declare_union, member, struct
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
    OpenInvoices,
    OpenPayments,
    UnheardFriends,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.history import (
    FollowHistory,
    HistoryEnd,
    HistoryPage,
    NoteEntry,
    NoteInvoice,
    NotePayment,
    ReadHistory,
)
from offset_proto.messages.index import MultiRoute, RequestRoutes
from offset_proto.messages.payment import (
    Commit,
    NamedIndexServerAddress,
    NamedRelayAddress,
    Rate,
    Receipt,
    RelayAddress,
)
from offset_proto.messages.report import NodeReportMutation
from offset_proto.types import U128, Currency, InvoiceId, PaymentId, PublicKey, Signature, Uid

__all__ = [
    "AckClosePayment",
    "AddFriend",
    "AddIndexServer",
    "AddInvoice",
    "AddRelay",
    "AppPermissions",
    "AppRequest",
    "AppServerToApp",
    "AppToAppServer",
    "CancelInvoice",
    "Canceled",
    "ClientResponseRoutes",
    "CloseFriendCurrency",
    "CommitInvoice",
    "Complete",
    "CreatePayment",
    "CreateTransaction",
    "DisableFriend",
    "EnableFriend",
    "Failure",
    "OpenFriendCurrency",
    "PaymentNotFound",
    "PaymentStatus",
    "PaymentStatusSuccess",
    "RemoveFriend",
    "RemoveFriendCurrency",
    "RemoveIndexServer",
    "RemoveRelay",
    "ReportMutations",
    "RequestClosePayment",
    "RequestResult",
    "ResetFriendChannel",
    "ResponseClosePayment",
    "ResponseRoutesResult",
    "RoutesFailure",
    "RoutesFound",
    "SetFriendCurrencyMaxDebt",
    "SetFriendCurrencyRate",
    "SetFriendName",
    "SetFriendRelays",
    "Success",
    "TransactionResult",
]


@struct("app_server")
class AppPermissions:
    """What an app may ask for. Reading reports needs no permission."""

    routes: bool
    buyer: bool
    seller: bool
    config: bool

    def allows(self, permission: str) -> bool:
        """Whether it includes the permission of that name; *history* is one that comes with *config*."""
        allowed: bool = self.config if permission == "history" else getattr(self, permission)
        return allowed


@member
class AddRelay:
    """Use one more relay; one of the same key is replaced."""

    relay: NamedRelayAddress


@member
class RemoveRelay:
    """Listen at a relay no more, and tell the friends; a relay that is not known changes nothing."""

    public_key: PublicKey


@struct("app_server")
class CreatePayment:
    """Open a payment of *total_dest_payment* credits for an invoice of *dest_public_key*; nothing is sent yet."""

    payment_id: PaymentId
    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    dest_public_key: PublicKey


@struct("app_server")
class CreateTransaction:
    """Send a part of a payment along a full route, own key first."""

    payment_id: PaymentId
    request_id: Uid
    route: FriendsRoute
    dest_payment: U128
    fees: U128


@member
class RequestClosePayment:
    """No more transactions; tell me how the payment ends."""

    payment_id: PaymentId


@struct("app_server")
class AckClosePayment:
    """The app has stored the result: the node may forget the payment."""

    payment_id: PaymentId
    ack_uid: Uid


@struct("app_server")
class AddInvoice:
    """Expect a payment of *total_dest_payment* credits, and accept requests for it."""

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128


@member
class CancelInvoice:
    """Expect the payment no more, and give back what was frozen for it."""

    invoice_id: InvoiceId


@member
class CommitInvoice:
    """Collect all that came for an invoice; the commit is what the buyer has handed over."""

    commit: Commit


@struct("app_server")
class AddFriend:
    """Add a friend, which is disabled until the owner enables it."""

    friend_public_key: PublicKey
    relays: tuple[RelayAddress, ...]
    name: str


@struct("app_server")
class SetFriendRelays:
    """Replace the relays where the friend is reached."""

    friend_public_key: PublicKey
    relays: tuple[RelayAddress, ...]


@struct("app_server")
class SetFriendName:
    """Call the friend by another name, which it does not learn."""

    friend_public_key: PublicKey
    name: str


@member
class RemoveFriend:
    """Forget a friend and all that is open with it."""

    public_key: PublicKey


@member
class EnableFriend:
    """Keep up a link to the friend from now on."""

    public_key: PublicKey


@member
class DisableFriend:
    """Keep up no link to the friend; requests that wait to be sent to it are cancelled."""

    public_key: PublicKey


@struct("app_server")
class OpenFriendCurrency:
    """Forward requests of and to this friend in this currency."""

    friend_public_key: PublicKey
    currency: Currency


@struct("app_server")
class CloseFriendCurrency:
    """Forward no more requests of and to this friend in this currency; cancel those that still wait for it."""

    friend_public_key: PublicKey
    currency: Currency


@struct("app_server")
class SetFriendCurrencyMaxDebt:
    """How many credits the friend may owe us."""

    friend_public_key: PublicKey
    currency: Currency
    remote_max_debt: U128


@struct("app_server")
class SetFriendCurrencyRate:
    """What we charge this friend for forwarding."""

    friend_public_key: PublicKey
    currency: Currency
    rate: Rate


@struct("app_server")
class RemoveFriendCurrency:
    """Withdraw a currency that the friend has not agreed to yet."""

    friend_public_key: PublicKey
    currency: Currency


@struct("app_server")
class ResetFriendChannel:
    """Accept the friend's reset terms, named by their token."""

    friend_public_key: PublicKey
    reset_token: Signature


@member
class AddIndexServer:
    """Use one more index server; one of the same key is replaced."""

    server: NamedIndexServerAddress


@member
class RemoveIndexServer:
    """Use an index server no more; a key that is not known changes nothing."""

    public_key: PublicKey


AppRequest = (
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
    | RequestRoutes
    | AddIndexServer
    | RemoveIndexServer
    | FollowPayments
    | FollowInvoices
    | AddExpiringInvoice
    | GiveUpPayment
    | ReadHistory
    | FollowHistory
    | NoteInvoice
    | NotePayment
    | NoteEntry
    | FollowUnheard
)
declare_union(
    "app_server",
    "AppRequest",
    {
        "addRelay": AddRelay,
        "removeRelay": RemoveRelay,
        "createPayment": CreatePayment,
        "createTransaction": CreateTransaction,
        "requestClosePayment": RequestClosePayment,
        "ackClosePayment": AckClosePayment,
        "addInvoice": AddInvoice,
        "cancelInvoice": CancelInvoice,
        "commitInvoice": CommitInvoice,
        "addFriend": AddFriend,
        "setFriendRelays": SetFriendRelays,
        "setFriendName": SetFriendName,
        "removeFriend": RemoveFriend,
        "enableFriend": EnableFriend,
        "disableFriend": DisableFriend,
        "openFriendCurrency": OpenFriendCurrency,
        "closeFriendCurrency": CloseFriendCurrency,
        "setFriendCurrencyMaxDebt": SetFriendCurrencyMaxDebt,
        "setFriendCurrencyRate": SetFriendCurrencyRate,
        "removeFriendCurrency": RemoveFriendCurrency,
        "resetFriendChannel": ResetFriendChannel,
        "requestRoutes": RequestRoutes,
        "addIndexServer": AddIndexServer,
        "removeIndexServer": RemoveIndexServer,
        "followPayments": FollowPayments,
        "followInvoices": FollowInvoices,
        "addExpiringInvoice": AddExpiringInvoice,
        "giveUpPayment": GiveUpPayment,
        "readHistory": ReadHistory,
        "followHistory": FollowHistory,
        "noteInvoice": NoteInvoice,
        "notePayment": NotePayment,
        "noteEntry": NoteEntry,
        "followUnheard": FollowUnheard,
    },
)


@struct("app_server")
class AppToAppServer:
    """A request, with an id that its acknowledgement repeats."""

    app_request_id: Uid
    app_request: AppRequest


@member
class Complete:
    """The invoice is covered: hand this commit to the seller."""

    commit: Commit


@member
class Success:
    """The destination holds this part of the payment."""


@member
class Failure:
    """Nothing was, or will be, paid by this transaction."""


RequestResult = Complete | Success | Failure
declare_union("app_server", "RequestResult", {"complete": Complete, "success": Success, "failure": Failure})


@struct("app_server")
class TransactionResult:
    """What became of a transaction, named by the *request_id* that the app chose for it."""

    request_id: Uid
    result: RequestResult


@struct("app_server")
class PaymentStatusSuccess:
    """The payment is paid, and the receipt proves it; *ack_uid* is for `AckClosePayment`."""

    receipt: Receipt
    ack_uid: Uid


@member
class PaymentNotFound:
    """The node does not know the payment, or has forgotten it since its end was acknowledged."""


@member
class Canceled:
    """The payment is over and nothing was paid; *ack_uid* is for `AckClosePayment`."""

    ack_uid: Uid


PaymentStatus = PaymentNotFound | PaymentStatusSuccess | Canceled
declare_union(
    "app_server",
    "PaymentStatus",
    {"paymentNotFound": PaymentNotFound, "success": PaymentStatusSuccess, "canceled": Canceled},
)


@struct("app_server")
class ResponseClosePayment:
    """How a payment ended, for the app that has asked to close it."""

    payment_id: PaymentId
    status: PaymentStatus


@struct("app_server")
class ReportMutations:
    """Changes of the node's report, in order; the id of the request that caused them, if one did."""

    opt_app_request_id: Annotated[Uid | None, Optional("appRequestId")]
    mutations: tuple[NodeReportMutation, ...]


@member
class RoutesFound:
    """The index server's answer; where it found no route, it is empty."""

    multi_routes: tuple[MultiRoute, ...]


@member
class RoutesFailure:
    """The index server could not be asked."""


ResponseRoutesResult = RoutesFound | RoutesFailure
declare_union("app_server", "ResponseRoutesResult", {"success": RoutesFound, "failure": RoutesFailure})


@struct("app_server")
class ClientResponseRoutes:
    """The answer to the `RequestRoutes` of the same *request_id*."""

    request_id: Uid
    result: ResponseRoutesResult


AppServerToApp = (
    TransactionResult
    | ResponseClosePayment
    | ReportMutations
    | ClientResponseRoutes
    | OpenPayments
    | OpenInvoices
    | HistoryPage
    | HistoryEnd
    | UnheardFriends
)
declare_union(
    "app_server",
    "AppServerToApp",
    {
        "transactionResult": TransactionResult,
        "responseClosePayment": ResponseClosePayment,
        "reportMutations": ReportMutations,
        "responseRoutes": ClientResponseRoutes,
        "openPayments": OpenPayments,
        "openInvoices": OpenInvoices,
        "historyPage": HistoryPage,
        "historyEnd": HistoryEnd,
        "unheardFriends": UnheardFriends,
    },
)
