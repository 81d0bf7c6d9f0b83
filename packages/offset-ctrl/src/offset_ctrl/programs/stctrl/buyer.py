"""
stctrl buyer: pay an invoice, and see how the payment ended. Spec 09 §8.

Each command sees a part of the payment's life, and asks the table of `offset_ctrl.rules.payment` what an event changes.
For the first command the payment is SENDING. When the second one starts, the seller may have the commit and nobody has
said how the payment ended, so it is UNKNOWN.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from offset_ctrl.connection.client import ConnectionClosed, NodeConnection, RoutesUnavailable
from offset_ctrl.programs.stctrl.session import CommandError, load
from offset_ctrl.rules.payment import PaymentEffect, PaymentEvent, PaymentState, advance, event_of_end
from offset_ctrl.rules.routes import RouteChoice, choose_routes
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, INVOICE, PAYMENT, RECEIPT, Invoice, PaymentFile
from offset_proto.messages.app import (
    AckClosePayment,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    RequestClosePayment,
    ResponseClosePayment,
    Success,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.messages.payment import Commit
from offset_proto.rate import FeeOverflow
from offset_proto.types import PaymentId, Uid

__all__ = ["pay_invoice", "payment_status"]

GROUP = "BuyerError"

_ENDS: Final = {
    PaymentState.PAID: "Payment succeeded. Saving receipt to file.",
    PaymentState.FAILED: "Payment was canceled.",
    PaymentState.UNKNOWN: "Payment could not be found",
}
"""What a person reads of a payment that the node has spoken of."""


async def pay_invoice(
    node: NodeConnection, invoice_path: Path, payment: Path, commit: Path, *, extra_fees: int
) -> None:
    """Find routes, pay, and write the commit for the seller. No credit has moved until the seller commits."""
    if payment.exists():
        raise CommandError(GROUP, f"PaymentFileAlreadyExists({payment})")
    if commit.exists():
        raise CommandError(GROUP, f"CommitFileAlreadyExists({commit})")
    invoice = load(GROUP, INVOICE, invoice_path, "IoError")
    choice = await _find_routes(node, invoice, extra_fees)
    click.echo(f"Total fees: {choice.total_fees}")
    payment_id = PaymentId(os.urandom(PaymentId.SIZE))
    _save(lambda: PAYMENT.save(payment, PaymentFile(payment_id)))
    result = await _pay(node, invoice, choice, payment_id)
    click.echo("Payment successful!")
    _save(lambda: COMMIT.save(commit, result))


async def _find_routes(node: NodeConnection, invoice: Invoice, extra_fees: int) -> RouteChoice:
    asked = RequestRoutes(
        request_id=Uid(os.urandom(Uid.SIZE)),
        currency=invoice.currency,
        capacity=invoice.dest_payment,
        source=node.report.local_public_key,
        destination=invoice.dest_public_key,
        opt_exclude=None,
    )
    try:
        choice = choose_routes(await node.request_routes(asked), invoice.dest_payment, extra_fees)
    except (RoutesUnavailable, ConnectionClosed) as error:
        raise CommandError(GROUP, f"AppRoutesError({error})") from None
    except FeeOverflow as error:
        raise CommandError(GROUP, f"NoSuitableRoute({error})") from None
    if choice is None:
        raise CommandError(GROUP, "NoSuitableRoute")
    return choice


async def _pay(node: NodeConnection, invoice: Invoice, choice: RouteChoice, payment_id: PaymentId) -> Commit:
    created = CreatePayment(
        payment_id, invoice.invoice_id, invoice.currency, invoice.dest_payment, invoice.dest_public_key
    )
    try:
        await node.request(created)
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"CreatePaymentFailed({error})") from None
    results: asyncio.Queue[TransactionResult] = asyncio.Queue()
    closed = node.expect_close(payment_id)
    try:
        for part in choice.parts:
            request_id = Uid(os.urandom(Uid.SIZE))
            route = FriendsRoute(part.public_keys)
            node.start_transaction(
                CreateTransaction(payment_id, request_id, route, part.dest_payment, part.fees), results
            )
        await node.request(RequestClosePayment(payment_id))
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"RequestClosePaymentError({error})") from None
    return await _wait_for_commit(node, results, closed)


async def _wait_for_commit(
    node: NodeConnection,
    results: "asyncio.Queue[TransactionResult]",
    closed: "asyncio.Future[ResponseClosePayment]",
) -> Commit:
    """
    Wait for the first event that ends the search for a commit.

    Raises:
        CommandError: There will be no commit.
    """
    while True:
        commit: Commit | None = None
        getting = asyncio.ensure_future(results.get())
        waiting: list[asyncio.Future[Any]] = [getting, closed, node.closed]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            match getting.result().result:
                case Complete(commit):
                    event, reason = PaymentEvent.COMMIT, ""
                case Success():
                    continue  # the seller holds this part, and waits for the others
                case Failure():
                    event = PaymentEvent.GIVE_UP
                    reason = "CreateTransactionFailed(the payment did not get through)"
        else:
            getting.cancel()
            event, reason = _end_without_commit(node, closed)
        _, effects = advance(PaymentState.SENDING, event)
        if PaymentEffect.TELL_FAILED in effects:
            raise CommandError(GROUP, reason)
        if commit is not None and PaymentEffect.HAND_OUT_COMMIT in effects:
            return commit


def _end_without_commit(
    node: NodeConnection, closed: "asyncio.Future[ResponseClosePayment]"
) -> tuple[PaymentEvent, str]:
    """What ended the wait for a commit, one of node.closed and *closed* being done, and how to say it."""
    if node.closed.done():
        return PaymentEvent.BREAK_OFF, "PaymentIncomplete(the node closed the connection)"
    status = closed.result().status
    # With a receipt and no commit there is nothing to give to the seller, so the search is over.
    event = PaymentEvent.GIVE_UP if isinstance(status, PaymentStatusSuccess) else event_of_end(status)
    return event, f"CreateTransactionFailed({type(status).__name__})"


async def payment_status(node: NodeConnection, payment: Path, receipt: Path) -> None:
    """Wait for the end of a payment; save the receipt before the node forgets it."""
    if receipt.exists():
        raise CommandError(GROUP, f"ReceiptFileAlreadyExists({receipt})")
    payment_id = load(GROUP, PAYMENT, payment, "IoError").payment_id
    try:
        response = await node.close_payment(payment_id)
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"RequestClosePaymentError({error})") from None
    status = response.status
    state, _ = advance(PaymentState.UNKNOWN, event_of_end(status))
    click.echo(_ENDS[state])
    if isinstance(status, PaymentStatusSuccess):  # on disk before the node may forget it
        paid = status.receipt
        _save(lambda: RECEIPT.save(receipt, paid))
    if not isinstance(status, PaymentNotFound):
        await _acknowledge(node, payment_id, status.ack_uid)
    try:
        payment.unlink()
    except OSError as error:
        raise CommandError(GROUP, f"RemovePaymentError({payment}: {error.strerror})") from None


async def _acknowledge(node: NodeConnection, payment_id: PaymentId, ack_uid: Uid) -> None:
    try:
        await node.request(AckClosePayment(payment_id, ack_uid))
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"AckClosePaymentError({error})") from None


def _save(save: Callable[[], None]) -> None:
    try:
        save()
    except OffsetError as error:
        raise CommandError(GROUP, str(error)) from None
