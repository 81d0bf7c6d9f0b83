"""The commands of stctrl about what changed the balances, as they are given. Spec 09 §5-§9."""

import click

from offset_ctrl.programs.stctrl.commands.declaring import add, build, build_group
from offset_ctrl.programs.stctrl.commands.options import JSON, PATH

__all__ = ["COMMANDS"]

_SINCE = click.option("--since", "since", metavar="DATE", help="Not before this day, or time, in UTC.")
_UNTIL = click.option("--until", "until", metavar="DATE", help="Before this day, or time, in UTC.")
_ONE_CURRENCY = click.option("-c", "--currency", help="Of this currency only.")
_ONE_FRIEND = click.option(
    "-f", "--friend", help="With this friend only: a local name, or the key of one that was removed."
)
_HISTORY = build_group(
    "stctrl",
    "history",
    "Show what changed the balances with friends, and why.",
    _SINCE,
    _UNTIL,
    _ONE_FRIEND,
    _ONE_CURRENCY,
    click.option("-k", "--kind", "kinds", multiple=True, help="Of this kind only, such as forwarded; may be repeated."),
    click.option("-l", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The last so many."),
    click.option("--follow", is_flag=True, help="Go on with what comes, until the command is ended."),
    JSON,
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
)
add(
    _HISTORY,
    "note",
    "Keep a note of one line with an entry, instead of what was noted before; an empty one: nothing any more.",
    click.argument("number", type=click.IntRange(min=1, max=2**63 - 1)),
    click.argument("text"),
    home="history",
)
_INCOME = build(
    "stctrl",
    "income",
    "Show the fees that were earned and paid.",
    click.option("--by", type=click.Choice(["month", "friend"]), default="month", show_default=True, help="Sums of."),
    _SINCE,
    _UNTIL,
    _ONE_CURRENCY,
    JSON,
    home="history",
)
_STATEMENT = build(
    "stctrl",
    "statement",
    "Show an account as a bank does: opening balance, entries, closing balance, fees, for each friend and currency.",
    click.option("--month", metavar="MONTH", help="Of this month, such as 2026-11, in UTC."),
    _SINCE,
    _UNTIL,
    _ONE_FRIEND,
    _ONE_CURRENCY,
    click.option("-o", "--output", type=PATH, help="Output file instead of text: FILE.pdf, FILE.csv or FILE.json."),
    click.option("--holder", default="", help="Your name and address, for the head of a PDF."),
    click.option(
        "--font",
        "fonts",
        type=PATH,
        multiple=True,
        help="Font file for letters that a PDF has not, such as Chinese ones; may be repeated.",
    ),
    home="statement",
)

COMMANDS = (_HISTORY, _INCOME, _STATEMENT)
