"""Options of the commands that show a history, of a node or in an archive. Spec 09 §5-§9."""

from typing import Final

import click

from offset_ctrl.programs.stctrl.commands.options import JSON, PATH, Decorator

__all__ = ["ARCHIVES", "ENTRIES", "INCOME", "STATEMENT"]

_SINCE = click.option("--since", "since", metavar="DATE", help="Not before this day, or time, in UTC.")
_UNTIL = click.option("--until", "until", metavar="DATE", help="Before this day, or time, in UTC.")
_ONE_CURRENCY = click.option("-c", "--currency", help="Of this currency only.")
_ONE_FRIEND = click.option(
    "-f", "--friend", help="With this friend only: a local name, or the key of one that was removed."
)

ARCHIVES: Final = click.option(
    "-a",
    "--archive",
    "archives",
    type=PATH,
    multiple=True,
    help="Archive with what was moved out of the node, by stmgr archive-history; may be repeated. Needs offset-node.",
)
"""Beside a node."""

ENTRIES: Final[tuple[Decorator, ...]] = (
    _SINCE,
    _UNTIL,
    _ONE_FRIEND,
    _ONE_CURRENCY,
    click.option("-k", "--kind", "kinds", multiple=True, help="Of this kind only, such as forwarded; may be repeated."),
    click.option("-l", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The last so many."),
    JSON,
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
)
"""Of a list of entries."""

STATEMENT: Final[tuple[Decorator, ...]] = (
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
)
"""Of a statement of account."""

INCOME: Final[tuple[Decorator, ...]] = (
    click.option("--by", type=click.Choice(["month", "friend"]), default="month", show_default=True, help="Sums of."),
    _SINCE,
    _UNTIL,
    _ONE_CURRENCY,
    JSON,
)
"""Of sums of fees."""
