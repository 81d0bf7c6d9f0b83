"""
Archives: the first entries of the history, moved to a file of their own with what belongs to them. Pure.

An archive has the tables of the history, of notes and of who asked, so that the same statements read both. What is
moved are the entries up to a number, *through*; all that points at them by that number; and the notes and apps of their
payments and invoices. Small numbers of friends, currencies and apps stay the same in the archive, and what they mean is
copied with them.

In the database, opening entries stand for what was moved: one for each friend and currency, with the last numbers up to
*through*. There is room for them, since each had an entry at least. All other numbers stay as they are.

    archive 1            1 2 3 ... 900
    database                   899 900 | 901 902 ...         899 and 900 are opening entries
    archive 2                  899 900   901 902 ... 1700
    database                                    1699 1700 | 1701 ...

An archive begins with the opening entries of the database that it was moved out of, so it is a whole book for itself,
and archives follow each other without a gap.

Notes and apps of a payment or an invoice of which the database goes on to know something stay there as well.
"""

from collections.abc import Iterator
from typing import Final

from offset_node.database.tables.cells import Statement
from offset_proto.types import U64

__all__ = ["ARCHIVE", "ARCHIVE_SCHEMA", "LAST_BEFORE", "SCHEMA", "THROUGH", "comparisons", "copy", "remove"]

SCHEMA = """
CREATE TABLE history_archives (
    through INTEGER PRIMARY KEY,  -- number of the last entry that was moved
    until INTEGER NOT NULL  -- all that was moved is from before this time, in seconds since 1970
) STRICT;
"""

ARCHIVE_SCHEMA = """
CREATE TABLE archive (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    through INTEGER NOT NULL,
    until INTEGER NOT NULL,
    report BLOB NOT NULL  -- what the node told its apps then, in the wire form
) STRICT;
"""

ARCHIVE: Final = "SELECT through, until, report FROM archive"
"""What an archive says of itself."""

THROUGH: Final = "SELECT coalesce(max(through), 0) FROM history_archives"
"""Number of the last entry that was moved to an archive; 0: none was."""

LAST_BEFORE: Final = (
    "SELECT coalesce((SELECT min(number) FROM history WHERE time >= ?) - 1, max(number), 0) FROM history"
)
"""
Number of the last entry for which it and all before it are from before a time.

Where the clock of the node was set back, some entries after that number are from before the time as well. They stay.
"""

_SUBJECT: Final = "CASE WHEN payment_id IS NULL THEN invoice_id ELSE payment_id END"
_MOVED_SUBJECTS: Final = f"SELECT {_SUBJECT} FROM node.history WHERE number <= ?1 AND {_SUBJECT} IS NOT NULL"
_KEPT_SUBJECTS: Final = (
    f"SELECT {_SUBJECT} FROM node.history WHERE number > ?1 AND {_SUBJECT} IS NOT NULL"
    " UNION ALL SELECT invoice_id FROM node.open_invoices UNION ALL SELECT payment_id FROM node.payments"
    " UNION ALL SELECT payment_id FROM node.open_transactions"
)
_MOVED_APPS: Final = (
    "SELECT app FROM node.entry_askers WHERE number <= ?1"
    f" UNION SELECT app FROM node.askers WHERE id IN ({_MOVED_SUBJECTS})"
)
_MOVED: Final = (
    ("history_friends", "id", "id IN (SELECT friend FROM node.history WHERE number <= ?1)"),
    ("history_currencies", "id", "id IN (SELECT currency FROM node.history WHERE number <= ?1)"),
    ("apps", "id", f"id IN ({_MOVED_APPS})"),
    ("history", "number", "number <= ?1"),
    ("entry_notes", "number", "number <= ?1"),
    ("entry_askers", "number", "number <= ?1"),
    ("notes", "id", f"id IN ({_MOVED_SUBJECTS})"),
    ("askers", "id", f"id IN ({_MOVED_SUBJECTS})"),
    ("history_archives", "through", "through < ?1"),
)
"""Tables, their keys, and which of the rows of a database, attached as ``node``, are those of an archive."""


def copy(through: U64, until: U64, report: bytes) -> Iterator[Statement]:
    """The statements that fill the tables of an archive; the database is attached as ``node``."""
    yield "INSERT INTO main.archive (id, through, until, report) VALUES (1, ?, ?, ?)", (through, until, report)
    for table, _, moved in _MOVED:
        yield f"INSERT INTO main.{table} SELECT * FROM node.{table} WHERE {moved}", (through,)


def comparisons(through: U64) -> Iterator[tuple[Statement, Statement]]:
    """Pairs of SELECTs that find the same rows, where an archive has all that it has to have; ``node`` is as above."""
    for table, key, moved in _MOVED:
        yield (
            (f"SELECT * FROM node.{table} WHERE {moved} ORDER BY {key}", (through,)),
            (f"SELECT * FROM main.{table} ORDER BY {key}", ()),
        )


def remove(through: U64, until: U64) -> Iterator[Statement]:
    """
    The statements that take out of a database, attached as ``node``, what is in an archive; without opening entries.

    Names of friends, currencies and apps stay: they are few, and entries to come may need them.
    """
    for table in ("notes", "askers"):
        yield f"DELETE FROM node.{table} WHERE id IN ({_MOVED_SUBJECTS}) AND id NOT IN ({_KEPT_SUBJECTS})", (through,)
    for table in ("entry_notes", "entry_askers", "history"):
        yield f"DELETE FROM node.{table} WHERE number <= ?1", (through,)
    yield "INSERT INTO node.history_archives (through, until) VALUES (?, ?)", (through, until)
