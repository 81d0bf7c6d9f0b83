"""The commands of stctrl buyer, as they are given. Spec 09 §5-§9."""

from pathlib import Path

import click

from offset_ctrl.programs.stctrl.commands.declaring import add
from offset_ctrl.programs.stctrl.commands.options import CURRENCY, JSON, PATH, option, timeout
from offset_ctrl.programs.texts import QR_OUTPUT, TEXT_OUTPUT, text_option
from offset_proto.cli import U32_OPTION, U128_OPTION, OffsetGroup

__all__ = ["group"]


@click.group("buyer", cls=OffsetGroup)
def group() -> None:
    """Pay invoices, and fetch the receipts of payments."""


def _needed_to_pay(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is None and not ctx.params["dry_run"]:
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


add(
    group,
    "pay-invoice",
    "Pay an invoice; hand the commit file to the seller.",
    click.option("-i", "--invoice", "invoice_path", type=PATH, help="Invoice file."),
    text_option("invoice", "asked", "-i; the commit is printed as a text, too"),
    click.option("-p", "--payment", type=PATH, callback=_needed_to_pay, help="Output: payment file."),
    click.option("-c", "--commit", type=PATH, callback=_needed_to_pay, help="Output: commit file."),
    click.option(
        "--dry-run",
        is_flag=True,
        is_eager=True,
        help="Only say what would be paid over which routes, and the most that could be paid; needs neither -p nor -c.",
    ),
    click.option(
        "--extra-fees",
        type=U32_OPTION,
        default=0,
        help="Credits offered to mediators beyond what the index server says; the seller gets what they leave.",
    ),
    click.option(
        "--direct", is_flag=True, help="Only over the link to the seller, who is a friend; no other way is looked for."
    ),
    timeout(60, "Seconds to wait for the commit; then the payment goes on without this command."),
    click.option("--note", help="A note for yourself, which the history shows.  [default: what the text says]"),
    click.option(
        "--deliver/--by-hand",
        "delivers",
        default=True,
        help="Whether the commit is delivered to the address that the text names, if it names one.  [default: deliver]",
    ),
    click.option("-r", "--receipt", type=PATH, help="Output: receipt file; waits for it once the commit is delivered."),
    QR_OUTPUT,
    one_of=("invoice_path", "asked"),
)
_PAYMENT = option("-p", "--payment", type=PATH, help="Payment file; deleted at the end.")
add(
    group,
    "payment-status",
    "Say where a payment stands; save the commit and the receipt.",
    _PAYMENT,
    option("-r", "--receipt", type=PATH, required=False, help="Output: receipt file, once there is a receipt."),
    option("-c", "--commit", type=PATH, required=False, help="Output: commit file, once there is a commit."),
    click.option("--close", is_flag=True, help="Let no further parts of the payment be sent."),
    timeout(1, "Seconds to wait for the end of the payment."),
    JSON,
    TEXT_OUTPUT,
    home="payment_status",
)
add(
    group,
    "give-up",
    "Give a payment up: nothing more is sent, and no commit is ever handed out.",
    _PAYMENT,
    timeout(10, "Seconds to wait until nothing is frozen for it; then that goes on without this command."),
)
add(group, "payments", "List the payments that are open, and what each waits for.", JSON, home="open_lists")

_FEES_MAX = click.option(
    "--fees-max",
    type=U128_OPTION,
    help="Credits that mediators may take. Where a rate is not known, so much is offered; what is left comes back.",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would be paid.")
_JOURNAL = click.option(
    "--journal",
    type=PATH,
    help="Directory from which the next such command sees a stopped one through; a node of the original needs it.",
)
add(
    group,
    "rebalance",
    "Pay yourself in a circle, so that what one friend owes and what is owed to another one shrink.",
    option("--from", "out", help="Local name of the friend through whom it goes out: one who owes you."),
    option("--to", "back", help="Local name of the friend through whom it comes back: one whom you owe."),
    CURRENCY,
    option("-a", "--amount", type=U128_OPTION, help="Credits."),
    _FEES_MAX,
    _DRY_RUN,
    _JOURNAL,
    timeout(60, "Seconds for the payment; then it is given up."),
    home="circles",
)
add(
    group,
    "clear",
    "Pay yourself in all circles that bring balances nearer to 0, or to what you want to keep.",
    CURRENCY,
    click.option("--towards", type=int, default=0, show_default=True, help="Balance that is wanted with each friend."),
    click.option(
        "--keep", multiple=True, metavar="F=AMOUNT", help="Balance that is wanted with the friend F; may be repeated."
    ),
    _FEES_MAX,
    _DRY_RUN,
    _JOURNAL,
    timeout(60, "Seconds for each circle; then it is given up."),
    home="circles",
)
