"""
Payments of our own user, and the transactions that pay them. Spec 05 §8.4 to §8.6, §12.

A payment runs over one route, or over several at once, with one transaction for each. All its transactions share one
source lock, so that one commit lets the seller collect them all, and the first collect makes the payment a success.

A transaction is open from `AddTransaction` to `RemoveTransaction`, and goes through these states:

    queued for the first friend -> in a token -> responded -> collected
              |                        |             |
              +------------------------+-------------+------> cancelled

The app is told Success for a response, Complete with the commit for the response that covers the whole invoice, and
Failure for a cancel; a Failure can follow the others. A collect is told by the end of the payment alone.

A payment is in one of these stages, with n open transactions:

==================  ==============  ==============  ===================  =====================
stage               cancelled       collected       close                ack
==================  ==============  ==============  ===================  =====================
NewTransactions n   n-1             Success n-1     n = 0: Canceled      AckStateInvalid
                                                    else InProgress n
InProgress n        n = 1:          Success n-1     no answer yet        AckStateInvalid
                    Canceled
Success n           n-1             n-1             answer again         n = 0: forgotten
                                                                         else AfterSuccessAck
Canceled            -               -               answer again         forgotten
AfterSuccessAck n   n = 1:          n = 1:          PaymentNotFound      AckStateInvalid
                    forgotten       forgotten
==================  ==============  ==============  ===================  =====================

Rules.
1. New transactions are taken in NewTransactions only. One that is asked for again gets its result again in any stage.
2. The receipt is made of the first collect, and no later one replaces it.
3. A payment is forgotten once the app has acknowledged its end and none of its transactions is open.
4. Nothing expires, and an app can not cancel a transaction that was sent. It waits until a reply comes or its channel
   breaks; only while it is queued, it is cancelled when the first friend goes offline or is disabled, or when the app
   gives the payment up.

Calling contract. `control` calls the functions that carry out requests of apps; they check before they mutate. For a
reply to a request of our own user, `routing` calls `handle_response`, `handle_cancel` or `handle_collect`, once the
ledgers are as the whole token leaves them. It calls `fail_transaction` for a request that gets no reply any more. These
four are called for open transactions only.
"""

from offset_crypto.hashing import hash_lock
from offset_funder.effects import PaymentFinished
from offset_funder.mutations import (
    AddTransaction,
    PushBackPendingUserRequest,
    RemovePayment,
    RemovePendingUserRequest,
    RemoveTransaction,
    SetTransactionResponse,
    UpdatePayment,
)
from offset_funder.payment_proofs import build_commit, build_receipt
from offset_funder.session import ControlError, Session
from offset_funder.state import (
    AfterSuccessAck,
    CanceledPayment,
    InProgress,
    NewTransactions,
    Payment,
    PaymentStage,
    PendingTransaction,
    SuccessfulPayment,
)
from offset_proto.errors import invariant
from offset_proto.limits import PENDING_USER_REQUESTS_MAX
from offset_proto.message import replace
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatus,
    PaymentStatusSuccess,
    RequestResult,
    ResponseClosePayment,
    Success,
    TransactionResult,
)
from offset_proto.messages.friend import (
    CollectSendFundsOp,
    FriendsRoute,
    RequestSendFundsOp,
    ResponseSendFundsOp,
)
from offset_proto.types import U128_MAX, Currency, PaymentId, PlainLock, Uid, is_route_valid

__all__ = [
    "TransactionRefused",
    "ack_close_payment",
    "create_payment",
    "create_transaction",
    "fail_transaction",
    "give_up_payment",
    "handle_cancel",
    "handle_collect",
    "handle_response",
    "request_close_payment",
]


class TransactionRefused(ControlError):
    """A transaction that fails at once. The app gets a Failure, and only the owner of the node learns of the reason."""


def create_payment(session: Session, request: CreatePayment) -> None:
    """
    Open a payment.

    Raises:
        ControlError: PaymentAlreadyOpen.
    """
    if request.payment_id in session.state.payments:
        raise ControlError("PaymentAlreadyOpen")
    stage = NewTransactions(
        0, request.invoice_id, request.currency, request.total_dest_payment, request.dest_public_key
    )
    lock = PlainLock(session.surroundings.random_bytes(PlainLock.SIZE))
    session.mutate(UpdatePayment(request.payment_id, Payment(lock, stage)))


def create_transaction(session: Session, request: CreateTransaction) -> None:
    """
    Send a part of a payment, or repeat the result of one that was sent. Spec 05 §12.2.

    Raises:
        ControlError: OpenPaymentNotFound, NewTransactionsNotAllowed; a Failure is answered all the same (D45).
        TransactionRefused: For another reason.
    """
    open_transaction = session.state.open_transactions.get(request.request_id)
    if open_transaction is not None and open_transaction.payment_id == request.payment_id:
        _repeat_result(session, request.request_id)  # in every stage (D46)
        return
    payment = session.state.payments.get(request.payment_id)
    if payment is None or not isinstance(payment.stage, NewTransactions):
        _push_result(session, request.request_id, Failure())
        raise ControlError("OpenPaymentNotFound" if payment is None else "NewTransactionsNotAllowed")
    try:
        _check_transaction(session, request, payment.stage)
    except TransactionRefused:
        _push_result(session, request.request_id, Failure())
        raise
    _start_transaction(session, request, payment, payment.stage)


def _check_transaction(session: Session, request: CreateTransaction, stage: NewTransactions) -> None:
    """Raises TransactionRefused for the first rule that fails, in the order of spec 05 §12.2-3."""
    route = request.route.public_keys
    if not route or route[0] != session.state.local_public_key:
        raise TransactionRefused("NotFirstInRoute")
    if route[-1] != stage.dest_public_key:
        raise TransactionRefused("PaymentDestNotLastInRoute")
    if not is_route_valid(route):
        raise TransactionRefused("InvalidRoute")
    if route[1] not in session.state.friends:
        raise TransactionRefused("FriendDoesNotExist")
    if route[1] not in session.online:
        raise TransactionRefused("FriendNotReady(it is offline)")
    channel = session.consistent(route[1])
    if channel is None:
        raise TransactionRefused("FriendNotReady(the channel with it is broken)")
    if stage.currency not in channel.token_channel.ledgers:
        raise TransactionRefused(f"FriendNotReady({stage.currency} is not open on both sides)")
    in_use = session.open_requests.is_used(stage.currency, request.request_id)
    if in_use or request.request_id in session.state.open_transactions:
        raise TransactionRefused("RequestAlreadyInProgress")
    if len(channel.pending_user_requests) >= PENDING_USER_REQUESTS_MAX:
        raise TransactionRefused("PendingUserRequestsFull")
    # D30: what the ledger would refuse later.
    if request.dest_payment > stage.total_dest_payment:
        raise TransactionRefused("DestPaymentExceedsTotal")
    if request.dest_payment + request.fees > U128_MAX:
        raise TransactionRefused("CreditsCalcOverflow")


def _start_transaction(session: Session, request: CreateTransaction, payment: Payment, stage: NewTransactions) -> None:
    op = RequestSendFundsOp(
        request_id=request.request_id,
        src_hashed_lock=hash_lock(payment.src_plain_lock),
        route=FriendsRoute(request.route.public_keys[2:]),
        dest_payment=request.dest_payment,
        total_dest_payment=stage.total_dest_payment,
        invoice_id=stage.invoice_id,
        left_fees=request.fees,
    )
    session.mutate(AddTransaction(request.request_id, request.payment_id))
    more = replace(stage, num_transactions=stage.num_transactions + 1)
    session.mutate(UpdatePayment(request.payment_id, replace(payment, stage=more)))
    friend = request.route.public_keys[1]
    session.mutate_friend(friend, PushBackPendingUserRequest(stage.currency, op))
    session.try_send(friend)


def _repeat_result(session: Session, request_id: Uid) -> None:
    response = session.state.open_transactions[request_id].opt_response
    found = _find_pending(session, request_id)
    if response is not None and found is not None:
        currency, transaction = found
        _push_result(session, request_id, _result(session, currency, transaction, response))


def _find_pending(session: Session, request_id: Uid) -> tuple[Currency, PendingTransaction] | None:
    """The ledger that holds a transaction of ours; looked for only when an app asks again."""
    for friend in session.state.friends.values():
        channel = session.consistent(friend.remote_public_key)
        if channel is not None:
            for currency, ledger in channel.token_channel.ledgers.items():
                if request_id in ledger.pending_local:
                    return currency, ledger.pending_local[request_id]
    return None


def handle_response(
    session: Session, currency: Currency, transaction: PendingTransaction, response: ResponseSendFundsOp
) -> None:
    """The destination accepted a transaction of ours. Spec 05 §8.4."""
    session.mutate(SetTransactionResponse(response))
    _push_result(session, response.request_id, _result(session, currency, transaction, response))


def _result(
    session: Session, currency: Currency, transaction: PendingTransaction, response: ResponseSendFundsOp
) -> RequestResult:
    if not response.is_complete:
        return Success()
    payment_id = session.state.open_transactions[response.request_id].payment_id
    src_plain_lock = session.state.payments[payment_id].src_plain_lock
    return Complete(build_commit(currency, transaction, response, src_plain_lock))


def handle_cancel(session: Session, request_id: Uid) -> None:
    """A transaction of ours came back. Spec 05 §8.5: first the payment's end, then the result."""
    _remove_transaction(session, request_id)
    _push_result(session, request_id, Failure())


def fail_transaction(session: Session, request_id: Uid) -> None:
    """We give up a transaction of ours ourselves. Spec 05 §9.2: first the result, then the payment's end."""
    _push_result(session, request_id, Failure())
    _remove_transaction(session, request_id)


def _remove_transaction(session: Session, request_id: Uid) -> None:
    payment_id = session.state.open_transactions[request_id].payment_id
    session.mutate(RemoveTransaction(request_id))
    payment = session.state.payments[payment_id]
    match payment.stage:
        case InProgress(1):
            ack_uid = _draw_uid(session)
            _set_stage(session, payment_id, CanceledPayment(ack_uid))
            _push_close(session, payment_id, Canceled(ack_uid))
        case SuccessfulPayment():
            _one_less(session, payment_id)
            _push_close(session, payment_id, PaymentStatusSuccess(payment.stage.receipt, payment.stage.ack_uid))
        case _:
            _one_less(session, payment_id)


def handle_collect(
    session: Session, currency: Currency, transaction: PendingTransaction, op: CollectSendFundsOp
) -> None:
    """A transaction of ours was paid. Spec 05 §8.6, §12.3."""
    open_transaction = session.state.open_transactions[op.request_id]
    payment_id = open_transaction.payment_id
    payment = session.state.payments[payment_id]
    match payment.stage:
        case NewTransactions(n) | InProgress(n):
            response = open_transaction.opt_response
            invariant(response is not None, "a collect follows a response")
            assert response is not None
            receipt = build_receipt(currency, transaction, response, op)
            ack_uid = _draw_uid(session)
            _set_stage(session, payment_id, SuccessfulPayment(n - 1, receipt, ack_uid))
            _push_close(session, payment_id, PaymentStatusSuccess(receipt, ack_uid))
        case SuccessfulPayment(_, receipt, ack_uid):
            _one_less(session, payment_id)
            _push_close(session, payment_id, PaymentStatusSuccess(receipt, ack_uid))
        case _:
            _one_less(session, payment_id)
    session.mutate(RemoveTransaction(op.request_id))


def request_close_payment(session: Session, payment_id: PaymentId) -> None:
    """No more transactions: say how the payment ended, or say it later. Spec 05 §12.3."""
    payment = session.state.payments.get(payment_id)
    match None if payment is None else payment.stage:
        case NewTransactions(0):
            ack_uid = _draw_uid(session)
            _set_stage(session, payment_id, CanceledPayment(ack_uid))
            _push_close(session, payment_id, Canceled(ack_uid))
        case NewTransactions(n):
            _set_stage(session, payment_id, InProgress(n))
        case InProgress():
            pass
        case SuccessfulPayment(_, receipt, ack_uid):
            _push_close(session, payment_id, PaymentStatusSuccess(receipt, ack_uid))
        case CanceledPayment(ack_uid):
            _push_close(session, payment_id, Canceled(ack_uid))
        case None | AfterSuccessAck():
            _push_close(session, payment_id, PaymentNotFound())


def give_up_payment(session: Session, payment_id: PaymentId) -> None:
    """No more transactions, and cancel those that no token has carried yet. Spec 12 §5."""
    request_close_payment(session, payment_id)
    for friend in session.state.friends:
        channel = session.consistent(friend)
        for currency, op in () if channel is None else channel.pending_user_requests:
            if session.state.open_transactions[op.request_id].payment_id == payment_id:
                fail_transaction(session, op.request_id)
                session.mutate_friend(friend, RemovePendingUserRequest(currency, op.request_id))


def ack_close_payment(session: Session, request: AckClosePayment) -> None:
    """
    The app has the result.

    Raises:
        ControlError: PaymentDoesNotExist, AckStateInvalid, AckMismatch.
    """
    payment = session.state.payments.get(request.payment_id)
    if payment is None:
        raise ControlError("PaymentDoesNotExist")
    match payment.stage:
        case SuccessfulPayment(_, _, ack_uid) | CanceledPayment(ack_uid):
            if request.ack_uid != ack_uid:
                raise ControlError("AckMismatch")
        case _:
            raise ControlError("AckStateInvalid")
    if isinstance(payment.stage, SuccessfulPayment) and payment.stage.num_transactions > 0:
        _set_stage(session, request.payment_id, AfterSuccessAck(payment.stage.num_transactions))
    else:
        session.mutate(RemovePayment(request.payment_id))


def _one_less(session: Session, payment_id: PaymentId) -> None:
    stage = session.state.payments[payment_id].stage
    match stage:
        case AfterSuccessAck(1):
            session.mutate(RemovePayment(payment_id))
        case CanceledPayment():
            invariant(False, "a cancelled payment has no open transaction")
        case NewTransactions(n) | InProgress(n) | SuccessfulPayment(n, _, _) | AfterSuccessAck(n):
            _set_stage(session, payment_id, replace(stage, num_transactions=n - 1))


def _set_stage(session: Session, payment_id: PaymentId, stage: PaymentStage) -> None:
    payment = session.state.payments[payment_id]
    session.mutate(UpdatePayment(payment_id, replace(payment, stage=stage)))
    if type(stage) is not type(payment.stage):
        match stage:
            case SuccessfulPayment(_, receipt, _):
                session.outputs.occurrences.append(PaymentFinished(payment_id, receipt))
            case CanceledPayment():
                session.outputs.occurrences.append(PaymentFinished(payment_id, None))


def _draw_uid(session: Session) -> Uid:
    return Uid(session.surroundings.random_bytes(Uid.SIZE))


def _push_result(session: Session, request_id: Uid, result: RequestResult) -> None:
    session.outputs.results.append(TransactionResult(request_id, result))


def _push_close(session: Session, payment_id: PaymentId, status: PaymentStatus) -> None:
    session.outputs.results.append(ResponseClosePayment(payment_id, status))
