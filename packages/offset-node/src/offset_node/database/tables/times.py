"""Since when transactions that are old have been pending. Pure."""

from collections.abc import Iterator
from typing import assert_never

from immutables import Map

from offset_funder.ledger import Side
from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import PendingKey, PendingTimeMutation, RemovePendingSince, SetPendingSince
from offset_proto.errors import InvalidInput
from offset_proto.types import U64, Currency, PublicKey, Uid

__all__ = ["READS", "SCHEMA", "read", "write"]

SCHEMA = """
CREATE TABLE pending_since (
    friend BLOB NOT NULL,
    currency TEXT NOT NULL,
    side TEXT NOT NULL,
    request_id BLOB NOT NULL,
    since INTEGER NOT NULL,  -- seconds since 1970
    PRIMARY KEY (friend, currency, side, request_id)
) STRICT, WITHOUT ROWID;
"""

_SINCE = "friend, currency, side, request_id, since"
_ALL = f"SELECT {_SINCE} FROM pending_since"
_INSERT = (
    f"INSERT INTO pending_since ({_SINCE}) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (friend, currency, side, request_id) DO UPDATE SET since = excluded.since"
)

_SIDES = {side.value: side for side in Side}

READS = (_ALL,)


def write(mutation: PendingTimeMutation) -> Iterator[Statement]:
    """The statements that carry a mutation out on the table."""
    friend, currency, side, request_id = mutation.key
    key = (friend, currency, side.value, request_id)
    match mutation:
        case SetPendingSince():
            yield _INSERT, (*key, mutation.since)
        case RemovePendingSince():
            where = "WHERE friend = ? AND currency = ? AND side = ? AND request_id = ?"
            yield f"DELETE FROM pending_since {where}", key
        case _:
            assert_never(mutation)


def read(rows: Rows) -> Map[PendingKey, U64]:
    """All times. Raises InvalidInput."""
    times: dict[PendingKey, U64] = {}
    for friend, currency, side, request_id, since in rows[_ALL]:
        if side not in _SIDES:
            raise InvalidInput(f"pending_since: {side!r} is no side of a ledger")
        times[PublicKey(friend), Currency(currency), _SIDES[side], Uid(request_id)] = since
    return Map(times)
