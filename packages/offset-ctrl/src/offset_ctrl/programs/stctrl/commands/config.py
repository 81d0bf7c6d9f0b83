"""The commands of stctrl config, as they are given. Spec 09 §5-§9."""

import click

from offset_ctrl.programs.stctrl.commands.declaring import add
from offset_ctrl.programs.stctrl.commands.options import CURRENCY, NAME, PATH, option
from offset_ctrl.programs.texts import text_option
from offset_proto.cli import U32_OPTION, U128_OPTION, OffsetGroup

__all__ = ["group"]


@click.group("config", cls=OffsetGroup)
def group() -> None:
    """Configure relays, index servers, friends and currencies."""


_TRY = click.option(
    "--try", "tries", is_flag=True, help="Connect to it from here first; change nothing where something else answers."
)
add(
    group,
    "add-relay",
    "Use one more relay. Friends reach the node through it.",
    option("-r", "--relay", type=PATH, help="Relay ticket."),
    NAME,
    _TRY,
)
add(group, "remove-relay", "Stop using a relay. Friends do not reach the node through it any more.", NAME)
add(
    group,
    "add-index",
    "Use one more index server. The node asks there for routes, and declares there what it can receive.",
    option("-i", "--index", type=PATH, help="Index ticket."),
    NAME,
    _TRY,
)
add(
    group,
    "remove-index",
    "Stop using an index server. The node asks there for no routes, and declares nothing there.",
    NAME,
)
_FRIEND = click.option("-f", "--friend", type=PATH, help="Friend ticket.")
_FRIEND_TEXT = text_option("friend", "ticket", "-f")
add(
    group,
    "add-friend",
    "Add a friend by the ticket that it exported.",
    _FRIEND,
    _FRIEND_TEXT,
    NAME,
    one_of=("friend", "ticket"),
)
add(
    group,
    "set-friend-relays",
    "Say where a friend is reached now. A new ticket of the friend names its relays.",
    _FRIEND,
    _FRIEND_TEXT,
    NAME,
    one_of=("friend", "ticket"),
)
add(group, "remove-friend", "Remove a friend. The balance and all that is open with it are forgotten.", NAME)
add(group, "enable-friend", "Connect to a friend. The node keeps connected until the friend is disabled.", NAME)
add(group, "disable-friend", "Close the connection to a friend, and open none.", NAME)
add(group, "open-currency", "Forward requests of and to a friend.", NAME, CURRENCY)
add(group, "close-currency", "Forward no new requests of or to a friend.", NAME, CURRENCY)
add(
    group,
    "set-currency-max-debt",
    "Set how much a friend may owe.",
    NAME,
    CURRENCY,
    option("-m", "--mdebt", type=U128_OPTION, help="Credits."),
)
add(
    group,
    "set-currency-rate",
    "Set what a friend pays for forwarding: floor(amount * mul / 2^32) + add.",
    NAME,
    CURRENCY,
    option("-m", "--mul", type=U32_OPTION, help="Share of the amount, in units of 1/2^32."),
    option("-a", "--add", type=U32_OPTION, help="Flat fee in credits."),
)
add(group, "remove-currency", "Withdraw a currency that the friend has not agreed to.", NAME, CURRENCY)
add(group, "reset-friend", "Accept a friend's terms for an inconsistent channel.", NAME)
