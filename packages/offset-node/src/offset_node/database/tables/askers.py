"""
Which app asked: of payments and invoices by their ids, whose length tells the two apart; of settings by the number of
their entry. Pure.

Apps stand in a table of their own, by small numbers. A payment or an invoice of before version 5 has no app here, and
neither has what no app asked for.
"""

from collections.abc import Iterator
from typing import Final

from offset_node.database.tables.cells import Statement
from offset_node.state import SetAsker
from offset_proto.types import U64, PublicKey

__all__ = ["ASKER_OF_ENTRY", "KNOW_APP", "SCHEMA", "write", "write_of_entry"]

SCHEMA = """
CREATE TABLE apps (id INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE askers (id BLOB PRIMARY KEY, app INTEGER NOT NULL REFERENCES apps) STRICT, WITHOUT ROWID;
CREATE TABLE entry_askers (
    number INTEGER PRIMARY KEY REFERENCES history,
    app INTEGER NOT NULL REFERENCES apps
) STRICT;
"""

ASKER_OF_ENTRY: Final = (
    "(SELECT public_key FROM apps WHERE id = coalesce((SELECT app FROM entry_askers WHERE number = h.number),"
    " (SELECT app FROM askers WHERE id = CASE WHEN h.payment_id IS NULL THEN h.invoice_id ELSE h.payment_id END)))"
)
"""The app of an entry that a SELECT names ``h``. A part of our own payment has both ids: then the buyer's counts."""

KNOW_APP: Final = "INSERT INTO apps (public_key) VALUES (?) ON CONFLICT DO NOTHING"
_APP: Final = "(SELECT id FROM apps WHERE public_key = ?)"


def write(mutation: SetAsker) -> Iterator[Statement]:
    """The statements that remember who made a payment or an invoice."""
    yield KNOW_APP, (mutation.app,)
    yield f"INSERT INTO askers (id, app) VALUES (?, {_APP}) ON CONFLICT DO NOTHING", (mutation.subject, mutation.app)


def write_of_entry(number: U64, app: PublicKey) -> Iterator[Statement]:
    """The statements that remember who asked for what an entry tells."""
    yield KNOW_APP, (app,)
    yield f"INSERT INTO entry_askers (number, app) VALUES (?, {_APP})", (number, app)
