"""
Mutations: the only way in which the state changes, and what storage writes. Spec 05 §3.

`apply` turns a state and a mutation into the next state. Handlers check before they mutate; a mutation
that does not fit its state is a bug of ours.
"""

from typing import assert_never

from offset_funder.friend_mutations import (
    AddLedger,
    ChangeLedger,
    ChannelMutation,
    FriendPart,
    PopFrontPendingBackwardsOp,
    PopFrontPendingRequest,
    PopFrontPendingUserRequest,
    PushBackPendingBackwardsOp,
    PushBackPendingRequest,
    PushBackPendingUserRequest,
    QueueMutation,
    RemoveCurrencyConfig,
    RemovePendingRequests,
    RemovePendingRequestsCurrency,
    RemovePendingUserRequest,
    SetConsistent,
    SetDirection,
    SetHeard,
    SetInconsistent,
    SetLocalActiveCurrencies,
    SetName,
    SetRemoteActiveCurrencies,
    SetRemoteRelays,
    SetSentLocalRelays,
    SetStatus,
    UpdateCurrencyConfig,
    apply_channel,
    apply_friend,
)
from offset_funder.state import (
    FunderState,
    OpenInvoice,
    OpenTransaction,
    Payment,
    fresh_friend,
)
from offset_proto.errors import invariant
from offset_proto.message import frozen, replace
from offset_proto.messages.friend import ResponseSendFundsOp
from offset_proto.messages.payment import NamedRelayAddress, RelayAddress
from offset_proto.types import U64, U128, Currency, HashedLock, InvoiceId, PaymentId, PlainLock, PublicKey, Uid

__all__ = [
    "AddFriend",
    "AddIncomingTransaction",
    "AddInvoice",
    "AddLedger",
    "AddRelay",
    "AddTransaction",
    "ChangeLedger",
    "ChannelMutation",
    "ForgetSome",
    "FriendMutation",
    "FriendPart",
    "Mutation",
    "PopFrontPendingBackwardsOp",
    "PopFrontPendingRequest",
    "PopFrontPendingUserRequest",
    "PushBackPendingBackwardsOp",
    "PushBackPendingRequest",
    "PushBackPendingUserRequest",
    "QueueMutation",
    "RemoveCurrencyConfig",
    "RemoveFriend",
    "RemoveIncomingTransaction",
    "RemoveInvoice",
    "RemovePayment",
    "RemovePendingRequests",
    "RemovePendingRequestsCurrency",
    "RemovePendingUserRequest",
    "RemoveRelay",
    "RemoveTransaction",
    "SetConsistent",
    "SetDirection",
    "SetHeard",
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

# Mutations of a funder.


@frozen
class FriendMutation:
    """A mutation of one friend, which must exist."""

    public_key: PublicKey
    part: FriendPart


@frozen
class AddRelay:
    """Delete any relay of the same key, then append."""

    relay: NamedRelayAddress


@frozen
class RemoveRelay:
    """No effect where the key is unknown."""

    public_key: PublicKey


@frozen
class AddFriend:
    """Insert a fresh friend; the key must be new. It may have been a friend where the node has forgotten something."""

    public_key: PublicKey
    relays: tuple[RelayAddress, ...]
    name: str
    is_heard: bool = True


@frozen
class RemoveFriend:
    """The owner removes the friend; its ledgers and all that waits for it are lost."""

    public_key: PublicKey


@frozen
class AddInvoice:
    """
    An app of ours expects *total_dest_payment* credits; nothing has come for the invoice yet.

    *opt_end* is when the node cancels it by itself, in seconds since 1970.
    """

    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: U128
    dest_plain_lock: PlainLock
    opt_end: U64 | None = None


@frozen
class AddIncomingTransaction:
    """A request for the invoice was accepted; it counts towards the total from now on."""

    invoice_id: InvoiceId
    request_id: Uid


@frozen
class RemoveIncomingTransaction:
    """A transaction of the invoice vanished with its channel (D33)."""

    invoice_id: InvoiceId
    request_id: Uid


@frozen
class SetInvoiceSrcHashedLock:
    """The first transaction fixes the buyer's lock."""

    invoice_id: InvoiceId
    src_hashed_lock: HashedLock


@frozen
class RemoveInvoice:
    """The invoice was committed or cancelled, and every further request for it is refused."""

    invoice_id: InvoiceId


@frozen
class AddTransaction:
    """A transaction of ours begins; the destination has not responded to it."""

    request_id: Uid
    payment_id: PaymentId


@frozen
class SetTransactionResponse:
    """The destination accepts a transaction of ours; commit and receipt are made from its signed response."""

    response: ResponseSendFundsOp


@frozen
class RemoveTransaction:
    """A transaction of ours has its end: it was collected or cancelled."""

    request_id: Uid


@frozen
class UpdatePayment:
    """A payment of ours is new, has come to another stage, or has another number of open transactions."""

    payment_id: PaymentId
    payment: Payment


@frozen
class RemovePayment:
    """The payment is forgotten: the app has its end, and no transaction of it is open."""

    payment_id: PaymentId


@frozen
class ForgetSome:
    """The node goes on from less than it once knew; this stays so."""


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
    | ForgetSome
)


def apply(state: FunderState, mutation: Mutation) -> FunderState:
    """The state after *mutation*; *state* stays as it is. A mutation that does not fit it is a defect of ours."""
    match mutation:
        case FriendMutation(public_key, part):
            return state.with_friend(apply_friend(state.friends[public_key], part))
        case AddRelay(relay):
            others = tuple(r for r in state.relays if r.public_key != relay.public_key)
            return replace(state, relays=(*others, relay))
        case RemoveRelay(public_key):
            return replace(state, relays=tuple(r for r in state.relays if r.public_key != public_key))
        case AddFriend(public_key, relays, name, is_heard):
            invariant(public_key not in state.friends, "a friend is added once")
            friend = fresh_friend(state.local_public_key, public_key, relays, name, is_heard=is_heard)
            return replace(state, friends=state.friends.set(public_key, friend))
        case RemoveFriend(public_key):
            return replace(state, friends=state.friends.delete(public_key))
        case ForgetSome():
            return replace(state, has_forgotten=True)
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
        case _:
            assert_never(mutation)
    return replace(state, open_transactions=transactions, payments=payments)


def _apply_seller(
    state: FunderState,
    mutation: AddInvoice | AddIncomingTransaction | RemoveIncomingTransaction | SetInvoiceSrcHashedLock | RemoveInvoice,
) -> FunderState:
    invoices, invoice_id = state.open_invoices, mutation.invoice_id
    match mutation:
        case AddInvoice(_, currency, total_dest_payment, dest_plain_lock, opt_end):
            invoice = OpenInvoice(currency, total_dest_payment, dest_plain_lock, opt_end=opt_end)
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
        case _:
            assert_never(mutation)
    return replace(state, open_invoices=invoices.set(invoice_id, invoice))
