"""
Payments on disk, so that none is forgotten when the app ends. Spec 07 §5.4.

A directory with the files that stctrl uses, named by the payment's id: ``ID.invoice`` and ``ID.payment`` from the
start, ``ID.commit`` once the seller can collect, ``ID.receipt`` when it has. ``stctrl buyer payment-status`` can go on
with them. What ended without a receipt leaves nothing. An empty file ``ID.given-up`` says that the payment must not go
on, and that nobody will be given a commit of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import (
    COMMIT,
    INVOICE,
    PAYMENT,
    RECEIPT,
    FileKind,
    Invoice,
    IoError,
    OutputAlreadyExists,
    PaymentFile,
    save_text,
)
from offset_proto.messages.app import CreateTransaction
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import InvoiceId, PaymentId

__all__ = ["Journal", "JournalEntry", "PaymentRecord"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """
    A payment that has not ended.

    Attributes:
        payment_id, invoice: What is paid, and by which id the node knows it.
        commit: Where there is one; the seller may have it already.
        is_given_up: Nobody will be given a commit.
        parts: The transactions that were sent, as far as they are written down.
    """

    payment_id: PaymentId
    invoice: Invoice
    commit: Commit | None
    is_given_up: bool = False
    parts: tuple[CreateTransaction, ...] = ()


class PaymentRecord(Protocol):
    """
    Where a payment is written down, so that a crash loses nothing: a `Journal`, or the files that a person has named.

    Each method has written durably when it returns. Raises IoError where it can not.
    """

    def begin(self, payment_id: PaymentId, invoice: Invoice) -> None:
        """The node is about to hear of the payment."""

    def sending(self, payment_id: PaymentId, parts: tuple[CreateTransaction, ...]) -> None:
        """The node is about to hear of some of these; they are all that have not failed."""

    def given_up(self, payment_id: PaymentId) -> None:
        """Nobody will be given a commit, whatever happens."""

    def committed(self, payment_id: PaymentId, commit: Commit) -> None:
        """The commit is about to be handed out."""

    def paid(self, payment_id: PaymentId, receipt: Receipt) -> None:
        """The node is about to be told that it may forget the payment."""

    def ended(self, payment_id: PaymentId) -> None:
        """Nothing is left to be done."""

    def receipt_of(self, payment_id: PaymentId) -> Receipt | None:
        """The receipt of a payment, if it is there."""


class Journal:
    """
    The payments of one app.

    Args:
        directory: Is made where it is missing, readable for its owner only.

    Raises:
        IoError: It can not be made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paid: dict[InvoiceId, PaymentId] | None = None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise IoError(directory, error.strerror or str(error)) from None

    def unfinished(self) -> list[JournalEntry]:
        """
        The payments that have not ended.

        Raises:
            IoError, StringSerdeError: A file can not be read, or is damaged; the error names it.
        """
        entries = []
        for path in sorted(self._directory.glob("*.payment")):
            payment_id = PAYMENT.load(path).payment_id
            commit = self._path(payment_id, "commit")
            invoice = INVOICE.load(path.with_suffix(".invoice"))
            is_given_up = self._path(payment_id, "given-up").exists()
            entries.append(
                JournalEntry(payment_id, invoice, COMMIT.load(commit) if commit.exists() else None, is_given_up)
            )
        return entries

    def receipts(self) -> list[tuple[Invoice, Receipt]]:
        """Everything that was paid. Raises as `unfinished`."""
        return [
            (INVOICE.load(path.with_suffix(".invoice")), RECEIPT.load(path))
            for path in sorted(self._directory.glob("*.receipt"))
            if _names_payment(path)
        ]

    def receipt_for(self, invoice_id: InvoiceId) -> Receipt | None:
        """The receipt of an invoice that was paid; the directory is read once. Raises as `unfinished`."""
        if self._paid is None:
            self._paid = {
                RECEIPT.load(path).invoice_id: parse_b64(PaymentId, path.stem)
                for path in self._directory.glob("*.receipt")
                if _names_payment(path)
            }
        payment_id = self._paid.get(invoice_id)
        return None if payment_id is None else self.receipt_of(payment_id)

    def begin(self, payment_id: PaymentId, invoice: Invoice) -> None:
        """A payment is about to be created."""
        INVOICE.save(self._path(payment_id, "invoice"), invoice)
        PAYMENT.save(self._path(payment_id, "payment"), PaymentFile(payment_id))

    def sending(self, payment_id: PaymentId, parts: tuple[CreateTransaction, ...]) -> None:
        """Nothing is written down: what has become of the parts, the node tells."""

    def given_up(self, payment_id: PaymentId) -> None:
        """Nobody will be given a commit, also not in a later run."""
        path = self._path(payment_id, "given-up")
        if self._path(payment_id, "payment").exists() and not path.exists():
            save_text(path, "")

    def committed(self, payment_id: PaymentId, commit: Commit) -> None:
        """The seller is about to get the commit."""
        self._save(COMMIT, payment_id, "commit", commit)

    def paid(self, payment_id: PaymentId, receipt: Receipt) -> None:
        """The receipt is there; to be called before the node is told that it may forget the payment."""
        self._save(RECEIPT, payment_id, "receipt", receipt)
        if self._paid is not None:
            self._paid[receipt.invoice_id] = payment_id

    def ended(self, payment_id: PaymentId) -> None:
        """Nothing is left to be done for a payment; invoice and receipt stay where there is a receipt."""
        is_paid = self._path(payment_id, "receipt").exists()
        for suffix in ("payment", "commit", "given-up", *([] if is_paid else ["invoice"])):
            path = self._path(payment_id, suffix)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise IoError(path, error.strerror or str(error)) from None

    def commit_of(self, payment_id: PaymentId) -> Commit | None:
        """The commit of a payment that has not ended, if it is there."""
        path = self._path(payment_id, "commit")
        return COMMIT.load(path) if path.exists() else None

    def receipt_of(self, payment_id: PaymentId) -> Receipt | None:
        """The receipt of a payment, if it is there."""
        path = self._path(payment_id, "receipt")
        return RECEIPT.load(path) if path.exists() else None

    def _save(self, kind: FileKind[T], payment_id: PaymentId, suffix: str, value: T) -> None:
        path = self._path(payment_id, suffix)
        try:
            kind.save(path, value)
        except OutputAlreadyExists:
            if kind.load(path) != value:
                raise OffsetError(f"{path} holds another {suffix} of the same payment") from None

    def _path(self, payment_id: PaymentId, suffix: str) -> Path:
        return self._directory / f"{format_b64(payment_id)}.{suffix}"


def _names_payment(path: Path) -> bool:
    try:
        parse_b64(PaymentId, path.stem)
    except InvalidInput:
        return False
    return True
