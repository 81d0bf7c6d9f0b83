"""
Messages to canonical bytes: what is hashed and signed, never the Cap'n Proto bytes. Spec 01 §10.

Integers are big-endian of fixed width; lists start with their number of items as u64; an optional
value starts with 00 or 01; texts have no length and no terminator [QUIRK], so neighbouring texts can be
shifted into each other without changing the bytes. Field order is that of the classes.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from offset_proto.errors import InvalidInput
from offset_proto.message import replace
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    CurrencyOperations,
    FriendsRoute,
    FriendTcOp,
    RequestSendFundsOp,
    ResponseSendFundsOp,
)
from offset_proto.messages.index import IndexMutation, RemoveFriendCurrency, UpdateFriendCurrency
from offset_proto.messages.payment import Receipt, RelayAddress
from offset_proto.messages.report import BalanceInfo, CountersInfo, CurrencyBalanceInfo, McInfo, TokenInfo
from offset_proto.types import I128, I128_MIN, U64, U128, Currency

__all__ = [
    "balance_info",
    "counters_info",
    "currencies",
    "currency_operations",
    "flip",
    "flip_balance",
    "friends_route",
    "i128",
    "index_mutation",
    "list_of",
    "mc_info",
    "operation",
    "option",
    "receipt",
    "relay_address",
    "relay_addresses",
    "token_info",
    "u64",
    "u128",
]

T = TypeVar("T")


def u64(value: U64) -> bytes:
    """The 8 bytes of an unsigned number, the most significant first."""
    return value.to_bytes(8, "big")


def u128(value: U128) -> bytes:
    """The 16 bytes of an unsigned number, the most significant first."""
    return value.to_bytes(16, "big")


def i128(value: I128) -> bytes:
    """The 16 bytes of a signed number in two's complement, the most significant first."""
    return value.to_bytes(16, "big", signed=True)


def boolean(value: bool) -> bytes:
    """One byte: 00 for false, 01 for true."""
    return b"\x01" if value else b"\x00"


def list_of(items: Iterable[bytes]) -> bytes:
    """Number of items as u64, then the items in order."""
    parts = list(items)
    return u64(len(parts)) + b"".join(parts)


def option(value: T | None, serialise: Callable[[T], bytes]) -> bytes:
    """The byte 00 for None; otherwise the byte 01, and the value as *serialise* writes it."""
    return b"\x00" if value is None else b"\x01" + serialise(value)


def friends_route(route: FriendsRoute) -> bytes:
    """The number of keys as u64, then the keys from first to last: 8 + 32n bytes."""
    return list_of(route.public_keys)


def operation(op: FriendTcOp, *, tagged: bool = True) -> bytes:
    """Tag byte (00 request, 01 response, 02 cancel, 03 collect), then the operation. Spec 04 §3.2."""
    match op:
        case RequestSendFundsOp():
            tag, body = b"\x00", _request(op)
        case ResponseSendFundsOp():
            parts = op.request_id, op.dest_hashed_lock, boolean(op.is_complete), op.rand_nonce, op.signature
            tag, body = b"\x01", b"".join(parts)
        case CancelSendFundsOp():
            tag, body = b"\x02", bytes(op.request_id)
        case CollectSendFundsOp():
            tag, body = b"\x03", op.request_id + op.src_plain_lock + op.dest_plain_lock
    return tag + body if tagged else body


def _request(op: RequestSendFundsOp) -> bytes:
    return b"".join(
        (
            op.request_id,
            op.src_hashed_lock,
            friends_route(op.route),
            u128(op.dest_payment),
            u128(op.total_dest_payment),
            op.invoice_id,
            u128(op.left_fees),
        )
    )


def currency_operations(block: CurrencyOperations) -> bytes:
    """Currency, then the list of its operations."""
    return block.currency.encode() + list_of(operation(op) for op in block.operations)


def relay_address(relay: RelayAddress) -> bytes:
    """The public key, then the text of the address, without a length."""
    return relay.public_key + relay.address.encode()


def relay_addresses(relays: tuple[RelayAddress, ...]) -> bytes:
    """The number of relays as u64, then the relays in the order in which they are sent."""
    return list_of(relay_address(relay) for relay in relays)


def currencies(names: tuple[Currency, ...]) -> bytes:
    """The number of currencies as u64, then their names in the order in which they are sent."""
    return list_of(name.encode() for name in names)


def index_mutation(mutation: IndexMutation) -> bytes:
    """Update: 00, friend, currency, capacity, without the rate [QUIRK]. Remove: 01, friend, currency."""
    match mutation:
        case UpdateFriendCurrency(public_key, currency, recv_capacity, _):
            return b"\x00" + public_key + currency.encode() + u128(recv_capacity)
        case RemoveFriendCurrency(public_key, currency):
            return b"\x01" + public_key + currency.encode()


def receipt(value: Receipt) -> bytes:
    """Exists in the original, signs nothing: response hash, invoice, payment, signature."""
    return value.response_hash + value.invoice_id + u128(value.dest_payment) + value.signature


def balance_info(info: BalanceInfo) -> bytes:
    """The balance and both pending debts, 16 bytes each, in this order."""
    return i128(info.balance) + u128(info.local_pending_debt) + u128(info.remote_pending_debt)


def _currency_balance(balance: CurrencyBalanceInfo) -> bytes:
    return balance.currency.encode() + balance_info(balance.balance_info)


def mc_info(info: McInfo) -> bytes:
    """Both keys, then the list of balances."""
    balances = list_of(_currency_balance(balance) for balance in info.balances)
    return info.local_public_key + info.remote_public_key + balances


def counters_info(info: CountersInfo) -> bytes:
    """24 bytes: the first counter has 8, the second 16."""
    return u64(info.inconsistency_counter) + u128(info.move_token_counter)


def token_info(info: TokenInfo) -> bytes:
    """What infoHash is the hash of: 96 bytes and, for each currency, its name and 48. Spec 01 §10.3."""
    return mc_info(info.mc) + counters_info(info.counters)


def flip(info: TokenInfo) -> TokenInfo:
    """
    The same channel as the other side sees it; order and counters stay.

    Raises:
        InvalidInput: A balance of -2**127 has no counterpart (D14).
    """
    mc = McInfo(
        local_public_key=info.mc.remote_public_key,
        remote_public_key=info.mc.local_public_key,
        balances=tuple(
            replace(balance, balance_info=flip_balance(balance.balance_info)) for balance in info.mc.balances
        ),
    )
    return replace(info, mc=mc)


def flip_balance(info: BalanceInfo) -> BalanceInfo:
    """
    One ledger as the other side sees it.

    Raises:
        InvalidInput: A balance of -2**127 has no counterpart (D14).
    """
    if info.balance == I128_MIN:
        raise InvalidInput("a balance of -2**127 has no counterpart")
    return BalanceInfo(
        balance=-info.balance,
        local_pending_debt=info.remote_pending_debt,
        remote_pending_debt=info.local_pending_debt,
    )
