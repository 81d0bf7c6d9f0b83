"""What stctrl buyer pay-invoice does with a commit where the payment request names an address for it. Spec 13 §7."""

from pathlib import Path
from typing import Final

import click

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.payment_status import payment_status
from offset_ctrl.programs.stctrl.session import CommandError, load
from offset_ctrl.programs.stctrl.waiting import NOT_FINISHED, command_line
from offset_ctrl.programs.table import printable
from offset_ctrl.sdk.delivery import DeliveryFailed, deliver_commit
from offset_proto.errors import InvalidInput
from offset_proto.files import COMMIT
from offset_proto.uri import PaymentRequest

__all__ = ["address_of", "deliver", "finish"]

GROUP: Final = "BuyerError"


def address_of(asked: PaymentRequest | None, receipt: Path | None, *, delivers: bool) -> str | None:
    """
    Where the commit is delivered; None: a person hands it over.

    Raises:
        CommandError: There is to be a *receipt* at once, and nobody to give the commit to; or it is there already.
    """
    address = asked.delivery if asked is not None and delivers else None
    if receipt is not None and address is None:
        words = "the receipt comes when the seller has the commit, and there is no address to deliver it to"
        raise CommandError(GROUP, "NoDeliveryAddress", f"{words}; leave -r out")
    if receipt is not None and receipt.exists():
        raise CommandError(GROUP, f"ReceiptFileAlreadyExists({receipt})")
    return address


async def deliver(address: str, commit: Path, timeout: float) -> bool:
    """Deliver the commit in a file, and say how that went; whether the seller's program has it."""
    value = load(GROUP, COMMIT, commit, "IoError")
    try:
        await deliver_commit(address, value, timeout)
    except (DeliveryFailed, InvalidInput) as error:
        click.echo(f"The commit was not delivered: {printable(str(error))}", err=True)
        return False
    click.echo(f"The commit was delivered to {address}")
    return True


async def finish(
    session: NodeSession, payment: Path, receipt: Path | None, timeout: float, *, is_delivered: bool, go_on: str
) -> int | None:
    """
    Wait for the receipt of a payment whose commit was delivered.

    Returns:
        None where there is nothing left to be done, and `NOT_FINISHED` where something is.
    """
    if not is_delivered:
        click.echo("Nothing is lost: deliver it again, or hand the commit over.", err=True)
        click.echo(f"go on: {go_on}", err=True)
        return NOT_FINISHED
    if receipt is None:
        saves = command_line("buyer", "payment-status", "-p", payment, "-r", payment.with_suffix(".receipt"))
        click.echo(f"The receipt is saved by {saves}")
        return None
    return await payment_status(session, payment, receipt, timeout=timeout)
