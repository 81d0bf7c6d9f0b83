"""Commits and receipts against the invoice that they are for. Pure. Spec 08 §4, 09 §9, §10."""

from offset_crypto.identity import InvalidSignature
from offset_crypto.verify import verify_commit, verify_receipt
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.messages.payment import Commit, Receipt

__all__ = ["InvalidProof", "check_commit", "check_receipt"]


class InvalidProof(InvalidInput):
    """What somebody handed us does not prove what it should; the text is the specification's name for the reason."""


def check_commit(commit: Commit, invoice: Invoice) -> None:
    """
    Check that *commit* lets the seller collect the whole of *invoice*.

    Raises:
        InvalidProof: InvalidCommit, or InvoiceCommitMismatch (D85).
    """
    try:
        verify_commit(commit, invoice.dest_public_key)
    except InvalidSignature as error:
        raise InvalidProof(f"InvalidCommit({error})") from None
    if commit.invoice_id != invoice.invoice_id:
        raise InvalidProof("InvoiceCommitMismatch(another invoice)")
    if commit.currency != invoice.currency:
        raise InvalidProof("InvoiceCommitMismatch(another currency)")
    if commit.total_dest_payment != invoice.dest_payment:
        raise InvalidProof("InvoiceCommitMismatch(another amount)")


def check_receipt(receipt: Receipt, invoice: Invoice) -> None:
    """
    Check that *receipt* proves that *invoice* was paid.

    Raises:
        InvalidProof: InvoiceIdMismatch, DestPaymentMismatch, CurrencyMismatch (D88) or InvalidReceipt.
    """
    if invoice.invoice_id != receipt.invoice_id:
        raise InvalidProof("InvoiceIdMismatch")
    if invoice.dest_payment != receipt.total_dest_payment:
        raise InvalidProof("DestPaymentMismatch")
    if invoice.currency != receipt.currency:
        raise InvalidProof("CurrencyMismatch")
    try:
        verify_receipt(receipt, invoice.dest_public_key)
    except InvalidSignature:
        raise InvalidProof("InvalidReceipt") from None
