"""
The history: what changed the balance with each friend, for ever. Pure.

Entries are added and never changed. A number is the key of its row, and numbers have no gaps. Friends and currencies
stand in tables of their own, by small numbers, which keeps an entry short: a friend that was removed stays there, as
its entries do. Amounts are decimal text; where a kind says nothing of an amount, the cell is NULL, and so are ids that
are not known. What a payment moves is amount and fee together, so that its amount is not stored. An entry costs at most
300 bytes on disk, with its part of the index by friend.

A database that had no history begins with an opening entry for each balance (`insert_openings`, `MIGRATION_TO_4`). So
does one whose first entries were moved to an archive (`offset_node.database.tables.archives`).
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from offset_funder.bookkeeping import Entry, balances
from offset_funder.state import FunderState
from offset_node.database.tables.archives import THROUGH
from offset_node.database.tables.askers import ASKER_OF_ENTRY, write_of_entry
from offset_node.database.tables.cells import Statement, parse_amount, parse_balance
from offset_node.database.tables.notes import NOTE_OF_ENTRY
from offset_node.state import AddEntry, HistoryScope
from offset_proto.errors import InvalidInput, invariant
from offset_proto.messages.history import EntryKind, HistoryEntry, ReadHistory
from offset_proto.types import I128, U64, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = [
    "BALANCES",
    "END",
    "KNOW_CURRENCY",
    "KNOW_FRIEND",
    "LOOKED_AT_MAX",
    "MIGRATION_TO_4",
    "SCHEMA",
    "START",
    "TIME_OF",
    "insert_openings",
    "is_narrowed",
    "number_bound",
    "read_balance",
    "read_entry",
    "select_bound",
    "select_page",
    "write",
]

SCHEMA = """
CREATE TABLE history_friends (id INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE history_currencies (id INTEGER PRIMARY KEY, currency TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE history (
    number INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,  -- seconds since 1970
    friend INTEGER NOT NULL REFERENCES history_friends,
    currency INTEGER NOT NULL REFERENCES history_currencies,
    kind INTEGER NOT NULL,
    before TEXT NOT NULL,
    balance TEXT NOT NULL,
    amount TEXT,
    fee TEXT,
    party BLOB,
    invoice_id BLOB,
    payment_id BLOB,
    request_id BLOB
) STRICT;
CREATE INDEX history_by_friend ON history (friend, number);
"""

_KINDS: Final = {
    EntryKind.OPENING: 0,
    EntryKind.PAID: 1,
    EntryKind.RECEIVED: 2,
    EntryKind.FORWARDED: 3,
    EntryKind.BROKEN: 4,
    EntryKind.RESET: 5,
    EntryKind.FORGIVEN: 6,
    EntryKind.LIMIT: 7,
    EntryKind.RATE: 8,
    EntryKind.OPENED: 9,
    EntryKind.CLOSED: 10,
    EntryKind.WITHDRAWN: 11,
}
_PAYMENTS: Final = {EntryKind.PAID, EntryKind.RECEIVED}
_KIND_OF: Final = {number: kind for kind, number in _KINDS.items()}

MIGRATION_TO_4 = f"""{SCHEMA}
CREATE TEMP TABLE openings AS
    SELECT friend, currency, balance FROM ledgers WHERE balance != '0'
    UNION ALL
    SELECT public_key, json_extract(terms.value, '$.currency'), json_extract(terms.value, '$.balance')
    FROM friends, json_each(inconsistent, '$.local_reset_terms.balance_for_reset') AS terms
    WHERE inconsistent IS NOT NULL AND json_extract(terms.value, '$.balance') != '0'
    ORDER BY 1, 2;
INSERT INTO history_friends (public_key) SELECT DISTINCT friend FROM openings;
INSERT INTO history_currencies (currency) SELECT DISTINCT currency FROM openings;
INSERT INTO history (time, friend, currency, kind, before, balance)
    SELECT CAST(strftime('%s', 'now') AS INTEGER), f.id, c.id, {_KINDS[EntryKind.OPENING]}, '0', o.balance
    FROM openings AS o JOIN history_friends AS f ON f.public_key = o.friend
    JOIN history_currencies AS c ON c.currency = o.currency ORDER BY f.public_key, c.currency;
DROP TABLE openings;
"""
"""Makes the tables, with an opening entry for each balance, of what a database of version 3 holds."""

LOOKED_AT_MAX: Final = 20_000
"""Entries that are looked at for one page, so that a page is quick also where few entries are wanted."""

_INTEGER_MAX: Final = 2**63 - 1

END = f"SELECT max(ends.number) FROM (SELECT max(number) AS number FROM history UNION ALL {THROUGH}) AS ends"
"""The number of the last entry, which may be in an archive; 0: there is none."""

START = f"SELECT min(starts.number) FROM (SELECT min(number) - 1 AS number FROM history UNION ALL {THROUGH}) AS starts"
"""
The number before that of the first entry, as it has to be: the first entry of all is 1, and where there is an archive,
nothing is missing between its last number and what comes first here.
"""

TIME_OF = "SELECT time FROM history WHERE number = ?"
"""When the entry of a number was stored, in seconds since 1970."""

_ENTRY = "number, time, friend, currency, kind, before, balance, amount, fee, party, invoice_id, payment_id, request_id"
_COLUMNS = (
    "h.number, h.time, f.public_key, c.currency, h.kind, h.before, h.balance, h.amount, h.fee, h.party,"
    f" h.invoice_id, h.payment_id, h.request_id, {NOTE_OF_ENTRY}, {ASKER_OF_ENTRY}"
)
# CROSS JOIN keeps SQLite from beginning with the names: it has to go through the entries in their order.
_NAMES = "CROSS JOIN history_friends AS f ON f.id = h.friend CROSS JOIN history_currencies AS c ON c.id = h.currency"

KNOW_FRIEND: Final = "INSERT INTO history_friends (public_key) VALUES (?) ON CONFLICT DO NOTHING"
KNOW_CURRENCY: Final = "INSERT INTO history_currencies (currency) VALUES (?) ON CONFLICT DO NOTHING"

BALANCES = (
    f"SELECT h.number, f.public_key, c.currency, h.before, h.balance FROM history AS h {_NAMES} ORDER BY h.number"
)
"""Of each entry, in order: its number, friend, currency, and the balance before and after it."""


def write(mutation: AddEntry) -> Iterator[Statement]:
    """The statements that add an entry."""
    entry = mutation.entry
    is_payment = entry.kind in _PAYMENTS
    if is_payment:
        invariant(entry.amount + entry.fee == abs(entry.balance - entry.before), "a payment moves amount and fee")
    yield KNOW_FRIEND, (entry.friend,)
    yield KNOW_CURRENCY, (entry.currency,)
    friend = "(SELECT id FROM history_friends WHERE public_key = ?)"
    currency = "(SELECT id FROM history_currencies WHERE currency = ?)"
    insert = f"INSERT INTO history ({_ENTRY}) VALUES (?, ?, {friend}, {currency}, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    yield (
        insert,
        (
            mutation.number,
            mutation.time,
            entry.friend,
            entry.currency,
            _KINDS[entry.kind],
            str(entry.before),
            str(entry.balance),
            str(entry.amount) if entry.amount and not is_payment else None,
            str(entry.fee) if entry.fee else None,
            entry.party,
            entry.invoice_id,
            entry.payment_id,
            entry.request_id,
        ),
    )
    if mutation.app is not None:
        yield from write_of_entry(mutation.number, mutation.app)


def insert_openings(state: FunderState, now: U64) -> Iterator[Statement]:
    """An opening entry for each balance of a state, into empty tables."""
    opened = sorted((pair, balance) for pair, balance in balances(state).items() if balance)
    for number, ((friend, currency), balance) in enumerate(opened, 1):
        yield from write(AddEntry(number, now, Entry(friend, currency, EntryKind.OPENING, 0, balance)))


def is_narrowed(request: ReadHistory, scope: HistoryScope) -> bool:
    """Whether there may be entries out of *scope* among those that `select_bound` counts."""
    sees_friend = scope.friends is None or request.filter.opt_friend in scope.friends
    return scope.currencies is not None or not sees_friend


def number_bound(request: ReadHistory, end: U64, archived: U64) -> U64 | None:
    """
    As `select_bound` finds it, for a page that is narrowed by a scope; None: all entries may be looked at.

    It counts numbers, and no entries, since it may be the number that the page goes *through*: where an entry out of
    scope stands is not told by it. There are no more entries than numbers. Those up to *archived* do not count: they
    are opening entries, of which there is one for each balance, with many numbers before them that nothing has.
    """
    after, last = _numbers(request, end)
    if request.newest_first:
        bound = last - LOOKED_AT_MAX + 1
        return bound if bound > max(after + 1, archived) else None
    bound = max(after, archived) + LOOKED_AT_MAX
    return bound if bound < last else None


def select_bound(request: ReadHistory, end: U64) -> Statement | None:
    """
    The SELECT that finds the last entry which may be looked at for a page, no row where all may.

    None where no entry is looked at in vain: without a filter, and with one of a friend, which has an index.
    """
    wanted = request.filter
    if wanted.opt_currency is None and not (wanted.kinds or wanted.since or wanted.until):
        return None
    where, values = _range(request, end)
    order = "DESC" if request.newest_first else "ASC"
    text = f"SELECT h.number FROM history AS h WHERE {where} ORDER BY h.number {order} LIMIT 1 OFFSET ?"
    return text, (*values, LOOKED_AT_MAX - 1)


def select_page(request: ReadHistory, scope: HistoryScope, limit: int, end: U64, bound: U64 | None) -> Statement:
    """
    The SELECT that finds the entries of a page.

    Args:
        request: What is wanted.
        scope: What whoever asks gets to see.
        limit: Rows at most.
        end: Number of the last entry that counts.
        bound: What `select_bound` or `number_bound` found.
    """
    where, values = _range(request, end)
    if bound is not None:
        where += " AND h.number >= ?" if request.newest_first else " AND h.number <= ?"
        values = (*values, bound)
    wanted, wanted_values = _wanted(request)
    seen, seen_values = _seen(scope)
    order = "DESC" if request.newest_first else "ASC"
    text = f"SELECT {_COLUMNS} FROM history AS h {_NAMES} WHERE {where}{wanted}{seen} ORDER BY h.number {order} LIMIT ?"
    return text, (*values, *wanted_values, *seen_values, limit)


def _numbers(request: ReadHistory, end: U64) -> tuple[U64, U64]:
    """The number before the first one that is wanted, and the last one."""
    return min(request.after, end), min(end, request.before - 1) if request.before else end


def _range(request: ReadHistory, end: U64) -> Statement:
    """What lies within the numbers, and is of the friend: found by an index, in the order of numbers."""
    where = "h.number > ? AND h.number <= ?"
    values: list[Any] = [*_numbers(request, end)]
    if request.filter.opt_friend is not None:
        where += " AND h.friend = (SELECT id FROM history_friends WHERE public_key = ?)"
        values.append(request.filter.opt_friend)
    return where, tuple(values)


def _wanted(request: ReadHistory) -> Statement:
    """The rest of the filter, for rows that have been found."""
    conditions: list[str] = []
    values: list[Any] = []
    wanted = request.filter
    if wanted.opt_currency is not None:
        conditions.append("c.currency = ?")
        values.append(wanted.opt_currency)
    if wanted.kinds:
        kinds = sorted({_KINDS[kind] for kind in wanted.kinds})
        conditions.append(f"h.kind IN ({', '.join('?' * len(kinds))})")
        values += kinds
    if wanted.since:
        conditions.append("h.time >= ?")
        values.append(min(wanted.since, _INTEGER_MAX))
    if wanted.until:
        conditions.append("h.time < ?")
        values.append(min(wanted.until, _INTEGER_MAX))
    return "".join(f" AND {condition}" for condition in conditions), tuple(values)


def _seen(scope: HistoryScope) -> Statement:
    """The scope, for rows that have been found: ``+`` keeps SQLite from going by the index of friends."""
    conditions, values = "", []
    if scope.friends is not None:
        known = "SELECT id FROM history_friends WHERE hex(public_key) IN (SELECT value FROM json_each(?))"
        conditions += f" AND +h.friend IN ({known})"
        values.append(json.dumps([key.hex().upper() for key in scope.friends]))
    if scope.currencies is not None:
        known = "SELECT id FROM history_currencies WHERE currency IN (SELECT value FROM json_each(?))"
        conditions += f" AND +h.currency IN ({known})"
        values.append(json.dumps([str(currency) for currency in scope.currencies]))
    return conditions, tuple(values)


def read_balance(row: tuple[Any, ...]) -> tuple[U64, PublicKey, Currency, I128, I128]:
    """
    A row of `BALANCES`.

    Raises:
        InvalidInput: A value is damaged; says in which entry.
    """
    number, friend, currency, before, balance = row
    try:
        return number, PublicKey(friend), Currency(currency), parse_balance(before), parse_balance(balance)
    except InvalidInput as error:
        raise InvalidInput(f"entry {number}: {error}") from None


def read_entry(row: tuple[Any, ...]) -> HistoryEntry:
    """
    The entry in a row of `select_page`.

    Raises:
        InvalidInput: A value is damaged; says in which entry.
    """
    number, time, friend, currency, kind, before, balance, amount, fee, party, *ids, note, app = row
    invoice_id, payment_id, request_id = ids
    try:
        if kind not in _KIND_OF:
            raise InvalidInput(f"{kind!r} is no kind of an entry")
        old, new = parse_balance(before), parse_balance(balance)
        fees = 0 if fee is None else parse_amount(fee)
        if _KIND_OF[kind] in _PAYMENTS:
            moved = abs(new - old) - fees
        else:
            moved = 0 if amount is None else parse_amount(amount)
        return HistoryEntry(
            number,
            time,
            PublicKey(friend),
            Currency(currency),
            _KIND_OF[kind],
            old,
            new,
            moved,
            fees,
            None if party is None else PublicKey(party),
            None if invoice_id is None else InvoiceId(invoice_id),
            None if payment_id is None else PaymentId(payment_id),
            None if request_id is None else Uid(request_id),
            note,
            None if app is None else PublicKey(app),
        )
    except InvalidInput as error:
        raise InvalidInput(f"history: entry {number}: {error}") from None
