"""
The original's database: one JSON file, as text, to and from the state of a node. Spec 08 §6. Pure.

The forms of its parts are in `forms`; here they are put together. Request ids of an invoice are arrays of 16
numbers [QUIRK]. Reading is strict: whatever does not check is refused with its path.
"""

from dataclasses import dataclass
from typing import Any

from immutables import Map

from offset_funder.state import (
    Consistent,
    CurrencyConfig,
    Friend,
    FunderState,
    Incoming,
    Inconsistent,
    Ledger,
    OpenInvoice,
    OpenTransaction,
    Outgoing,
    TokenChannel,
)
from offset_node.database.forms import (
    BACKWARDS_OP,
    BALANCE_INFO,
    DIRECTION,
    HASHED_LOCK,
    INCONSISTENT,
    INVOICE_ID,
    KEY,
    NAMED_RELAYS,
    PAYMENT,
    PENDING,
    PLAIN_LOCK,
    RELAYS,
    REQUEST,
    RESPONSE,
    SENT_RELAYS,
    U32_NUMBER,
    U128_TEXT,
    UID,
)
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput
from offset_proto.json_forms import (
    BOOL,
    CURRENCY,
    TEXT,
    Form,
    b64,
    camel,
    items,
    mapping,
    number,
    optional,
    pair,
    record,
    renamed,
    variants,
)
from offset_proto.message_json import format_json, parse_json
from offset_proto.messages.payment import (
    NamedIndexServerAddress,
    Rate,
)
from offset_proto.messages.report import (
    BalanceInfo,
)
from offset_proto.types import (
    Integer,
    PaymentId,
    PublicKey,
    Uid,
)

__all__ = ["format_database", "parse_database"]


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
    idents=record(_Idents, local_public_key=KEY, remote_public_key=KEY),
    currency=CURRENCY,
    balance=BALANCE_INFO,
    pending_transactions=record(_PendingMaps, local=mapping(UID, PENDING, Map), remote=mapping(UID, PENDING, Map)),
)
_LEDGER: Form[Ledger] = Form(
    lambda ledger: {"state": _LEDGER_STATE.write(_LedgerState.of(ledger))},
    lambda value: record(lambda state: state.ledger(), state=_LEDGER_STATE).read(value),
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
_CONFIG = record(
    CurrencyConfig,
    rate=record(Rate, mul=U32_NUMBER, add=U32_NUMBER),
    remote_max_debt=U128_TEXT,
    is_open=BOOL,
)


def _read_status(value: Any) -> bool:
    if value not in ("Enabled", "Disabled"):
        raise InvalidInput("unknown variant, expected one of Enabled, Disabled")
    return bool(value == "Enabled")


_FRIEND = record(
    Friend,
    local_public_key=KEY,
    remote_public_key=KEY,
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
    total_dest_payment=U128_TEXT,
    dest_plain_lock=PLAIN_LOCK,
    opt_src_hashed_lock=optional(HASHED_LOCK),
    incoming_transactions=items(Form(list, _read_raw_uid)),
)
_TRANSACTION = record(
    OpenTransaction,
    payment_id=b64(PaymentId),
    opt_response=renamed("opt_response", optional(RESPONSE), is_optional=True),
)


_DATABASE = record(
    lambda funder, index_servers: NodeState(funder, index_servers),
    funder=renamed(
        "funder_state",
        record(
            FunderState,
            local_public_key=KEY,
            relays=NAMED_RELAYS,
            friends=mapping(KEY, _FRIEND, Map),
            open_invoices=mapping(INVOICE_ID, _INVOICE, Map),
            open_transactions=mapping(UID, _TRANSACTION, Map),
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
