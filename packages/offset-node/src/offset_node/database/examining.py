"""
A look at the database of a node that may be running: whether it is whole, and what of it its owner should know.

The database is copied within one read transaction (`offset_node.database.backup_copies`) to the directory for temporary
files, and the copy is checked as `stmgr check-db` checks a database: the pages, every value, the rules of the ledger,
and that the history comes to the balances. So the node neither waits nor is waited for, and nothing changes beside the
database, whose disk may be full.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from offset_funder.bookkeeping import Book
from offset_funder.ledger import Side
from offset_funder.reports import initial_report
from offset_funder.state import Consistent, FunderState, Ledger
from offset_node.database.backup_copies import checked_state, open_copy
from offset_node.database.errors import LoadDbError
from offset_node.database.tables import history
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput
from offset_proto.messages.report import NodeReport
from offset_proto.types import U64, Currency, PublicKey

__all__ = ["Examined", "LongFrozen", "examine_database"]


@dataclass(frozen=True, slots=True)
class LongFrozen:
    """
    Credits that a node has frozen for a request, behind a friend that has not answered.

    Attributes:
        friend, currency: Where.
        credits: How many.
        since: Seconds since 1970, as far as the node knows.
        is_own: The request is of a payment of this node; otherwise it was forwarded.
    """

    friend: PublicKey
    currency: Currency
    credits: int
    since: U64
    is_own: bool


@dataclass(frozen=True, slots=True)
class Examined:
    """
    What was found in a database that is whole.

    Attributes:
        report: What a node tells its apps that goes on from it.
        entries: Of the history; those in archives do not count.
        frozen: Requests that have been pending for more than about a minute, the oldest first.
        pending: The number of requests that are open with each friend, in both directions.
        unheard: Friends that have to speak first (`offset_funder.unheard`).
    """

    report: NodeReport
    entries: int
    frozen: tuple[LongFrozen, ...]
    pending: dict[PublicKey, int]
    unheard: frozenset[PublicKey]


def examine_database(path: Path) -> Examined:
    """
    Check a database, on which a node may run, and look into it.

    Raises:
        LoadDbError: It is none, is damaged, or its history does not fit; names the first entry that does not.
        IoError: There is no room for the copy, which says nothing of the database.
    """
    with open_copy(path) as copy:
        state = checked_state(copy, path)
        try:
            ((start,),) = copy.execute(history.START)
            book = Book(int(start))
            for row in copy.execute(history.BALANCES):
                book.add(*history.read_balance(tuple(row)))
            book.check(state.funder)
        except (sqlite3.Error, InvalidInput, UnicodeError) as error:
            raise LoadDbError(path, f"history: {error}") from None
    frozen = sorted(_frozen(state), key=lambda each: (each.since, each.friend, each.currency))
    return Examined(
        initial_report(state.funder, state.index_servers),
        book.count,
        tuple(frozen),
        _pending(state.funder),
        frozenset(key for key, friend in state.funder.friends.items() if not friend.is_heard),
    )


def _frozen(state: NodeState) -> Iterator[LongFrozen]:
    """Where a time is stored of a request that has ended meanwhile, nothing is frozen for it any more."""
    for (friend, currency, side, request_id), since in state.pending_since.items():
        ledger = _ledgers(state.funder, friend).get(currency)
        if side is Side.LOCAL and ledger is not None and request_id in ledger.pending_local:
            amount = ledger.pending_local[request_id].frozen_credits
            yield LongFrozen(friend, currency, amount, since, request_id in state.funder.open_transactions)


def _pending(state: FunderState) -> dict[PublicKey, int]:
    return {
        friend: sum(len(each.pending_local) + len(each.pending_remote) for each in _ledgers(state, friend).values())
        for friend in state.friends
    }


def _ledgers(state: FunderState, friend: PublicKey) -> Mapping[Currency, Ledger]:
    """Those of a channel that works; a friend that there is not, and a broken channel, have none."""
    known = state.friends.get(friend)
    if known is None or not isinstance(known.channel, Consistent):
        return {}
    return known.channel.token_channel.ledgers
