"""
The node's state as rows: the schema, the statements that each mutation comes to, and the state that rows come to. Pure.

There is one row for each friend, currency, pending transaction, queued operation, invoice and payment, so what an
event writes does not grow with what is stored. Each module below has the tables of one subject, and there the way in
stands next to the way out: schema, columns, statements, reading.

============  ================================================================================
`cells`       how values stand in the cells of a table
`servers`     relays and index servers
`friends`     friends, their credit in each currency, the token of their channel
`channels`    ledgers, pending transactions, operations that wait to be sent
`payments`    invoices, transactions, payments
`unheard`     which friends have to speak first
`times`       since when transactions have been pending
`plugins`     what plugins keep
`history`     what changed the balances, for ever
`notes`       what the owner wrote to it
`askers`      which app asked for what it tells
`archives`    which part of it was moved out; how an archive is filled and compared
`timelines`   which of the histories that the node has had it is
============  ================================================================================

A mutation that no module writes does not pass the type checker (`assert_never`).
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, assert_never

from offset_funder.mutations import ForgetSome
from offset_funder.state import FunderState
from offset_node.database.tables import (
    archives,
    askers,
    channels,
    friends,
    history,
    notes,
    payments,
    plugins,
    servers,
    timelines,
    times,
    unheard,
)
from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import (
    AddEntry,
    BeginTimeline,
    Mutation,
    NodeState,
    PendingTimeMutation,
    PluginMutation,
    PluginRecords,
    SetAsker,
    SetNote,
    SetPendingSince,
)
from offset_proto.errors import InvalidInput
from offset_proto.types import U64, PublicKey

__all__ = [
    "APPLICATION_ID",
    "ARCHIVE_APPLICATION_ID",
    "ARCHIVE_SCHEMA",
    "ARCHIVE_VERSIONS",
    "BACKUP_APPLICATION_ID",
    "EXPORTED_APPLICATION_ID",
    "MIGRATIONS",
    "ONCE",
    "OWNER",
    "PLUGIN_READS",
    "SCHEMA",
    "SCHEMA_VERSION",
    "STATE_READS",
    "insert_state",
    "read_plugins",
    "read_state",
    "write",
    "write_batch",
]

APPLICATION_ID = 0x4F464653  # "OFFS", tells a node database from any other SQLite file
EXPORTED_APPLICATION_ID = 0x4F464658  # "OFFX", a database whose node was moved to another program
BACKUP_APPLICATION_ID = 0x4F464642  # "OFFB", a copy from which a database can be restored
ARCHIVE_APPLICATION_ID = 0x4F464641  # "OFFA", entries of the history that were moved out of a database
SCHEMA_VERSION = 7

ARCHIVE_VERSIONS = (6, 7)
"""Versions of the schema in which an archive has the tables of today's."""

_NODE_SCHEMA = """
CREATE TABLE node (id INTEGER PRIMARY KEY CHECK (id = 1), local_public_key BLOB NOT NULL) STRICT;
"""

OWNER = "SELECT local_public_key FROM node"
"""Whose database it is."""

SCHEMA = "".join(
    (
        _NODE_SCHEMA,
        servers.SCHEMA,
        friends.SCHEMA,
        channels.SCHEMA,
        payments.SCHEMA,
        plugins.SCHEMA,
        times.SCHEMA,
        history.SCHEMA,
        notes.SCHEMA,
        askers.SCHEMA,
        unheard.SCHEMA,
        archives.SCHEMA,
        timelines.SCHEMA,
    )
)
"""SQL that makes all tables of a database of `SCHEMA_VERSION`."""

ARCHIVE_SCHEMA = "".join((archives.ARCHIVE_SCHEMA, history.SCHEMA, notes.SCHEMA, askers.SCHEMA, archives.SCHEMA))
"""SQL that makes all tables of an archive of `SCHEMA_VERSION`."""

MIGRATIONS = {
    1: plugins.SCHEMA,
    2: payments.MIGRATION_TO_3 + times.SCHEMA,
    3: history.MIGRATION_TO_4,
    4: notes.SCHEMA + askers.SCHEMA + unheard.SCHEMA,
    5: archives.SCHEMA,
    6: timelines.MIGRATION_TO_7,
}
"""What turns a database of a version into one of the next."""

STATE_READS = (OWNER, *servers.READS, *friends.READS, *payments.READS, *times.READS, *unheard.READS)
"""The SELECTs that `read_state` needs the rows of."""

PLUGIN_READS = plugins.READS
"""The SELECTs that `read_plugins` needs the rows of."""


ONCE = frozenset((history.KNOW_FRIEND, history.KNOW_CURRENCY, askers.KNOW_APP))
"""Statements that do nothing where they were carried out before: what they write is never removed."""


def write(local: PublicKey, mutation: Mutation) -> Iterator[Statement]:
    """What a mutation comes to; *local* is the node's own key."""
    if isinstance(mutation, friends.FriendsMutation):
        return friends.write(local, mutation)
    if isinstance(mutation, payments.PaymentMutation):
        return payments.write(mutation)
    if isinstance(mutation, AddEntry):
        return history.write(mutation)
    if isinstance(mutation, BeginTimeline):
        return timelines.write(mutation)
    if isinstance(mutation, SetNote):
        return notes.write(mutation)
    if isinstance(mutation, SetAsker):
        return askers.write(mutation)
    if isinstance(mutation, PluginMutation):
        return plugins.write(mutation)
    if isinstance(mutation, PendingTimeMutation):
        return times.write(mutation)
    if isinstance(mutation, servers.ServerMutation):
        return servers.write(mutation)
    if isinstance(mutation, ForgetSome):
        return unheard.forget_some()
    assert_never(mutation)


def write_batch(local: PublicKey, mutations: Iterable[Mutation], done: Collection[Statement]) -> list[Statement]:
    """
    What a batch comes to, without the statements that change nothing in the end.

    A ledger is changed by each operation on it, and its numbers are written once, as the last one leaves them: no other
    statement reads them. The names of friends, currencies and apps are not written again.

    Args:
        local: The node's own key.
        mutations: Of the batch, in order.
        done: Of the statements in `ONCE`, those that were carried out before.
    """
    statements = [
        statement
        for mutation in mutations
        for statement in write(local, mutation)
        if statement[0] not in ONCE or statement not in done
    ]
    kept: list[Statement] = []
    written = set[tuple[Any, ...]]()
    for statement in reversed(statements):
        if statement[0] == channels.UPDATE_LEDGER:
            row = statement[1][-2:]
            if row in written:
                continue
            written.add(row)
        kept.append(statement)
    kept.reverse()
    return kept


def insert_state(state: NodeState, now: U64, timeline: BeginTimeline | None = None) -> Iterator[Statement]:
    """
    Statements that fill an empty database.

    Args:
        state: What it is to hold.
        now: Seconds since 1970.
        timeline: Where the node has had another database before.
    """
    funder = state.funder
    yield "INSERT INTO node (id, local_public_key) VALUES (1, ?)", (funder.local_public_key,)
    for relay in funder.relays:
        yield from servers.insert_server(relay)
    for server in state.index_servers:
        yield from servers.insert_server(server)
    for friend in funder.friends.values():
        yield from friends.insert_friend(friend)
    yield from payments.insert_payments(funder)
    for key, since in state.pending_since.items():
        yield from times.write(SetPendingSince(key, since))
    if funder.has_forgotten:
        yield from unheard.forget_some()
    if timeline is not None:
        yield from timelines.write(timeline)
    yield from history.insert_openings(funder, now)


def read_state(rows: Rows) -> NodeState:
    """
    The state that is stored; every value is checked again.

    Args:
        rows: Of each of `STATE_READS`.

    Raises:
        InvalidInput: A value is damaged.
    """
    if not rows[OWNER]:
        raise InvalidInput("the table node is empty")
    local = PublicKey(rows[OWNER][0][0])
    funder = FunderState(
        local_public_key=local,
        relays=servers.read_relays(rows),
        friends=friends.read(local, rows),
        open_invoices=payments.read_invoices(rows),
        open_transactions=payments.read_transactions(rows),
        payments=payments.read_payments(rows),
        has_forgotten=unheard.read_has_forgotten(rows),
    )
    return NodeState(funder, servers.read_index_servers(rows), times.read(rows))


def read_plugins(rows: Rows) -> PluginRecords:
    """What is stored for plugins, from the rows of each of `PLUGIN_READS`."""
    return plugins.read(rows)
