"""
The requests that wait to be paid: all that the node has and shows to this app, whoever has made them.

What was made with ``stctrl`` or with an app of its own is in no book of this server. The node tells its amount and what
has arrived for it, and that is enough to collect it: a commit proves itself.
"""

from dataclasses import dataclass
from typing import Final

from offset_ctrl.rules.open_reports import oldest_invoices
from offset_ctrl.web.invoice_book import InvoiceState
from offset_ctrl.web.wallet.visits import Visit, wallet_path
from offset_proto.files import Invoice
from offset_proto.messages.extensions import Extension, OpenInvoiceReport
from offset_proto.text import format_b64
from offset_proto.types import InvoiceId

__all__ = ["Expected", "expected_of", "find_open"]

BOOK_ROWS: Final = 100
"""Of a node that does not tell what is open, only the latest of our own are looked at."""


@dataclass(frozen=True, slots=True)
class Expected:
    """
    A request that waits to be paid.

    Attributes:
        path: Of its page.
        title: What it is for; empty where it is not known here.
        arrived: Credits that wait for the commit.
        since: When the first of them came; or, where none has and it is known, when the request was made; 0: not known.
    """

    path: str
    title: str
    amount: int
    currency: str
    arrived: int
    since: int


async def expected_of(visit: Visit, most: int) -> tuple[list[Expected], int]:
    """
    What waits to be paid, first what something has arrived for; and how many there are in all.

    Args:
        visit: To a page of the node. Where that can not be reached, it counts what it has said last.
        most: How many are given.

    Raises:
        NodeConnectionError, ConnectionClosed: The node did not say what is open.
    """
    if not _is_told(visit):
        return _of_the_book(visit, most)
    session = visit.web_node.session
    if not session.follows_invoices and visit.web_node.reach.away is None:
        await session.follow_invoices()
    reports = oldest_invoices(session.invoices)
    return [_from_report(visit, report) for report in reports[:most]], len(reports)


async def find_open(visit: Visit, invoice_id: InvoiceId) -> OpenInvoiceReport | None:
    """What the node says now of an invoice that is open; None: it has no such one, or does not tell."""
    if not _is_told(visit):
        return None
    found = await visit.web_node.node.open_invoices()
    return next((report for report in found if report.invoice_id == invoice_id), None)


def _is_told(visit: Visit) -> bool:
    node = visit.web_node.node
    return Extension.OPEN_PAYMENTS in node.extensions and node.permissions.seller


def _from_report(visit: Visit, report: OpenInvoiceReport) -> Expected:
    node, name = visit.web_node, format_b64(report.invoice_id)
    row = visit.desk.invoice_book.find(name)
    is_ours = row is not None and row.node == node.key
    invoice = Invoice(report.invoice_id, report.currency, node.node.public_key, report.total_dest_payment)
    made = row.created if row is not None and is_ours else 0
    return Expected(
        path=f"{wallet_path(node)}/{'invoices' if is_ours else 'requests'}/{name}",
        title=visit.desk.requests.of(invoice).description or "",
        amount=report.total_dest_payment,
        currency=str(report.currency),
        arrived=report.arrived,
        since=report.since or made,
    )


def _of_the_book(visit: Visit, most: int) -> tuple[list[Expected], int]:
    rows = visit.desk.invoice_book.latest(visit.web_node.key, BOOK_ROWS)
    open_rows = [row for row in rows if row.state is InvoiceState.OPEN]
    found = [
        Expected(
            path=f"{visit.base}/invoices/{format_b64(row.invoice.invoice_id)}",
            title=visit.desk.requests.of(row.invoice).description or "",
            amount=row.invoice.dest_payment,
            currency=str(row.invoice.currency),
            arrived=0,
            since=row.created,
        )
        for row in open_rows[:most]
    ]
    return found, len(open_rows)
