"""All outputs of a funder, to be performed, or told, once its mutations are durable. Spec 05 §1.2."""

from offset_proto.message import frozen
from offset_proto.messages.app import ReportMutations, ResponseClosePayment, TransactionResult
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.payment import Receipt, RelayAddress
from offset_proto.types import U128, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "ChannelerEffect",
    "Effect",
    "ForgetFriend",
    "InvoicePaid",
    "Occurrence",
    "PaymentFinished",
    "RequestForwarded",
    "SendFriendMessage",
    "SendToApps",
    "SetRelays",
    "UpdateFriend",
]


@frozen
class SetRelays:
    """Listen at these relays for all friends."""

    relays: tuple[RelayAddress, ...]


@frozen
class UpdateFriend:
    """Keep up a link to a friend: where it is reached, and where it may look for us."""

    public_key: PublicKey
    friend_relays: tuple[RelayAddress, ...]
    local_relays: tuple[RelayAddress, ...]


@frozen
class ForgetFriend:
    """Keep up no link to the friend any more, and close the one that is there."""

    public_key: PublicKey


@frozen
class SendFriendMessage:
    """A complete statement of our side; a later one replaces it."""

    public_key: PublicKey
    message: FriendMessage


@frozen
class SendToApps:
    """A report for all apps, or the result of a request for the one that waits for it."""

    message: ReportMutations | TransactionResult | ResponseClosePayment


ChannelerEffect = SetRelays | UpdateFriend | ForgetFriend
Effect = ChannelerEffect | SendFriendMessage | SendToApps


@frozen
class InvoicePaid:
    """An app of ours collected an invoice; *amount* in credits, over all transactions of the payment."""

    invoice_id: InvoiceId
    currency: Currency
    amount: U128


@frozen
class PaymentFinished:
    """A payment of ours has its end: paid, with the seller's receipt, or cancelled, without one."""

    payment_id: PaymentId
    receipt: Receipt | None


@frozen
class RequestForwarded:
    """We handed on a request as mediator; *dest_payment* and *fee* (ours) in credits."""

    friend: PublicKey
    next_friend: PublicKey
    currency: Currency
    request_id: Uid
    dest_payment: U128
    fee: U128


Occurrence = InvoicePaid | PaymentFinished | RequestForwarded
"""What happened, for whoever watches the node; nothing has to be performed."""
