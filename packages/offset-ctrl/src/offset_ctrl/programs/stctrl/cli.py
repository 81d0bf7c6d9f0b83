"""The program stctrl: the login that all commands have, and the commands."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from offset_ctrl.programs.stctrl.commands import accounts, buyer, config, doctor, friend, info, recovery, seller
from offset_ctrl.programs.stctrl.commands.options import PATH
from offset_proto.cli import PASSPHRASE_FILE, PROXY, OffsetGroup, run_program

if TYPE_CHECKING:
    from offset_proto.proxies import ProxyUrl

__all__ = ["main"]


@click.group("stctrl", cls=OffsetGroup)
@click.option("-I", "--idfile", type=PATH, help="Identity file of this app.")
@click.option("-T", "--ticket", type=PATH, help="Ticket of the node.")
@click.option("-C", "--directory", type=PATH, help="Directory made by stmgr setup-node, in place of -I and -T.")
@PASSPHRASE_FILE
@PROXY
@click.pass_context
def _stctrl(
    ctx: click.Context,
    idfile: Path | None,
    ticket: Path | None,
    directory: Path | None,
    passphrase_file: Path | None,
    proxy: "ProxyUrl | None",
) -> None:
    """
    Control a node of the Offset credit network.

    Without -I, -T and -C, the environment variable OFFSET_DIRECTORY names the directory, or else the key directory in
    offset/stctrl.toml of the user's configuration directory.
    """
    if directory is None and None in (idfile, ticket):
        from offset_ctrl.programs.stctrl.profile import default_directory

        directory = default_directory()
    if directory is not None:
        idfile, ticket = idfile or directory / "app.ident", ticket or directory / "node.ticket"
    ctx.obj = (idfile, ticket, passphrase_file, proxy)


for _command in (
    info.group,
    config.group,
    buyer.group,
    seller.group,
    friend.group,
    *accounts.COMMANDS,
    *recovery.COMMANDS,
    *doctor.COMMANDS,
):
    _stctrl.add_command(_command)


def main() -> None:
    """Run the program stctrl with the arguments of the command line."""
    run_program("stctrl", "error", _stctrl)
