"""
Pay the circles of a plan, each once.

The directory remembers how far a plan was paid. It holds ``plan.json``, the plan that it belongs to, for each circle N
``N.invoice`` from before it is paid, and the payments themselves as `offset_ctrl.sdk.journal` keeps them. From that
follows what a circle's state is when the command runs again:

=====================================  ==================================================
no invoice                             not paid: pay it
an invoice, and a receipt for it       paid: leave it
an invoice, and an open payment        the command was ended in between: see it through
an invoice, and none of them           the payment failed: take the invoice back, pay anew
=====================================  ==================================================

Where the node says that an invoice was collected, its circle is paid, whatever became of the files of the payment.

The plan comes from somebody else, so the payer relies on it for the way and no more. A circle is paid only while both
debts that our node knows of are there: what the first friend on the way owes us, and what we owe the last one.
Otherwise it would make a new debt of ours, and not clear an old one. And it is paid only if its fees are within what
the payer allows.
"""

import contextlib
from pathlib import Path
from typing import Final

import click

from offset_crypto.identity import Identity
from offset_ctrl.clearing.report import PlannedCircle, circles_of
from offset_ctrl.programs.table import printable
from offset_ctrl.sdk.errors import InvoiceNotOpen, UnknownName
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.sdk.node import Node, connect
from offset_ctrl.sdk.payment import PaymentFailed, PayOptions
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import INVOICE, read_text, save_text
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.types import U32, Currency, PublicKey

__all__ = ["CirclesNotPaid", "pay", "pay_circles"]

PLAN_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a plan: 50,000 circles of 15 members."""


class CirclesNotPaid(OffsetError):
    """Some circles are not paid; what was said before tells why."""


async def pay(identity: Identity, ticket: Path, plan: Path, directory: Path, *, fees_max: U32, dry_run: bool) -> None:
    """
    Pay all that *plan* gives to the node of *ticket*, and say of each circle what became of it.

    Args:
        identity: The app.
        ticket: The node.
        plan: What the treasurer made.
        directory: Remembers what was paid of this plan.
        fees_max: Credits that a circle may cost.
        dry_run: Only say what would be paid.

    Raises:
        CirclesNotPaid: Not all of them are paid. The command may be repeated.
        InvalidInput, IoError: A file is not what it should be, or *directory* belongs to another plan.
        OffsetError: The node was not reached, or a payment has not ended; repeat the command.
    """
    text = read_text(plan, PLAN_BYTES_MAX)
    owner = directory / "plan.json"
    if not dry_run and owner.exists() and read_text(owner, PLAN_BYTES_MAX) != text:
        raise InvalidInput(f"{directory} belongs to another plan, {owner}: take another directory")
    async with connect(ticket, identity, journal=None if dry_run else directory) as node:
        try:
            currency, circles = circles_of(text, node.public_key)
        except InvalidInput as error:
            raise InvalidInput(f"{plan} is not what stclear plan --json prints: {error}") from None
        if not dry_run and not owner.exists():
            save_text(owner, text)
        if circles:
            await pay_circles(node, currency, circles, None if dry_run else directory, fees_max)
        else:
            click.echo("This node has no circle to pay.")


async def pay_circles(
    node: Node, currency: Currency, circles: tuple[PlannedCircle, ...], directory: Path | None, fees_max: U32
) -> None:
    """
    Pay *circles* that cost at most *fees_max* each; *directory* remembers them. None: only say what would be paid.

    Raises:
        CirclesNotPaid: Not all of them are paid, or could be.
    """
    unpaid = 0
    for circle in circles:
        try:
            if directory is None:
                _check(node, currency, circle, fees_max)
                what = f"to be paid, fees {circle.fees}"
            else:
                what = await _see_to(node, currency, circle, directory, fees_max)
        except PaymentFailed as error:
            what = f"not paid: {error}"
            unpaid += 1
        click.echo(printable(f"circle {circle.number}, {circle.amount} {currency} {circle.way}: {what}"))
    if unpaid:
        raise CirclesNotPaid(
            f"{unpaid} of {len(circles)} circles are not paid; repeat the command when their members are online, "
            "or ask for a new plan"
        )


async def _see_to(node: Node, currency: Currency, circle: PlannedCircle, directory: Path, fees_max: U32) -> str:
    """Pay *circle* where it is not paid. Raises PaymentFailed where that did not work, and nothing was paid."""
    path = directory / f"{circle.number}.invoice"
    if path.exists():
        if await _is_paid(node, path, directory):
            return "paid before"
        path.unlink()
    _check(node, currency, circle, fees_max)
    invoice = await node.create_invoice(currency, circle.amount)
    INVOICE.save(path, invoice)
    try:
        await node.pay(invoice, lambda commit: node.accept_commit(invoice, commit), _options(circle))
    except PaymentFailed:
        await node.cancel_invoice(invoice)
        path.unlink()
        raise
    return f"paid, fees {circle.fees}"


async def _is_paid(node: Node, path: Path, directory: Path) -> bool:
    """See an earlier payment of an invoice through; False where it came to nothing, and the invoice is taken back."""
    invoice = INVOICE.load(path)
    if any(paid == invoice for paid, _ in Journal(directory).receipts()):
        return True
    payment = next((payment for payment in node.payments if payment.invoice == invoice), None)
    if payment is not None:
        try:
            with contextlib.suppress(InvoiceNotOpen):  # it was collected, and then the program was stopped
                await node.accept_commit(invoice, await payment.commit())
            await payment.receipt()
            return True
        except PaymentFailed:
            pass  # it was given up before there was a commit
    try:
        await node.cancel_invoice(invoice)
    except InvoiceNotOpen:
        return True  # it was collected, whatever became of the payment's files
    return False


def _options(circle: PlannedCircle) -> PayOptions:
    """The route and the fees are those of the plan, and nothing else is tried."""
    rate = Rate(mul=0, add=circle.fees)
    route = RouteCapacityRate(FriendsRoute(circle.route), circle.amount + circle.fees, rate)
    return PayOptions(fees_max=circle.fees, routes=(MultiRoute((route,)),))


def _check(node: Node, currency: Currency, circle: PlannedCircle, fees_max: U32) -> None:
    """Raises PaymentFailed for a circle that costs too much, or is larger than one of our two debts around it."""
    if circle.fees > fees_max:
        raise PaymentFailed(f"its fees are {circle.fees}, and --fees-max is {fees_max}")
    debtor, creditor = circle.route[1], circle.route[-2]
    owed, owing = _balance(node, debtor, currency), -_balance(node, creditor, currency)
    for debt, what in ((owed, f"{circle.names[1]} owes us"), (owing, f"we owe {circle.names[-2]}")):
        if debt < circle.amount:
            raise PaymentFailed(f"{what} {max(debt, 0)} only; ask for a new plan")


def _balance(node: Node, friend: PublicKey, currency: Currency) -> int:
    try:
        return node.balance(friend, currency)
    except UnknownName:
        return 0
