"""
Collect a payment with the buyer's commit, or cancel it, and know what came of that. Spec 12 §3.

A node acknowledges every commit, also one whose invoice has come to its end a moment before, and every cancellation. So
an app that hands out goods has to ask how the invoice ended. It watches the invoice, sends the commit, and then one of
these holds:

* The node has told how the invoice ended (`InvoiceEnding`); it does so right after the acknowledgement.
* The invoice is still open: the node has looked at the commit and refused it.
* A connection was lost in between. A snapshot names what is being collected, and what has been collected is in the
  history, whose entry is stored at the moment when the snapshot stops to name it. What is in neither was not collected.

Only an app that may not read the history can be left without an answer, and only where a connection was lost.
"""

import time
from collections.abc import Collection
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final, Protocol

from offset_ctrl.rules.open_reports import InvoiceEnding, InvoiceReports
from offset_ctrl.sdk.errors import InvoiceEndUnknown, InvoiceNotOpen, RequestRefused
from offset_ctrl.sdk.history import HistorySource, archived_through, last_before, received_since
from offset_proto.messages.app import AppPermissions, AppRequest, CancelInvoice, CommitInvoice
from offset_proto.messages.extensions import Extension
from offset_proto.messages.payment import Commit
from offset_proto.types import InvoiceId

__all__ = ["InvoiceSource", "cancel", "collect", "endings_of"]

CLOCKS_DIFFER_SECONDS: Final = 3600
"""By which the clock of a node may be behind that of the app, at most."""


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

    async def request(self, request: AppRequest) -> object:
        """Send a request, and wait until the node has dealt with it."""


async def collect(node: InvoiceSource, commit: Commit) -> None:
    """
    Collect what came for an invoice; *commit* was checked before (`check_commit`).

    Raises:
        InvoiceNotOpen: It was collected or cancelled before, or has come to its end; nothing was collected now. Known
            only where the node tells what is open.
        RequestRefused: The node does not take the commit; the invoice stays open.
        InvoiceEndUnknown: A connection was lost, and the app may not read the history, which would tell.
        NodeConnectionError, ConnectionClosed: There was no answer; the invoice may have been collected.
    """
    if Extension.OPEN_PAYMENTS not in node.extensions:
        await node.request(CommitInvoice(commit))
        return
    asked, can_tell = time.time(), Extension.COLLECTED in node.extensions
    with node.invoices.watch(commit.invoice_id) as watched:
        if commit.invoice_id not in node.invoices.reports or not can_tell:
            await node.follow_invoices()
        if commit.invoice_id not in node.invoices.reports:
            raise _not_open(watched.ending)
        await node.request(CommitInvoice(commit))
        if not can_tell:
            return
        if watched.ending is InvoiceEnding.OPEN:
            await node.follow_invoices()
        ending = watched.ending
    if ending is InvoiceEnding.UNKNOWN:
        ending = (await _by_history(node, [commit.invoice_id], asked))[commit.invoice_id]
    if ending is InvoiceEnding.OPEN:
        raise RequestRefused("the node does not take this commit; the invoice is still open")
    if ending is InvoiceEnding.UNKNOWN:
        raise InvoiceEndUnknown(
            "the connection was lost while the payment was collected; whether it was, the balance with the friend tells"
        )
    if ending is InvoiceEnding.NOT_COLLECTED:
        raise _not_open(ending)


async def cancel(node: InvoiceSource, invoice_id: InvoiceId, created: float | None = None) -> None:
    """
    Expect a payment no more. An invoice that is not open any more, and was not collected, is no error.

    Args:
        node: The node.
        invoice_id: Of the invoice.
        created: When it was made, in seconds since 1970 by our clock; None: it is not known, and the history of the
            last hour has to do.

    Raises:
        InvoiceNotOpen: It was collected; known only where the node tells that.
        NodeConnectionError, ConnectionClosed: There was no answer; the invoice may have been cancelled.
    """
    if Extension.COLLECTED not in node.extensions:
        await node.request(CancelInvoice(invoice_id))
        return
    asked = time.time()
    with node.invoices.watch(invoice_id) as watched:
        if invoice_id not in node.invoices.reports:
            await node.follow_invoices()
        await node.request(CancelInvoice(invoice_id))
        if watched.ending is InvoiceEnding.OPEN:
            await node.follow_invoices()
        ending = watched.ending
    if ending is InvoiceEnding.UNKNOWN:
        ending = (await _by_history(node, [invoice_id], asked if created is None else created))[invoice_id]
    if ending is InvoiceEnding.COLLECTED:
        raise _not_open(ending)


async def endings_of(
    node: InvoiceSource, invoices: Collection[InvoiceId], created: float
) -> dict[InvoiceId, InvoiceEnding]:
    """
    How invoices have ended that the node had; UNKNOWN where it does not tell this app.

    Args:
        node: The node.
        invoices: Their ids.
        created: When the first of them was made, in seconds since 1970 by our clock.

    Raises:
        NodeConnectionError, ConnectionClosed: There was no answer.
    """
    if Extension.COLLECTED not in node.extensions:
        return dict.fromkeys(invoices, InvoiceEnding.UNKNOWN)
    with ExitStack() as stack:
        watched = [stack.enter_context(node.invoices.watch(invoice_id)) for invoice_id in invoices]
        await node.follow_invoices()
        endings = {each.invoice_id: each.ending for each in watched}
    unknown = [invoice_id for invoice_id, ending in endings.items() if ending is InvoiceEnding.UNKNOWN]
    return endings | await _by_history(node, unknown, created) if unknown else endings


async def _by_history(
    node: InvoiceSource, invoices: Collection[InvoiceId], since: float
) -> dict[InvoiceId, InvoiceEnding]:
    """How invoices have ended that a snapshot does not name."""
    can_read = node.permissions.allows("history") or node.permissions.config
    if Extension.HISTORY not in node.extensions or not can_read:
        return dict.fromkeys(invoices, InvoiceEnding.UNKNOWN)
    first = datetime.fromtimestamp(max(0.0, since - CLOCKS_DIFFER_SECONDS), UTC)
    after = await last_before(node, first)
    received = await received_since(node, invoices, after)
    # What was moved to an archive may have been received, too.
    other = InvoiceEnding.UNKNOWN if await archived_through(node) > after else InvoiceEnding.NOT_COLLECTED
    return {each: InvoiceEnding.COLLECTED if each in received else other for each in invoices}


def _not_open(ending: InvoiceEnding) -> InvoiceNotOpen:
    match ending:
        case InvoiceEnding.COLLECTED:
            return InvoiceNotOpen("the invoice was collected already")
        case InvoiceEnding.NOT_COLLECTED:
            return InvoiceNotOpen("the invoice was cancelled, or came to its end, before the commit was there")
        case _:
            return InvoiceNotOpen("the invoice was collected already, or cancelled, or has come to its end")
