"""The commands of stctrl info, as they are given. Spec 09 §5-§9."""

from pathlib import Path

import click

from offset_ctrl.programs.stctrl.commands.declaring import add
from offset_ctrl.programs.stctrl.commands.options import CURRENCY, JSON, NAME, PATH, option
from offset_ctrl.programs.texts import TEXT_OUTPUT
from offset_proto.cli import OffsetGroup

__all__ = ["group"]


@click.group("info", cls=OffsetGroup)
def group() -> None:
    """Show relays, index servers, friends; export tickets and tokens."""


def _needed_without_text(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is None and not any(ctx.params.get(name) for name in ("as_text", "as_qr", "picture")):
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


add(group, "relays", "List the relays of the node.", JSON)
add(group, "index", "List the index servers of the node; (*) marks the connected one.", JSON)
add(group, "friends", "List the friends of the node and the balances with them.", JSON)
add(
    group,
    "export-ticket",
    "Write the ticket by which friends add this node; or print it as a text.",
    click.option("-t", "--ticket", type=PATH, callback=_needed_without_text, help="Output file."),
    JSON,
    TEXT_OUTPUT,
)
add(
    group,
    "friend-last-token",
    "Write the last token of a friend, a proof of the balance.",
    NAME,
    option("-t", "--token", type=PATH, help="Output file."),
    JSON,
)
add(
    group,
    "capacity",
    "Say how much can be paid and received now, by friend.",
    CURRENCY,
    click.option("--to", help="Local name of a friend, or the public key of any node: how much can arrive there."),
    JSON,
    home="capacity",
)
add(
    group,
    "contacts",
    "Write the contact list: friends and their settings, relays, index servers; no secrets.",
    option("-o", "--output", type=PATH, help="Output file."),
)
