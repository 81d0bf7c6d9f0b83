"""Relays and index servers: two tables of the same shape, each in the order in which they were added. Pure."""

from collections.abc import Callable, Iterator
from typing import TypeVar, assert_never

from offset_funder import mutations as m
from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import AddIndexServer, RemoveIndexServer
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress
from offset_proto.types import NetAddress, PublicKey

__all__ = ["READS", "SCHEMA", "ServerMutation", "insert_server", "read_index_servers", "read_relays", "write"]

T = TypeVar("T")

SCHEMA = """
CREATE TABLE relays (
    position INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE, address TEXT NOT NULL, name TEXT NOT NULL
) STRICT;
CREATE TABLE index_servers (
    position INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE, address TEXT NOT NULL, name TEXT NOT NULL
) STRICT;
"""

ServerMutation = m.AddRelay | m.RemoveRelay | AddIndexServer | RemoveIndexServer

_RELAYS = "SELECT public_key, address, name FROM relays ORDER BY position"
_INDEX_SERVERS = "SELECT public_key, address, name FROM index_servers ORDER BY position"

READS = (_RELAYS, _INDEX_SERVERS)


def write(mutation: ServerMutation) -> Iterator[Statement]:
    """What a mutation comes to. A server of a key that is known already is removed, and added at the end."""
    match mutation:
        case m.AddRelay(relay):
            yield from insert_server(relay)
        case m.RemoveRelay(public_key):
            yield "DELETE FROM relays WHERE public_key = ?", (public_key,)
        case AddIndexServer(server):
            yield from insert_server(server)
        case RemoveIndexServer(public_key):
            yield "DELETE FROM index_servers WHERE public_key = ?", (public_key,)
        case _:
            assert_never(mutation)


def insert_server(server: NamedRelayAddress | NamedIndexServerAddress) -> Iterator[Statement]:
    """A server at the end of its table."""
    table = "relays" if isinstance(server, NamedRelayAddress) else "index_servers"
    yield f"DELETE FROM {table} WHERE public_key = ?", (server.public_key,)
    last = f"SELECT coalesce(max(position), 0) + 1, ?, ?, ? FROM {table}"
    row = (server.public_key, str(server.address), server.name)
    yield f"INSERT INTO {table} (position, public_key, address, name) {last}", row


def read_relays(rows: Rows) -> tuple[NamedRelayAddress, ...]:
    """The relays in order. Raises InvalidInput."""
    return _read(rows, _RELAYS, NamedRelayAddress)


def read_index_servers(rows: Rows) -> tuple[NamedIndexServerAddress, ...]:
    """The index servers in order. Raises InvalidInput."""
    return _read(rows, _INDEX_SERVERS, NamedIndexServerAddress)


def _read(rows: Rows, select: str, cls: Callable[[PublicKey, NetAddress, str], T]) -> tuple[T, ...]:
    return tuple(cls(PublicKey(key), NetAddress(address), name) for key, address, name in rows[select])
