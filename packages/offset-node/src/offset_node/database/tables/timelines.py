"""
Which history of its node a database has. Pure.

The numbers of a history have no gaps, so a node that goes on from a backup gives numbers again that it gave before, to
other entries. What an app wrote down with such a number is about an entry that is forgotten. So whatever makes a node
forget begins a new *timeline*, whose number is drawn at random, and a number of an entry means something only together
with that. A node that has never forgotten anything is in the first one, for which there is no row.
"""

from collections.abc import Iterator
from typing import Final

from offset_crypto.secure_channel import RandomBytes
from offset_node.database.tables.cells import Statement
from offset_node.state import BeginTimeline

__all__ = ["MIGRATION_TO_7", "SCHEMA", "TIMELINE", "draw", "write"]

SCHEMA = """
CREATE TABLE history_timeline (id INTEGER PRIMARY KEY CHECK (id = 1), timeline INTEGER NOT NULL) STRICT;
"""

MIGRATION_TO_7 = f"""{SCHEMA}
INSERT INTO history_timeline (id, timeline) SELECT id, 1 FROM forgotten;
"""
"""A node that had forgotten before there were numbers for it is in another timeline than the first one, too."""

TIMELINE: Final = "SELECT coalesce(max(timeline), 0) FROM history_timeline"
"""The number of the timeline; 0: the first one."""


def draw(random_bytes: RandomBytes) -> BeginTimeline:
    """A timeline that no database has had, of 62 random bits."""
    return BeginTimeline(int.from_bytes(random_bytes(8), "big") >> 2 | 1 << 62)


def write(mutation: BeginTimeline) -> Iterator[Statement]:
    """The statement that begins a timeline."""
    insert = "INSERT INTO history_timeline (id, timeline) VALUES (1, ?)"
    yield f"{insert} ON CONFLICT (id) DO UPDATE SET timeline = excluded.timeline", (mutation.timeline,)
