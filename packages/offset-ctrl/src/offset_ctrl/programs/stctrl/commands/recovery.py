"""The command of stctrl that makes friends again, as it is given. Spec 09 §7."""

import click

from offset_ctrl.programs.stctrl.commands.declaring import build
from offset_ctrl.programs.stctrl.commands.options import PATH, timeout

__all__ = ["COMMANDS"]

COMMANDS = (
    build(
        "stctrl",
        "recover",
        "Become friends again with all that a contact list names, after the node's database was lost.",
        click.argument("contacts", type=PATH),
        click.option(
            "--accept",
            multiple=True,
            metavar="all|agreeing|NAME",
            help="Accept the terms of all friends, of those that say what the list says, or of one; may be repeated.",
        ),
        click.option("--token", "tokens", type=PATH, multiple=True, help="Friend token to compare; may be repeated."),
        timeout(60, "Seconds to wait for the friends."),
        click.option("--dry-run", is_flag=True, help="Only say where each friend stands."),
        home="recover",
    ),
)
