"""
The files of one payment of stctrl. Spec 08 §4, 09 §8.

The person names three: the payment file, the commit and the receipt. They hold what the original's do. What else must
not be forgotten is in one file beside the payment file, with ``.progress`` after its name and the mode 0600: the
invoice, the transactions that were sent, and what was promised.

Rules.
1. The progress is written before the payment file, and deleted after it. So a progress without its payment file stands
   for nothing that is open, and a payment file without progress was made by another program.
2. ``is_committed`` is written before the commit file appears, and ``is_given_up`` before anybody is told that nothing
   is paid. Never are both written: whoever wants the one looks for the other under a lock. So a payment that was given
   up is not handed over by another command that runs at the same time.
3. The transactions are written before the node hears of them.

A kill at any moment leaves the files in a state from which each command goes on.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.sdk.journal import JournalEntry
from offset_proto.errors import OffsetError
from offset_proto.files import (
    COMMIT,
    PAYMENT,
    RECEIPT,
    FileKind,
    Invoice,
    IoError,
    OutputAlreadyExists,
    PaymentFile,
    replace_text,
)
from offset_proto.message import frozen
from offset_proto.message_json import SNAKE_CASE, JsonForm, parse_json
from offset_proto.messages.app import CreateTransaction
from offset_proto.messages.extensions import PartReport, PartStateReport
from offset_proto.messages.payment import Commit, Receipt
from offset_proto.types import PaymentId
from offset_proto.uri import PaymentRequest, format_uri

__all__ = ["PaymentFiles", "Progress"]

GROUP: Final = "BuyerError"

LOCK_SECONDS: Final = 2.0
"""Another command holds the lock while it writes a file; one that holds it longer has been stopped."""


@frozen
class Progress:
    """
    How far a payment has come.

    Attributes:
        payment_id: As in the payment file.
        invoice: What is paid.
        invoice_path, commit_path: As the command named them, from the root directory; empty, where it named none.
        parts: The transactions that were sent and have not failed.
        is_committed: The commit file was written, or is just being written.
        is_given_up: No commit will be written.
        is_ended: The node has said that nothing was paid, and has forgotten the payment.
        go_on: How the command was given, but for the two files: the words that name the invoice, and its options. So
            whoever goes on delivers to the same address and pays the same way. Empty in files of an earlier version.
    """

    payment_id: PaymentId
    invoice: Invoice
    invoice_path: str
    commit_path: str
    parts: tuple[CreateTransaction, ...]
    is_committed: bool
    is_given_up: bool
    is_ended: bool
    go_on: tuple[str, ...]


class _ProgressFiles(FileKind[Progress]):
    """Files of an earlier version do not have `Progress.go_on`."""

    def parse(self, text: str) -> Progress:
        value = parse_json(text)
        return self._form.from_value({"go_on": [], **value} if isinstance(value, dict) else value)


PROGRESS: Final = _ProgressFiles(JsonForm(Progress, camel_case=SNAKE_CASE), secret=True)


class PaymentFiles:
    """
    The files of the payment whose payment file is at *payment*.

    It is the record of a payment of the SDK (`offset_ctrl.sdk.journal.PaymentRecord`). All methods raise IoError where
    a file can not be read or written, and StringSerdeError where it holds something else.

    Args:
        payment: Path of the payment file.
        invoice: Where the invoice is, for a payment that begins; None: it was given as a text.
        commit: Where a commit is to go; None: where the progress says.
        receipt: Where a receipt is to go; None: nobody has asked for it, and it is left to the node.
        words: For a payment that begins, what its command says beside the two files that it makes.
    """

    def __init__(
        self,
        payment: Path,
        *,
        invoice: Path | None = None,
        commit: Path | None = None,
        receipt: Path | None = None,
        words: tuple[str | Path, ...] = (),
    ) -> None:
        self.payment = payment
        self.progress_path = payment.with_name(payment.name + ".progress")
        self._invoice = invoice
        self._commit = commit
        self._receipt = receipt
        self._words = words

    def progress(self) -> Progress | None:
        """How far the payment has come; None where it is not open, or was begun by another program."""
        if not self.payment.exists() or not self.progress_path.exists():
            return None
        return PROGRESS.load(self.progress_path)

    def entry(self, progress: Progress) -> JournalEntry:
        """The payment of an earlier command, for `Payment.resume`; without commit, as that is asked for again."""
        return JournalEntry(progress.payment_id, progress.invoice, None, progress.is_given_up, progress.parts)

    @property
    def wants_commit(self) -> bool:
        """Whether the command has said where a commit is to go."""
        return self._commit is not None

    def pay_words(self) -> tuple[str | Path, ...]:
        """The command that pays, with the files as they were named."""
        assert self._commit is not None
        return _pay_words(self._words, self.payment, self._commit)

    def go_on_words(self, progress: Progress) -> tuple[str | Path, ...]:
        """The command that goes on to pay, as it was given when the payment began."""
        words: tuple[str | Path, ...] = progress.go_on
        if not words:
            path = progress.invoice_path
            words = ("-i", path) if path else ("--text", format_uri(PaymentRequest(progress.invoice)))
        return _pay_words(words, self.payment, progress.commit_path)

    def part(self, request: CreateTransaction) -> PartReport:
        """A part, as far as the files know it: it may be frozen, since the progress was written."""
        try:
            since = int(self.progress_path.stat().st_mtime)
        except OSError:
            since = 0
        return PartReport(
            request.request_id, request.route, request.dest_payment, request.fees, PartStateReport.FROZEN, since
        )

    def commit_path(self, progress: Progress | None) -> Path | None:
        """Where the commit is, or is to go."""
        if self._commit is None and progress is not None:
            return Path(progress.commit_path)
        return self._commit

    # The record of a payment.

    def begin(self, payment_id: PaymentId, invoice: Invoice) -> None:
        """The node is about to hear of the payment."""
        self.adopt(payment_id, invoice)
        PAYMENT.save(self.payment, PaymentFile(payment_id))

    def adopt(self, payment_id: PaymentId, invoice: Invoice) -> Progress:
        """Begin to keep the progress of a payment that another program has begun."""
        invoice_path, commit_path = (
            "" if path is None else str(path.absolute()) for path in (self._invoice, self._commit)
        )
        progress = Progress(
            payment_id,
            invoice,
            invoice_path,
            commit_path,
            (),
            is_committed=False,
            is_given_up=False,
            is_ended=False,
            go_on=tuple(str(word.absolute()) if isinstance(word, Path) else word for word in self._words),
        )
        self._write(progress)
        return progress

    def sending(self, payment_id: PaymentId, parts: tuple[CreateTransaction, ...]) -> None:
        """The node is about to hear of some of these."""
        with self._locked() as progress:
            self._write(replace(progress, parts=parts))

    def given_up(self, payment_id: PaymentId) -> None:
        """
        No commit will be written.

        Raises:
            CommandError: It was written already, and the seller may have it.
        """
        if not self.payment.exists():
            return  # it was not begun
        with self._locked() as progress:
            if progress.is_committed:
                raise CommandError(GROUP, f"CommitMayBeHandedOver({progress.commit_path})")
            self._write(replace(progress, is_given_up=True))

    def committed(self, payment_id: PaymentId, commit: Commit) -> None:
        """
        Write the commit.

        Raises:
            CommandError: The payment was given up; or there is another file where the commit is to go.
        """
        if self._commit is not None and self.progress() is None:  # another program has begun the payment
            COMMIT.save(self._commit, commit)
            return
        with self._locked() as progress:
            if progress.is_given_up:
                raise CommandError(GROUP, "PaymentGivenUp(no commit is handed out)")
            path = self.commit_path(progress)
            assert path is not None
            self._write(replace(progress, is_committed=True, commit_path=str(path.absolute())))
            try:
                COMMIT.save(path, commit)
            except OutputAlreadyExists:
                if COMMIT.load(path) != commit:
                    raise CommandError(GROUP, f"CommitFileAlreadyExists({path})") from None

    def paid(self, payment_id: PaymentId, receipt: Receipt) -> None:
        """
        Write the receipt.

        Raises:
            OffsetError: Nobody has said where; the node must not be told that it may forget the payment.
        """
        if self._receipt is None:
            raise OffsetError("there is no place for the receipt")
        RECEIPT.save(self._receipt, receipt)

    def ended(self, payment_id: PaymentId) -> None:
        """The node has forgotten the payment. Where something was sent for it, the files stay, and say so."""
        progress = self.progress()
        if progress is None or not progress.parts:
            self.remove()
        else:
            self._write(replace(progress, is_ended=True))

    def receipt_of(self, payment_id: PaymentId) -> Receipt | None:
        """There is none: a payment with a receipt has no payment file."""
        return None

    def remove(self) -> None:
        """
        Nothing is left to be done for the payment.

        Raises:
            CommandError: RemovePaymentError: a file can not be deleted.
        """
        for path in (self.payment, self.progress_path):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise CommandError(GROUP, f"RemovePaymentError({path}: {error.strerror})") from None

    # Inside.

    def _write(self, progress: Progress) -> None:
        try:
            replace_text(self.progress_path, PROGRESS.format(progress))
        except OSError as error:
            raise IoError(self.progress_path, error.strerror or str(error)) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Progress]:
        """The progress, which no other command changes meanwhile."""
        end = time.monotonic() + LOCK_SECONDS
        try:
            descriptor = os.open(self.payment.parent, os.O_RDONLY)
        except OSError as error:
            raise IoError(self.payment.parent, error.strerror or str(error)) from None
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise IoError(self.progress_path, "another command keeps it locked") from None
                    time.sleep(0.01)
            progress = self.progress()
            if progress is None:
                raise IoError(self.progress_path, "another command has deleted it")
            yield progress
        finally:
            os.close(descriptor)


def _pay_words(words: tuple[str | Path, ...], payment: Path, commit: Path | str) -> tuple[str | Path, ...]:
    """The command of *words*, of which the first two name the invoice."""
    return ("buyer", "pay-invoice", *words[:2], "-p", payment, "-c", commit, *words[2:])
