"""
The invoices that were made through the API.

States, and what leads from one to another:

    adding --- the node has it ---> open --- a commit was accepted --> collected
                                     |------ somebody cancelled it --> cancelled
                                     '------ its time was over ------> over
                                                                            '-- it turns out to be --> collected

One that was *cancelled* may turn out to be collected, too, where the node could not tell. Once it has proved that
nothing was collected, the book has the last word (`InvoiceRow.is_final`), and the node is asked no more.

An invoice is written down, with the idempotency key of its request, before the node hears of it. A request that is
repeated while the invoice is *adding* asks the node for the same invoice again: nobody has been given it, so it can
neither be paid nor be made twice.

A commit is written down before the node hears of it, too. An invoice that is *open* and has a commit is one whose end
was not seen; `offset_ctrl.web.settling` finds it out.
"""

import enum
import hashlib
from dataclasses import dataclass
from typing import Final

from offset_ctrl.connection.history import BEGINNING, HistoryPlace
from offset_ctrl.web.database import Connection, Database, Row
from offset_ctrl.web.keys import TooManyOpen, find_key, store_key
from offset_ctrl.web.spending import DAY_SECONDS
from offset_ctrl.web.tokens import Visitor
from offset_ctrl.web.webhook_book import Outbox
from offset_ctrl.web.webhook_forms import PaidInvoiceData
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.messages.payment import Commit
from offset_proto.text import format_b64

__all__ = ["Handed", "InvoiceBook", "InvoiceRow", "InvoiceState"]

OPEN_INVOICES_MAX: Final = 100_000
"""Of one token."""

INVOICES_A_DAY_MAX: Final = 100_000
"""Of one token, also those that ended at once: each has a row, which is kept for long."""


class InvoiceState(enum.Enum):
    """Where an invoice stands."""

    ADDING = "adding"
    OPEN = "open"
    COLLECTED = "collected"
    CANCELLED = "cancelled"
    OVER = "over"


_FROM: Final = {
    InvoiceState.ADDING: (),
    InvoiceState.OPEN: (InvoiceState.ADDING,),
    InvoiceState.COLLECTED: (InvoiceState.ADDING, InvoiceState.OPEN, InvoiceState.OVER, InvoiceState.CANCELLED),
    InvoiceState.CANCELLED: (InvoiceState.ADDING, InvoiceState.OPEN, InvoiceState.OVER),
    InvoiceState.OVER: (InvoiceState.OPEN,),
}
"""Which states lead to each."""

_HAS_COMMIT: Final = "node = ? AND state IN ('open', 'over') AND collected_with IS NOT NULL"
"""The index *invoices_in_doubt* has the same condition."""

_HAS_ENDED: Final = "node = ? AND state = 'open' AND expires <= ?"
"""For the index *ends_to_come*."""


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """
    What the book says of an invoice; times are seconds since 1970.

    Attributes:
        sequence: Of its last change.
        node, owner: The node's key as text, and whose token made it.
        invoice: What is expected.
        expires: When the node ends it; None: never.
        state: Where it stood last.
        created, changed: When.
        checkout: Name of its page for the buyer, which nobody guesses; None: it was made before there were such pages.
        return_to: The address to which that page leads back; None: to nowhere.
        after: A place in the history; what became of the invoice stands after it.
        is_proved: The node has proved that nothing was collected.
    """

    sequence: int
    node: str
    owner: str
    invoice: Invoice
    expires: int | None
    state: InvoiceState
    created: int
    changed: int
    checkout: str | None
    return_to: str | None
    after: HistoryPlace
    is_proved: bool

    @property
    def is_final(self) -> bool:
        """Whether nothing can change any more."""
        return self.state is InvoiceState.COLLECTED or self.is_proved


@dataclass(frozen=True, slots=True)
class Handed:
    """
    The commit of an invoice that the node was handed last.

    Attributes:
        commit: Its hash.
        after: A place in the history; what the commit has brought about stands after it.
    """

    commit: bytes
    after: HistoryPlace


class InvoiceBook:
    """The invoices of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._outbox = Outbox(database)

    def begin(
        self,
        visitor: Visitor,
        node: str,
        key: tuple[str, bytes],
        invoice: Invoice,
        seconds: int | None,
        after: HistoryPlace = BEGINNING,
        *,
        checkout: str | None = None,
        return_to: str | None = None,
    ) -> tuple[InvoiceRow, bool]:
        """
        Write down an invoice that the node is about to hear of.

        Args:
            visitor: Who asks for the payment.
            node: The key of the node, as text.
            key: The idempotency key, and the hash of the request.
            invoice: With an id that no other has.
            seconds: From now until its end; None: it has none.
            after: As in `InvoiceRow`; by default none is known.
            checkout, return_to: Of its page for the buyer.

        Returns:
            The invoice, and whether it is new; otherwise the same request has made it before, and it is another one.

        Raises:
            KeyReused: The key was used for another request.
            TooManyOpen: Too many are open, or were made today.
        """
        with self._database.transaction() as connection:
            made = find_key(self._database, visitor.owner, *key)
            if made is not None:
                return self.get(made), False
            now = self._database.now()
            (number,) = self._database.ask(
                "SELECT count(*) FROM invoices "
                "WHERE owner = ? AND state IN ('adding', 'open') AND ifnull(expires, ?) >= ?",
                visitor.owner,
                now,
                now,
            )[0]
            if number >= OPEN_INVOICES_MAX:
                raise TooManyOpen(f"{number} invoices of this token are open; cancel some, or let them expire")
            self._count_made(visitor.owner, now // DAY_SECONDS)
            invoice_id = format_b64(invoice.invoice_id)
            values = {
                "sequence": self._database.next_sequence("invoices"),
                "invoice_id": invoice_id,
                "node": node,
                "owner": visitor.owner,
                "invoice": INVOICE.format(invoice),
                "expires": None if seconds is None else now + seconds,
                "state": InvoiceState.ADDING.value,
                "created": now,
                "changed": now,
                "checkout": checkout,
                "return_to": return_to,
                "made_after": after.number,
                "made_timeline": after.timeline,
            }
            columns, places = ", ".join(values), ", ".join(f":{column}" for column in values)
            connection.execute(f"INSERT INTO invoices ({columns}) VALUES ({places})", values)
            store_key(self._database, visitor.owner, *key, invoice_id)
        return self.get(invoice_id), True

    def _count_made(self, owner: str, day: int) -> None:
        """One more is made on a *day*; only inside of the transaction that stores it."""
        name = f"invoices of {owner}"
        row = self._database.ask_one("SELECT value FROM facts WHERE name = ?", name)
        last, number = (day, 0) if row is None else map(int, row["value"].split())
        number = 1 + (number if last == day else 0)
        if number > INVOICES_A_DAY_MAX:
            raise TooManyOpen(f"this token has made {INVOICES_A_DAY_MAX} invoices today (UTC); wait until tomorrow")
        self._database.ask("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, f"{day} {number}")

    def change(self, invoice_id: str, state: InvoiceState) -> None:
        """An invoice has come to another state; nothing happens where none leads there from the one that it has."""
        with self._database.transaction() as connection:
            is_changed = self._move(connection, invoice_id, state)
            if state is InvoiceState.COLLECTED and is_changed:
                row = self.get(invoice_id)
                self._outbox.invoice_paid(row.owner, _event(row))

    def end(self, invoice_id: str, state: InvoiceState) -> None:
        """The same with *over* or *cancelled*, where it is proved that nothing was collected: a commit is forgotten."""
        with self._database.transaction() as connection:
            proved = connection.execute(
                "UPDATE invoices SET is_proved = 1, collected_with = NULL, handed_after = NULL "
                "WHERE invoice_id = ? AND state != 'collected'",
                (invoice_id,),
            )
            if proved.rowcount == 1:
                self._move(connection, invoice_id, state)

    def _move(self, connection: Connection, invoice_id: str, state: InvoiceState) -> bool:
        before = [each.value for each in _FROM[state]]
        changed = connection.execute(
            "UPDATE invoices SET state = ?, sequence = ?, changed = ? "
            f"WHERE invoice_id = ? AND state IN ({', '.join('?' * len(before))})",
            (state.value, self._database.next_sequence("invoices"), self._database.now(), invoice_id, *before),
        )
        return changed.rowcount == 1

    def hand_over(self, invoice_id: str, commit: Commit, after: HistoryPlace) -> None:
        """The node is about to be handed a commit; *after* is as in `Handed`."""
        self.put_back(invoice_id, Handed(_hash(commit), after))

    def put_back(self, invoice_id: str, handed: Handed | None) -> None:
        """The node has said that a commit did not collect: what was handed before counts again; None: nothing was."""
        commit, after = (None, BEGINNING) if handed is None else (handed.commit, handed.after)
        states = (InvoiceState.OPEN.value, InvoiceState.OVER.value)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE invoices SET collected_with = ?, handed_after = ?, handed_timeline = ? "
                "WHERE invoice_id = ? AND state IN (?, ?)",
                (commit, after.number, after.timeline, invoice_id, *states),
            )

    def handed(self, invoice_id: str) -> Handed | None:
        """The commit of an invoice that the node was handed last; None: it was handed none, or has taken none."""
        row = self._database.ask_one("SELECT * FROM invoices WHERE invoice_id = ?", invoice_id)
        if row is None or row["collected_with"] is None:
            return None
        return Handed(row["collected_with"], _handed_after(row))

    def in_doubt(self, node: str, moment: float, sequence: int, limit: int) -> list[InvoiceRow]:
        """
        Invoices of a node whose ends were not seen: it was handed commits of them, or their time was over at *moment*.
        The rest is as with `after`.
        """
        query = (
            f"SELECT * FROM (SELECT * FROM invoices WHERE {_HAS_COMMIT} UNION "
            f"SELECT * FROM invoices WHERE {_HAS_ENDED}) WHERE sequence > ? ORDER BY sequence LIMIT ?"
        )
        return [_row(row) for row in self._database.ask(query, node, node, moment, sequence, limit)]

    def next_end(self, node: str, moment: float) -> int | None:
        """The first end after *moment* of those that are open; None: there is none."""
        query = "SELECT min(expires) FROM invoices WHERE node = ? AND state = 'open' AND expires > ?"
        (end,) = self._database.ask(query, node, moment)[0]
        return None if end is None else int(end)

    def was_collected_with(self, invoice_id: str, commit: Commit) -> bool:
        """Whether it was this very commit that has collected an invoice."""
        handed = self.handed(invoice_id)
        is_collected = self.get(invoice_id).state is InvoiceState.COLLECTED
        return is_collected and handed is not None and handed.commit == _hash(commit)

    def find(self, invoice_id: str) -> InvoiceRow | None:
        """An invoice by its id as text; None: there is none."""
        row = self._database.ask_one("SELECT * FROM invoices WHERE invoice_id = ?", invoice_id)
        return None if row is None else _row(row)

    def find_by_checkout(self, checkout: str) -> InvoiceRow | None:
        """An invoice by the name of its page for the buyer; None: there is none."""
        row = self._database.ask_one("SELECT * FROM invoices WHERE checkout = ?", checkout)
        return None if row is None else _row(row)

    def get(self, invoice_id: str) -> InvoiceRow:
        """An invoice that is there."""
        row = self.find(invoice_id)
        assert row is not None
        return row

    def after(self, node: str, sequence: int, limit: int, owner: str | None) -> list[InvoiceRow]:
        """Invoices of a node that have changed after *sequence*, in that order; *owner* None: those of all."""
        query = (
            "SELECT * FROM invoices WHERE node = ? AND sequence > ? AND owner = ifnull(?, owner) "
            "ORDER BY sequence LIMIT ?"
        )
        return [_row(row) for row in self._database.ask(query, node, sequence, owner, limit)]

    def latest(self, node: str, limit: int) -> list[InvoiceRow]:
        """The invoices of a node that were made last, the newest first."""
        query = "SELECT * FROM invoices WHERE node = ? ORDER BY created DESC, rowid DESC LIMIT ?"
        return [_row(row) for row in self._database.ask(query, node, limit)]

    def last_sequence(self) -> int:
        """Of the last change of any invoice; 0: there was none."""
        (number,) = self._database.ask("SELECT ifnull(max(sequence), 0) FROM invoices")[0]
        return int(number)


def _event(row: InvoiceRow) -> PaidInvoiceData:
    return PaidInvoiceData(
        node=row.node,
        invoice_id=format_b64(row.invoice.invoice_id),
        currency=str(row.invoice.currency),
        amount=str(row.invoice.dest_payment),
    )


def _hash(commit: Commit) -> bytes:
    return hashlib.sha256(COMMIT.format(commit).encode()).digest()


def _handed_after(row: Row) -> HistoryPlace:
    return HistoryPlace(row["handed_after"] or 0, row["handed_timeline"])


def _row(row: Row) -> InvoiceRow:
    return InvoiceRow(
        row["sequence"],
        row["node"],
        row["owner"],
        INVOICE.parse(row["invoice"]),
        row["expires"],
        InvoiceState(row["state"]),
        row["created"],
        row["changed"],
        row["checkout"],
        row["return_to"],
        HistoryPlace(row["made_after"], row["made_timeline"]) if row["collected_with"] is None else _handed_after(row),
        bool(row["is_proved"]),
    )
