"""What stctrl buyer pay-invoice does with a commit where the payment request names an address for it. Spec 13 §7."""

from pathlib import Path
from typing import Final

import click

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.payment_status import payment_status
from offset_ctrl.programs.stctrl.session import CommandError, load, show
from offset_ctrl.programs.stctrl.waiting import NOT_FINISHED, command_line
from offset_ctrl.programs.table import printable
from offset_ctrl.programs.texts import TextOutput
from offset_ctrl.sdk.delivery import DeliveryFailed, deliver_commit
from offset_proto.errors import InvalidInput
from offset_proto.files import COMMIT
from offset_proto.uri import PaymentRequest

__all__ = ["address_of", "hand_over"]

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


async def hand_over(
    session: NodeSession,
    address: str,
    files: tuple[Path, Path, Path | None],
    output: TextOutput,
    timeout: float,
    go_on: str,
) -> int | None:
    """
    Deliver a commit, and wait for the receipt where there is a place for it.

    Args:
        session: To the node.
        address: Where to.
        files: The payment file, the commit, and where the receipt goes; None: it is left to the node.
        output: How the commit is shown where it is not delivered.
        timeout: Seconds for each of both.
        go_on: The command that tries again.

    Returns:
        None where nothing is left to be done, and `NOT_FINISHED` where something is.
    """
    payment, path, receipt = files
    commit = load(GROUP, COMMIT, path, "IoError")
    try:
        await deliver_commit(address, commit, timeout, proxy=session.proxy)
    except (DeliveryFailed, InvalidInput) as error:
        click.echo(f"The commit was not delivered: {printable(str(error))}", err=True)
        if output.is_wanted:
            show(GROUP, output, commit)
        click.echo("Nothing is lost: deliver it again, or hand the commit over.", err=True)
        click.echo(f"go on: {go_on}", err=True)
        return NOT_FINISHED
    click.echo(f"The commit was delivered to {address}")
    if receipt is None:
        saves = command_line("buyer", "payment-status", "-p", payment, "-r", payment.with_suffix(".receipt"))
        click.echo(f"The receipt is saved by {saves}")
        return None
    return await payment_status(session, payment, receipt, timeout=timeout)
