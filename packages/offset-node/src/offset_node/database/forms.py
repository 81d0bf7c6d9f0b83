"""
Values with a structure of their own, in the form that the original's database has for them. Spec 08 §6. Pure.

`original` puts them together to a whole database; the SQLite tables keep them as cells of JSON. Key style is not
uniform: camelCase in relays and receipts, snake_case elsewhere; the ``dest_payment`` of a queued request is a bare
number of up to 39 digits [QUIRK]. Reading is strict: whatever does not check is refused with its path.
"""

from typing import Any

from offset_funder.state import (
    AfterSuccessAck,
    CanceledPayment,
    Incoming,
    Inconsistent,
    InProgress,
    LastSent,
    NeverSent,
    NewTransactions,
    Outgoing,
    Payment,
    PendingTransaction,
    Responded,
    SuccessfulPayment,
    Transition,
)
from offset_proto.json_forms import (
    BOOL,
    CURRENCY,
    Form,
    b64,
    camel,
    decimal,
    items,
    number,
    optional,
    pair,
    record,
    renamed,
    row,
    variants,
)
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    CurrencyBalance,
    CurrencyOperations,
    FriendsRoute,
    MoveToken,
    RequestSendFundsOp,
    ResetTerms,
    ResponseSendFundsOp,
)
from offset_proto.messages.payment import (
    NamedRelayAddress,
    Receipt,
    RelayAddress,
)
from offset_proto.messages.report import (
    BalanceInfo,
    CountersInfo,
    CurrencyBalanceInfo,
    McInfo,
    MoveTokenHashedReport,
    TokenInfo,
)
from offset_proto.types import (
    HashedLock,
    HashResult,
    Integer,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

__all__ = [
    "BACKWARDS_OP",
    "BALANCE_INFO",
    "DIRECTION",
    "HASHED_LOCK",
    "INCONSISTENT",
    "INVOICE_ID",
    "KEY",
    "NAMED_RELAYS",
    "PAYMENT",
    "PENDING",
    "PLAIN_LOCK",
    "RELAYS",
    "REQUEST",
    "RESPONSE",
    "SENT_RELAYS",
    "U32_NUMBER",
    "U128_TEXT",
    "UID",
]

U128_TEXT = decimal(Integer(128))
_I128 = decimal(Integer(128, signed=True))
_U64_NUMBER = number(Integer(64))
U32_NUMBER = number(Integer(32))
_U128_NUMBER = number(Integer(128))
KEY, UID, _HASH, _SIGNATURE = b64(PublicKey), b64(Uid), b64(HashResult), b64(Signature)
HASHED_LOCK, PLAIN_LOCK, INVOICE_ID = b64(HashedLock), b64(PlainLock), b64(InvoiceId)
NAMED_RELAYS, RELAYS = items(camel(NamedRelayAddress)), items(camel(RelayAddress))
_RECEIPT = camel(Receipt)

_ROUTE: Form[FriendsRoute] = record(FriendsRoute, public_keys=items(KEY))
_ROUTE_KEYS: Form[Any] = Form(
    lambda keys: {"public_keys": [KEY.write(key) for key in keys]},
    lambda value: _ROUTE.read(value).public_keys,
)

REQUEST = record(
    RequestSendFundsOp,
    request_id=UID,
    src_hashed_lock=HASHED_LOCK,
    route=_ROUTE,
    dest_payment=_U128_NUMBER,
    total_dest_payment=U128_TEXT,
    invoice_id=INVOICE_ID,
    left_fees=U128_TEXT,
)
RESPONSE = record(
    ResponseSendFundsOp,
    request_id=UID,
    dest_hashed_lock=HASHED_LOCK,
    is_complete=BOOL,
    rand_nonce=b64(RandValue),
    signature=_SIGNATURE,
)
_CANCEL = record(CancelSendFundsOp, request_id=UID)
_COLLECT = record(CollectSendFundsOp, request_id=UID, src_plain_lock=PLAIN_LOCK, dest_plain_lock=PLAIN_LOCK)
BACKWARDS_OP = variants(
    Response=(ResponseSendFundsOp, RESPONSE),
    Cancel=(CancelSendFundsOp, _CANCEL),
    Collect=(CollectSendFundsOp, _COLLECT),
)
_OPERATION = variants(
    RequestSendFunds=(RequestSendFundsOp, REQUEST),
    ResponseSendFunds=(ResponseSendFundsOp, RESPONSE),
    CancelSendFunds=(CancelSendFundsOp, _CANCEL),
    CollectSendFunds=(CollectSendFundsOp, _COLLECT),
)

BALANCE_INFO = record(BalanceInfo, balance=_I128, local_pending_debt=U128_TEXT, remote_pending_debt=U128_TEXT)
_TOKEN_INFO = record(
    TokenInfo,
    mc=record(
        McInfo,
        local_public_key=KEY,
        remote_public_key=KEY,
        balances=items(record(CurrencyBalanceInfo, currency=CURRENCY, balance_info=BALANCE_INFO)),
    ),
    counters=record(CountersInfo, inconsistency_counter=_U64_NUMBER, move_token_counter=U128_TEXT),
)
_HASHED_TOKEN = record(
    MoveTokenHashedReport,
    prefix_hash=_HASH,
    token_info=_TOKEN_INFO,
    rand_nonce=b64(RandValue),
    new_token=_SIGNATURE,
)
_MOVE_TOKEN = record(
    MoveToken,
    old_token=_SIGNATURE,
    currencies_operations=items(record(CurrencyOperations, currency=CURRENCY, operations=items(_OPERATION))),
    opt_local_relays=renamed("opt_local_relays", optional(RELAYS), is_optional=True),
    opt_active_currencies=renamed("opt_active_currencies", optional(items(CURRENCY)), is_optional=True),
    info_hash=_HASH,
    rand_nonce=b64(RandValue),
    new_token=_SIGNATURE,
)
_TERMS = record(
    ResetTerms,
    reset_token=_SIGNATURE,
    inconsistency_counter=_U64_NUMBER,
    balance_for_reset=items(record(CurrencyBalance, currency=CURRENCY, balance=_I128)),
)


class _RequestStage:
    """Stage of a transaction without a response; stands for None."""


_STAGE_VARIANTS = variants(
    Request=(_RequestStage, None),
    Response=(
        Responded,
        Form(
            lambda stage: [HASHED_LOCK.write(stage.dest_hashed_lock), stage.is_complete],
            lambda value: Responded(*pair(HASHED_LOCK, BOOL).read(value)),
        ),
    ),
)
_STAGE: Form[Responded | None] = Form(
    lambda responded: _STAGE_VARIANTS.write(responded or _RequestStage()),
    lambda value: None if isinstance(found := _STAGE_VARIANTS.read(value), _RequestStage) else found,
)
PENDING = record(
    PendingTransaction,
    request_id=UID,
    route=_ROUTE_KEYS,
    dest_payment=U128_TEXT,
    total_dest_payment=U128_TEXT,
    invoice_id=INVOICE_ID,
    left_fees=U128_TEXT,
    src_hashed_lock=HASHED_LOCK,
    responded=renamed("stage", _STAGE),
)


DIRECTION = variants(
    Incoming=(Incoming, record(Incoming, move_token_in=_HASHED_TOKEN)),
    Outgoing=(
        Outgoing,
        record(
            Outgoing,
            move_token_out=_MOVE_TOKEN,
            token_info=_TOKEN_INFO,
            opt_prev_move_token_in=renamed("opt_prev_move_token_in", optional(_HASHED_TOKEN), is_optional=True),
        ),
    ),
)
INCONSISTENT = record(
    Inconsistent,
    opt_last_incoming_move_token=renamed("opt_last_incoming_move_token", optional(_HASHED_TOKEN), is_optional=True),
    local_reset_terms=_TERMS,
    opt_remote_reset_terms=renamed("opt_remote_reset_terms", optional(_TERMS), is_optional=True),
)
SENT_RELAYS = variants(
    NeverSent=(NeverSent, None),
    LastSent=(
        LastSent,
        Form(lambda sent: NAMED_RELAYS.write(sent.relays), lambda v: LastSent(NAMED_RELAYS.read(v))),
    ),
    Transition=(
        Transition,
        Form(
            lambda sent: pair(NAMED_RELAYS, NAMED_RELAYS).write((sent.last, sent.before_last)),
            lambda value: Transition(*pair(NAMED_RELAYS, NAMED_RELAYS).read(value)),
        ),
    ),
)
PAYMENT = record(
    Payment,
    src_plain_lock=PLAIN_LOCK,
    stage=variants(
        NewTransactions=(
            NewTransactions,
            record(
                NewTransactions,
                num_transactions=_U64_NUMBER,
                invoice_id=INVOICE_ID,
                currency=CURRENCY,
                total_dest_payment=U128_TEXT,
                dest_public_key=KEY,
            ),
        ),
        InProgress=(
            InProgress,
            Form(lambda stage: stage.num_transactions, lambda value: InProgress(_U64_NUMBER.read(value))),
        ),
        Success=(
            SuccessfulPayment,
            row(SuccessfulPayment, num_transactions=_U64_NUMBER, receipt=_RECEIPT, ack_uid=UID),
        ),
        Canceled=(
            CanceledPayment,
            Form(lambda stage: UID.write(stage.ack_uid), lambda value: CanceledPayment(UID.read(value))),
        ),
        AfterSuccessAck=(
            AfterSuccessAck,
            Form(lambda stage: stage.num_transactions, lambda value: AfterSuccessAck(_U64_NUMBER.read(value))),
        ),
    ),
)
