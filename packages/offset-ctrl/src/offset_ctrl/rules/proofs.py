"""Commits and receipts against the invoice that they are for. Pure. Spec 08 §4, 09 §9, §10."""

from offset_crypto.identity import InvalidSignature
from offset_crypto.verify import verify_commit, verify_receipt
from offset_proto.errors import InvalidInput
from offset_proto.files import Invoice
from offset_proto.messages.payment import Commit, Receipt

__all__ = ["InvalidProof", "check_commit", "check_receipt"]


class InvalidProof(InvalidInput):
    """
    What somebody handed us does not prove what it should.

    Attributes:
        name: The specification's name for the reason; with *words* after it, it is the text.
        words: What that means, for a person; may be empty.
    """

    def __init__(self, name: str, words: str = "") -> None:
        super().__init__(f"{name}: {words}" if words else name)
        self.name = name
        self.words = words


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
        raise InvalidProof("InvoiceIdMismatch", "the receipt is one of another invoice")
    if invoice.dest_payment != receipt.total_dest_payment:
        raise InvalidProof("DestPaymentMismatch", "the receipt is one for another amount than the invoice asks for")
    if invoice.currency != receipt.currency:
        raise InvalidProof("CurrencyMismatch", "the receipt is one in another currency than that of the invoice")
    try:
        verify_receipt(receipt, invoice.dest_public_key)
    except InvalidSignature:
        raise InvalidProof("InvalidReceipt", "the seller of the invoice has not signed this receipt") from None
