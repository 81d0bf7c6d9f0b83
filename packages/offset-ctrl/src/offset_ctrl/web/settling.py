"""
How invoices come to their ends: collected with a commit, cancelled, or over; and what the book learns of that late.

A commit is written down before the node hears of it, with the number of the history's last entry, and so is an invoice.
So an invoice that is *open* and has a commit, or whose time is over, is one whose end was not seen: the connection was
lost, or the server was killed, or it has come by itself. Its end is found out, by what the node says is open and being
collected, and by the history after that number (`offset_ctrl.sdk.collecting`):

====================  ==========================================================================================
the node says         and the book
====================  ==========================================================================================
it is open            changes nothing; the commit may come again
it was collected      has it *collected*, also where it had it *over* or *cancelled*
it was not collected  has it *over*, if it was not *cancelled*, forgets the commit, and asks no more
it does not tell      changes nothing where there is a commit, since it may be paid. Where there is none, it has the
                      invoice *over* once its time is.
====================  ==========================================================================================

Nobody has to ask for that: `Settling` does it when the server starts, whenever the node is back, and when the time of
an invoice is over. The pages of buyers, which ask only the book, are told by the bell.

Strangers bring commits, and bring them again. What they can have the node and this server do is bounded: what is proved
is answered by the book; otherwise `STRANGERS_PAGES_MAX` pages of the history are read, and where these do not tell,
nobody reads again for a commit of that invoice until the connection is a new one (`WebNode.untold`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from offset_ctrl.connection.client import ConnectionClosed, NodeConnectionError
from offset_ctrl.rules.open_reports import InvoiceEnding
from offset_ctrl.rules.proofs import check_commit
from offset_ctrl.sdk.errors import InvoiceEndUnknown, InvoiceNotOpen
from offset_ctrl.web.desk import Desk, WebNode
from offset_ctrl.web.invoice_book import InvoiceRow, InvoiceState
from offset_ctrl.web.problems import Rejected
from offset_proto.errors import OffsetError, RefusedError
from offset_proto.messages.extensions import Extension
from offset_proto.messages.payment import Commit
from offset_proto.text import format_b64
from offset_proto.types import InvoiceId

__all__ = ["Settling", "cancel", "collect", "settle"]

log = logging.getLogger("offset.web")

SETTLED_AT_ONCE: Final = 100
"""Invoices of which the node is asked in one go."""

LEEWAY_SECONDS: Final = 5.0
"""After the end of an invoice by our clock, until its node has ended it."""

AGAIN_SECONDS: Final = 60.0
"""Until the node is asked once more, where it has not ended an invoice by then."""

STRANGERS_PAGES_MAX: Final = 20
"""Pages of the history that are read because of one commit, 500 entries each, the newest first."""

_NOT_TOLD: Final = "the invoice is not open any more, and the node does not tell this server whether it was paid"
_FORGOTTEN: Final = (
    "the node expects the payment no more. It has forgotten some of its history since the invoice was made, and does "
    "not know whether it was paid before: the buyer's receipt would prove it, and the balance with the friend tells"
)
_IS_NOT_OPEN: Final = "the invoice was collected already, or cancelled, or has come to its end"
_WAS: Final = {
    InvoiceState.COLLECTED: "the invoice was collected before",
    InvoiceState.CANCELLED: "the invoice was cancelled before",
    InvoiceState.OVER: "the invoice has come to its end before",
}


async def collect(desk: Desk, node: WebNode, row: InvoiceRow, commit: Commit) -> None:
    """
    Collect the payment of an invoice with the buyer's commit; nothing happens where that very commit has done so.

    Raises:
        InvalidProof: The commit does not pay this invoice.
        InvoiceNotOpen: It was collected with another commit, or cancelled, or has come to its end.
        RequestRefused: The node does not take the commit.
        Rejected: Too many are being collected.
        InvoiceEndUnknown, NodeConnectionError, ConnectionClosed: The node has not said how it ended; it may be asked
            again with the same commit, and the book learns of the end by itself.
    """
    check_commit(commit, row.invoice)
    invoice_id = format_b64(row.invoice.invoice_id)
    try:
        async with desk.in_hand.take(invoice_id, has_commit=True):
            await _collect(desk, node, invoice_id, commit)
    except (RefusedError, Rejected):
        raise
    except Exception:
        if invoice_id not in node.untold:
            node.in_doubt.set()
        raise
    desk.bell.ring()


async def _collect(desk: Desk, node: WebNode, invoice_id: str, commit: Commit) -> None:
    book = desk.invoice_book
    row = book.get(invoice_id)
    if book.handed(invoice_id) is not None or row.state is InvoiceState.CANCELLED:
        # No commit is handed over on top of an end that was not seen.
        await settle(desk, node, [row], STRANGERS_PAGES_MAX)
    if book.was_collected_with(invoice_id, commit):
        return
    row, before = book.get(invoice_id), book.handed(invoice_id)
    if row.is_final or row.state is InvoiceState.CANCELLED:
        raise InvoiceNotOpen(_WAS[row.state])
    if invoice_id in node.untold:
        raise _untold(desk, invoice_id)
    try:
        await node.node.accept_commit(row.invoice, commit, partial(book.hand_over, invoice_id, commit))
    except RefusedError as error:
        book.put_back(invoice_id, before)
        await settle(desk, node, [row], STRANGERS_PAGES_MAX)
        if book.was_collected_with(invoice_id, commit):
            return  # by ourselves, before we were killed
        raise _untold(desk, invoice_id) if isinstance(error, InvoiceNotOpen) else error from None
    desk.late.write(invoice_id, partial(book.change, invoice_id, InvoiceState.COLLECTED))


def _untold(desk: Desk, invoice_id: str) -> OffsetError:
    """What is said of a commit whose invoice is not open any more, and may have been paid with one before."""
    if desk.invoice_book.handed(invoice_id) is not None:
        return InvoiceEndUnknown(_NOT_TOLD)
    return InvoiceNotOpen(_WAS.get(desk.invoice_book.get(invoice_id).state, _IS_NOT_OPEN))


async def cancel(desk: Desk, node: WebNode, row: InvoiceRow) -> None:
    """
    Expect a payment no more; nothing happens where it was cancelled or has come to its end before.

    Raises:
        InvoiceNotOpen: It was collected before.
        InvoiceEndUnknown: It is not open any more, its time is not over, and the node does not tell this server whether
            it was paid.
        RequestRefused: The node does not cancel it, and it is open still.
        Rejected: Too many do something with it.
        NodeConnectionError, ConnectionClosed: The node has not answered.
    """
    invoice_id, book = format_b64(row.invoice.invoice_id), desk.invoice_book
    async with desk.in_hand.take(invoice_id):
        row = book.get(invoice_id)  # a commit may have come before us
        if row.state is InvoiceState.COLLECTED:
            raise InvoiceNotOpen(_WAS[row.state])
        if row.is_final:
            return
        try:
            ending = await node.node.cancel_invoice(row.invoice, row.after)
        except InvoiceNotOpen:
            await settle(desk, node, [row])
            raise
        if ending is InvoiceEnding.NOT_COLLECTED:
            desk.late.write(invoice_id, partial(book.end, invoice_id, InvoiceState.CANCELLED))
        elif Extension.COLLECTED not in node.node.extensions and book.handed(invoice_id) is None:
            # Such a node tells of no end. It has acknowledged that it expects the payment no more.
            desk.late.write(invoice_id, partial(book.change, invoice_id, InvoiceState.CANCELLED))
        else:
            if row.after.timeline != node.session.history_place.timeline and book.handed(invoice_id) is None:
                # The node expects the payment no more, and has forgotten what was before: that proves nothing.
                desk.late.write(invoice_id, partial(book.change, invoice_id, InvoiceState.CANCELLED))
                raise InvoiceEndUnknown(_FORGOTTEN)
            _settle(desk, row, ending)
            if book.get(invoice_id).state is not InvoiceState.OVER:
                raise InvoiceEndUnknown(_NOT_TOLD)
    desk.bell.ring()


async def settle(
    desk: Desk, node: WebNode, rows: Sequence[InvoiceRow], pages_max: int | None = None
) -> Mapping[InvoiceId, InvoiceEnding]:
    """
    Write down how invoices have ended, as the table above says; and what the node says of each of them.

    Args:
        desk, node: Where they were made.
        rows: What the book has of them.
        pages_max: Pages of the history that are read, and those that are `WebNode.untold` are not asked for again;
            None: as many as it takes, and for all but those for which so many were read before.

    Raises:
        NodeConnectionError, ConnectionClosed: The node has not answered.
        NotPermitted: It does not let this server sell.
    """
    endings = {row.invoice.invoice_id: InvoiceEnding.UNKNOWN for row in rows}
    asked = [row for row in rows if _may_tell(node, row, is_bounded=pages_max is not None)]
    places = {row.invoice.invoice_id: row.after for row in asked}
    if places:
        endings |= await node.node.invoice_endings(places, pages_max=pages_max)
    is_changed = [_settle(desk, row, endings[row.invoice.invoice_id]) for row in rows]
    if Extension.COLLECTED in node.node.extensions:  # otherwise, what is unknown may be open
        for each, ending in endings.items():
            if ending is InvoiceEnding.UNKNOWN:
                name = format_b64(each)
                node.untold[name] = node.untold.get(name, False) or pages_max is None
    if any(is_changed):
        desk.bell.ring()
    return endings


def _may_tell(node: WebNode, row: InvoiceRow, *, is_bounded: bool) -> bool:
    """Whether the node may tell more of an invoice than when it was asked last over this connection."""
    is_read = node.untold.get(format_b64(row.invoice.invoice_id))
    return is_read is None or not (is_read or is_bounded)


def _settle(desk: Desk, row: InvoiceRow, ending: InvoiceEnding) -> bool:
    book, invoice_id = desk.invoice_book, format_b64(row.invoice.invoice_id)
    now = book.get(invoice_id)
    if now.is_final:
        return False  # somebody else has seen its end meanwhile
    match ending:
        case InvoiceEnding.OPEN:
            return False
        case InvoiceEnding.COLLECTED:
            book.change(invoice_id, InvoiceState.COLLECTED)
        case InvoiceEnding.NOT_COLLECTED:
            book.end(invoice_id, InvoiceState.OVER)
        case InvoiceEnding.UNKNOWN:
            is_over = row.expires is not None and row.expires <= desk.database.now()
            if book.handed(invoice_id) is not None or not is_over:
                return False
            book.change(invoice_id, InvoiceState.OVER)
    return book.get(invoice_id).state is not now.state


class Settling:
    """
    Finds out the ends of the invoices of one node that were not seen.

    Args:
        desk: Of the server.
        node: Its `WebNode.in_doubt` is set whenever there may be something to find out.
    """

    def __init__(self, desk: Desk, node: WebNode) -> None:
        self._desk = desk
        self._node = node

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            looked = self._desk.database.now()
            self._node.in_doubt.clear()
            try:
                is_late = await self._look(looked)
            except BaseException:
                self._node.in_doubt.set()
                raise
            await self._wait(looked, is_late=is_late)

    async def _look(self, now: int) -> bool:
        """Find out what can be found out; whether the node has still to end an invoice whose time is over."""
        book, sequence, is_late = self._desk.invoice_book, 0, False
        while rows := book.in_doubt(self._node.key, now - LEEWAY_SECONDS, sequence, SETTLED_AT_ONCE):
            sequence = rows[-1].sequence
            free = [row for row in rows if not self._desk.is_in_hand(format_b64(row.invoice.invoice_id))]
            try:
                endings = await settle(self._desk, self._node, free)
            except (NodeConnectionError, ConnectionClosed, RefusedError) as error:
                log.warning("how invoices have ended is not known yet: %s", error)
                return False  # once the node is back, it is asked again
            is_open = [row for row in free if endings[row.invoice.invoice_id] is InvoiceEnding.OPEN]
            is_late = is_late or any(row.expires is not None and row.expires <= now for row in is_open)
        return is_late

    async def _wait(self, looked: int, *, is_late: bool) -> None:
        """Until there may be something to find out: something has happened, or the next end has come."""
        end = self._desk.invoice_book.next_end(self._node.key, looked - LEEWAY_SECONDS)
        seconds = None if end is None else max(0.0, end + LEEWAY_SECONDS - self._desk.database.now())
        if is_late:
            seconds = AGAIN_SECONDS if seconds is None else min(seconds, AGAIN_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._node.in_doubt.wait()
        except TimeoutError:
            return
