"""
The original's database: one JSON file, as text, to and from the state of a node. Spec 08 §6.

Key style is not uniform there: camelCase in relays, index servers and receipts, snake_case elsewhere; the
``dest_payment`` of a queued request is a bare number of up to 39 digits, request ids of an invoice are arrays
of 16 numbers [QUIRK]. Reading is strict: whatever does not check is refused with its path.
"""

from dataclasses import dataclass
from typing import Any

from immutables import Map

from offset_funder.state import (
    AfterSuccessAck,
    CanceledPayment,
    Consistent,
    CurrencyConfig,
    Friend,
    FunderState,
    Incoming,
    Inconsistent,
    InProgress,
    LastSent,
    Ledger,
    NeverSent,
    NewTransactions,
    OpenInvoice,
    OpenTransaction,
    Outgoing,
    Payment,
    PendingTransaction,
    Responded,
    SuccessfulPayment,
    TokenChannel,
    Transition,
)
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput
from offset_proto.json_form import format_json, parse_json
from offset_proto.json_forms import (
    BOOL,
    CURRENCY,
    TEXT,
    Form,
    b64,
    camel,
    decimal,
    items,
    mapping,
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
    NamedIndexServerAddress,
    NamedRelayAddress,
    Rate,
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
    PaymentId,
    PlainLock,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

__all__ = [
    "BACKWARDS_OP",
    "DIRECTION",
    "INCONSISTENT",
    "PAYMENT",
    "PENDING",
    "RELAYS",
    "REQUEST",
    "RESPONSE",
    "SENT_RELAYS",
    "format_database",
    "parse_database",
]


_U128 = decimal(Integer(128))
_I128 = decimal(Integer(128, signed=True))
_U64_NUMBER = number(Integer(64))
_U32_NUMBER = number(Integer(32))
_U128_NUMBER = number(Integer(128))
_KEY, _UID, _HASH, _SIGNATURE = b64(PublicKey), b64(Uid), b64(HashResult), b64(Signature)
_HASHED_LOCK, _PLAIN_LOCK, _INVOICE_ID = b64(HashedLock), b64(PlainLock), b64(InvoiceId)
_NAMED_RELAYS, RELAYS = items(camel(NamedRelayAddress)), items(camel(RelayAddress))
_RECEIPT = camel(Receipt)

_ROUTE: Form[FriendsRoute] = record(FriendsRoute, public_keys=items(_KEY))
_ROUTE_KEYS: Form[Any] = Form(
    lambda keys: {"public_keys": [_KEY.write(key) for key in keys]},
    lambda value: _ROUTE.read(value).public_keys,
)

REQUEST = record(
    RequestSendFundsOp,
    request_id=_UID,
    src_hashed_lock=_HASHED_LOCK,
    route=_ROUTE,
    dest_payment=_U128_NUMBER,
    total_dest_payment=_U128,
    invoice_id=_INVOICE_ID,
    left_fees=_U128,
)
RESPONSE = record(
    ResponseSendFundsOp,
    request_id=_UID,
    dest_hashed_lock=_HASHED_LOCK,
    is_complete=BOOL,
    rand_nonce=b64(RandValue),
    signature=_SIGNATURE,
)
_CANCEL = record(CancelSendFundsOp, request_id=_UID)
_COLLECT = record(CollectSendFundsOp, request_id=_UID, src_plain_lock=_PLAIN_LOCK, dest_plain_lock=_PLAIN_LOCK)
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

_BALANCE_INFO = record(BalanceInfo, balance=_I128, local_pending_debt=_U128, remote_pending_debt=_U128)
_TOKEN_INFO = record(
    TokenInfo,
    mc=record(
        McInfo,
        local_public_key=_KEY,
        remote_public_key=_KEY,
        balances=items(record(CurrencyBalanceInfo, currency=CURRENCY, balance_info=_BALANCE_INFO)),
    ),
    counters=record(CountersInfo, inconsistency_counter=_U64_NUMBER, move_token_counter=_U128),
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
            lambda stage: [_HASHED_LOCK.write(stage.dest_hashed_lock), stage.is_complete],
            lambda value: Responded(*pair(_HASHED_LOCK, BOOL).read(value)),
        ),
    ),
)
_STAGE: Form[Responded | None] = Form(
    lambda responded: _STAGE_VARIANTS.write(responded or _RequestStage()),
    lambda value: None if isinstance(found := _STAGE_VARIANTS.read(value), _RequestStage) else found,
)
PENDING = record(
    PendingTransaction,
    request_id=_UID,
    route=_ROUTE_KEYS,
    dest_payment=_U128,
    total_dest_payment=_U128,
    invoice_id=_INVOICE_ID,
    left_fees=_U128,
    src_hashed_lock=_HASHED_LOCK,
    responded=renamed("stage", _STAGE),
)


@dataclass(frozen=True)
class _Idents:
    local_public_key: PublicKey
    remote_public_key: PublicKey


@dataclass(frozen=True)
class _PendingMaps:
    local: Any
    remote: Any


@dataclass(frozen=True)
class _LedgerState:
    """A ledger in the shape of the original."""

    idents: _Idents
    currency: Any
    balance: BalanceInfo
    pending_transactions: _PendingMaps

    @classmethod
    def of(cls, ledger: Ledger) -> "_LedgerState":
        return cls(
            _Idents(ledger.local_public_key, ledger.remote_public_key),
            ledger.currency,
            BalanceInfo(ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt),
            _PendingMaps(ledger.pending_local, ledger.pending_remote),
        )

    def ledger(self) -> Ledger:
        return Ledger(
            self.idents.local_public_key,
            self.idents.remote_public_key,
            self.currency,
            self.balance.balance,
            self.balance.local_pending_debt,
            self.balance.remote_pending_debt,
            self.pending_transactions.local,
            self.pending_transactions.remote,
        )


_LEDGER_STATE = record(
    _LedgerState,
    idents=record(_Idents, local_public_key=_KEY, remote_public_key=_KEY),
    currency=CURRENCY,
    balance=_BALANCE_INFO,
    pending_transactions=record(_PendingMaps, local=mapping(_UID, PENDING, Map), remote=mapping(_UID, PENDING, Map)),
)
_LEDGER: Form[Ledger] = Form(
    lambda ledger: {"state": _LEDGER_STATE.write(_LedgerState.of(ledger))},
    lambda value: record(lambda state: state.ledger(), state=_LEDGER_STATE).read(value),
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
_CURRENCY_SET: Form[Any] = Form(lambda names: sorted(names), lambda value: frozenset(items(CURRENCY).read(value)))


@dataclass(frozen=True)
class _ActiveCurrencies:
    local: Any
    remote: Any


@dataclass(frozen=True)
class _ChannelState:
    """A token channel in the shape of the original; the two keys stand elsewhere there."""

    direction: Incoming | Outgoing
    mutual_credits: Any
    active_currencies: _ActiveCurrencies

    def channel(self) -> TokenChannel:
        match self.direction:
            case Incoming(token):  # signed by the friend
                mc = token.token_info.mc
                keys = mc.remote_public_key, mc.local_public_key
            case Outgoing(_, info, _):
                keys = info.mc.local_public_key, info.mc.remote_public_key
        active = self.active_currencies
        return TokenChannel(*keys, self.direction, self.mutual_credits, active.local, active.remote)


_CHANNEL_STATE = record(
    _ChannelState,
    direction=DIRECTION,
    mutual_credits=mapping(CURRENCY, _LEDGER, Map),
    active_currencies=record(_ActiveCurrencies, local=_CURRENCY_SET, remote=_CURRENCY_SET),
)
_TOKEN_CHANNEL: Form[TokenChannel] = Form(
    lambda channel: _CHANNEL_STATE.write(
        _ChannelState(
            channel.direction,
            channel.ledgers,
            _ActiveCurrencies(channel.active_local, channel.active_remote),
        )
    ),
    lambda value: _CHANNEL_STATE.read(value).channel(),
)
INCONSISTENT = record(
    Inconsistent,
    opt_last_incoming_move_token=renamed("opt_last_incoming_move_token", optional(_HASHED_TOKEN), is_optional=True),
    local_reset_terms=_TERMS,
    opt_remote_reset_terms=renamed("opt_remote_reset_terms", optional(_TERMS), is_optional=True),
)
_CHANNEL = variants(
    Consistent=(
        Consistent,
        record(
            Consistent,
            token_channel=_TOKEN_CHANNEL,
            pending_requests=items(pair(CURRENCY, REQUEST)),
            pending_backwards_ops=items(pair(CURRENCY, BACKWARDS_OP)),
            pending_user_requests=items(pair(CURRENCY, REQUEST)),
        ),
    ),
    Inconsistent=(Inconsistent, INCONSISTENT),
)
SENT_RELAYS = variants(
    NeverSent=(NeverSent, None),
    LastSent=(
        LastSent,
        Form(lambda sent: _NAMED_RELAYS.write(sent.relays), lambda v: LastSent(_NAMED_RELAYS.read(v))),
    ),
    Transition=(
        Transition,
        Form(
            lambda sent: pair(_NAMED_RELAYS, _NAMED_RELAYS).write((sent.last, sent.before_last)),
            lambda value: Transition(*pair(_NAMED_RELAYS, _NAMED_RELAYS).read(value)),
        ),
    ),
)
_CONFIG = record(
    CurrencyConfig,
    rate=record(Rate, mul=_U32_NUMBER, add=_U32_NUMBER),
    remote_max_debt=_U128,
    is_open=BOOL,
)


def _read_status(value: Any) -> bool:
    if value not in ("Enabled", "Disabled"):
        raise InvalidInput("unknown variant, expected one of Enabled, Disabled")
    return bool(value == "Enabled")


_FRIEND = record(
    Friend,
    local_public_key=_KEY,
    remote_public_key=_KEY,
    remote_relays=RELAYS,
    sent_local_relays=SENT_RELAYS,
    name=TEXT,
    currency_configs=mapping(CURRENCY, _CONFIG, Map),
    is_enabled=renamed("status", Form(lambda enabled: "Enabled" if enabled else "Disabled", _read_status)),
    channel=renamed("channel_status", _CHANNEL),
)

_BYTE = number(Integer(8))


def _read_raw_uid(value: Any) -> Uid:
    return Uid(bytes(items(_BYTE).read(value)))


_INVOICE = record(
    OpenInvoice,
    currency=CURRENCY,
    total_dest_payment=_U128,
    dest_plain_lock=_PLAIN_LOCK,
    opt_src_hashed_lock=optional(_HASHED_LOCK),
    incoming_transactions=items(Form(list, _read_raw_uid)),
)
_TRANSACTION = record(
    OpenTransaction,
    payment_id=b64(PaymentId),
    opt_response=renamed("opt_response", optional(RESPONSE), is_optional=True),
)


PAYMENT = record(
    Payment,
    src_plain_lock=_PLAIN_LOCK,
    stage=variants(
        NewTransactions=(
            NewTransactions,
            record(
                NewTransactions,
                num_transactions=_U64_NUMBER,
                invoice_id=_INVOICE_ID,
                currency=CURRENCY,
                total_dest_payment=_U128,
                dest_public_key=_KEY,
            ),
        ),
        InProgress=(
            InProgress,
            Form(lambda stage: stage.num_transactions, lambda value: InProgress(_U64_NUMBER.read(value))),
        ),
        Success=(
            SuccessfulPayment,
            row(SuccessfulPayment, num_transactions=_U64_NUMBER, receipt=_RECEIPT, ack_uid=_UID),
        ),
        Canceled=(
            CanceledPayment,
            Form(lambda stage: _UID.write(stage.ack_uid), lambda value: CanceledPayment(_UID.read(value))),
        ),
        AfterSuccessAck=(
            AfterSuccessAck,
            Form(lambda stage: stage.num_transactions, lambda value: AfterSuccessAck(_U64_NUMBER.read(value))),
        ),
    ),
)

_DATABASE = record(
    lambda funder, index_servers: NodeState(funder, index_servers),
    funder=renamed(
        "funder_state",
        record(
            FunderState,
            local_public_key=_KEY,
            relays=_NAMED_RELAYS,
            friends=mapping(_KEY, _FRIEND, Map),
            open_invoices=mapping(_INVOICE_ID, _INVOICE, Map),
            open_transactions=mapping(_UID, _TRANSACTION, Map),
            payments=mapping(b64(PaymentId), PAYMENT, Map),
        ),
    ),
    index_servers=renamed(
        "index_client_config",
        Form(
            lambda servers: {"index_servers": items(camel(NamedIndexServerAddress)).write(servers)},
            lambda value: record(
                lambda index_servers: index_servers, index_servers=items(camel(NamedIndexServerAddress))
            ).read(value),
        ),
    ),
)


def format_database(state: NodeState) -> str:
    """The exact text of the original's database file; maps are written in the order of their keys."""
    return format_json(_DATABASE.write(state))


def parse_database(text: str) -> NodeState:
    """
    The state in a database file of the original.

    Raises:
        InvalidInput: With the path of the first member that does not check.
    """
    return _DATABASE.read(parse_json(text))
