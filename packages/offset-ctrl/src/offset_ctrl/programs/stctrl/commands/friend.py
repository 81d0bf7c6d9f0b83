"""The commands of stctrl friend, as they are given. Spec 09 §5-§9."""

import click

from offset_ctrl.programs.stctrl.commands.declaring import STARTING_SECONDS, add
from offset_ctrl.programs.stctrl.commands.options import NAME, PATH, RATE, option, timeout
from offset_proto.cli import U128_OPTION, OffsetGroup

__all__ = ["group"]


@click.group("friend", cls=OffsetGroup)
def group() -> None:
    """See to a friend as a whole."""


add(
    group,
    "invite",
    "Write the ticket by which somebody adds this node as a friend.",
    option("-o", "--output", type=PATH, help="Output file; must not exist."),
    home="befriending",
    patience=STARTING_SECONDS,
)
add(
    group,
    "add",
    "Make somebody a friend by the ticket TICKET: add, enable, open currencies with a limit and a rate.",
    click.argument("ticket", type=PATH),
    NAME,
    click.option("--open", "currencies", metavar="CURRENCY", multiple=True, help="Open it; may be repeated."),
    click.option("--limit", type=U128_OPTION, help="Credits of each currency that the friend may owe.  [default: 0]"),
    click.option("--rate", type=RATE, help="MUL,ADD: what the friend pays for forwarding.  [default: 0,0]"),
    click.option("--wait", is_flag=True, help="Until the friend is online and has opened the currencies, too."),
    timeout(60, "With --wait: seconds of that."),
    home="befriending",
    patience=STARTING_SECONDS,
)
add(
    group,
    "move",
    "Move the account of the friend OLD, who has lost its key, to the new key of the friend ticket TICKET.",
    click.argument("old"),
    click.argument("ticket", type=PATH),
    click.option("--name", help="Local name of the new friend in the end.  [default: OLD]"),
    click.option(
        "--count-frozen",
        is_flag=True,
        help="What was under way when the key was lost is counted: as paid what OLD froze, as not paid what you froze.",
    ),
    click.option("--dry-run", is_flag=True, help="Only say what would be moved."),
    click.option("--remove-old", is_flag=True, help="At the end remove the old friend, which forgives its balance."),
    click.option(
        "--journal",
        type=PATH,
        help="Directory of this move: how far it is, and the files that the two of you exchange.  [default: move-OLD]",
    ),
    timeout(60, "Seconds to wait for the new friend's node."),
)
