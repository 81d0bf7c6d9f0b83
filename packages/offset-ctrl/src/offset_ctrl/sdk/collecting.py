"""
Collect a payment with the buyer's commit, or cancel it, and know what came of that. Spec 12 §3.

A node acknowledges every commit, also one whose invoice has come to its end a moment before, and every cancellation. So
an app that hands out goods has to ask how the invoice ended. It watches the invoice, sends the commit, and then one of
these holds:

* The node has told how the invoice ended (`InvoiceEnding`); it does so right after the acknowledgement.
* The invoice is still open: the node has looked at the commit and refused it.
* A connection was lost in between. A snapshot names what is being collected, and what has been collected is in the
  history, whose entry is stored at the moment when the snapshot stops to name it. What is in neither was not collected.

That something is in the history proves that it was collected. That it is not there proves the opposite only where the
app would see it (no plugin hides entries from it, none were archived) and where nothing else has ended what was queued
(a channel that broke, a friend that was removed), from a moment on at which the invoice was open. Such a moment is
named by the number of the history's last entry, never by a time: the clock of the node may be behind. And a number
counts in the timeline of the history in which it was read only: a node that was restored gives numbers again.
`collect` reads this place first, and then makes sure that the invoice is open; an app that writes it down before the
commit is sent can ask later, after it was killed, too. Where nothing is proved, the ending is UNKNOWN, and no app may
take that for either.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Protocol

from offset_ctrl.connection.history import BEGINNING, HistoryPlace
from offset_ctrl.rules.open_reports import InvoiceEnding, InvoiceReports
from offset_ctrl.sdk.errors import InvoiceEndUnknown, InvoiceNotOpen, RequestRefused
from offset_ctrl.sdk.history import HistorySource, collected_since
from offset_proto.messages.app import AppPermissions, AppRequest, CancelInvoice, CommitInvoice
from offset_proto.messages.extensions import Extension, OpenInvoiceReport
from offset_proto.messages.payment import Commit
from offset_proto.types import InvoiceId

__all__ = ["Handing", "InvoiceSource", "cancel", "collect", "endings_of", "last_place"]

Handing = Callable[[HistoryPlace], object]
"""
Called when a commit is about to be sent, with the place in the history after which everything that the commit brings
about stands; `BEGINNING`: the app may not read the history, or there is none. What it raises keeps the commit back.
"""


class InvoiceSource(HistorySource, Protocol):
    """A node as a seller's app sees it: a connection to it, or a session."""

    @property
    def extensions(self) -> Extension:
        """What the node has announced."""

    @property
    def permissions(self) -> AppPermissions:
        """What the app may do."""

    @property
    def invoices(self) -> InvoiceReports:
        """The open invoices, once they are followed."""

    async def follow_invoices(self) -> None:
        """Have *invoices* filled anew."""

    async def last_entry(self) -> HistoryPlace:
        """How far the history goes, or a place before that."""

    async def request(self, request: AppRequest) -> object:
        """Send a request, and wait until the node has dealt with it."""


async def last_place(node: InvoiceSource) -> HistoryPlace:
    """
    A place in the history: what happens from now on stands after it. An app that writes it down before it makes an
    invoice can ask for the end of that later without reading what was before.

    Returns:
        `BEGINNING` where the app may not read the history, or there is none.

    Raises:
        NodeConnectionError, ConnectionClosed: There was no answer.
    """
    can_tell = Extension.COLLECTED in node.extensions and _reads_history(node)
    return await node.last_entry() if can_tell else BEGINNING


async def collect(node: InvoiceSource, commit: Commit, handing: Handing = lambda after: None) -> None:
    """
    Collect what came for an invoice; *commit* was checked before (`check_commit`).

    Raises:
        InvoiceNotOpen: It was collected or cancelled before, or has come to its end; nothing was collected now. Known
            only where the node tells what is open.
        RequestRefused: The node does not take the commit; the invoice stays open.
        InvoiceEndUnknown: A connection was lost, and the history does not tell, or not to this app.
        NodeConnectionError, ConnectionClosed: There was no answer; the invoice may have been collected.
    """
    if Extension.OPEN_PAYMENTS not in node.extensions:
        handing(BEGINNING)
        await node.request(CommitInvoice(commit))
        return
    can_tell = Extension.COLLECTED in node.extensions
    after = await last_place(node)
    with node.invoices.watch(commit.invoice_id) as watched:
        # What is known must not be older than the place, which may have come over a newer connection.
        if commit.invoice_id not in node.invoices.reports or node.invoices.is_stale or not can_tell:
            await node.follow_invoices()
        if commit.invoice_id not in node.invoices.reports:
            raise _not_open(watched.ending)
        handing(after)
        await node.request(CommitInvoice(commit))
        if watched.ending is InvoiceEnding.OPEN or not can_tell:
            await node.follow_invoices()
        ending = watched.ending
    if not can_tell and commit.invoice_id not in node.invoices.reports:
        return  # it was open, and has ended since, most likely by this commit: such a node does not tell more
    if ending is InvoiceEnding.UNKNOWN:
        ending = (await _by_history(node, {commit.invoice_id: after}))[commit.invoice_id]
    if ending is InvoiceEnding.OPEN:
        raise RequestRefused(_why_not_taken(node.invoices.reports.get(commit.invoice_id), after, node))
    if ending is InvoiceEnding.UNKNOWN:
        raise InvoiceEndUnknown(
            "the connection was lost while the payment was collected; whether it was, the balance with the friend tells"
        )
    if ending is InvoiceEnding.NOT_COLLECTED:
        raise _not_open(ending)


async def cancel(node: InvoiceSource, invoice_id: InvoiceId, after: HistoryPlace = BEGINNING) -> InvoiceEnding:
    """
    Expect a payment no more. An invoice that is not open any more, and was not collected, is no error.

    Args:
        node: The node.
        invoice_id: Of the invoice.
        after: A place in the history at which the invoice was open; by default all entries are looked at.

    Returns:
        NOT_COLLECTED; or UNKNOWN where it was gone before and may have been collected, as far as this app is told, or
        where it was open at *after* in another timeline: it may have been collected in the time that is forgotten.

    Raises:
        InvoiceNotOpen: It was collected; known only where the node tells that.
        RequestRefused: The node does not cancel it, and it is still open; known only where the node tells that.
        NodeConnectionError, ConnectionClosed: There was no answer; the invoice may have been cancelled.
    """
    if Extension.COLLECTED not in node.extensions:
        await node.request(CancelInvoice(invoice_id))
        return InvoiceEnding.UNKNOWN
    with node.invoices.watch(invoice_id) as watched:
        if invoice_id not in node.invoices.reports:
            await node.follow_invoices()
        await node.request(CancelInvoice(invoice_id))
        if watched.ending is InvoiceEnding.OPEN:
            await node.follow_invoices()
        ending = watched.ending
    if ending is InvoiceEnding.OPEN:
        raise RequestRefused("the node does not cancel this invoice, which is still open")
    if ending is InvoiceEnding.UNKNOWN:
        ending = (await _by_history(node, {invoice_id: after}))[invoice_id]
    elif ending is InvoiceEnding.NOT_COLLECTED and not await _is_of_now(node, after):
        return InvoiceEnding.UNKNOWN
    if ending is InvoiceEnding.COLLECTED:
        raise _not_open(ending)
    return ending


async def _is_of_now(node: InvoiceSource, place: HistoryPlace) -> bool:
    """Whether the node has forgotten nothing since *place*; also where no place is known."""
    return place == BEGINNING or place.timeline == (await last_place(node)).timeline


async def endings_of(
    node: InvoiceSource, invoices: Mapping[InvoiceId, HistoryPlace], pages_max: int | None = None
) -> dict[InvoiceId, InvoiceEnding]:
    """
    How invoices have ended that the node had; UNKNOWN where it does not tell this app.

    Args:
        node: The node.
        invoices: For each id a place in the history at which the invoice was open, or before that; `BEGINNING`: none is
            known.
        pages_max: Pages of the history that are read; what they do not tell is UNKNOWN. None: as many as it takes.

    Raises:
        NodeConnectionError, ConnectionClosed: There was no answer.
    """
    if Extension.COLLECTED not in node.extensions:
        return dict.fromkeys(invoices, InvoiceEnding.UNKNOWN)
    with ExitStack() as stack:
        watched = [stack.enter_context(node.invoices.watch(invoice_id)) for invoice_id in invoices]
        await node.follow_invoices()
        endings = {each.invoice_id: each.ending for each in watched}
    unknown = {each: invoices[each] for each, ending in endings.items() if ending is InvoiceEnding.UNKNOWN}
    return endings | await _by_history(node, unknown, pages_max) if unknown else endings


def _reads_history(node: InvoiceSource) -> bool:
    may_read = node.permissions.allows("history") or node.permissions.config
    return Extension.HISTORY in node.extensions and may_read


async def _by_history(
    node: InvoiceSource, invoices: Mapping[InvoiceId, HistoryPlace], pages_max: int | None = None
) -> dict[InvoiceId, InvoiceEnding]:
    """How invoices have ended that a snapshot does not name."""
    if not _reads_history(node):
        return dict.fromkeys(invoices, InvoiceEnding.UNKNOWN)
    now = await node.last_entry()
    endings = dict.fromkeys(invoices, InvoiceEnding.UNKNOWN)
    for is_of_now in (True, False):
        # Numbers of another timeline say nothing of where to look: all entries are, and not for the others as well.
        places = {each: at for each, at in invoices.items() if (at.timeline == now.timeline) is is_of_now}
        if not places:
            continue
        after = min(place.number for place in places.values()) if is_of_now else 0
        told = await collected_since(node, after, places, pages_max)
        for invoice_id, place in places.items():
            if invoice_id in told.invoices:
                endings[invoice_id] = InvoiceEnding.COLLECTED
            elif told.proves(place):
                endings[invoice_id] = InvoiceEnding.NOT_COLLECTED
    return endings


def _not_open(ending: InvoiceEnding) -> InvoiceNotOpen:
    match ending:
        case InvoiceEnding.COLLECTED:
            return InvoiceNotOpen("the invoice was collected already")
        case InvoiceEnding.NOT_COLLECTED:
            return InvoiceNotOpen("the invoice was cancelled, or came to its end, before the commit was there")
        case _:
            return InvoiceNotOpen("the invoice was collected already, or cancelled, or has come to its end")


def _why_not_taken(report: OpenInvoiceReport | None, place: HistoryPlace, node: InvoiceSource) -> str:
    """Why a node, whose history goes to *place*, refuses a genuine commit, whose invoice is open. Spec 05 §13."""
    if report is None or report.arrived >= report.total_dest_payment:
        return (
            "the node does not take this commit; the invoice is still open. A node that was restored takes none before "
            "the friends that the payment came by have spoken"
        )
    missing = f"only {report.arrived} of {report.total_dest_payment} are there any more"
    if place.timeline:
        return (
            f"{missing}, and this node has forgotten some of its history: the rest may have been collected before. The "
            "buyer's receipt would prove that, and the balance with the friend that it came by tells. Nobody is to pay "
            "again before that is known; the invoice is still open"
        )
    words = (
        f"{missing}: a channel broke, or a friend was removed, and the rest went with it. The invoice is still open. "
        "The buyer can send the rest again, and this commit will do; or cancel the invoice"
    )
    if _reads_history(node):
        return words
    return f"{words}. If the node was restored from a backup, it may have been collected before: ask for the receipt"
