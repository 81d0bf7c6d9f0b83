"""stctrl seller: invoices. Spec 09 §9."""

import os
import time
from pathlib import Path

import click

from offset_ctrl.connection.announced import check_announced
from offset_ctrl.connection.client import ConnectionClosed, NodeConnection, NotAnnounced
from offset_ctrl.programs.stctrl.session import NOTHING, CommandError, given, load, parse_currency, show
from offset_ctrl.programs.stctrl.waiting import command_line, login_words
from offset_ctrl.programs.table import printable
from offset_ctrl.programs.texts import TextOutput
from offset_ctrl.rules.proofs import InvalidProof, check_commit
from offset_ctrl.rules.shortfall import describe_shortfall
from offset_ctrl.sdk.collecting import cancel, collect
from offset_ctrl.sdk.errors import InvoiceEndUnknown, InvoiceNotOpen, RequestRefused
from offset_ctrl.sdk.history import note_request
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import COMMIT, INVOICE, Invoice, OutputAlreadyExists
from offset_proto.messages.app import AddInvoice, AppRequest
from offset_proto.messages.extensions import AddExpiringInvoice, Extension
from offset_proto.messages.payment import Commit
from offset_proto.types import U32, U128, InvoiceId
from offset_proto.uri import PaymentRequest

__all__ = ["cancel_invoice", "commit_invoice", "create_invoice"]

GROUP = "SellerError"


async def create_invoice(
    node: NodeConnection,
    currency: str,
    amount: U128,
    invoice: Path,
    *,
    expires: U32 | None = None,
    description: str | None = None,
    deliver_to: str | None = None,
    output: TextOutput = NOTHING,
) -> None:
    """
    Make an invoice. Its file, which goes to the buyer, is written first, so no invoice is without a file (D84).

    Where no friend could bring the amount now, it is made all the same, and a line on stderr says what is missing.

    Args:
        node: The connection.
        currency, amount: What the buyer is to pay, 1 credit at least.
        invoice: Where the file goes.
        expires: Seconds after which the node cancels it by itself, if no commit was given by then; None: never.
        description: What for. Our node keeps it as a note, where it keeps any, and the text says it; the file does not.
        deliver_to: Where the text says that the commit is taken (spec 13 §3.1).
        output: How the text is shown, once the node has the invoice.
    """
    if not output.is_wanted and deliver_to is not None:
        words = "the file has no place for --deliver-to; ask for --text, --qr or -o"
        raise CommandError(GROUP, "NoText", words)
    if not amount:
        raise CommandError(GROUP, "ZeroAmount", "an invoice is over 1 credit at least")
    parsed = parse_currency(GROUP, currency, is_new=True)
    invoice_id = InvoiceId(os.urandom(InvoiceId.SIZE))
    request: AppRequest = AddInvoice(invoice_id, parsed, amount)
    if expires is not None:
        request = AddExpiringInvoice(invoice_id, parsed, amount, expires)
    requests = [request]
    try:
        if description is not None and (Extension.HISTORY in node.extensions or not output.is_wanted):
            requests.append(note_request(invoice_id, description))
        for one in requests:
            check_announced(one, node.extensions)
    except InvalidInput as error:
        raise CommandError(GROUP, f"InvalidNote({error})") from None
    except NotAnnounced as error:
        raise CommandError(GROUP, f"NotAnnounced({error})") from None
    value = Invoice(invoice_id, parsed, node.report.local_public_key, amount)
    end = None if expires is None else int(time.time()) + expires
    try:
        payment_request = PaymentRequest(value, description, deliver_to, end)
    except InvalidInput as error:
        raise CommandError(GROUP, f"InvalidText({error})") from None
    try:
        INVOICE.save(invoice, value)
    except OutputAlreadyExists:
        raise CommandError(GROUP, f"InvoiceFileAlreadyExists({invoice})") from None
    except OffsetError as error:
        raise CommandError(GROUP, str(error)) from None
    try:
        for one in requests:
            await node.request(one)
    except ConnectionClosed as error:
        # Nobody knows whether the node has taken it, so the file stays: it is what cancels an invoice.
        cancels = command_line("seller", "cancel-invoice", "-i", invoice)
        raise CommandError(GROUP, f"AddInvoiceError({error}; try {cancels})") from None
    show(GROUP, output, payment_request)
    lacks = describe_shortfall(node.report, parsed, amount, login_words())
    if lacks is not None:
        click.echo(printable(f"hint: {lacks}"), err=True)


async def cancel_invoice(node: NodeConnection, invoice: Path) -> None:
    """
    Cancel an invoice, and delete its file.

    A node acknowledges it for any invoice. So one of another node is refused, and its file kept: it may be what proves
    a payment, beside the receipt. The same goes for one that is not open, where the node tells that.
    """
    value = load(GROUP, INVOICE, invoice, "IoError")
    if value.dest_public_key != node.report.local_public_key:
        raise CommandError(
            GROUP, "NotOurInvoice", f"{invoice} is to be paid to another node, which alone can cancel it"
        )
    if Extension.OPEN_PAYMENTS in node.extensions:
        await _check_open(node, value.invoice_id)
    try:
        await cancel(node, value.invoice_id)
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"CancelInvoiceError({error})") from None
    except InvoiceNotOpen as error:
        raise CommandError(GROUP, "InvoiceNotOpen", f"{error}; nothing was cancelled") from None
    except RequestRefused as error:
        raise CommandError(GROUP, "RequestRefused", str(error)) from None
    try:
        invoice.unlink()
    except OSError as error:
        raise CommandError(GROUP, f"RemoveInvoiceError({invoice}: {error.strerror})") from None


async def commit_invoice(
    node: NodeConnection, invoice: Path, commit: Path | None, *, commit_text: Commit | None = None
) -> None:
    """
    Collect a payment with the buyer's commit, from a file or as it was given by its text.

    A node acknowledges the commit of an invoice that it does not know, too. So it is asked before what is open, and
    then what was collected, where it tells that.
    """
    expected = load(GROUP, INVOICE, invoice, "IoError")
    offered = given(GROUP, COMMIT, commit, commit_text, "IoError")
    try:
        check_commit(offered, expected)
    except InvalidProof as error:
        raise CommandError(GROUP, error.name, error.words) from None
    try:
        await collect(node, offered)
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"CommitInvoiceError({error})") from None
    except InvoiceNotOpen as error:
        raise CommandError(GROUP, "InvoiceNotOpen", f"{error}; nothing was collected now") from None
    except (RequestRefused, InvoiceEndUnknown) as error:
        raise CommandError(GROUP, type(error).__name__, str(error)) from None


async def _check_open(node: NodeConnection, invoice_id: InvoiceId) -> None:
    """An invoice that the node does not name as open keeps its file, which may prove a payment."""
    try:
        await node.follow_invoices()
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"CancelInvoiceError({error})") from None
    if invoice_id not in node.invoices.reports:
        words = "it was collected already, or cancelled, or it has come to its end; nothing was cancelled now"
        raise CommandError(GROUP, "InvoiceNotOpen", words)
