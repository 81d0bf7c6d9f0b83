"""The program stmgr, and its commands that make tickets. Spec 09 §4."""

from pathlib import Path

import click

from offset_ctrl.programs.stmgr import archives, backups, databases, identities, setups, texts
from offset_ctrl.programs.stmgr.files import (
    ADDRESS,
    IDFILE,
    OUTPUT,
    PATH,
    check_new,
    in_group,
    parse_address,
    public_key,
)
from offset_proto.cli import PASSPHRASE_FILE, OffsetGroup, run_program

__all__ = ["main"]


@click.group("stmgr", cls=OffsetGroup)
def _stmgr() -> None:
    """Make keys, tickets and node databases of the Offset credit network."""


for _command in (
    *setups.COMMANDS,
    *identities.COMMANDS,
    *databases.COMMANDS,
    *backups.COMMANDS,
    *archives.COMMANDS,
    *texts.COMMANDS,
):
    _stmgr.add_command(_command)


@_stmgr.command("app-ticket")
@IDFILE
@OUTPUT
@click.option("--proutes", is_flag=True, help="May ask for routes.")
@click.option("--pbuyer", is_flag=True, help="May pay.")
@click.option("--pseller", is_flag=True, help="May be paid.")
@click.option("--pconfig", is_flag=True, help="May configure the node, and read its history.")
@click.option("--phistory", is_flag=True, help="May read the history of the node, also without --pconfig.")
@PASSPHRASE_FILE
def _app_ticket(idfile: Path, output: Path, passphrase_file: Path | None, **permissions: bool) -> None:
    """Make the ticket of an app, for the trusted directory of a node."""
    from offset_proto.files import APP_TICKET, AppTicket
    from offset_proto.messages.app import AppPermissions
    from offset_proto.permissions import ExtendedPermissions

    def make() -> None:
        flags = {name: permissions[f"p{name}"] for name in ("routes", "buyer", "seller", "config")}
        granted = ExtendedPermissions(**flags, history=True) if permissions["phistory"] else AppPermissions(**flags)
        APP_TICKET.save(output, AppTicket(public_key(idfile, passphrase_file), granted))

    in_group("AppTicketError", make)


def _save_ticket(group: str, idfile: Path, address: str, output: Path, passphrase_file: Path | None) -> None:
    from offset_proto.files import TICKET
    from offset_proto.messages.payment import RelayAddress

    def make() -> None:
        check_new(output)
        key = public_key(idfile, passphrase_file)
        TICKET.save(output, RelayAddress(key, parse_address(address)))

    in_group(group, make)


@_stmgr.command("relay-ticket")
@IDFILE
@ADDRESS
@OUTPUT
@PASSPHRASE_FILE
def _relay_ticket(idfile: Path, address: str, output: Path, passphrase_file: Path | None) -> None:
    """Make the ticket of a relay, by which nodes reach it."""
    _save_ticket("RelayTicketError", idfile, address, output, passphrase_file)


@_stmgr.command("index-ticket")
@IDFILE
@ADDRESS
@OUTPUT
@PASSPHRASE_FILE
def _index_ticket(idfile: Path, address: str, output: Path, passphrase_file: Path | None) -> None:
    """Make the ticket of an index server: for nodes with its client address, for servers with its server address."""
    _save_ticket("IndexTicketError", idfile, address, output, passphrase_file)


@_stmgr.command("node-ticket")
@IDFILE
@click.option(
    "-a",
    "--address",
    "addresses",
    required=True,
    multiple=True,
    help="Address, host:port; may be repeated, for a node that is at one of several: apps try them in turn.",
)
@OUTPUT
@PASSPHRASE_FILE
def _node_ticket(idfile: Path, addresses: tuple[str, ...], output: Path, passphrase_file: Path | None) -> None:
    """Make the ticket of a node, for its apps."""
    from offset_proto.node_tickets import NODE_TICKET, node_ticket

    def make() -> None:
        check_new(output)
        key = public_key(idfile, passphrase_file)
        NODE_TICKET.save(output, node_ticket(key, [parse_address(address) for address in addresses]))

    in_group("NodeTicketError", make)


@_stmgr.command("node-entry")
@click.option("-n", "--nodeid", type=PATH, required=True, help="Identity file of the node.")
@click.option("-p", "--appid", type=PATH, required=True, help="Identity file of the app.")
@ADDRESS
@OUTPUT
@PASSPHRASE_FILE
def _node_entry(nodeid: Path, appid: Path, address: str, output: Path, passphrase_file: Path | None) -> None:
    """Make an entry by which an app on another device reaches a node. Holds the app's private key, unlocked."""
    from offset_crypto.passphrase import open_private_key
    from offset_proto.files import NODE_ENTRY, NodeEntry

    def make() -> None:
        check_new(output)
        node_key = public_key(nodeid, passphrase_file)
        app_key = open_private_key(appid, passphrase_file)
        NODE_ENTRY.save(output, NodeEntry(node_key, parse_address(address), app_key))

    in_group("NodeTicketError", make)


def main() -> None:
    """Run the program stmgr with the arguments of the command line."""
    run_program("stmgr", "run() error", _stmgr)
