"""The commands of stctrl about what changed the balances, as they are given. Spec 09 §5-§9."""

import click

from offset_ctrl.programs.stctrl.commands.declaring import add, build, build_group
from offset_ctrl.programs.stctrl.commands.history_options import ARCHIVES, ENTRIES, INCOME, STATEMENT

__all__ = ["COMMANDS"]

_HISTORY = build_group(
    "stctrl",
    "history",
    "Show what changed the balances with friends, and why.",
    *ENTRIES,
    ARCHIVES,
    click.option("--follow", is_flag=True, help="Go on with what comes, until the command is ended."),
    permission="history",
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
    *INCOME,
    ARCHIVES,
    home="income",
    permission="history",
)
_STATEMENT = build(
    "stctrl",
    "statement",
    "Show an account as a bank does: opening balance, entries, closing balance, fees, for each friend and currency.",
    *STATEMENT,
    ARCHIVES,
    home="statement",
    permission="history",
)

COMMANDS = (_HISTORY, _INCOME, _STATEMENT)
