"""The program stmgr: keys, tickets, node databases. Spec 09 §4."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from offset_proto.cli import OffsetGroup, run_program

__all__ = ["main"]

_PATH = click.Path(path_type=Path)


@click.group("stmgr", cls=OffsetGroup)
def _stmgr() -> None:
    """Make keys, tickets and node databases of the Offset credit network."""


def _group_error(group: str, error: Exception) -> Exception:
    from offset_proto.errors import OffsetError

    return OffsetError(f"{group}({error})")


def _in_group(group: str, step: Callable[[], Any]) -> Any:
    """Carry *step* out; name its failure as the original does."""
    from offset_proto.errors import OffsetError

    try:
        return step()
    except OffsetError as error:
        raise _group_error(group, error) from None


def _check_new(path: Path) -> None:
    from offset_proto.files import OutputAlreadyExists

    if path.exists() or path.is_symlink():
        raise OutputAlreadyExists(path)


def _public_key(idfile: Path) -> Any:
    from offset_crypto.identity import Identity
    from offset_proto.files import IDENTITY

    return Identity(IDENTITY.load(idfile).private_key).public_key


def _address(text: str) -> Any:
    from offset_proto.errors import InvalidInput
    from offset_proto.types import NetAddress

    try:
        return NetAddress(text)
    except InvalidInput as error:
        raise InvalidInput(f"NetAddressError({error})") from None


_IDFILE = click.option("-i", "--idfile", type=_PATH, required=True, help="Identity file.")
_OUTPUT = click.option("-o", "--output", type=_PATH, required=True, help="Output file; must not exist.")
_ADDRESS = click.option("-a", "--address", required=True, help="Address, host:port.")


@_stmgr.command("gen-ident")
@_OUTPUT
def _gen_ident(output: Path) -> None:
    """Generate an identity. It is a new private key, for a node, an app or a server."""
    from offset_proto.files import IDENTITY, IdentityFile
    from offset_proto.types import PrivateKey

    identity = IdentityFile(PrivateKey(os.urandom(PrivateKey.SIZE)))
    _in_group("GenIdentityError", lambda: IDENTITY.save(output, identity))


@_stmgr.command("init-node-db")
@_IDFILE
@_OUTPUT
def _init_node_db(idfile: Path, output: Path) -> None:
    """Make the database of a new node."""
    _in_group("InitNodeDbError", lambda: _create_database(idfile, output))


def _create_database(idfile: Path, output: Path) -> None:
    _check_new(output)
    public_key = _public_key(idfile)
    try:
        from offset_funder.state import FunderState
        from offset_node.database.sqlite import create_database
        from offset_node.state import NodeState
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    create_database(output, NodeState(FunderState(public_key)))


def _not_installed(error: ModuleNotFoundError) -> Exception:
    from offset_proto.errors import OffsetError

    return OffsetError(f"{error.name} is not installed: pip install offset-node")


def _summary(state: Any) -> str:
    """What a node remembers, in numbers."""
    funder = state.funder
    counts = {
        "friends": funder.friends,
        "open invoices": funder.open_invoices,
        "payments": funder.payments,
        "relays": funder.relays,
        "index servers": state.index_servers,
    }
    return ", ".join(f"{name}: {len(things)}" for name, things in counts.items())


@_stmgr.command("import-db")
@click.option("-d", "--database", type=_PATH, required=True, help="Database of a node of the original; is not changed.")
@_OUTPUT
def _import_db(database: Path, output: Path) -> None:
    """
    Make a node database from one of the original (Rust) program.

    Stop the original first, and never start it on that file again: two nodes that go on from one state lose credits.
    """

    def move() -> str:
        try:
            from offset_node.database.move_over import import_database
        except ModuleNotFoundError as error:
            raise _not_installed(error) from None
        return _summary(import_database(database, output))

    click.echo(f"Imported. {_in_group('ImportDbError', move)}")
    click.echo(f"Do not start a node on {database} again.")


@_stmgr.command("export-db")
@click.option("-d", "--database", type=_PATH, required=True, help="Node database; no node may run on it.")
@_OUTPUT
@click.option("--copy", is_flag=True, help="For a look at it only: the node goes on from its own database.")
def _export_db(database: Path, output: Path, copy: bool) -> None:
    """
    Write a node database as one of the original (Rust) program.

    The node is moved: it does not start on its old database any more.
    """

    def move() -> str:
        try:
            from offset_node.database.move_over import export_database
        except ModuleNotFoundError as error:
            raise _not_installed(error) from None
        return _summary(export_database(database, output, copy=copy))

    click.echo(f"Exported. {_in_group('ExportDbError', move)}")
    if copy:
        click.echo(f"Do not start a node on {output}.")


@_stmgr.command("app-ticket")
@_IDFILE
@_OUTPUT
@click.option("--proutes", is_flag=True, help="May ask for routes.")
@click.option("--pbuyer", is_flag=True, help="May pay.")
@click.option("--pseller", is_flag=True, help="May be paid.")
@click.option("--pconfig", is_flag=True, help="May configure the node.")
def _app_ticket(idfile: Path, output: Path, proutes: bool, pbuyer: bool, pseller: bool, pconfig: bool) -> None:
    """Make the ticket of an app, for the trusted directory of a node."""
    from offset_proto.files import APP_TICKET, AppTicket
    from offset_proto.messages.app import AppPermissions

    def make() -> None:
        permissions = AppPermissions(proutes, pbuyer, pseller, pconfig)
        APP_TICKET.save(output, AppTicket(_public_key(idfile), permissions))

    _in_group("AppTicketError", make)


def _save_ticket(group: str, idfile: Path, address: str, output: Path) -> None:
    from offset_proto.files import TICKET
    from offset_proto.messages.payment import RelayAddress

    def make() -> None:
        _check_new(output)
        public_key = _public_key(idfile)
        TICKET.save(output, RelayAddress(public_key, _address(address)))

    _in_group(group, make)


@_stmgr.command("relay-ticket")
@_IDFILE
@_ADDRESS
@_OUTPUT
def _relay_ticket(idfile: Path, address: str, output: Path) -> None:
    """Make the ticket of a relay, by which nodes reach it."""
    _save_ticket("RelayTicketError", idfile, address, output)


@_stmgr.command("index-ticket")
@_IDFILE
@_ADDRESS
@_OUTPUT
def _index_ticket(idfile: Path, address: str, output: Path) -> None:
    """Make the ticket of an index server: for nodes with its client address, for servers with its server address."""
    _save_ticket("IndexTicketError", idfile, address, output)


@_stmgr.command("node-ticket")
@_IDFILE
@_ADDRESS
@_OUTPUT
def _node_ticket(idfile: Path, address: str, output: Path) -> None:
    """Make the ticket of a node, for its apps."""
    _save_ticket("NodeTicketError", idfile, address, output)


@_stmgr.command("node-entry")
@click.option("-n", "--nodeid", type=_PATH, required=True, help="Identity file of the node.")
@click.option("-p", "--appid", type=_PATH, required=True, help="Identity file of the app.")
@_ADDRESS
@_OUTPUT
def _node_entry(nodeid: Path, appid: Path, address: str, output: Path) -> None:
    """Make an entry by which an app on another device reaches a node. Holds the app's private key."""
    from offset_proto.files import IDENTITY, NODE_ENTRY, NodeEntry

    def make() -> None:
        _check_new(output)
        node_key = _public_key(nodeid)
        app_key = IDENTITY.load(appid).private_key
        NODE_ENTRY.save(output, NodeEntry(node_key, _address(address), app_key))

    _in_group("NodeTicketError", make)


def main() -> None:
    """Run the program stmgr with the arguments of the command line."""
    run_program("stmgr", "run() error", _stmgr)
