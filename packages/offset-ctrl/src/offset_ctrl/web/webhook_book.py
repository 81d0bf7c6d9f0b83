"""
The addresses that hear of events, and the events that are still to be sent to them.

An event is stored in the transaction of what it tells: there is no moment at which an invoice is paid and its event
forgotten. It stays until the receiver has taken it, so each is sent at least once, also where the server is killed
between; a receiver tells a second one by its id.

    stored ---> sent, taken (2xx) ----------------------------> forgotten
        ^------ sent, not taken: again, after twice the time
        '-----> older than `EVENT_SECONDS`, or more than `EVENTS_MAX` behind it --> lost, and counted

Each address is sent one event after another, the oldest first. So a receiver that is down costs one attempt at a time,
and learns of everything in the order in which it has happened. One that answers 410 is over, and its events with it.

Who has made the webhook must still be let in when an event is stored, and be one who sees what the event tells: the
payments and invoices of its own token, or of all where it may read.
"""

import base64
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from offset_ctrl.web.database import Database, Row
from offset_ctrl.web.form_parts import encode_form
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.keys import TooManyOpen, find_key, store_key
from offset_ctrl.web.tokens import Tokens, Visitor
from offset_ctrl.web.webhook_forms import InvoicePaid, PaidInvoiceData, PaymentData, PaymentFinished, Topic
from offset_proto.text import format_b64

__all__ = ["NEEDED", "EventRow", "Outbox", "WebhookBook", "WebhookRow", "format_secret"]

WEBHOOKS_MAX: Final = 16
"""Of one token."""

EVENTS_MAX: Final = 10_000
"""That wait for one address; each has less than a KiB."""

EVENT_SECONDS: Final = 5 * 86400
RETRY_SECONDS: Final = 5
"""After the first failure; then twice as long each time."""

RETRY_SECONDS_MAX: Final = 3600
FAILURE_CHARACTERS_MAX: Final = 300

NEEDED: Final[dict[str, Scope]] = {"invoice.paid": Scope.ASK, "payment.finished": Scope.PAY}
"""What a token must be allowed to hear of its own; with `Scope.READ` it hears of everybody's."""


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """
    What the book says of a webhook; times are seconds since 1970.

    Attributes:
        webhook_id, node, owner: Its id as text, the node's key as text, and whose token made it.
        address, topics: Where to, and what of.
        secret: 32 bytes.
        created: When.
        is_over: The receiver wants nothing any more.
        lost: Events that were given up.
        tries: Attempts since the last one that succeeded.
        due: Not before this time is anything sent.
        failure: Why the last attempt has failed.
        waiting: Events that are still to be sent.
    """

    webhook_id: str
    node: str
    owner: str
    address: str
    topics: tuple[str, ...]
    secret: bytes
    created: int
    is_over: bool
    lost: int
    tries: int
    due: int
    failure: str | None
    waiting: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event that is to be sent: its number, its id, and the body."""

    number: int
    event_id: str
    body: bytes


_WEBHOOKS: Final = "SELECT *, (SELECT count(*) FROM webhook_events WHERE webhook = webhook_id) AS waiting FROM webhooks"


class Outbox:
    """Where the books put what is to be told; all of it only inside of a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens = Tokens(database)

    def invoice_paid(self, owner: str, data: PaidInvoiceData) -> None:
        """An invoice of *owner* was collected."""
        self._put("invoice.paid", data.node, owner, InvoicePaid(timestamp=self._now(), data=data))

    def payment_finished(self, owner: str, data: PaymentData) -> None:
        """A payment of *owner* has ended."""
        self._put("payment.finished", data.node, owner, PaymentFinished(timestamp=self._now(), data=data))

    def _now(self) -> str:
        return datetime.fromtimestamp(self._database.now(), UTC).isoformat()

    def _put(self, topic: Topic, node: str, owner: str, event: InvoicePaid | PaymentFinished) -> None:
        for row in self._database.ask("SELECT * FROM webhooks WHERE node = ? AND NOT is_over", node):
            if topic in row["topics"].split() and self._sees(row["owner"], topic, owner):
                self._add(row["webhook_id"], encode_form(event))

    def _sees(self, listener: str, topic: Topic, owner: str) -> bool:
        grants = self._tokens.grants_of(listener)
        return grants is not None and (grants.has(Scope.READ) or (listener == owner and grants.has(NEEDED[topic])))

    def _add(self, webhook_id: str, body: bytes) -> None:
        event_id = f"msg_{secrets.token_urlsafe(16)}"
        ask = self._database.ask
        created = self._database.now()
        ask("INSERT INTO webhook_events VALUES (NULL, ?, ?, ?, ?)", event_id, webhook_id, body, created)
        most = "SELECT number FROM webhook_events WHERE webhook = ? ORDER BY number DESC LIMIT -1 OFFSET ?"
        for row in ask(most, webhook_id, EVENTS_MAX):
            ask("DELETE FROM webhook_events WHERE number = ?", row["number"])
            ask("UPDATE webhooks SET lost = lost + 1 WHERE webhook_id = ?", webhook_id)


class WebhookBook:
    """The webhooks of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, visitor: Visitor, node: str, key: tuple[str, bytes], address: str, topics: list[Topic]
    ) -> tuple[WebhookRow, bool]:
        """
        Send events to an address from now on; the webhook, and whether it is new.

        Args:
            visitor: Who wants it.
            node: The key of the node, as text.
            key: The idempotency key, and the hash of the request.
            address: Where to; checked.
            topics: What of.

        Raises:
            KeyReused: The key was used for another request.
            TooManyOpen: The token has too many.
        """
        with self._database.transaction() as connection:
            made = find_key(self._database, visitor.owner, *key)
            found = None if made is None else self.find(made)
            if found is not None:
                return found, False
            (number,) = self._database.ask("SELECT count(*) FROM webhooks WHERE owner = ?", visitor.owner)[0]
            if number >= WEBHOOKS_MAX:
                raise TooManyOpen(f"this token has {number} webhooks; remove one before you make another")
            webhook_id, secret, now = format_b64(os.urandom(16)), os.urandom(32), self._database.now()
            row = (webhook_id, node, visitor.owner, address, " ".join(sorted(set(topics))), secret, now)
            connection.execute("INSERT INTO webhooks VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, NULL)", row)
            if made is None:
                store_key(self._database, visitor.owner, *key, webhook_id)
        created = self.find(webhook_id)
        assert created is not None
        return created, True

    def find(self, webhook_id: str) -> WebhookRow | None:
        """A webhook by its id; None: there is none."""
        row = self._database.ask_one(f"{_WEBHOOKS} WHERE webhook_id = ?", webhook_id)
        return None if row is None else _row(row)

    def of(self, node: str, owner: str | None) -> list[WebhookRow]:
        """The webhooks of a node, in the order in which they were made; *owner* None: those of all."""
        query = f"{_WEBHOOKS} WHERE node = ? AND owner = ifnull(?, owner) ORDER BY created, webhook_id"
        return [_row(row) for row in self._database.ask(query, node, owner)]

    def remove(self, webhook_id: str) -> None:
        """Send nothing to it any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM webhook_events WHERE webhook = ?", (webhook_id,))
            connection.execute("DELETE FROM webhooks WHERE webhook_id = ?", (webhook_id,))

    # Sending.

    def waiting(self) -> list[WebhookRow]:
        """The webhooks for which there is something to be sent, now or later, in the order of their times."""
        query = f"{_WEBHOOKS} WHERE NOT is_over AND webhook_id IN (SELECT webhook FROM webhook_events) ORDER BY due"
        return [_row(row) for row in self._database.ask(query)]

    def first(self, webhook_id: str) -> EventRow | None:
        """The oldest event that is to be sent; those that are too old are given up before."""
        before = self._database.now() - EVENT_SECONDS
        with self._database.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM webhook_events WHERE webhook = ? AND created < ?", (webhook_id, before)
            ).rowcount
            connection.execute("UPDATE webhooks SET lost = lost + ? WHERE webhook_id = ?", (gone, webhook_id))
        row = self._database.ask_one(
            "SELECT * FROM webhook_events WHERE webhook = ? ORDER BY number LIMIT 1", webhook_id
        )
        return None if row is None else EventRow(row["number"], row["event_id"], row["body"])

    def taken(self, webhook_id: str, event: EventRow) -> None:
        """The receiver has it."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM webhook_events WHERE number = ?", (event.number,))
            connection.execute(
                "UPDATE webhooks SET tries = 0, due = 0, failure = NULL WHERE webhook_id = ?", (webhook_id,)
            )

    def failed(self, webhook: WebhookRow, reason: str) -> None:
        """The receiver has not taken it; it is sent again after a while."""
        wait = min(RETRY_SECONDS << min(webhook.tries, 20), RETRY_SECONDS_MAX)
        values = (webhook.tries + 1, self._database.now() + wait, reason[:FAILURE_CHARACTERS_MAX], webhook.webhook_id)
        with self._database.transaction() as connection:
            connection.execute("UPDATE webhooks SET tries = ?, due = ?, failure = ? WHERE webhook_id = ?", values)

    def over(self, webhook: WebhookRow) -> None:
        """The receiver wants nothing any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM webhook_events WHERE webhook = ?", (webhook.webhook_id,))
            connection.execute("UPDATE webhooks SET is_over = 1 WHERE webhook_id = ?", (webhook.webhook_id,))


def format_secret(secret: bytes) -> str:
    """As receivers get it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def _row(row: Row) -> WebhookRow:
    return WebhookRow(
        row["webhook_id"],
        row["node"],
        row["owner"],
        row["address"],
        tuple(row["topics"].split()),
        row["secret"],
        row["created"],
        bool(row["is_over"]),
        row["lost"],
        row["tries"],
        row["due"],
        row["failure"],
        row["waiting"],
    )
