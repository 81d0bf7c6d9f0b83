"""
The node's state as rows: the schema, and the statements that each mutation comes to. Pure.

One row per friend, currency, pending transaction, queued operation, invoice and payment, so what an event
writes does not grow with what is stored. Amounts are decimal text (they have 128 bits); keys and ids are
blobs; values with a structure of their own are JSON in the form of the original's database.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from offset_funder import mutations as m
from offset_funder.state import (
    Channel,
    Consistent,
    Friend,
    FunderState,
    Inconsistent,
    Ledger,
    TokenChannel,
    fresh_friend,
)
from offset_node.database import original as forms
from offset_node.state import AddIndexServer, IndexServerMutation, NodeState, RemoveIndexServer
from offset_proto.types import PublicKey

__all__ = [
    "APPLICATION_ID",
    "EXPORTED_APPLICATION_ID",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Statement",
    "insert_state",
    "statements_of",
]

APPLICATION_ID = 0x4F464653  # "OFFS", tells a node database from any other SQLite file
EXPORTED_APPLICATION_ID = 0x4F464658  # "OFFX", a database whose node was moved to another program
SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE node (id INTEGER PRIMARY KEY CHECK (id = 1), local_public_key BLOB NOT NULL) STRICT;
CREATE TABLE relays (
    position INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE, address TEXT NOT NULL, name TEXT NOT NULL
) STRICT;
CREATE TABLE index_servers (
    position INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE, address TEXT NOT NULL, name TEXT NOT NULL
) STRICT;
CREATE TABLE friends (
    public_key BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    is_enabled INTEGER NOT NULL,
    remote_relays TEXT NOT NULL,
    sent_local_relays TEXT NOT NULL,
    direction TEXT,      -- of the token channel; NULL while the channel is inconsistent
    active_local TEXT,
    active_remote TEXT,
    inconsistent TEXT    -- reset terms; NULL while the channel is consistent
) STRICT;
CREATE TABLE currency_configs (
    friend BLOB NOT NULL REFERENCES friends ON DELETE CASCADE,
    currency TEXT NOT NULL,
    rate_mul INTEGER NOT NULL,
    rate_add INTEGER NOT NULL,
    remote_max_debt TEXT NOT NULL,
    is_open INTEGER NOT NULL,
    PRIMARY KEY (friend, currency)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE open_invoices (
    invoice_id BLOB PRIMARY KEY,
    currency TEXT NOT NULL,
    total_dest_payment TEXT NOT NULL,
    dest_plain_lock BLOB NOT NULL,
    src_hashed_lock BLOB
) STRICT;
CREATE TABLE invoice_transactions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    invoice_id BLOB NOT NULL REFERENCES open_invoices ON DELETE CASCADE,
    request_id BLOB NOT NULL
) STRICT;
CREATE INDEX transactions_by_invoice ON invoice_transactions (invoice_id, position);
CREATE TABLE open_transactions (
    request_id BLOB PRIMARY KEY, payment_id BLOB NOT NULL, response TEXT
) STRICT;
CREATE TABLE payments (payment_id BLOB PRIMARY KEY, payment TEXT NOT NULL) STRICT;
"""

Statement = tuple[str, tuple[Any, ...]]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def insert_state(state: NodeState) -> Iterator[Statement]:
    """Statements that fill an empty database."""
    funder = state.funder
    yield "INSERT INTO node VALUES (1, ?)", (funder.local_public_key,)
    for relay in funder.relays:
        yield from _append("relays", relay)
    for server in state.index_servers:
        yield from _append("index_servers", server)
    for friend in funder.friends.values():
        yield from _insert_friend(friend)
    yield from _insert_payments(funder)


def _insert_payments(funder: FunderState) -> Iterator[Statement]:
    for invoice_id, invoice in funder.open_invoices.items():
        row = (invoice.currency, str(invoice.total_dest_payment), invoice.dest_plain_lock)
        yield (
            "INSERT INTO open_invoices VALUES (?, ?, ?, ?, ?)",
            (invoice_id, *row, invoice.opt_src_hashed_lock),
        )
        for request_id in invoice.incoming_transactions:
            yield from statements_of(m.AddIncomingTransaction(invoice_id, request_id))
    for request_id, transaction in funder.open_transactions.items():
        yield from statements_of(m.AddTransaction(request_id, transaction.payment_id))
        if transaction.opt_response is not None:
            yield from statements_of(m.SetTransactionResponse(transaction.opt_response))
    for payment_id, payment in funder.payments.items():
        yield from statements_of(m.UpdatePayment(payment_id, payment))


def statements_of(mutation: m.Mutation | IndexServerMutation) -> Iterable[Statement]:
    """What one mutation comes to."""
    match mutation:
        case m.FriendMutation(public_key, part):
            return _friend_statements(public_key, part)
        case m.AddRelay(relay):
            return _append("relays", relay)
        case m.RemoveRelay(public_key):
            return [("DELETE FROM relays WHERE public_key = ?", (public_key,))]
        case AddIndexServer(server):
            return _append("index_servers", server)
        case RemoveIndexServer(public_key):
            return [("DELETE FROM index_servers WHERE public_key = ?", (public_key,))]
        case m.RemoveFriend(public_key):
            return [("DELETE FROM friends WHERE public_key = ?", (public_key,))]
        case m.AddFriend():
            # A fresh channel depends on our own key, which the caller knows: see `storage`.
            raise TypeError("AddFriend is written by insert_friend")
        case _:
            return _payment_statements(mutation)


def insert_friend(local: PublicKey, added: m.AddFriend) -> Iterator[Statement]:
    """Rows of a friend as it is added."""
    return _insert_friend(fresh_friend(local, added.public_key, added.relays, added.name))


def _append(table: str, entry: Any) -> list[Statement]:
    return [
        (f"DELETE FROM {table} WHERE public_key = ?", (entry.public_key,)),
        (
            f"INSERT INTO {table} SELECT coalesce(max(position), 0) + 1, ?, ?, ? FROM {table}",
            (entry.public_key, str(entry.address), entry.name),
        ),
    ]


def _payment_statements(mutation: m.Mutation) -> list[Statement]:
    match mutation:
        case m.AddInvoice(invoice_id, currency, total, lock):
            row = (invoice_id, currency, str(total), lock)
            return [("INSERT INTO open_invoices VALUES (?, ?, ?, ?, NULL)", row)]
        case m.AddIncomingTransaction(invoice_id, request_id):
            insert = "INSERT INTO invoice_transactions (invoice_id, request_id) VALUES (?, ?)"
            return [(insert, (invoice_id, request_id))]
        case m.RemoveIncomingTransaction(invoice_id, request_id):
            delete = "DELETE FROM invoice_transactions WHERE invoice_id = ? AND request_id = ?"
            return [(delete, (invoice_id, request_id))]
        case m.SetInvoiceSrcHashedLock(invoice_id, lock):
            update = "UPDATE open_invoices SET src_hashed_lock = ? WHERE invoice_id = ?"
            return [(update, (lock, invoice_id))]
        case m.RemoveInvoice(invoice_id):
            return [("DELETE FROM open_invoices WHERE invoice_id = ?", (invoice_id,))]
        case m.AddTransaction(request_id, payment_id):
            return [("INSERT INTO open_transactions VALUES (?, ?, NULL)", (request_id, payment_id))]
        case m.SetTransactionResponse(response):
            update = "UPDATE open_transactions SET response = ? WHERE request_id = ?"
            return [(update, (_json(forms.RESPONSE.write(response)), response.request_id))]
        case m.RemoveTransaction(request_id):
            return [("DELETE FROM open_transactions WHERE request_id = ?", (request_id,))]
        case m.UpdatePayment(payment_id, payment):
            values = (payment_id, _json(forms.PAYMENT.write(payment)))
            return [("INSERT OR REPLACE INTO payments VALUES (?, ?)", values)]
        case m.RemovePayment(payment_id):
            return [("DELETE FROM payments WHERE payment_id = ?", (payment_id,))]
    raise TypeError(f"no statements for {mutation}")


def _insert_friend(friend: Friend) -> Iterator[Statement]:
    key = friend.remote_public_key
    yield (
        "INSERT INTO friends (public_key, name, is_enabled, remote_relays, sent_local_relays) VALUES (?, ?, ?, ?, ?)",
        (
            key,
            friend.name,
            int(friend.is_enabled),
            _json(forms.RELAYS.write(friend.remote_relays)),
            _json(forms.SENT_RELAYS.write(friend.sent_local_relays)),
        ),
    )
    for currency, config in friend.currency_configs.items():
        yield from _friend_statements(key, m.UpdateCurrencyConfig(currency, config))
    yield from _set_channel(key, friend.channel)
    if isinstance(friend.channel, Consistent):
        for currency, request in friend.channel.pending_requests:
            yield from _friend_statements(key, m.PushBackPendingRequest(currency, request))
        for currency, op in friend.channel.pending_backwards_ops:
            yield from _friend_statements(key, m.PushBackPendingBackwardsOp(currency, op))
        for currency, request in friend.channel.pending_user_requests:
            yield from _friend_statements(key, m.PushBackPendingUserRequest(currency, request))


def _set_channel(key: PublicKey, channel: Channel) -> Iterator[Statement]:
    """Replace the channel of a friend, queues included."""
    for table in ("ledgers", "pending_transactions", "queued_operations"):
        yield f"DELETE FROM {table} WHERE friend = ?", (key,)
    match channel:
        case Inconsistent():
            columns = "direction = NULL, active_local = NULL, active_remote = NULL, inconsistent = ?"
            text = _json(forms.INCONSISTENT.write(channel))
            yield f"UPDATE friends SET {columns} WHERE public_key = ?", (text, key)
        case Consistent(token_channel):
            yield "UPDATE friends SET inconsistent = NULL WHERE public_key = ?", (key,)
            yield from _set_token_channel(key, token_channel)


def _set_token_channel(key: PublicKey, channel: TokenChannel) -> Iterator[Statement]:
    yield from _friend_statements(key, m.SetDirection(channel.direction))
    yield from _friend_statements(key, m.SetLocalActiveCurrencies(channel.active_local))
    yield from _friend_statements(key, m.SetRemoteActiveCurrencies(channel.active_remote))
    for ledger in channel.ledgers.values():
        yield from _insert_ledger(key, ledger)


def _insert_ledger(key: PublicKey, ledger: Ledger) -> Iterator[Statement]:
    numbers = (str(ledger.balance), str(ledger.local_pending_debt), str(ledger.remote_pending_debt))
    yield "INSERT INTO ledgers VALUES (?, ?, ?, ?, ?)", (key, ledger.currency, *numbers)
    for side, pending in (("local", ledger.pending_local), ("remote", ledger.pending_remote)):
        for request_id, transaction in pending.items():
            row = (key, ledger.currency, side, request_id, _json(forms.PENDING.write(transaction)))
            yield "INSERT INTO pending_transactions VALUES (?, ?, ?, ?, ?)", row


def _update_friend(column: str, value: Any, key: PublicKey) -> list[Statement]:
    return [(f"UPDATE friends SET {column} = ? WHERE public_key = ?", (value, key))]


def _friend_statements(key: PublicKey, part: m.FriendPart) -> Iterable[Statement]:
    match part:
        case m.ChangeLedger(currency, change):
            return _change_ledger(key, currency, change)
        case m.AddLedger(currency):
            return [("INSERT INTO ledgers VALUES (?, ?, '0', '0', '0')", (key, currency))]
        case m.SetDirection(direction):
            return _update_friend("direction", _json(forms.DIRECTION.write(direction)), key)
        case m.SetLocalActiveCurrencies(currencies):
            return _update_friend("active_local", _json(sorted(currencies)), key)
        case m.SetRemoteActiveCurrencies(currencies):
            return _update_friend("active_remote", _json(sorted(currencies)), key)
        case m.SetInconsistent(inconsistent):
            return _set_channel(key, inconsistent)
        case m.SetConsistent(token_channel):
            return _set_channel(key, Consistent(token_channel))
        case m.UpdateCurrencyConfig(currency, config):
            rate = config.rate
            row = (key, currency, rate.mul, rate.add, str(config.remote_max_debt), int(config.is_open))
            return [("INSERT OR REPLACE INTO currency_configs VALUES (?, ?, ?, ?, ?, ?)", row)]
        case m.RemoveCurrencyConfig(currency):
            return [("DELETE FROM currency_configs WHERE friend = ? AND currency = ?", (key, currency))]
        case m.SetStatus(is_enabled):
            return _update_friend("is_enabled", int(is_enabled), key)
        case m.SetRemoteRelays(relays):
            return _update_friend("remote_relays", _json(forms.RELAYS.write(relays)), key)
        case m.SetName(name):
            return _update_friend("name", name, key)
        case m.SetSentLocalRelays(sent):
            return _update_friend("sent_local_relays", _json(forms.SENT_RELAYS.write(sent)), key)
        case _:
            return _queue_statements(key, part)


def _change_ledger(key: PublicKey, currency: str, change: Any) -> list[Statement]:
    numbers = (str(change.balance), str(change.local_pending_debt), str(change.remote_pending_debt))
    update = (
        "UPDATE ledgers SET balance = ?, local_pending_debt = ?, remote_pending_debt = ? "
        "WHERE friend = ? AND currency = ?"
    )
    pending = (key, currency, change.side.value, change.request_id)
    if change.transaction is None:
        where = "WHERE friend = ? AND currency = ? AND side = ? AND request_id = ?"
        second: Statement = (f"DELETE FROM pending_transactions {where}", pending)
    else:
        row = (*pending, _json(forms.PENDING.write(change.transaction)))
        second = ("INSERT OR REPLACE INTO pending_transactions VALUES (?, ?, ?, ?, ?)", row)
    return [(update, (*numbers, key, currency)), second]


def _push(key: PublicKey, queue: str, currency: str, operation: Any) -> list[Statement]:
    insert = "INSERT INTO queued_operations (friend, queue, currency, operation) VALUES (?, ?, ?, ?)"
    return [(insert, (key, queue, currency, _json(operation)))]


def _pop(key: PublicKey, queue: str) -> list[Statement]:
    first = "SELECT min(position) FROM queued_operations WHERE friend = ? AND queue = ?"
    return [(f"DELETE FROM queued_operations WHERE position = ({first})", (key, queue))]


def _queue_statements(key: PublicKey, part: m.FriendPart) -> list[Statement]:
    match part:
        case m.PushBackPendingBackwardsOp(currency, op):
            return _push(key, "backwards", currency, forms.BACKWARDS_OP.write(op))
        case m.PushBackPendingRequest(currency, request):
            return _push(key, "forwarded", currency, forms.REQUEST.write(request))
        case m.PushBackPendingUserRequest(currency, request):
            return _push(key, "user", currency, forms.REQUEST.write(request))
        case m.PopFrontPendingBackwardsOp():
            return _pop(key, "backwards")
        case m.PopFrontPendingRequest():
            return _pop(key, "forwarded")
        case m.PopFrontPendingUserRequest():
            return _pop(key, "user")
        case m.RemovePendingRequestsCurrency(currency):
            delete = "DELETE FROM queued_operations WHERE friend = ? AND queue = 'forwarded' AND currency = ?"
            return [(delete, (key, currency))]
        case m.RemovePendingRequests():
            delete = "DELETE FROM queued_operations WHERE friend = ? AND queue IN ('forwarded', 'user')"
            return [(delete, (key,))]
    raise TypeError(f"no statements for {part}")
