"""
The payments that were made through the API, and how much each token has paid on each day.

A payment counts against the limit of its token from before it is sent until it is known to have failed:

    begin ------------> counts amount + fees_max, on the day (UTC) on which it began
      settled as PAID      counts amount + fees
      settled as FAILED    counts nothing
      settled as UNKNOWN   goes on to count amount + fees_max: it may be paid

`begin` stores the payment, its key and what it counts (`spending`) in one transaction, before anything is sent. Nothing
is counted twice, since a settled payment stays so.

The end of a payment that `settle` can not write down is shown all the same: a payment that is paid must not be said to
wait. What counts against the limit of its token stays as it is until then.

Each change of a payment has a number of its own (*sequence*), so whoever follows them needs to keep one number.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from offset_ctrl.rules.payment import PaymentState
from offset_ctrl.web.database import Database, Row
from offset_ctrl.web.deliveries import DeliveryRow, DeliveryState, find_delivery, store_delivery
from offset_ctrl.web.keys import TooManyOpen, find_key, store_key
from offset_ctrl.web.spending import DAY_SECONDS, DailyLimitReached, count, reserve, spent
from offset_ctrl.web.tokens import Visitor
from offset_ctrl.web.webhook_book import Outbox
from offset_ctrl.web.webhook_forms import PaymentData
from offset_proto.files import INVOICE, Invoice
from offset_proto.text import format_b64
from offset_proto.types import PaymentId

__all__ = ["DailyLimitReached", "PaymentBook", "PaymentRow"]

OPEN_PAYMENTS_MAX: Final = 1000
"""Of one token. Each has a task and files."""

_ENDS: Final[dict[PaymentState, Literal["paid", "failed", "unknown"]]] = {
    PaymentState.PAID: "paid",
    PaymentState.FAILED: "failed",
    PaymentState.UNKNOWN: "unknown",
}


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """
    What the book says of a payment; times are seconds since 1970.

    Attributes:
        sequence: Of its last change.
        payment_id, node, owner: Its id as text, the node's key as text, and whose token made it.
        invoice, fees_max: What is paid, and for how much at most.
        fees: Credits for mediators; None: there is no commit yet.
        state: Where it stood last.
        is_settled: It is over.
        failure: The problem that ended it.
        created, changed: When.
    """

    sequence: int
    payment_id: str
    node: str
    owner: str
    invoice: Invoice
    fees_max: int
    fees: int | None
    state: PaymentState
    is_settled: bool
    failure: dict[str, Any] | None
    created: int
    changed: int


class PaymentBook:
    """The payments of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._outbox = Outbox(database)
        self._unwritten: dict[str, PaymentState] = {}

    def begin(
        self,
        visitor: Visitor,
        node: str,
        key: tuple[str, bytes],
        invoice: Invoice,
        fees_max: int,
        start: Callable[[], PaymentId],
        *,
        delivery: str | None = None,
    ) -> tuple[PaymentRow, bool]:
        """
        Write down a payment that is about to be sent.

        Args:
            visitor: Who pays.
            node: The key of the node, as text.
            key: The idempotency key, and the hash of the request.
            invoice: What is paid.
            fees_max: Credits for mediators, at most.
            start: Chooses the payment's id. It may prepare the payment and must not send anything: that has to wait
                until this has returned.
            delivery: The address to which the commit is to be delivered; None: somebody hands it over.

        Returns:
            The payment, and whether it is new; otherwise it was made by the same request before.

        Raises:
            KeyReused: The key was used for another request.
            DailyLimitReached, TooManyOpen: A limit; nothing was written, and *start* was not called.
        """
        with self._database.transaction() as connection:
            made = find_key(self._database, visitor.owner, *key)
            if made is not None:
                return self.get(made), False
            self._check_open(visitor.owner)
            now, total = self._database.now(), invoice.dest_payment + fees_max
            reserve(self._database, visitor, invoice.currency, now // DAY_SECONDS, total)
            payment_id = format_b64(start())
            row = (self._database.next_sequence("payments"), payment_id, node, visitor.owner, INVOICE.format(invoice))
            amounts = (str(fees_max), None, now // DAY_SECONDS, str(total))
            rest = (PaymentState.SENDING.value, False, None, now, now)
            connection.execute(f"INSERT INTO payments VALUES ({', '.join('?' * 14)})", (*row, *amounts, *rest))
            store_key(self._database, visitor.owner, *key, payment_id)
            if delivery is not None:
                store_delivery(self._database, payment_id, DeliveryRow(delivery, DeliveryState.WAITING, ""))
        return self.get(payment_id), True

    def _check_open(self, owner: str) -> None:
        (number,) = self._database.ask("SELECT count(*) FROM payments WHERE owner = ? AND NOT is_settled", owner)[0]
        if number >= OPEN_PAYMENTS_MAX:
            raise TooManyOpen(f"{number} payments of this token have not ended; no more are taken until some have")

    def spent(self, owner: str, currency: str, day: int) -> int:
        """Credits that count against the limit of a token on a day; *day* counts from 1970-01-01 (UTC)."""
        return spent(self._database, owner, currency, day)

    def committed(self, payment_id: str, fees: int) -> None:
        """There is a commit, for *fees* credits beyond the amount; to be called before anybody gets it."""
        self._change(payment_id, {"state": PaymentState.COMMITTED.value, "fees": str(fees)})

    def not_committed(self, payment_id: str) -> None:
        """The commit was written down here and nowhere else, so that nobody has got it; as if there had been none."""
        row = self.find(payment_id)
        if row is not None and row.state is PaymentState.COMMITTED and not row.is_settled:
            self._change(payment_id, {"state": PaymentState.SENDING.value, "fees": None})

    def failing(self, payment_id: str, failure: dict[str, Any]) -> None:
        """
        The payment goes on no more because of *failure*.

        Without a commit it was given up, and what is frozen comes back. With one it may still be paid, whatever has
        failed: the state stays, and so does the commit.
        """
        row = self._database.ask_one("SELECT state FROM payments WHERE payment_id = ?", payment_id)
        if row is not None:
            is_given_up = row["state"] == PaymentState.SENDING.value
            state = PaymentState.CLOSING.value if is_given_up else row["state"]
            self._change(payment_id, {"state": state, "failure": json.dumps(failure)})

    def delivery(self, payment_id: str) -> DeliveryRow | None:
        """How the delivery of a payment's commit stands; None: somebody hands it over."""
        return find_delivery(self._database, payment_id)

    def tried(self, payment_id: str, delivery: DeliveryRow) -> None:
        """The commit was delivered, or could not be."""
        with self._database.transaction():
            store_delivery(self._database, payment_id, delivery)
            self._update(payment_id, {})

    def settle(self, payment_id: str, state: PaymentState) -> None:
        """
        The payment is over; nothing happens where it was settled before, or is none of this book.

        Args:
            payment_id: Which one.
            state: How it ended: PAID, FAILED or UNKNOWN.

        Raises:
            DatabaseUnavailable: That can not be written down; to be called again.
        """
        self._unwritten[payment_id] = state
        self._settle(payment_id, state)
        del self._unwritten[payment_id]

    def _settle(self, payment_id: str, state: PaymentState) -> None:
        with self._database.transaction():
            row = self._database.ask_one("SELECT * FROM payments WHERE payment_id = ?", payment_id)
            if row is None or row["is_settled"]:
                return
            payment, counted = _row(row), int(row["counted"])
            counts = counted
            if state is PaymentState.FAILED:
                counts = 0
            elif state is PaymentState.PAID and payment.fees is not None:
                counts = payment.invoice.dest_payment + payment.fees
            count(self._database, payment.owner, payment.invoice.currency, row["day"], counts - counted)
            self._update(payment_id, {"state": state.value, "is_settled": True, "counted": str(counts)})
            self._outbox.payment_finished(payment.owner, _event(payment, state))

    def _change(self, payment_id: str, columns: dict[str, object]) -> None:
        with self._database.transaction():
            self._update(payment_id, columns)

    def _update(self, payment_id: str, columns: dict[str, object]) -> None:
        numbers = {"sequence": self._database.next_sequence("payments"), "changed": self._database.now()}
        values = {**columns, **numbers}
        assignments = ", ".join(f"{name} = ?" for name in values)
        self._database.ask(f"UPDATE payments SET {assignments} WHERE payment_id = ?", *values.values(), payment_id)

    # Reading.

    def find(self, payment_id: str) -> PaymentRow | None:
        """A payment by its id; None: there is none."""
        row = self._database.ask_one("SELECT * FROM payments WHERE payment_id = ?", payment_id)
        return None if row is None else self._shown(row)

    def get(self, payment_id: str) -> PaymentRow:
        """A payment that is there."""
        row = self.find(payment_id)
        assert row is not None
        return row

    def after(self, node: str, sequence: int, limit: int, owner: str | None) -> list[PaymentRow]:
        """Payments of a node that have changed after *sequence*, in that order; *owner* None: those of all."""
        query = (
            "SELECT * FROM payments WHERE node = ? AND sequence > ? AND owner = ifnull(?, owner) "
            "ORDER BY sequence LIMIT ?"
        )
        return [self._shown(row) for row in self._database.ask(query, node, sequence, owner, limit)]

    def unsettled(self, node: str) -> list[PaymentRow]:
        """Payments of a node that are not over."""
        query = "SELECT * FROM payments WHERE node = ? AND NOT is_settled ORDER BY sequence"
        return [_row(row) for row in self._database.ask(query, node)]

    def latest(self, node: str, limit: int) -> list[PaymentRow]:
        """The payments of a node that were begun last, the newest first."""
        query = "SELECT * FROM payments WHERE node = ? ORDER BY created DESC, rowid DESC LIMIT ?"
        return [self._shown(row) for row in self._database.ask(query, node, limit)]

    def last_sequence(self) -> int:
        """Of the last change of any payment; 0: there was none."""
        (number,) = self._database.ask("SELECT ifnull(max(sequence), 0) FROM payments")[0]
        return int(number)

    def _shown(self, row: Row) -> PaymentRow:
        payment = _row(row)
        end = self._unwritten.get(payment.payment_id)
        return payment if end is None else replace(payment, state=end, is_settled=True)


def _event(payment: PaymentRow, state: PaymentState) -> PaymentData:
    return PaymentData(
        node=payment.node,
        payment_id=payment.payment_id,
        invoice_id=format_b64(payment.invoice.invoice_id),
        currency=str(payment.invoice.currency),
        amount=str(payment.invoice.dest_payment),
        fees=None if payment.fees is None else str(payment.fees),
        state=_ENDS[state],
    )


def _row(row: Row) -> PaymentRow:
    return PaymentRow(
        row["sequence"],
        row["payment_id"],
        row["node"],
        row["owner"],
        INVOICE.parse(row["invoice"]),
        int(row["fees_max"]),
        None if row["fees"] is None else int(row["fees"]),
        PaymentState(row["state"]),
        bool(row["is_settled"]),
        None if row["failure"] is None else json.loads(row["failure"]),
        row["created"],
        row["changed"],
    )
