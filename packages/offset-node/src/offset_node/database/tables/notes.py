"""
Notes: what the owner wrote to invoices, payments and entries of the history. Pure.

A note to a payment or an invoice is there before an entry of it is, and may never get one. It is found by the id, whose
length tells the two apart. What is noted to an entry by its number is shown before that.
"""

from collections.abc import Iterator
from typing import Final

from offset_node.database.tables.cells import Statement
from offset_node.state import SetNote
from offset_proto.types import InvoiceId, PaymentId

__all__ = ["NOTE_OF_ENTRY", "SCHEMA", "write"]

SCHEMA = """
CREATE TABLE notes (id BLOB PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entry_notes (number INTEGER PRIMARY KEY REFERENCES history, note TEXT NOT NULL) STRICT;
"""

NOTE_OF_ENTRY: Final = (
    "coalesce((SELECT note FROM entry_notes WHERE number = h.number),"
    " (SELECT note FROM notes WHERE id = CASE WHEN h.payment_id IS NULL THEN h.invoice_id ELSE h.payment_id END), '')"
)
"""The note to an entry that a SELECT names ``h``. A part of our own payment has both ids: then the buyer's counts."""


def write(mutation: SetNote) -> Iterator[Statement]:
    """The statements that keep a note, or nothing any more."""
    subject, note = mutation.subject, mutation.note
    is_entry = not isinstance(subject, InvoiceId | PaymentId)
    table, column = ("entry_notes", "number") if is_entry else ("notes", "id")
    if not note:
        yield f"DELETE FROM {table} WHERE {column} = ?", (subject,)
    elif is_entry:
        known = "SELECT number, ? FROM history WHERE number = ?"
        insert = (
            f"INSERT INTO entry_notes (number, note) {known} ON CONFLICT (number) DO UPDATE SET note = excluded.note"
        )
        yield insert, (note, subject)
    else:
        insert = "INSERT INTO notes (id, note) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET note = excluded.note"
        yield insert, (subject, note)
