"""
One currency between two friends: request, response, cancel, collect. Spec 04 §4.

`receive_operation` and `send_operation` check an operation against a ledger and return the `LedgerChange` that it
makes; `change_ledger` carries it out. The checks stand in the order of the specification, the first that fails
decides, and its class has the specification's name for it. All arithmetic is exact and then range-checked, never
clamped.

======================  =======================  =======================  ==============================
operation               In (the friend sent it)  Out (we send it)         frozen credits f
======================  =======================  =======================  ==============================
request                 RPD + f                  LPD + f                  insert
response                -                        -                        stage
cancel                  LPD - f                  RPD - f                  remove
collect                 LPD - f, balance - f     RPD - f, balance + f     remove
======================  =======================  =======================  ==============================
"""

import enum

from offset_crypto.hashing import hash_lock
from offset_crypto.identity import InvalidSignature, verify
from offset_crypto.signed import response_buffer
from offset_funder.state import Ledger, PendingTransaction, PendingTransactions, Responded
from offset_proto.errors import PeerError
from offset_proto.message import frozen, replace
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    FriendTcOp,
    RequestSendFundsOp,
    ResponseSendFundsOp,
)
from offset_proto.types import I128, I128_MAX, U128, U128_MAX, Uid, is_part_valid

__all__ = [
    "CancelReceived",
    "CollectReceived",
    "CreditsCalcOverflow",
    "DestPaymentExceedsTotal",
    "InvalidDestPlainLock",
    "InvalidOperation",
    "InvalidResponseSignature",
    "InvalidRoute",
    "InvalidSrcPlainLock",
    "LedgerChange",
    "LedgerOutput",
    "NotExpectingCollect",
    "NotExpectingResponse",
    "RequestAlreadyExists",
    "RequestDoesNotExist",
    "RequestReceived",
    "RequestRefused",
    "ResponseReceived",
    "Side",
    "change_ledger",
    "receive_operation",
    "send_operation",
]


class InvalidOperation(PeerError):
    """An operation that this ledger does not allow. In: the whole token is invalid. Out: do not send it."""


class InvalidRoute(InvalidOperation):
    """32 keys or more, or one twice."""


class DestPaymentExceedsTotal(InvalidOperation):
    """A part of a payment is greater than the whole."""


class RequestAlreadyExists(InvalidOperation):
    """The id is pending in this direction."""


class CreditsCalcOverflow(InvalidOperation):
    """An amount that the operation leads to is beyond its 128 bits."""


class RequestDoesNotExist(InvalidOperation):
    """The operation answers a request that is not pending in its direction."""


class InvalidResponseSignature(InvalidOperation):
    """The response is not signed by the destination, or not for this request."""


class NotExpectingResponse(InvalidOperation):
    """The request has had a response already."""


class NotExpectingCollect(InvalidOperation):
    """The request has had no response yet, and only then it can be collected."""


class InvalidSrcPlainLock(InvalidOperation):
    """The source lock in the collect does not open the buyer's hash lock."""


class InvalidDestPlainLock(InvalidOperation):
    """The destination lock in the collect does not open the seller's hash lock."""


class Side(enum.Enum):
    """Whose request a pending transaction is: one that we sent, or one that the friend sent."""

    LOCAL = "local"
    REMOTE = "remote"


@frozen
class LedgerChange:
    """The numbers after an operation, and the one pending transaction it touches (None: removed)."""

    balance: I128
    local_pending_debt: U128
    remote_pending_debt: U128
    side: Side
    request_id: Uid
    transaction: PendingTransaction | None


@frozen
class RequestReceived:
    """A request that keeps what the friend owes us, with all that it has frozen, within our max debt."""

    op: RequestSendFundsOp


@frozen
class RequestRefused:
    """A request beyond the friend's limit: it is frozen all the same, and must be cancelled."""

    op: RequestSendFundsOp


@frozen
class ResponseReceived:
    """The friend passes a response back; *transaction* is as it was before."""

    transaction: PendingTransaction
    op: ResponseSendFundsOp


@frozen
class CancelReceived:
    """The friend passes a cancel back; *transaction* is as it was before, and is not pending any more."""

    transaction: PendingTransaction
    op: CancelSendFundsOp


@frozen
class CollectReceived:
    """The friend passes a collect back; *transaction* is as it was before, and is not pending any more."""

    transaction: PendingTransaction
    op: CollectSendFundsOp


LedgerOutput = RequestReceived | RequestRefused | ResponseReceived | CancelReceived | CollectReceived


def receive_operation(ledger: Ledger, op: FriendTcOp, remote_max_debt: U128) -> tuple[LedgerChange, LedgerOutput]:
    """
    What an operation of the friend changes.

    Args:
        ledger: Our side; not modified.
        op: As decoded.
        remote_max_debt: What the friend may owe us, credits; looked at for requests only.

    Raises:
        InvalidOperation: The friend broke the protocol.

    Spec: 04 §4.3, In [WIRE].
    """
    match op:
        case RequestSendFundsOp():
            change = _receive_request(ledger, op)
            # The trust decision; equality is accepted. No other check looks at the limit (D40).
            trusted = ledger.balance + change.remote_pending_debt <= remote_max_debt
            return change, RequestReceived(op) if trusted else RequestRefused(op)
        case ResponseSendFundsOp():
            transaction = _find(ledger, Side.LOCAL, op.request_id)
            return _response(ledger, Side.LOCAL, transaction, op), ResponseReceived(transaction, op)
        case CancelSendFundsOp():
            transaction = _find(ledger, Side.LOCAL, op.request_id)
            return _removal(ledger, Side.LOCAL, transaction), CancelReceived(transaction, op)
        case CollectSendFundsOp():
            transaction = _find(ledger, Side.LOCAL, op.request_id)
            _check_collect(transaction, op)
            change = _removal(ledger, Side.LOCAL, transaction, gain=-transaction.frozen_credits)
            return change, CollectReceived(transaction, op)


def send_operation(ledger: Ledger, op: FriendTcOp) -> LedgerChange:
    """
    What an operation that we send changes; the mirror of `receive_operation` at the friend.

    Raises:
        InvalidOperation: The friend would refuse the token: do not send it.

    Spec: 04 §4.3, Out [WIRE].
    """
    match op:
        case RequestSendFundsOp():
            return _send_request(ledger, op)
        case ResponseSendFundsOp():
            return _response(ledger, Side.REMOTE, _find(ledger, Side.REMOTE, op.request_id), op)
        case CancelSendFundsOp():
            return _removal(ledger, Side.REMOTE, _find(ledger, Side.REMOTE, op.request_id))
        case CollectSendFundsOp():
            transaction = _find(ledger, Side.REMOTE, op.request_id)
            _check_collect(transaction, op)
            return _removal(ledger, Side.REMOTE, transaction, gain=transaction.frozen_credits)


def change_ledger(ledger: Ledger, change: LedgerChange) -> Ledger:
    """The ledger after a change that was made of this very ledger."""
    local, remote = ledger.pending_local, ledger.pending_remote
    if change.side is Side.LOCAL:
        local = _changed(local, change)
    else:
        remote = _changed(remote, change)
    return Ledger(
        local_public_key=ledger.local_public_key,
        remote_public_key=ledger.remote_public_key,
        currency=ledger.currency,
        balance=change.balance,
        local_pending_debt=change.local_pending_debt,
        remote_pending_debt=change.remote_pending_debt,
        pending_local=local,
        pending_remote=remote,
    )


def _changed(pending: PendingTransactions, change: LedgerChange) -> PendingTransactions:
    if change.transaction is None:
        return pending.delete(change.request_id)
    return pending.set(change.request_id, change.transaction)


def _check_request(op: RequestSendFundsOp) -> None:
    if not is_part_valid(op.route.public_keys):
        raise InvalidRoute
    if op.dest_payment > op.total_dest_payment:
        raise DestPaymentExceedsTotal


def _u128(value: int) -> int:
    if not 0 <= value <= U128_MAX:
        raise CreditsCalcOverflow
    return value


def _receive_request(ledger: Ledger, op: RequestSendFundsOp) -> LedgerChange:
    _check_request(op)
    if op.request_id in ledger.pending_remote:
        raise RequestAlreadyExists
    frozen_credits = _u128(op.dest_payment + op.left_fees)
    remote_pending_debt = _u128(ledger.remote_pending_debt + frozen_credits)
    if ledger.balance + remote_pending_debt > I128_MAX:
        raise CreditsCalcOverflow
    return LedgerChange(
        balance=ledger.balance,
        local_pending_debt=ledger.local_pending_debt,
        remote_pending_debt=remote_pending_debt,
        side=Side.REMOTE,
        request_id=op.request_id,
        transaction=_pending(op),
    )


def _send_request(ledger: Ledger, op: RequestSendFundsOp) -> LedgerChange:
    _check_request(op)
    frozen_credits = _u128(op.dest_payment + op.left_fees)
    local_pending_debt = _u128(ledger.local_pending_debt + frozen_credits)
    if ledger.balance - local_pending_debt < -I128_MAX:  # the friend's own check 6 (D41)
        raise CreditsCalcOverflow
    if op.request_id in ledger.pending_local:
        raise RequestAlreadyExists
    return LedgerChange(
        balance=ledger.balance,
        local_pending_debt=local_pending_debt,
        remote_pending_debt=ledger.remote_pending_debt,
        side=Side.LOCAL,
        request_id=op.request_id,
        transaction=_pending(op),
    )


def _pending(op: RequestSendFundsOp) -> PendingTransaction:
    return PendingTransaction(
        request_id=op.request_id,
        route=op.route.public_keys,
        dest_payment=op.dest_payment,
        total_dest_payment=op.total_dest_payment,
        invoice_id=op.invoice_id,
        left_fees=op.left_fees,
        src_hashed_lock=op.src_hashed_lock,
    )


def _find(ledger: Ledger, side: Side, request_id: Uid) -> PendingTransaction:
    pending = ledger.pending_local if side is Side.LOCAL else ledger.pending_remote
    try:
        return pending[request_id]
    except KeyError:
        raise RequestDoesNotExist from None


def _response(ledger: Ledger, side: Side, transaction: PendingTransaction, op: ResponseSendFundsOp) -> LedgerChange:
    # The destination is the end of the stored route; where that is empty, the receiver of the request.
    receiver = ledger.remote_public_key if side is Side.LOCAL else ledger.local_public_key
    destination = transaction.route[-1] if transaction.route else receiver
    buffer = response_buffer(
        request_id=op.request_id,
        rand_nonce=op.rand_nonce,
        src_hashed_lock=transaction.src_hashed_lock,
        dest_hashed_lock=op.dest_hashed_lock,
        is_complete=op.is_complete,
        dest_payment=transaction.dest_payment,
        total_dest_payment=transaction.total_dest_payment,
        invoice_id=transaction.invoice_id,
        currency=ledger.currency,
    )
    try:
        verify(buffer, destination, op.signature)
    except InvalidSignature:
        raise InvalidResponseSignature from None
    if transaction.responded is not None:
        raise NotExpectingResponse
    responded = replace(transaction, responded=Responded(op.dest_hashed_lock, op.is_complete))
    return LedgerChange(
        balance=ledger.balance,
        local_pending_debt=ledger.local_pending_debt,
        remote_pending_debt=ledger.remote_pending_debt,
        side=side,
        request_id=op.request_id,
        transaction=responded,
    )


def _check_collect(transaction: PendingTransaction, op: CollectSendFundsOp) -> None:
    if transaction.responded is None:
        raise NotExpectingCollect
    if hash_lock(op.src_plain_lock) != transaction.src_hashed_lock:
        raise InvalidSrcPlainLock
    if hash_lock(op.dest_plain_lock) != transaction.responded.dest_hashed_lock:
        raise InvalidDestPlainLock


def _removal(ledger: Ledger, side: Side, transaction: PendingTransaction, gain: int = 0) -> LedgerChange:
    frozen_credits = transaction.frozen_credits
    return LedgerChange(
        balance=ledger.balance + gain,
        local_pending_debt=ledger.local_pending_debt - (frozen_credits if side is Side.LOCAL else 0),
        remote_pending_debt=ledger.remote_pending_debt - (frozen_credits if side is Side.REMOTE else 0),
        side=side,
        request_id=transaction.request_id,
        transaction=None,
    )
