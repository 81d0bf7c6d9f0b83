"""
All that a funder remembers, as frozen values. Spec 05 §2.1.

Maps are persistent (`immutables.Map`): a changed state shares all else with the one before, so an event costs what it
changes and not what is stored, and one that fails leaves no trace. What payments change is copied by ``with_...``.

Balances are seen from here: above zero, the friend owes us. Local pending debt is frozen by us, remote by the friend.
"""

from typing import TypeAlias

from immutables import Map

from offset_crypto.hashing import is_lower
from offset_crypto.signed import initial_move_token, initial_token_info, prefix_hash
from offset_proto.message import frozen
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    MoveToken,
    RequestSendFundsOp,
    ResetTerms,
    ResponseSendFundsOp,
)
from offset_proto.messages.payment import NamedRelayAddress, Rate, Receipt, RelayAddress
from offset_proto.messages.report import MoveTokenHashedReport, TokenInfo
from offset_proto.types import (
    I128,
    U64,
    U128,
    Currency,
    HashedLock,
    InvoiceId,
    PaymentId,
    PlainLock,
    PublicKey,
    Uid,
)

__all__ = [
    "AfterSuccessAck",
    "BackwardsOp",
    "CanceledPayment",
    "Channel",
    "Consistent",
    "CurrencyConfig",
    "Direction",
    "Friend",
    "FunderState",
    "InProgress",
    "Incoming",
    "Inconsistent",
    "LastSent",
    "Ledger",
    "NeverSent",
    "NewTransactions",
    "OpenInvoice",
    "OpenTransaction",
    "Outgoing",
    "Payment",
    "PaymentStage",
    "PendingTransaction",
    "Responded",
    "SentLocalRelays",
    "SuccessfulPayment",
    "TokenChannel",
    "Transition",
    "fresh_channel",
    "fresh_friend",
    "fresh_ledger",
    "hash_token",
]


@frozen
class Responded:
    """The destination has signed: stage of a transaction between response and collect."""

    dest_hashed_lock: HashedLock
    is_complete: bool


@frozen
class PendingTransaction:
    """A request that is open on one hop; *responded* is None until the response. Amounts in credits."""

    request_id: Uid
    route: tuple[PublicKey, ...]
    dest_payment: U128
    total_dest_payment: U128
    invoice_id: InvoiceId
    left_fees: U128
    src_hashed_lock: HashedLock
    responded: Responded | None = None

    @property
    def frozen_credits(self) -> int:
        """How many credits the transaction freezes on this hop: the payment and all fees that are left."""
        return self.dest_payment + self.left_fees


PendingTransactions: TypeAlias = "Map[Uid, PendingTransaction]"


@frozen
class Ledger:
    """One currency between two friends (mutual credit). Spec 04 §4.1."""

    local_public_key: PublicKey
    remote_public_key: PublicKey
    currency: Currency
    balance: I128
    local_pending_debt: U128
    remote_pending_debt: U128
    pending_local: PendingTransactions
    pending_remote: PendingTransactions


@frozen
class Incoming:
    """We received the last token, and may send the next one; *move_token_in* is what is kept of the last one."""

    move_token_in: MoveTokenHashedReport


@frozen
class Outgoing:
    """We sent the last token; *token_info* is the state it stands for, as we see it."""

    move_token_out: MoveToken
    token_info: TokenInfo
    opt_prev_move_token_in: MoveTokenHashedReport | None


Direction = Incoming | Outgoing


@frozen
class TokenChannel:
    """The chain of move tokens with a friend, and its ledgers. Spec 04 §6.1."""

    local_public_key: PublicKey
    remote_public_key: PublicKey
    direction: Direction
    ledgers: "Map[Currency, Ledger]"
    active_local: frozenset[Currency]
    active_remote: frozenset[Currency]

    def with_ledger(self, ledger: Ledger) -> "TokenChannel":
        """The channel with a ledger in the place of that of its currency, if there is one."""
        return TokenChannel(
            self.local_public_key,
            self.remote_public_key,
            self.direction,
            self.ledgers.set(ledger.currency, ledger),
            self.active_local,
            self.active_remote,
        )

    @property
    def last_incoming(self) -> MoveTokenHashedReport | None:
        """The friend's last token; none on the low side before it received one."""
        match self.direction:
            case Incoming(token):
                return token
            case Outgoing():
                return self.direction.opt_prev_move_token_in


BackwardsOp = ResponseSendFundsOp | CancelSendFundsOp | CollectSendFundsOp


@frozen
class Consistent:
    """A channel that works, and what waits for its next token, first come first."""

    token_channel: TokenChannel
    pending_requests: tuple[tuple[Currency, RequestSendFundsOp], ...] = ()
    pending_backwards_ops: tuple[tuple[Currency, BackwardsOp], ...] = ()
    pending_user_requests: tuple[tuple[Currency, RequestSendFundsOp], ...] = ()

    def with_token_channel(self, channel: TokenChannel) -> "Consistent":
        """Another token channel, for which the same operations wait."""
        return Consistent(channel, self.pending_requests, self.pending_backwards_ops, self.pending_user_requests)


@frozen
class Inconsistent:
    """A channel that waits for one side to accept the other's terms. Spec 04 §7.1."""

    opt_last_incoming_move_token: MoveTokenHashedReport | None
    local_reset_terms: ResetTerms
    opt_remote_reset_terms: ResetTerms | None


Channel = Consistent | Inconsistent


@frozen
class CurrencyConfig:
    """What the owner decided for a friend and currency. The default proposes the currency and grants nothing."""

    rate: Rate = Rate(0, 0)
    remote_max_debt: U128 = 0
    is_open: bool = False


@frozen
class NeverSent:
    """The friend was not told our relays yet."""


@frozen
class LastSent:
    """The friend has these relays of ours, and was sent no others since."""

    relays: tuple[NamedRelayAddress, ...]


@frozen
class Transition:
    """The friend was sent *last*, and may still believe *before_last*."""

    last: tuple[NamedRelayAddress, ...]
    before_last: tuple[NamedRelayAddress, ...]


SentLocalRelays = NeverSent | LastSent | Transition


@frozen
class Friend:
    """
    A friend as this node knows it, with the settings of the owner and the channel. Spec 05 §2.1.

    *is_heard* is False where the channel may have gone on in a time that the node has forgotten (`unheard`).
    """

    local_public_key: PublicKey
    remote_public_key: PublicKey
    remote_relays: tuple[RelayAddress, ...]
    sent_local_relays: SentLocalRelays
    name: str
    currency_configs: "Map[Currency, CurrencyConfig]"
    is_enabled: bool
    channel: Channel
    is_heard: bool = True

    def with_channel(self, channel: Channel) -> "Friend":
        """The friend with another channel."""
        return Friend(
            self.local_public_key,
            self.remote_public_key,
            self.remote_relays,
            self.sent_local_relays,
            self.name,
            self.currency_configs,
            self.is_enabled,
            channel,
            self.is_heard,
        )


@frozen
class OpenInvoice:
    """
    An invoice of ours, and the transactions that came for it.

    Attributes:
        currency, total_dest_payment: What is expected.
        dest_plain_lock: Opens what comes for it.
        opt_src_hashed_lock: Of the payment that it is bound to; None until a transaction has come.
        incoming_transactions: That have come, in order.
        opt_end: When it is cancelled, in seconds since 1970; None: never.
    """

    currency: Currency
    total_dest_payment: U128
    dest_plain_lock: PlainLock
    opt_src_hashed_lock: HashedLock | None = None
    incoming_transactions: tuple[Uid, ...] = ()
    opt_end: U64 | None = None


@frozen
class OpenTransaction:
    """A transaction of ours that has no end yet; *opt_response* is None until the destination has responded."""

    payment_id: PaymentId
    opt_response: ResponseSendFundsOp | None = None


@frozen
class NewTransactions:
    """The payment is open, and the app may add transactions; *num_transactions* of them are open."""

    num_transactions: U64
    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    dest_public_key: PublicKey


@frozen
class InProgress:
    """The app asked to close; transactions are still open."""

    num_transactions: U64


@frozen
class SuccessfulPayment:
    """The first collect has made the payment a success; *num_transactions* of it are still open."""

    num_transactions: U64
    receipt: Receipt
    ack_uid: Uid


@frozen
class CanceledPayment:
    """No transaction was collected, and none is open."""

    ack_uid: Uid


@frozen
class AfterSuccessAck:
    """The app has the receipt; further transactions are still open."""

    num_transactions: U64


PaymentStage = NewTransactions | InProgress | SuccessfulPayment | CanceledPayment | AfterSuccessAck


@frozen
class Payment:
    """A payment of ours; all its transactions share one source lock."""

    src_plain_lock: PlainLock
    stage: PaymentStage


@frozen
class FunderState:
    """
    All that survives a restart. Spec 05 §2.1.

    *has_forgotten* says that the node once knew more: whoever is added as a friend may have been one (`unheard`).
    """

    local_public_key: PublicKey
    relays: tuple[NamedRelayAddress, ...] = ()
    friends: "Map[PublicKey, Friend]" = Map()
    open_invoices: "Map[InvoiceId, OpenInvoice]" = Map()
    open_transactions: "Map[Uid, OpenTransaction]" = Map()
    payments: "Map[PaymentId, Payment]" = Map()
    has_forgotten: bool = False

    def with_friend(self, friend: Friend) -> "FunderState":
        """The state with a friend in the place of that of its key, if there is one."""
        return FunderState(
            self.local_public_key,
            self.relays,
            self.friends.set(friend.remote_public_key, friend),
            self.open_invoices,
            self.open_transactions,
            self.payments,
            self.has_forgotten,
        )


def hash_token(token: MoveToken, info: TokenInfo) -> MoveTokenHashedReport:
    """A token reduced to what is kept of it; *info* as its signer sees it."""
    return MoveTokenHashedReport(prefix_hash(token), info, token.rand_nonce, token.new_token)


def fresh_channel(local: PublicKey, remote: PublicKey) -> TokenChannel:
    """A channel at birth: the lower key counts as sender of the initial token. Spec 04 §6.2 [WIRE]."""
    token, info = initial_move_token(local, remote), initial_token_info(local, remote)
    direction: Direction
    if is_lower(local, remote):
        direction = Outgoing(token, info, None)
    else:
        direction = Incoming(hash_token(token, info))
    return TokenChannel(local, remote, direction, Map(), frozenset(), frozenset())


def fresh_ledger(local: PublicKey, remote: PublicKey, currency: Currency, balance: I128 = 0) -> Ledger:
    """A ledger of this balance, in credits, with nothing pending."""
    return Ledger(local, remote, currency, balance, 0, 0, Map(), Map())


def fresh_friend(
    local: PublicKey, remote: PublicKey, relays: tuple[RelayAddress, ...], name: str, *, is_heard: bool = True
) -> Friend:
    """A friend as it is added: disabled, nothing configured. Spec 05 §2.1."""
    channel = Consistent(fresh_channel(local, remote))
    return Friend(local, remote, relays, NeverSent(), name, Map(), False, channel, is_heard)
