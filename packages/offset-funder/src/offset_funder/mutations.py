"""
Mutations: the only way in which the state changes, and what storage writes. Spec 05 §3.

`apply` turns a state and a mutation into the next state. Handlers check before they mutate; a mutation
that does not fit its state is a bug of ours.
"""

from dataclasses import dataclass, replace
from typing import Any

from offset_funder.ledger import LedgerChange, change_ledger
from offset_funder.state import (
    BackwardsOp,
    Consistent,
    CurrencyConfig,
    Direction,
    Friend,
    FunderState,
    Inconsistent,
    OpenInvoice,
    OpenTransaction,
    Payment,
    SentLocalRelays,
    TokenChannel,
    fresh_friend,
    fresh_ledger,
)
from offset_proto.errors import invariant
from offset_proto.messages.friend import RequestSendFundsOp, ResponseSendFundsOp
from offset_proto.messages.payment import NamedRelayAddress, RelayAddress
from offset_proto.types import U128, Currency, HashedLock, InvoiceId, PaymentId, PlainLock, PublicKey, Uid

__all__ = [
    "AddFriend",
    "AddIncomingTransaction",
    "AddInvoice",
    "AddLedger",
    "AddRelay",
    "AddTransaction",
    "ChangeLedger",
    "ChannelMutation",
    "FriendMutation",
    "FriendPart",
    "Mutation",
    "PopFrontPendingBackwardsOp",
    "PopFrontPendingRequest",
    "PopFrontPendingUserRequest",
    "PushBackPendingBackwardsOp",
    "PushBackPendingRequest",
    "PushBackPendingUserRequest",
    "RemoveCurrencyConfig",
    "RemoveFriend",
    "RemoveIncomingTransaction",
    "RemoveInvoice",
    "RemovePayment",
    "RemovePendingRequests",
    "RemovePendingRequestsCurrency",
    "RemoveRelay",
    "RemoveTransaction",
    "SetConsistent",
    "SetDirection",
    "SetInconsistent",
    "SetInvoiceSrcHashedLock",
    "SetLocalActiveCurrencies",
    "SetName",
    "SetRemoteActiveCurrencies",
    "SetRemoteRelays",
    "SetSentLocalRelays",
    "SetStatus",
    "SetTransactionResponse",
    "UpdateCurrencyConfig",
    "UpdatePayment",
    "apply",
    "apply_channel",
]


# Mutations of a token channel.


@dataclass(frozen=True, slots=True)
class ChangeLedger:
    """One operation on the ledger of a currency."""

    currency: Currency
    change: LedgerChange


@dataclass(frozen=True, slots=True)
class AddLedger:
    """Both sides want the currency."""

    currency: Currency


@dataclass(frozen=True, slots=True)
class SetLocalActiveCurrencies:
    """What we announced."""

    currencies: frozenset[Currency]


@dataclass(frozen=True, slots=True)
class SetRemoteActiveCurrencies:
    """What the friend announced."""

    currencies: frozenset[Currency]


@dataclass(frozen=True, slots=True)
class SetDirection:
    """The token changed hands."""

    direction: Direction


ChannelMutation = ChangeLedger | AddLedger | SetLocalActiveCurrencies | SetRemoteActiveCurrencies | SetDirection


# Mutations of a friend.


@dataclass(frozen=True, slots=True)
class SetInconsistent:
    """The chain is broken: channel and queues are gone."""

    channel: Inconsistent


@dataclass(frozen=True, slots=True)
class SetConsistent:
    """The chain starts anew, with empty queues."""

    token_channel: TokenChannel


@dataclass(frozen=True, slots=True)
class UpdateCurrencyConfig:
    """Insert or replace."""

    currency: Currency
    config: CurrencyConfig


@dataclass(frozen=True, slots=True)
class RemoveCurrencyConfig:
    """Withdraw a currency that is not active."""

    currency: Currency


@dataclass(frozen=True, slots=True)
class PushBackPendingRequest:
    """A request to forward."""

    currency: Currency
    op: RequestSendFundsOp


@dataclass(frozen=True, slots=True)
class PopFrontPendingRequest:
    """It is in a token, or was dropped."""


@dataclass(frozen=True, slots=True)
class PushBackPendingBackwardsOp:
    """A response, cancel or collect to pass back."""

    currency: Currency
    op: BackwardsOp


@dataclass(frozen=True, slots=True)
class PopFrontPendingBackwardsOp:
    """It is in a token, or was dropped."""


@dataclass(frozen=True, slots=True)
class PushBackPendingUserRequest:
    """A request of our own user."""

    currency: Currency
    op: RequestSendFundsOp


@dataclass(frozen=True, slots=True)
class PopFrontPendingUserRequest:
    """It is in a token, or was dropped."""


@dataclass(frozen=True, slots=True)
class RemovePendingRequestsCurrency:
    """Forwarded requests of one currency were cancelled."""

    currency: Currency


@dataclass(frozen=True, slots=True)
class RemovePendingRequests:
    """All queued requests, forwarded and our user's, were cancelled."""


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Enable or disable."""

    is_enabled: bool


@dataclass(frozen=True, slots=True)
class SetRemoteRelays:
    """Where the friend is reached."""

    relays: tuple[RelayAddress, ...]


@dataclass(frozen=True, slots=True)
class SetName:
    """Local name."""

    name: str


@dataclass(frozen=True, slots=True)
class SetSentLocalRelays:
    """What the friend was told of our relays."""

    sent: SentLocalRelays


FriendPart = (
    ChannelMutation
    | SetInconsistent
    | SetConsistent
    | UpdateCurrencyConfig
    | RemoveCurrencyConfig
    | PushBackPendingRequest
    | PopFrontPendingRequest
    | PushBackPendingBackwardsOp
    | PopFrontPendingBackwardsOp
    | PushBackPendingUserRequest
    | PopFrontPendingUserRequest
    | RemovePendingRequestsCurrency
    | RemovePendingRequests
    | SetStatus
    | SetRemoteRelays
    | SetName
    | SetSentLocalRelays
)


# Mutations of a funder.


@dataclass(frozen=True, slots=True)
class FriendMutation:
    """A mutation of one friend, which must exist."""

    public_key: PublicKey
    part: FriendPart


@dataclass(frozen=True, slots=True)
class AddRelay:
    """Delete any relay of the same key, then append."""

    relay: NamedRelayAddress


@dataclass(frozen=True, slots=True)
class RemoveRelay:
    """No effect where the key is unknown."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class AddFriend:
    """Insert a fresh friend; the key must be new."""

    public_key: PublicKey
    relays: tuple[RelayAddress, ...]
    name: str


@dataclass(frozen=True, slots=True)
class RemoveFriend:
    """All of the friend is lost."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class AddInvoice:
    """Insert."""

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    dest_plain_lock: PlainLock


@dataclass(frozen=True, slots=True)
class AddIncomingTransaction:
    """A transaction came for the invoice."""

    invoice_id: InvoiceId
    request_id: Uid


@dataclass(frozen=True, slots=True)
class RemoveIncomingTransaction:
    """A transaction of the invoice vanished with its channel (D33)."""

    invoice_id: InvoiceId
    request_id: Uid


@dataclass(frozen=True, slots=True)
class SetInvoiceSrcHashedLock:
    """The first transaction fixes the buyer's lock."""

    invoice_id: InvoiceId
    src_hashed_lock: HashedLock


@dataclass(frozen=True, slots=True)
class RemoveInvoice:
    """Committed or cancelled."""

    invoice_id: InvoiceId


@dataclass(frozen=True, slots=True)
class AddTransaction:
    """Insert without response."""

    request_id: Uid
    payment_id: PaymentId


@dataclass(frozen=True, slots=True)
class SetTransactionResponse:
    """The destination responded."""

    response: ResponseSendFundsOp


@dataclass(frozen=True, slots=True)
class RemoveTransaction:
    """Collected or cancelled."""

    request_id: Uid


@dataclass(frozen=True, slots=True)
class UpdatePayment:
    """Insert or replace."""

    payment_id: PaymentId
    payment: Payment


@dataclass(frozen=True, slots=True)
class RemovePayment:
    """The app has the result."""

    payment_id: PaymentId


Mutation = (
    FriendMutation
    | AddRelay
    | RemoveRelay
    | AddFriend
    | RemoveFriend
    | AddInvoice
    | AddIncomingTransaction
    | RemoveIncomingTransaction
    | SetInvoiceSrcHashedLock
    | RemoveInvoice
    | AddTransaction
    | SetTransactionResponse
    | RemoveTransaction
    | UpdatePayment
    | RemovePayment
)


def apply(state: FunderState, mutation: Mutation) -> FunderState:
    """The state after *mutation*."""
    match mutation:
        case FriendMutation(public_key, part):
            friend = apply_friend(state.friends[public_key], part)
            return replace(state, friends=state.friends.set(public_key, friend))
        case AddRelay(relay):
            others = tuple(r for r in state.relays if r.public_key != relay.public_key)
            return replace(state, relays=(*others, relay))
        case RemoveRelay(public_key):
            return replace(state, relays=tuple(r for r in state.relays if r.public_key != public_key))
        case AddFriend(public_key, relays, name):
            invariant(public_key not in state.friends, "a friend is added once")
            friend = fresh_friend(state.local_public_key, public_key, relays, name)
            return replace(state, friends=state.friends.set(public_key, friend))
        case RemoveFriend(public_key):
            return replace(state, friends=state.friends.delete(public_key))
        case AddTransaction() | SetTransactionResponse() | RemoveTransaction() | UpdatePayment() | RemovePayment():
            return _apply_buyer(state, mutation)
        case _:
            return _apply_seller(state, mutation)


def _apply_buyer(
    state: FunderState,
    mutation: AddTransaction | SetTransactionResponse | RemoveTransaction | UpdatePayment | RemovePayment,
) -> FunderState:
    transactions, payments = state.open_transactions, state.payments
    match mutation:
        case AddTransaction(request_id, payment_id):
            transactions = transactions.set(request_id, OpenTransaction(payment_id))
        case SetTransactionResponse(response):
            open_transaction = replace(transactions[response.request_id], opt_response=response)
            transactions = transactions.set(response.request_id, open_transaction)
        case RemoveTransaction(request_id):
            transactions = transactions.delete(request_id)
        case UpdatePayment(payment_id, payment):
            payments = payments.set(payment_id, payment)
        case RemovePayment(payment_id):
            payments = payments.delete(payment_id)
    return replace(state, open_transactions=transactions, payments=payments)


def _apply_seller(
    state: FunderState,
    mutation: AddInvoice | AddIncomingTransaction | RemoveIncomingTransaction | SetInvoiceSrcHashedLock | RemoveInvoice,
) -> FunderState:
    invoices, invoice_id = state.open_invoices, mutation.invoice_id
    match mutation:
        case AddInvoice(_, currency, total_dest_payment, dest_plain_lock):
            invoice = OpenInvoice(currency, total_dest_payment, dest_plain_lock)
        case AddIncomingTransaction(_, request_id):
            invoice = invoices[invoice_id]
            added = (*invoice.incoming_transactions, request_id)
            invoice = replace(invoice, incoming_transactions=added)
        case RemoveIncomingTransaction(_, request_id):
            invoice = invoices[invoice_id]
            kept = tuple(known for known in invoice.incoming_transactions if known != request_id)
            invoice = replace(invoice, incoming_transactions=kept)
        case SetInvoiceSrcHashedLock(_, src_hashed_lock):
            invoice = replace(invoices[invoice_id], opt_src_hashed_lock=src_hashed_lock)
        case RemoveInvoice():
            return replace(state, open_invoices=invoices.delete(invoice_id))
    return replace(state, open_invoices=invoices.set(invoice_id, invoice))


def apply_friend(friend: Friend, part: FriendPart) -> Friend:
    """The friend after a mutation of it."""
    match part:
        case SetInconsistent(inconsistent):
            return replace(friend, channel=inconsistent)
        case SetConsistent(token_channel):
            return replace(friend, channel=Consistent(token_channel))
        case UpdateCurrencyConfig(currency, config):
            return replace(friend, currency_configs=friend.currency_configs.set(currency, config))
        case RemoveCurrencyConfig(currency):
            return replace(friend, currency_configs=friend.currency_configs.delete(currency))
        case SetStatus(is_enabled):
            return replace(friend, is_enabled=is_enabled)
        case SetRemoteRelays(relays):
            return replace(friend, remote_relays=relays)
        case SetName(name):
            return replace(friend, name=name)
        case SetSentLocalRelays(sent):
            return replace(friend, sent_local_relays=sent)
        case _:
            invariant(isinstance(friend.channel, Consistent), "the channel of a friend is consistent")
            assert isinstance(friend.channel, Consistent)
            return replace(friend, channel=_apply_consistent(friend.channel, part))


def _apply_consistent(channel: Consistent, part: Any) -> Consistent:
    match part:
        case PushBackPendingRequest(currency, op):
            return replace(channel, pending_requests=(*channel.pending_requests, (currency, op)))
        case PopFrontPendingRequest():
            return replace(channel, pending_requests=channel.pending_requests[1:])
        case PushBackPendingBackwardsOp(currency, op):
            return replace(channel, pending_backwards_ops=(*channel.pending_backwards_ops, (currency, op)))
        case PopFrontPendingBackwardsOp():
            return replace(channel, pending_backwards_ops=channel.pending_backwards_ops[1:])
        case PushBackPendingUserRequest(currency, op):
            return replace(channel, pending_user_requests=(*channel.pending_user_requests, (currency, op)))
        case PopFrontPendingUserRequest():
            return replace(channel, pending_user_requests=channel.pending_user_requests[1:])
        case RemovePendingRequestsCurrency(currency):
            kept = tuple(item for item in channel.pending_requests if item[0] != currency)
            return replace(channel, pending_requests=kept)
        case RemovePendingRequests():
            return replace(channel, pending_requests=(), pending_user_requests=())
        case _:
            return replace(channel, token_channel=apply_channel(channel.token_channel, part))


def apply_channel(channel: TokenChannel, mutation: ChannelMutation) -> TokenChannel:
    """The token channel after a mutation of it."""
    match mutation:
        case ChangeLedger(currency, change):
            ledger = change_ledger(channel.ledgers[currency], change)
            return replace(channel, ledgers=channel.ledgers.set(currency, ledger))
        case AddLedger(currency):
            ledger = fresh_ledger(channel.local_public_key, channel.remote_public_key, currency)
            return replace(channel, ledgers=channel.ledgers.set(currency, ledger))
        case SetLocalActiveCurrencies(currencies):
            return replace(channel, active_local=currencies)
        case SetRemoteActiveCurrencies(currencies):
            return replace(channel, active_remote=currencies)
        case SetDirection(direction):
            return replace(channel, direction=direction)
