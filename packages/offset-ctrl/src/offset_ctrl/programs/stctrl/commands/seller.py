"""The commands of stctrl seller, as they are given. Spec 09 §5-§9."""

import click

from offset_ctrl.programs.stctrl.commands.declaring import add
from offset_ctrl.programs.stctrl.commands.options import CURRENCY, JSON, PATH, SECONDS, option
from offset_ctrl.programs.texts import TEXT_OUTPUT, text_option
from offset_proto.cli import U128_OPTION, OffsetGroup

__all__ = ["group"]


@click.group("seller", cls=OffsetGroup)
def group() -> None:
    """Create and cancel invoices, and collect their payments."""


_INVOICE = option("-i", "--invoice", type=PATH, help="Invoice file.")
add(
    group,
    "create-invoice",
    "Make an invoice: the file that the buyer pays.",
    CURRENCY,
    option("-a", "--amount", type=U128_OPTION, help="Credits."),
    _INVOICE,
    click.option(
        "--expires",
        type=SECONDS,
        help="The node cancels the invoice after this time, if it is not collected by then: 30s, 10m, 1h, 2d.",
    ),
    click.option(
        "--description",
        help="What for: a note for yourself, which the history shows, and in the text, at most 256 bytes of it.",
    ),
    click.option("--deliver-to", metavar="URL", help="https:// address that takes the commit: in the text only."),
    TEXT_OUTPUT,
)
add(group, "invoices", "List the invoices that are open, and what each waits for.", JSON, home="open_lists")
add(group, "cancel-invoice", "Cancel an invoice: it can not be paid any more.", _INVOICE)
add(
    group,
    "commit-invoice",
    "Collect a payment with the buyer's commit file.",
    _INVOICE,
    click.option("-c", "--commit", type=PATH, help="Commit file."),
    text_option("commit", "commit_text", "-c"),
    one_of=("commit", "commit_text"),
)
