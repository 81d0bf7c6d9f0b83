"""
Which friends have not spoken since the node forgot something, and whether it has at all. Pure.

`offset_funder.unheard` says what follows from it. In the database of a node that has forgotten nothing both tables are
empty.
"""

from collections.abc import Iterator

from offset_node.database.tables.cells import Rows, Statement
from offset_proto.types import PublicKey

__all__ = ["READS", "SCHEMA", "forget_some", "read", "read_has_forgotten", "write"]

SCHEMA = """
CREATE TABLE unheard (friend BLOB PRIMARY KEY REFERENCES friends ON DELETE CASCADE) STRICT, WITHOUT ROWID;
CREATE TABLE forgotten (id INTEGER PRIMARY KEY CHECK (id = 1)) STRICT;
"""

_UNHEARD = "SELECT friend FROM unheard"
_FORGOTTEN = "SELECT id FROM forgotten"

READS = (_UNHEARD, _FORGOTTEN)


def write(friend: PublicKey, *, is_heard: bool) -> Statement:
    """The statement that marks a friend, or takes the mark from it."""
    if is_heard:
        return "DELETE FROM unheard WHERE friend = ?", (friend,)
    return "INSERT INTO unheard (friend) VALUES (?) ON CONFLICT DO NOTHING", (friend,)


def forget_some() -> Iterator[Statement]:
    """The node has forgotten something; this stays so."""
    yield "INSERT INTO forgotten (id) VALUES (1) ON CONFLICT DO NOTHING", ()


def read(rows: Rows) -> frozenset[PublicKey]:
    """The friends that are not heard. Raises InvalidInput."""
    return frozenset(PublicKey(friend) for (friend,) in rows[_UNHEARD])


def read_has_forgotten(rows: Rows) -> bool:
    """Whether the node has forgotten something."""
    return bool(rows[_FORGOTTEN])
