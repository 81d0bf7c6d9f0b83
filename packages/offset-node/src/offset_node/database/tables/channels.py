"""
The channel with a friend: ledgers, their pending transactions, and the operations that wait to be sent. Pure.

The token itself stands in the friend's row (`friends`), since there is one of it for each friend. An operation on a
ledger changes one row of `ledgers` and one of `pending_transactions`, however many there are.
"""

from collections.abc import Iterator
from typing import Any, assert_never

from immutables import Map

from offset_funder import mutations as m
from offset_funder.state import Consistent, Ledger, TokenChannel
from offset_node.database import forms
from offset_node.database.tables.cells import (
    Rows,
    Statement,
    format_form,
    group,
    parse_amount,
    parse_balance,
    parse_form,
)
from offset_proto.json_forms import Form
from offset_proto.types import Currency, PublicKey, Uid

__all__ = [
    "READS",
    "SCHEMA",
    "UPDATE_LEDGER",
    "ChannelRows",
    "LedgerMutation",
    "QueueMutation",
    "clear",
    "insert_ledger",
    "insert_queues",
    "write_ledger",
    "write_queue",
]

LedgerMutation = m.ChangeLedger | m.AddLedger

QueueMutation = (
    m.PushBackPendingBackwardsOp
    | m.PushBackPendingRequest
    | m.PushBackPendingUserRequest
    | m.PopFrontPendingBackwardsOp
    | m.PopFrontPendingRequest
    | m.PopFrontPendingUserRequest
    | m.RemovePendingRequestsCurrency
    | m.RemovePendingRequests
    | m.RemovePendingUserRequest
)

SCHEMA = """
CREATE TABLE ledgers (
    friend BLOB NOT NULL REFERENCES friends ON DELETE CASCADE,
    currency TEXT NOT NULL,
    balance TEXT NOT NULL,
    local_pending_debt TEXT NOT NULL,
    remote_pending_debt TEXT NOT NULL,
    PRIMARY KEY (friend, currency)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending_transactions (
    friend BLOB NOT NULL REFERENCES friends ON DELETE CASCADE,
    currency TEXT NOT NULL,
    side TEXT NOT NULL,  -- local: we sent the request; remote: the friend did
    request_id BLOB NOT NULL,
    pending TEXT NOT NULL,
    PRIMARY KEY (friend, currency, side, request_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE queued_operations (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    friend BLOB NOT NULL REFERENCES friends ON DELETE CASCADE,
    queue TEXT NOT NULL,  -- backwards, forwarded, user
    currency TEXT NOT NULL,
    operation TEXT NOT NULL
) STRICT;
CREATE INDEX queued_by_friend ON queued_operations (friend, queue, position);
"""

_LEDGER = "friend, currency, balance, local_pending_debt, remote_pending_debt"
_PENDING = "friend, currency, side, request_id, pending"
_QUEUED = "friend, queue, currency, operation"
_LEDGERS = f"SELECT {_LEDGER} FROM ledgers"
_ALL_PENDING = f"SELECT {_PENDING} FROM pending_transactions"
_ALL_QUEUED = f"SELECT {_QUEUED} FROM queued_operations ORDER BY position"
UPDATE_LEDGER = (
    "UPDATE ledgers SET balance = ?, local_pending_debt = ?, remote_pending_debt = ? WHERE friend = ? AND currency = ?"
)
"""Replaces all that changes in a row, which its last two parameters name."""

_INSERT_PENDING = (
    f"INSERT INTO pending_transactions ({_PENDING}) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (friend, currency, side, request_id) DO UPDATE SET pending = excluded.pending"
)

READS = (_LEDGERS, _ALL_PENDING, _ALL_QUEUED)


# Ledgers.


def write_ledger(friend: PublicKey, mutation: LedgerMutation) -> Iterator[Statement]:
    """What a mutation of a ledger comes to."""
    match mutation:
        case m.AddLedger(currency):
            yield f"INSERT INTO ledgers ({_LEDGER}) VALUES (?, ?, '0', '0', '0')", (friend, currency)
        case m.ChangeLedger(currency, change):
            yield (
                UPDATE_LEDGER,
                (
                    str(change.balance),
                    str(change.local_pending_debt),
                    str(change.remote_pending_debt),
                    friend,
                    currency,
                ),
            )
            key = (friend, currency, change.side.value, change.request_id)
            if change.transaction is None:
                where = "WHERE friend = ? AND currency = ? AND side = ? AND request_id = ?"
                yield f"DELETE FROM pending_transactions {where}", key
            else:
                pending = format_form(forms.PENDING, change.transaction)
                yield _INSERT_PENDING, (*key, pending)
        case _:
            assert_never(mutation)


def insert_ledger(friend: PublicKey, ledger: Ledger) -> Iterator[Statement]:
    """Rows of a whole ledger."""
    numbers = (str(ledger.balance), str(ledger.local_pending_debt), str(ledger.remote_pending_debt))
    yield f"INSERT INTO ledgers ({_LEDGER}) VALUES (?, ?, ?, ?, ?)", (friend, ledger.currency, *numbers)
    for side, pending in (("local", ledger.pending_local), ("remote", ledger.pending_remote)):
        for request_id, transaction in pending.items():
            cell = format_form(forms.PENDING, transaction)
            yield _INSERT_PENDING, (friend, ledger.currency, side, request_id, cell)


# Queues.


def write_queue(friend: PublicKey, mutation: QueueMutation) -> Iterator[Statement]:
    """What a mutation of the operations that wait comes to."""
    match mutation:
        case m.PushBackPendingBackwardsOp(currency, op):
            yield _push(friend, "backwards", currency, forms.BACKWARDS_OP, op)
        case m.PushBackPendingRequest(currency, request):
            yield _push(friend, "forwarded", currency, forms.REQUEST, request)
        case m.PushBackPendingUserRequest(currency, request):
            yield _push(friend, "user", currency, forms.REQUEST, request)
        case m.PopFrontPendingBackwardsOp():
            yield _pop(friend, "backwards")
        case m.PopFrontPendingRequest():
            yield _pop(friend, "forwarded")
        case m.PopFrontPendingUserRequest():
            yield _pop(friend, "user")
        case m.RemovePendingRequestsCurrency(currency):
            delete = "DELETE FROM queued_operations WHERE friend = ? AND queue = 'forwarded' AND currency = ?"
            yield delete, (friend, currency)
        case m.RemovePendingRequests():
            yield "DELETE FROM queued_operations WHERE friend = ? AND queue IN ('forwarded', 'user')", (friend,)
        case m.RemovePendingUserRequest(currency, request_id):
            is_it = "currency = ? AND json_extract(operation, '$.request_id') = ?"
            delete = f"DELETE FROM queued_operations WHERE friend = ? AND queue = 'user' AND {is_it}"
            yield delete, (friend, currency, forms.UID.write(request_id))
        case _:
            assert_never(mutation)


def _push(friend: PublicKey, queue: str, currency: Currency, form: Form[Any], operation: object) -> Statement:
    insert = f"INSERT INTO queued_operations ({_QUEUED}) VALUES (?, ?, ?, ?)"
    return insert, (friend, queue, currency, format_form(form, operation))


def _pop(friend: PublicKey, queue: str) -> Statement:
    first = "SELECT min(position) FROM queued_operations WHERE friend = ? AND queue = ?"
    return f"DELETE FROM queued_operations WHERE position = ({first})", (friend, queue)


def insert_queues(friend: PublicKey, channel: Consistent) -> Iterator[Statement]:
    """Rows of all operations that wait."""
    for currency, request in channel.pending_requests:
        yield from write_queue(friend, m.PushBackPendingRequest(currency, request))
    for currency, op in channel.pending_backwards_ops:
        yield from write_queue(friend, m.PushBackPendingBackwardsOp(currency, op))
    for currency, request in channel.pending_user_requests:
        yield from write_queue(friend, m.PushBackPendingUserRequest(currency, request))


def clear(friend: PublicKey) -> Iterator[Statement]:
    """Remove all rows of a friend's channel, before another channel takes its place."""
    for table in ("ledgers", "pending_transactions", "queued_operations"):
        yield f"DELETE FROM {table} WHERE friend = ?", (friend,)


# Reading.


class ChannelRows:
    """The rows of all channels, by friend."""

    def __init__(self, rows: Rows) -> None:
        self._ledgers = group(rows[_LEDGERS])
        self._pending = group(rows[_ALL_PENDING])
        self._queued = group(rows[_ALL_QUEUED])

    def ledgers(self, local: PublicKey, friend: PublicKey) -> Map[Currency, Ledger]:
        """The ledgers with a friend. Raises InvalidInput."""
        pending: dict[tuple[str, str], dict[Uid, Any]] = {}
        for currency, side, request_id, cell in self._pending.get(friend, []):
            pending.setdefault((currency, side), {})[Uid(request_id)] = parse_form(forms.PENDING, cell)
        return Map(
            {
                Currency(currency): Ledger(
                    local,
                    friend,
                    Currency(currency),
                    parse_balance(balance),
                    parse_amount(local_pending_debt),
                    parse_amount(remote_pending_debt),
                    Map(pending.get((currency, "local"), {})),
                    Map(pending.get((currency, "remote"), {})),
                )
                for currency, balance, local_pending_debt, remote_pending_debt in self._ledgers.get(friend, [])
            }
        )

    def with_queues(self, channel: TokenChannel) -> Consistent:
        """A token channel with the operations that wait for it. Raises InvalidInput."""
        queues: dict[str, list[Any]] = {"backwards": [], "forwarded": [], "user": []}
        for queue, currency, operation in self._queued.get(channel.remote_public_key, []):
            form: Form[Any] = forms.BACKWARDS_OP if queue == "backwards" else forms.REQUEST
            queues[queue].append((Currency(currency), parse_form(form, operation)))
        return Consistent(channel, tuple(queues["forwarded"]), tuple(queues["backwards"]), tuple(queues["user"]))
