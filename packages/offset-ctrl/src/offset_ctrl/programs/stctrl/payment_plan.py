"""stctrl buyer pay-invoice --dry-run: what the payment would do now."""

import click

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.capacity import largest_words
from offset_ctrl.programs.table import format_table, printable
from offset_ctrl.rules.entry_words import friend_name
from offset_ctrl.rules.routes import Part
from offset_ctrl.sdk.payment import PayOptions
from offset_ctrl.sdk.planning import plan_payment
from offset_proto.files import Invoice
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64

__all__ = ["parts_table", "tell_plan"]


async def tell_plan(session: NodeSession, invoice: Invoice, options: PayOptions) -> None:
    """
    Print the routes, parts and fees of a payment, and the most that could be paid; no file is written.

    Raises:
        PaymentFailed: The invoice can not be paid now, and why. The most that could be is printed before.
    """
    plan = await plan_payment(session, invoice, options)
    currency = printable(invoice.currency)
    if plan.parts:
        click.echo(parts_table(session.report, plan.parts))
        click.echo(f"Amount: {invoice.dest_payment} {currency}")
        click.echo(f"Total fees: {plan.fees}")
        click.echo(f"Total: {plan.total}")
    if plan.largest is not None:
        click.echo(f"Largest amount that could be paid now: {largest_words(plan.largest, currency)}")
    if plan.failure is not None:
        raise plan.failure
    click.echo("Nothing was paid.")


def parts_table(report: ReportView, parts: tuple[Part, ...]) -> str:
    """The transactions of a plan: through which friend, over how many hops, how much, and each node on the way."""
    rows = [
        [
            friend_name(report, part.public_keys[1]),
            str(len(part.public_keys) - 1),
            str(part.dest_payment),
            str(part.fees),
            "\n".join(format_b64(key) for key in part.public_keys[1:]),
        ]
        for part in parts
    ]
    return format_table(["through", "hops", "amount", "fees", "route"], rows)
