"""What a web server has in its hands: its nodes, its books, and the bell that rings when something in them changes."""

import asyncio
from dataclasses import dataclass, field

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.sdk.node import Node
from offset_ctrl.web.bell import Bell
from offset_ctrl.web.circle_runs import CircleRuns
from offset_ctrl.web.database import Database
from offset_ctrl.web.going_on import Late
from offset_ctrl.web.in_hand import InHand
from offset_ctrl.web.invoice_book import InvoiceBook
from offset_ctrl.web.paying import Payments
from offset_ctrl.web.payment_book import PaymentBook
from offset_ctrl.web.reach import Reach
from offset_ctrl.web.requests import Requests
from offset_ctrl.web.tokens import Tokens

__all__ = ["Desk", "WebNode"]


@dataclass(frozen=True, slots=True)
class WebNode:
    """
    A node of the server.

    Attributes:
        name: By which the paths of the API call it.
        key: Its public key, as text; a name that never changes.
        node, session: The SDK's verbs, and the session that they use.
        payments: Those that were made through the API.
        reach: Whether it can be reached.
        in_doubt: Set when the ends of invoices that were not seen may be found out now.
        untold: Invoices that are not open any more, and of which the node does not tell over this connection how they
            have ended; by their ids as text, whether its whole history was read for them. There are as many at most as
            invoices were made here.
    """

    name: str
    key: str
    node: Node
    session: NodeSession
    payments: Payments
    reach: Reach
    in_doubt: asyncio.Event
    untold: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Desk:
    """
    What a server has.

    Attributes:
        database, tokens, payment_book, invoice_book, requests: What is stored.
        nodes: In the order of the command line.
        bell: Rings when a payment or an invoice of the books changes.
        circle_runs: Circles that are paid, or were.
        late: Writes down what has happened and could not be written down.
        closing: Set when the server ends; whoever sends events stops then.
        streams: The owners of the event streams that are open.
        in_hand: The invoices that are being made, collected or cancelled.
        delivery: The address at which buyers' programs deliver commits; None: none is named.
        shop: Where buyers find the pages of invoices, without the slash at its end; None: there are none.
    """

    database: Database
    tokens: Tokens
    payment_book: PaymentBook
    invoice_book: InvoiceBook
    requests: Requests
    nodes: tuple[WebNode, ...]
    bell: Bell
    circle_runs: CircleRuns
    late: Late
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams: list[str] = field(default_factory=list)
    in_hand: InHand = field(default_factory=InHand)
    delivery: str | None = None
    shop: str | None = None

    def is_in_hand(self, invoice_id: str) -> bool:
        """Whether somebody just makes, collects or cancels an invoice, or that is not written down yet."""
        return invoice_id in self.in_hand or self.late.has(invoice_id)
