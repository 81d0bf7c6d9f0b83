"""stctrl seller: invoices. Spec 09 §9."""

import os
from pathlib import Path

from offset_ctrl.connection.client import ConnectionClosed, NodeConnection
from offset_ctrl.programs.stctrl.session import CommandError, load, parse_currency
from offset_ctrl.rules.proofs import InvalidProof, check_commit
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, INVOICE, Invoice, OutputAlreadyExists
from offset_proto.messages.app import AddInvoice, AppRequest, CancelInvoice, CommitInvoice
from offset_proto.types import InvoiceId

__all__ = ["cancel_invoice", "commit_invoice", "create_invoice"]

GROUP = "SellerError"


async def create_invoice(node: NodeConnection, currency: str, amount: int, invoice: Path) -> None:
    """Make an invoice. Its file, which goes to the buyer, is written first, so no invoice is without a file (D84)."""
    parsed = parse_currency(GROUP, currency)
    invoice_id = InvoiceId(os.urandom(InvoiceId.SIZE))
    value = Invoice(invoice_id, parsed, node.report.local_public_key, amount)
    try:
        INVOICE.save(invoice, value)
    except OutputAlreadyExists:
        raise CommandError(GROUP, f"InvoiceFileAlreadyExists({invoice})") from None
    except OffsetError as error:
        raise CommandError(GROUP, str(error)) from None
    try:
        await node.request(AddInvoice(invoice_id, parsed, amount))
    except ConnectionClosed as error:
        # Nobody knows whether the node has taken it, so the file stays: it is what cancels an invoice.
        raise CommandError(GROUP, f"AddInvoiceError({error}; try cancel-invoice with {invoice})") from None


async def cancel_invoice(node: NodeConnection, invoice: Path) -> None:
    """Cancel an invoice, and delete its file."""
    value = load(GROUP, INVOICE, invoice, "IoError")
    await _request(node, CancelInvoice(value.invoice_id), "CancelInvoiceError")
    try:
        invoice.unlink()
    except OSError as error:
        raise CommandError(GROUP, f"RemoveInvoiceError({invoice}: {error.strerror})") from None


async def commit_invoice(node: NodeConnection, invoice: Path, commit: Path) -> None:
    """Collect a payment with the buyer's commit."""
    expected = load(GROUP, INVOICE, invoice, "IoError")
    offered = load(GROUP, COMMIT, commit, "IoError")
    try:
        check_commit(offered, expected)
    except InvalidProof as error:
        raise CommandError(GROUP, str(error)) from None
    await _request(node, CommitInvoice(offered), "CommitInvoiceError")


async def _request(node: NodeConnection, message: AppRequest, failure: str) -> None:
    try:
        await node.request(message)
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"{failure}({error})") from None
