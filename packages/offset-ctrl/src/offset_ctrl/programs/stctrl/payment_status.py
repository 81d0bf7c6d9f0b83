"""
stctrl buyer payment-status: where a payment stands, and how it ended. Spec 09 §8.2.

The command asks, and changes nothing but this: it writes the files that it is asked for, and once they are written it
lets the node forget a payment that has ended.

To ask an original's node how a payment ended also closes the payment there: no further parts can be sent. So that
node is asked only where the payment needs no further parts, because its commit is there, because it was given up, or
because another program began it (the original closes a payment as soon as all parts are sent). Otherwise the parts are
sent once more under their old ids, which an original answers with the results that it has. It does so only until the
payment is closed: a commit that was not written by then is lost. So the commit is written before the payment is closed
there, also where it was not asked for.

What is said of a payment that has an end is what the original says.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from offset_ctrl.connection.client import ConnectionClosed
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.payment_files import PaymentFiles, Progress
from offset_ctrl.programs.stctrl.session import NOTHING, CommandError, load, show
from offset_ctrl.programs.stctrl.waiting import (
    NOT_FINISHED,
    command_line,
    describe_parts,
    describe_stage,
    part_json,
    showing,
    tell_not_finished,
)
from offset_ctrl.programs.table import shown_json
from offset_ctrl.programs.texts import TextOutput
from offset_ctrl.rules.open_reports import waiting_parts
from offset_ctrl.rules.payment import PaymentState, advance, event_of_end
from offset_ctrl.rules.proofs import InvalidProof, check_commit, check_receipt
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, PAYMENT, RECEIPT
from offset_proto.messages.app import (
    AckClosePayment,
    Complete,
    PaymentNotFound,
    PaymentStatus,
    PaymentStatusSuccess,
    TransactionResult,
)
from offset_proto.messages.extensions import (
    Extension,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
)
from offset_proto.messages.payment import Commit
from offset_proto.text import format_b64
from offset_proto.types import PaymentId, Uid

__all__ = ["acknowledge", "payment_status"]

GROUP: Final = "BuyerError"

_ENDS: Final = {
    PaymentState.PAID: "Payment succeeded. Saving receipt to file.",
    PaymentState.FAILED: "Payment was canceled.",
    PaymentState.UNKNOWN: "Payment could not be found",
}
"""What a person reads of a payment that the node has spoken of."""

ANSWER_SECONDS: Final = 1.0
"""To hear of an end that the node has already, however short the wait for others is to be."""


async def payment_status(
    session: NodeSession,
    payment: Path,
    receipt: Path | None = None,
    commit: Path | None = None,
    *,
    close: bool = False,
    timeout: float = 1.0,
    as_json: bool = False,
    output: TextOutput = NOTHING,
) -> int | None:
    """
    Say where a payment stands; save the commit as soon as there is one, and the receipt when it is paid.

    Args:
        session: To the node.
        payment: The payment file; deleted once the payment has ended and all that was asked for is saved.
        receipt, commit: Where they go; None: they are not saved.
        close: Let no further parts be sent.
        timeout: Seconds to wait for the end.
        as_json: Print JSON.
        output: How the receipt is shown, once it is saved; or the commit, as long as the payment is open.

    Returns:
        None where the payment has an end, and `NOT_FINISHED` where it has none.

    Raises:
        CommandError: A file is wrong, or the node does not answer.
    """
    if receipt is not None and receipt.exists():
        raise CommandError(GROUP, f"ReceiptFileAlreadyExists({receipt})")
    files = PaymentFiles(payment, commit=commit, receipt=receipt)
    payment_id = load(GROUP, PAYMENT, payment, "IoError").payment_id
    progress = files.progress()
    if progress is not None and progress.is_ended:
        _print_end(PaymentState.FAILED, payment_id, None, as_json=as_json)
        files.remove()
        return None
    look = _Look(session, files, payment_id, may_close=close)
    try:
        async with showing(look.words):
            status = await look.until_end(timeout, ends_with_commit=commit is not None)
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"RequestClosePaymentError({error})") from None
    if status is None:
        if Extension.OPEN_PAYMENTS in session.extensions and not session.payments.snapshots:
            raise CommandError(GROUP, f"RequestClosePaymentError(the node has not answered within {timeout:g} seconds)")
        told = _tell_open(look, payment, receipt, as_json=as_json)
        path = files.commit_path(files.progress())
        if path is not None and path.exists():
            show(GROUP, output, load(GROUP, COMMIT, path, "IoError"))
        return told
    await _finish(session, files, receipt, payment_id, status, as_json=as_json)
    if receipt is not None and isinstance(status, PaymentStatusSuccess):
        show(GROUP, output, status.receipt)
    return None


class _Look:
    """A payment, seen from outside: its end, its commit, and its parts."""

    def __init__(self, session: NodeSession, files: PaymentFiles, payment_id: PaymentId, *, may_close: bool) -> None:
        self.session = session
        self.files = files
        self.payment_id = payment_id
        self.commit: Commit | None = None
        self._progress = files.progress()
        self._closes = asyncio.Event()
        self._has_commit = asyncio.Event()
        self._results: asyncio.Queue[TransactionResult] = asyncio.Queue()
        self._is_told = Extension.OPEN_PAYMENTS in session.extensions
        if self._progress is None:
            self._needs_no_parts = not self._is_told
        else:
            has_commit = self._progress.is_committed and Path(self._progress.commit_path).exists()
            self._needs_no_parts = has_commit or self._progress.is_given_up
        self._writes_commit = files.wants_commit or (may_close and not self._is_told and self._progress is not None)
        if may_close or self._needs_no_parts:
            self._closes.set()

    @property
    def progress(self) -> Progress | None:
        """What the files say."""
        return self._progress

    @property
    def report(self) -> OpenPaymentReport | None:
        """What the node says is open of the payment, where it does."""
        return self.session.payments.reports.get(self.payment_id)

    @property
    def parts(self) -> tuple[PartReport, ...]:
        """The parts that have no end, as far as anybody knows them."""
        if self.report is not None or self._progress is None:
            return () if self.report is None else waiting_parts(self.report)
        parts = map(self.files.part, self._progress.parts)
        if self.commit is not None:
            return tuple(replace(part, state=PartStateReport.ANSWERED) for part in parts)
        return tuple(parts)

    def words(self) -> str:
        """Where the payment stands, for a person."""
        stage = PaymentStageReport.SENDING if self.report is None else self.report.stage
        is_given_up = self._progress is not None and self._progress.is_given_up
        has_commit = self.commit is not None
        waits_for = describe_stage(stage, has_parts=bool(self.parts), has_commit=has_commit, is_given_up=is_given_up)
        target = None if self.report is None else self.report.opt_target
        if target is not None:
            return f"{describe_parts(self.parts, target.total_dest_payment, target.currency)}; {waits_for}"
        if self._progress is not None:
            invoice = self._progress.invoice
            return f"{describe_parts(self.parts, invoice.dest_payment, invoice.currency)}; {waits_for}"
        return waits_for

    async def until_end(self, timeout: float, *, ends_with_commit: bool) -> PaymentStatus | None:
        """How the payment ended; None where it has not within *timeout* seconds, or where a commit was asked for."""
        if not self._is_told and self._progress is not None and not self._needs_no_parts:
            for request in self._progress.parts:  # before it is closed
                self.session.start_transaction(request, self._results)
        ending = asyncio.ensure_future(self._end())
        watching = asyncio.ensure_future(self._watch_reports() if self._is_told else self._watch_results())
        tasks: list[asyncio.Future[Any]] = [ending, watching]
        if ends_with_commit:
            tasks.append(asyncio.ensure_future(self._has_commit.wait()))
        try:
            await asyncio.wait(tasks, timeout=max(timeout, ANSWER_SECONDS), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # raises: it never ends by itself
            return ending.result() if ending.done() else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> PaymentStatus:
        await self._closes.wait()
        is_given_up = self._progress is not None and self._progress.is_given_up
        return (await self.session.close_payment(self.payment_id, give_up=is_given_up)).status

    async def _watch_reports(self) -> None:
        await self.session.follow_payments()
        while True:
            report = self.report
            if report is not None and report.opt_commit is not None:
                self._take(report.opt_commit)
            if report is None or report.stage is not PaymentStageReport.SENDING:
                self._closes.set()  # it is closed already, or there is nothing to be closed
            await self.session.open_changed(60)

    async def _watch_results(self) -> None:
        """Ask an original's node for the results of what was sent before."""
        while True:
            result = (await self._results.get()).result
            if isinstance(result, Complete):
                self._take(result.commit)
                if self._writes_commit:
                    self._closes.set()

    def _take(self, commit: Commit) -> None:
        if self.commit is not None or (self._progress is not None and self._progress.is_given_up):
            return
        if self._progress is not None:
            check_commit(commit, self._progress.invoice)
        if self._writes_commit:
            self.files.committed(self.payment_id, commit)
        self.commit = commit
        self._has_commit.set()


def _tell_open(look: _Look, payment: Path, receipt: Path | None, *, as_json: bool) -> int:
    progress = look.files.progress()
    path = look.files.commit_path(progress)
    is_written = path is not None and path.exists()
    if as_json:
        value = {
            "payment_id": format_b64(look.payment_id),
            "state": "open",
            "waits_for": look.words(),
            "stage": None if look.report is None else look.report.stage.value,
            "given_up": progress is not None and progress.is_given_up,
            "commit": str(path) if is_written else None,
            "has_commit": is_written or look.commit is not None,
            "parts": [part_json(look.session.report, part) for part in look.parts],
        }
        click.echo(shown_json(value))
    else:
        click.echo(f"Payment is open: {look.words()}")
        if is_written:
            click.echo(f"The commit is in {path}; the seller collects with it.")
        elif look.commit is not None:
            click.echo("There is a commit; -c FILE writes it.")
    saves = receipt if receipt is not None else payment.with_suffix(".receipt")
    go_on = command_line("buyer", "payment-status", "-p", payment, "-r", saves)
    if progress is not None and not is_written and not progress.is_given_up and progress.commit_path:
        go_on = command_line(*look.files.go_on_words(progress))
    if as_json:
        return NOT_FINISHED
    return tell_not_finished(look.session.report, look.parts, go_on)


async def _finish(
    session: NodeSession,
    files: PaymentFiles,
    receipt: Path | None,
    payment_id: PaymentId,
    status: PaymentStatus,
    *,
    as_json: bool,
) -> None:
    state, _ = advance(PaymentState.UNKNOWN, event_of_end(status))
    if isinstance(status, PaymentStatusSuccess):  # on disk before the node may forget it
        progress = files.progress()
        try:
            if progress is not None:
                check_receipt(status.receipt, progress.invoice)
        except InvalidProof as error:
            words = f"{error.words}; the node keeps it" if error.words else "the node keeps this receipt"
            raise CommandError(GROUP, error.name, words) from None
        if receipt is None:
            _print_end(state, payment_id, None, as_json=as_json, text="Payment succeeded; -r FILE saves the receipt.")
            return
    _print_end(state, payment_id, receipt if state is PaymentState.PAID else None, as_json=as_json)
    if isinstance(status, PaymentStatusSuccess):
        assert receipt is not None
        _save(receipt, status)
    if not isinstance(status, PaymentNotFound):
        await acknowledge(session, payment_id, status.ack_uid)
    files.remove()


def _save(receipt: Path, status: PaymentStatusSuccess) -> None:
    try:
        RECEIPT.save(receipt, status.receipt)
    except OffsetError as error:
        raise CommandError(GROUP, str(error)) from None


def _print_end(
    state: PaymentState, payment_id: PaymentId, receipt: Path | None, *, as_json: bool, text: str = ""
) -> None:
    if not as_json:
        click.echo(text or _ENDS[state])
        return
    names = {PaymentState.PAID: "paid", PaymentState.FAILED: "canceled", PaymentState.UNKNOWN: "not_found"}
    value = {
        "payment_id": format_b64(payment_id),
        "state": names[state],
        "receipt": None if receipt is None else str(receipt),
    }
    click.echo(shown_json(value))


async def acknowledge(session: NodeSession, payment_id: PaymentId, ack_uid: Uid) -> None:
    """
    Let the node forget a payment.

    Raises:
        CommandError: AckClosePaymentError: it does not answer; the next command acknowledges again.
    """
    try:
        await session.request(AckClosePayment(payment_id, ack_uid))
    except OffsetError as error:
        raise CommandError(GROUP, f"AckClosePaymentError({error})") from None
