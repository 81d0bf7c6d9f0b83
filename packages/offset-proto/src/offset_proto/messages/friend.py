"""Between two friends: move tokens, their operations, reset terms. Spec 04 §2 (funder.capnp)."""

from typing import Annotated

from offset_proto.layout import Optional, declare_union, struct
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import (
    I128,
    U64,
    U128,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

__all__ = [
    "CancelSendFundsOp",
    "CollectSendFundsOp",
    "CurrencyBalance",
    "CurrencyOperations",
    "FriendMessage",
    "FriendTcOp",
    "FriendsRoute",
    "MoveToken",
    "MoveTokenRequest",
    "RequestSendFundsOp",
    "ResetTerms",
    "ResponseSendFundsOp",
]


@struct("funder")
class FriendsRoute:
    """Public keys of nodes, each a friend of the next."""

    public_keys: tuple[PublicKey, ...]


@struct("funder")
class RequestSendFundsOp:
    """Freeze ``dest_payment + left_fees`` credits. *route* holds the nodes after the receiver."""

    request_id: Uid
    src_hashed_lock: HashedLock
    route: FriendsRoute
    dest_payment: U128
    total_dest_payment: U128
    invoice_id: InvoiceId
    left_fees: U128


@struct("funder")
class ResponseSendFundsOp:
    """The destination accepts a request; *is_complete*: the invoice is now fully covered."""

    request_id: Uid
    dest_hashed_lock: HashedLock
    is_complete: bool
    rand_nonce: RandValue
    signature: Signature


@struct("funder")
class CancelSendFundsOp:
    """Unfreeze a request. Unsigned: any node of the route may do it."""

    request_id: Uid


@struct("funder")
class CollectSendFundsOp:
    """Reveal both locks: the frozen credits change hands."""

    request_id: Uid
    src_plain_lock: PlainLock
    dest_plain_lock: PlainLock


FriendTcOp = RequestSendFundsOp | ResponseSendFundsOp | CancelSendFundsOp | CollectSendFundsOp
declare_union(
    "funder",
    "FriendTcOp",
    {
        "requestSendFunds": RequestSendFundsOp,
        "responseSendFunds": ResponseSendFundsOp,
        "cancelSendFunds": CancelSendFundsOp,
        "collectSendFunds": CollectSendFundsOp,
    },
)


@struct("funder")
class CurrencyOperations:
    """Operations of one currency, applied in order."""

    currency: Currency
    operations: tuple[FriendTcOp, ...]


@struct("funder")
class MoveToken:
    """The only message that changes a ledger, and the token that allows its receiver to send the next."""

    old_token: Signature
    currencies_operations: tuple[CurrencyOperations, ...]
    opt_local_relays: Annotated[tuple[RelayAddress, ...] | None, Optional("relays")]
    opt_active_currencies: Annotated[tuple[Currency, ...] | None, Optional("currencies")]
    info_hash: HashResult
    rand_nonce: RandValue
    new_token: Signature


@struct("funder")
class MoveTokenRequest:
    """A move token; *token_wanted*: the sender asks to get the token back."""

    move_token: MoveToken
    token_wanted: bool


@struct("funder")
class CurrencyBalance:
    """A balance in credits, as seen by the sender."""

    currency: Currency
    balance: I128


@struct("funder")
class ResetTerms:
    """What the sender asks for to reset an inconsistent channel. Spec 04 §7.2."""

    reset_token: Signature
    inconsistency_counter: U64
    balance_for_reset: tuple[CurrencyBalance, ...]


FriendMessage = MoveTokenRequest | ResetTerms
declare_union("funder", "FriendMessage", {"moveTokenRequest": MoveTokenRequest, "inconsistencyError": ResetTerms})
