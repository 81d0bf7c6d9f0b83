"""
stctrl buyer: pay an invoice, or give that up. Spec 09 §8.

A payment is one of the SDK (`offset_ctrl.sdk.payment`), and its record are the files that the person names. So it
is split, sent again over other routes, and remembered, as that of any other app. The command waits for it, and does
not own it: where the command ends before the payment, nothing is given up, and the same command goes on.
"""

import asyncio
import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.delivering import address_of, hand_over
from offset_ctrl.programs.stctrl.history import payment_note
from offset_ctrl.programs.stctrl.payment_files import PaymentFiles, Progress
from offset_ctrl.programs.stctrl.payment_plan import tell_plan
from offset_ctrl.programs.stctrl.payment_status import acknowledge
from offset_ctrl.programs.stctrl.session import NOTHING, CommandError, given, load, show
from offset_ctrl.programs.stctrl.waiting import (
    command_line,
    describe_parts,
    showing,
    tell_next,
    tell_not_finished,
    why_waiting,
)
from offset_ctrl.programs.table import printable
from offset_ctrl.programs.texts import TextOutput, request_lines
from offset_ctrl.rules.open_reports import waiting_parts
from offset_ctrl.rules.routes import direct_route
from offset_ctrl.sdk.failures import AlreadyPaid, FeesTooHigh, NoIndexServer, NoRoute, PaymentFailed
from offset_ctrl.sdk.payment import Payment, PayOptions
from offset_ctrl.sdk.reasons import why_no_route
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, INVOICE, PAYMENT, Invoice
from offset_proto.messages.app import Canceled, PaymentNotFound, PaymentStatusSuccess, RequestClosePayment
from offset_proto.messages.extensions import Extension, OpenPaymentReport, PaymentStageReport
from offset_proto.messages.history import NotePayment
from offset_proto.messages.index import MultiRoute
from offset_proto.text import format_b64
from offset_proto.types import U32
from offset_proto.uri import PaymentRequest, format_uri

__all__ = ["failure_words", "give_up", "pay_invoice"]

GROUP: Final = "BuyerError"

ROUTE_TICKS: Final = 5
"""To go on asking where index servers know no route yet, and to try a route again that has failed."""

CLOSE_SECONDS: Final = 2.0
"""For a payment that has failed or is complete, to be closed at the node; otherwise that is left to payment-status."""


WHY_SECONDS: Final = 3.0
"""To find out why there is no way, once the time of a payment is over."""


async def pay_invoice(
    session: NodeSession,
    invoice_path: Path | None,
    payment: Path | None,
    commit: Path | None,
    *,
    extra_fees: U32,
    timeout: float,
    dry_run: bool = False,
    direct: bool = False,
    asked: PaymentRequest | None = None,
    output: TextOutput = NOTHING,
    note: str | None = None,
    receipt: Path | None = None,
    delivers: bool = False,
) -> int | None:
    """
    Pay, and write the commit for the seller; where *payment* is there, go on with it. No credit has moved until then.

    Args:
        session: To the node.
        invoice_path: What is to be paid; None: what is *asked* for.
        payment, commit: Where these files go; None with *dry_run*.
        extra_fees: Credits offered beyond what the index server says.
        timeout: Seconds to wait for the commit.
        dry_run: Only say what would be paid over which routes.
        direct: Take no route but that to the seller with nobody in between, and ask no index server.
        asked: A payment request that was given as a text.
        output: How the commit is shown, once it is written.
        note: For ourselves; our node keeps it, where it keeps any. By default, what the text says it is for.
        receipt: Where the receipt goes, if the commit is delivered; None: it is left to the node.
        delivers: Deliver the commit, where what is *asked* for names an address.

    Returns:
        None where the commit is there, or is delivered and the receipt is there; `NOT_FINISHED` where one of them is
        not after *timeout* seconds.

    Raises:
        CommandError: Nothing was paid, and why.
    """
    address = address_of(asked, receipt, delivers=delivers)
    if not session.permissions.routes:
        raise CommandError(GROUP, "AppRoutesError(the ticket of this app has no permission 'routes')")
    route_seconds = min(timeout, ROUTE_TICKS * session.tick_seconds)
    options = PayOptions(timeout=None, route_seconds=route_seconds, extra_fees=extra_fees)
    if asked is not None:
        _tell_request(asked)
    invoice = given(GROUP, INVOICE, invoice_path, None if asked is None else asked.invoice, "IoError")
    if direct:
        options = replace(options, routes=_direct_routes(session, invoice))
    if dry_run:
        await _tell_plan(session, invoice, options)
        return None
    assert payment is not None
    assert commit is not None
    note = payment_note(session, asked, note)
    words = _words_of(invoice_path, asked, receipt, extra_fees, direct=direct, by_hand=address is None)
    files = PaymentFiles(payment, invoice=invoice_path, commit=commit, words=words)
    go_on = command_line(*files.pay_words())
    status = await _pay(session, files, invoice, options, timeout, go_on=go_on, note=note)
    if status is not None:
        return status
    path = files.commit_path(files.progress()) or commit
    if address is not None:
        return await hand_over(session, address, (payment, path, receipt), output, timeout, go_on)
    if output.is_wanted:
        show(GROUP, output, load(GROUP, COMMIT, path, "IoError"))
    tell_next(payment, path)
    return None


def _words_of(
    invoice_path: Path | None,
    asked: PaymentRequest | None,
    receipt: Path | None,
    extra_fees: U32,
    *,
    direct: bool,
    by_hand: bool,
) -> tuple[str | Path, ...]:
    """What the command says beside the payment file and the commit, to be given again; first what names the invoice."""
    words: list[str | Path] = []
    if invoice_path is not None:
        words += ["-i", invoice_path]
    elif asked is not None:
        words += ["--text", format_uri(asked)]
        if by_hand and asked.delivery is not None:
            words.append("--by-hand")
    if receipt is not None:
        words += ["-r", receipt]
    if extra_fees:
        words += ["--extra-fees", str(extra_fees)]
    if direct:
        words.append("--direct")
    return tuple(words)


async def _tell_plan(session: NodeSession, invoice: Invoice, options: PayOptions) -> None:
    try:
        await tell_plan(session, invoice, options)
    except PaymentFailed as error:
        raise CommandError(GROUP, *failure_words(error)) from None


def _direct_routes(session: NodeSession, invoice: Invoice) -> tuple[MultiRoute, ...]:
    seller = invoice.dest_public_key
    if seller not in session.report.friends:
        raise CommandError(GROUP, "NoSuitableRoute", "the seller is no friend of this node, so no route is direct")
    return direct_route(session.report.local_public_key, seller)


def _tell_request(asked: PaymentRequest) -> None:
    invoice = asked.invoice
    currency = printable(invoice.currency)
    click.echo(f"Asked for: {invoice.dest_payment} {currency} to {format_b64(invoice.dest_public_key)}")
    for line in request_lines(asked):
        click.echo(line)
    if asked.end is not None and asked.end <= time.time():
        click.echo("By the clock here, the seller's node has cancelled this invoice already.", err=True)


async def _pay(
    session: NodeSession,
    files: PaymentFiles,
    invoice: Invoice,
    options: PayOptions,
    timeout: float,
    *,
    go_on: str,
    note: str | None,
) -> int | None:
    try:
        async with asyncio.timeout(timeout):
            paying = await _begin(session, files, invoice, options)
            if paying is not None and note is not None:
                await session.request(NotePayment(paying.payment_id, note))
    except TimeoutError:
        why = "the node has not answered" if session.is_connected else session.why_away
        click.echo(f"nothing was done within {timeout:g} s: {why}", err=True)
        return tell_not_finished(session.report, (), go_on)
    if paying is None:
        return None
    task = asyncio.ensure_future(paying.run())
    try:
        async with showing(lambda: _words(paying)):
            await paying.commit(timeout)
    except (TimeoutError, asyncio.CancelledError) as error:
        is_over = isinstance(error, TimeoutError)
        words = await _why_in_vain(session, paying, options) if is_over else None
        status = _tell_waiting(session, paying, files.payment, timeout if is_over else None, go_on=go_on, words=words)
        if not is_over:
            raise  # Ctrl-C
        return status
    except PaymentFailed as error:
        await _wait_for_close(session, paying, files.payment)
        raise CommandError(GROUP, *failure_words(error)) from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    click.echo(f"Total fees: {paying.fees}")
    click.echo("Payment successful!")
    with contextlib.suppress(OffsetError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await session.request(RequestClosePayment(paying.payment_id))
    return None


async def _why_in_vain(session: NodeSession, paying: Payment, options: PayOptions) -> str | None:
    """Why no way was found so far, as --dry-run would say it; None: there was one, or nobody can say in a moment."""
    if paying.parts or paying.tried.fruitful or paying.tried.failed or not session.is_connected:
        return None
    try:
        async with asyncio.timeout(WHY_SECONDS):
            failure = await why_no_route(session, paying.invoice, options.routes)
    except (OffsetError, TimeoutError):
        return None
    return None if type(failure) is NoRoute and str(failure) == str(NoRoute()) else str(failure)


def _tell_waiting(
    session: NodeSession,
    paying: Payment,
    payment: Path,
    timeout: float | None,
    *,
    go_on: str,
    words: str | None,
) -> int:
    """Say why there is no commit yet, what is frozen, and what can be done later; the exit status."""
    until = "yet" if timeout is None else f"within {timeout:g} s"
    away = None if session.is_connected else session.why_away
    why = words or why_waiting(paying.tried, paying.parts, paying.invoice, away)
    click.echo(f"no commit {until}: {printable(why)}", err=True)
    look = command_line("buyer", "payment-status", "-p", payment)
    return tell_not_finished(session.report, paying.parts, go_on, look)


def _words(payment: Payment) -> str:
    return describe_parts(payment.parts, payment.invoice.dest_payment, payment.invoice.currency)


async def _begin(session: NodeSession, files: PaymentFiles, invoice: Invoice, options: PayOptions) -> Payment | None:
    """The payment, new or where an earlier command has stopped; None where its commit is there."""
    progress = files.progress()
    if progress is not None and progress.invoice == invoice and progress.is_ended:
        files.remove()  # nothing was paid, so it may be paid anew
    if not files.payment.exists():
        commit = files.commit_path(None)
        if commit is not None and commit.exists():
            raise CommandError(GROUP, f"CommitFileAlreadyExists({commit})")
        return Payment(session, files, invoice, options)
    if progress is None:
        progress = await _adopt(session, files, invoice)
    if progress.invoice != invoice:
        raise CommandError(GROUP, f"PaymentFileAlreadyExists({files.payment})", "it pays another invoice")
    if progress.is_given_up:
        go_on = command_line("buyer", "payment-status", "-p", files.payment)
        raise CommandError(GROUP, f"PaymentGivenUp({files.payment})", f"how it ends is told by {go_on}")
    if progress.is_committed and Path(progress.commit_path).exists():
        click.echo("Payment successful!")
        click.echo(f"The commit is in {progress.commit_path}; hand it to the seller, who collects with it.")
        return None
    if Extension.OPEN_PAYMENTS in session.extensions:
        await session.follow_payments()
        report = session.payments.reports.get(progress.payment_id)
        if report is not None and report.stage in (PaymentStageReport.PAID, PaymentStageReport.ACKNOWLEDGED):
            receipt = files.payment.with_suffix(".receipt")
            saves = command_line("buyer", "payment-status", "-p", files.payment, "-r", receipt)
            raise CommandError(GROUP, "AlreadyPaid", f"the seller has collected; the receipt is saved by {saves}")
    return Payment.resume(session, files, files.entry(progress), options, go_on=True)


async def _adopt(session: NodeSession, files: PaymentFiles, invoice: Invoice) -> Progress:
    """
    Go on with a payment that another program has begun, where the node says how far it is.

    Raises:
        CommandError: It can not be told whether the payment is open, or is one of this invoice.
    """
    payment_id = load(GROUP, PAYMENT, files.payment, "IoError").payment_id
    name = f"PaymentFileAlreadyExists({files.payment})"
    if Extension.OPEN_PAYMENTS not in session.extensions:
        raise CommandError(GROUP, name, "another program has begun it, and this node does not tell how far it is")
    await session.follow_payments()
    report = session.payments.reports.get(payment_id)
    if report is None or report.opt_target is None:
        look = command_line("buyer", "payment-status", "-p", files.payment)
        raise CommandError(GROUP, name, f"the node knows of no open payment of this file; see {look}")
    if report.opt_target.invoice_id != invoice.invoice_id:
        raise CommandError(GROUP, name, "it pays another invoice")
    return files.adopt(payment_id, invoice)


async def _wait_for_close(session: NodeSession, paying: Payment, payment: Path) -> None:
    """A payment that has failed: usually nothing is frozen any more; otherwise say what is."""
    try:
        await paying.ended(CLOSE_SECONDS)
    except TimeoutError:
        tell_not_finished(session.report, paying.parts, command_line("buyer", "payment-status", "-p", payment))


def failure_words(error: PaymentFailed) -> tuple[str, str]:
    """The original's name for a failure, and what it means here."""
    match error:
        case NoIndexServer():
            name = "AppRoutesError"
        case NoRoute() | FeesTooHigh():
            name = "NoSuitableRoute"
        case AlreadyPaid():
            name = "AlreadyPaid"
        case _:
            name = "CreateTransactionFailed"
    return name, printable(str(error))


async def give_up(session: NodeSession, payment: Path, *, timeout: float) -> int | None:
    """
    Give a payment up: no further parts are sent, queued ones are cancelled, and no commit is ever written.

    Returns:
        None where nothing is open any more, and `NOT_FINISHED` where something is frozen after *timeout* seconds.

    Raises:
        CommandError: The seller may have the commit, so the payment can not be given up.
    """
    files = PaymentFiles(payment)
    payment_id = load(GROUP, PAYMENT, payment, "IoError").payment_id
    progress = files.progress()
    if progress is not None and progress.is_ended:
        click.echo("Payment was canceled.")
        files.remove()
        return None
    if progress is not None:
        if Path(progress.commit_path).exists():
            raise CommandError(GROUP, f"CommitMayBeHandedOver({progress.commit_path})")
        files.given_up(payment_id)
    if Extension.GIVE_UP not in session.extensions:
        click.echo("This node can only close the payment: what is still queued is sent all the same.", err=True)
    try:
        async with showing(lambda: "the payment is given up; waits until nothing is frozen"), asyncio.timeout(timeout):
            if Extension.OPEN_PAYMENTS in session.extensions:
                await session.follow_payments()
                if progress is None:
                    _check_no_commit(session.payments.reports.get(payment_id))
            status = (await session.close_payment(payment_id, give_up=True)).status
    except TimeoutError:
        report = session.payments.reports.get(payment_id)
        parts = () if report is None else waiting_parts(report)
        return tell_not_finished(session.report, parts, command_line("buyer", "give-up", "-p", payment))
    match status:
        case PaymentStatusSuccess():
            go_on = command_line("buyer", "payment-status", "-p", payment, "-r", payment.with_suffix(".receipt"))
            raise CommandError(GROUP, "PaymentSucceeded", f"the seller has collected; the receipt is saved by {go_on}")
        case Canceled(ack_uid):
            await acknowledge(session, payment_id, ack_uid)
            click.echo("Payment was canceled.")
        case PaymentNotFound():
            click.echo("Payment could not be found")
    files.remove()
    return None


def _check_no_commit(report: OpenPaymentReport | None) -> None:
    """Another program has begun the payment; whether it has its commit, only the node can tell."""
    if report is None or report.opt_commit is not None:
        words = "another program has begun this payment, and may have its commit"
        raise CommandError(GROUP, "CommitMayBeHandedOver", words)
