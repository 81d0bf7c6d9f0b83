"""Commands of stmgr that make node databases, and move them from and to the original's program. Spec 09 §4."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offset_ctrl.programs.stmgr.files import (
    DATABASE,
    IDFILE,
    OUTPUT,
    PATH,
    check_new,
    in_group,
    not_installed,
    public_key,
)
from offset_proto.cli import PASSPHRASE_FILE, OffsetCommand
from offset_proto.text import format_b64

if TYPE_CHECKING:
    from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress
    from offset_proto.types import PublicKey

__all__ = ["COMMANDS", "create_database", "summary"]


_NEW = click.option(
    "-o",
    "--output",
    type=DATABASE,
    required=True,
    help="New database: a file, or an address postgresql://... of a server; must not exist.",
)

_RESTING = click.option(
    "-d",
    "--database",
    type=DATABASE,
    required=True,
    help="Node database, a file or an address postgresql://... of a server; no node may run on it.",
)


@click.command("init-node-db", cls=OffsetCommand)
@IDFILE
@_NEW
@PASSPHRASE_FILE
@click.option(
    "--recover",
    is_flag=True,
    help="The identity had a node before, whose database is lost: whoever is added as a friend has to speak first.",
)
def _init_node_db(idfile: Path, output: Path | str, passphrase_file: Path | None, *, recover: bool) -> None:
    """Make the database of a new node."""

    def make() -> None:
        if isinstance(output, Path):
            check_new(output)
        create_database(output, public_key(idfile, passphrase_file), has_forgotten=recover)

    in_group("InitNodeDbError", make)


def create_database(
    output: Path | str,
    local_public_key: "PublicKey",
    relays: "tuple[NamedRelayAddress, ...]" = (),
    index_servers: "tuple[NamedIndexServerAddress, ...]" = (),
    *,
    has_forgotten: bool = False,
) -> None:
    """
    Make the database of a new node, which uses these servers and has no friends: a file, or on a server.

    With *has_forgotten* the key has had a life before, and every friend has to speak first.

    Raises:
        OffsetError: The package offset-node is not installed, or the database can not be written.
    """
    try:
        from offset_funder.state import FunderState
        from offset_node.database import names, opening
        from offset_node.database.tables import timelines
        from offset_node.state import NodeState
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    state = NodeState(FunderState(local_public_key, relays, has_forgotten=has_forgotten), index_servers)
    timeline = timelines.draw(os.urandom) if has_forgotten else None
    opening.create_database(names.database_name(str(output)), state, timeline)


def summary(state: Any) -> str:
    """What a node remembers (a `NodeState`), in numbers."""
    funder = state.funder
    counts = {
        "friends": funder.friends,
        "open invoices": funder.open_invoices,
        "payments": funder.payments,
        "relays": funder.relays,
        "index servers": state.index_servers,
    }
    return ", ".join(f"{name}: {len(things)}" for name, things in counts.items())


@click.command("import-db", cls=OffsetCommand)
@click.option("-d", "--database", type=PATH, required=True, help="Database of a node of the original; is not changed.")
@OUTPUT
def _import_db(database: Path, output: Path) -> None:
    """
    Make a node database from one of the original (Rust) program.

    Stop the original first, and never start it on that file again: two nodes that go on from one state lose credits.
    """

    def move() -> str:
        try:
            from offset_node.database.move_over import import_database
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        return summary(import_database(database, output))

    click.echo(f"Imported. {in_group('ImportDbError', move)}")
    click.echo("The history begins with the balances that were found.")
    click.echo(f"Do not start a node on {database} again.")


@click.command("export-db", cls=OffsetCommand)
@click.option("-d", "--database", type=PATH, required=True, help="Node database; no node may run on it.")
@OUTPUT
@click.option("--copy", is_flag=True, help="For a look at it only: the node goes on from its own database.")
def _export_db(database: Path, output: Path, copy: bool) -> None:
    """
    Write a node database as one of the original (Rust) program.

    The node is moved: it does not start on its old database any more.
    """

    def move() -> Any:
        try:
            from offset_node.database.move_over import export_database
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        return export_database(database, output, copy=copy)

    state = in_group("ExportDbError", move)
    click.echo(f"Exported. {summary(state)}")
    for line in _left_behind(state, database):
        click.echo(line)
    if copy:
        click.echo(f"Do not start a node on {output}.")


def _left_behind(state: Any, database: Path) -> list[str]:
    """What the form of the original has no place for."""
    return [f"The history stays behind in {database}: the original keeps none."] + [
        f"The invoice {format_b64(invoice_id)} loses its end: it stays open until it is paid or cancelled."
        for invoice_id, invoice in sorted(state.funder.open_invoices.items())
        if invoice.opt_end is not None
    ]


@click.command("move-db", cls=OffsetCommand)
@_RESTING
@_NEW
@click.option(
    "--restored",
    is_flag=True,
    help="The database was restored from a dump of a server, and may be old: every friend has to speak first.",
)
def _move_db(database: Path | str, output: Path | str, *, restored: bool) -> None:
    """
    Move a node's database from a file to a server of PostgreSQL, or back, with its history.

    Both are compared. The node does not start on its old database any more.
    """

    def move() -> Any:
        try:
            from offset_node.database import names
            from offset_node.database.between_engines import move_database
            from offset_node.database.sqlite import run_alone
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        old, new = names.database_name(str(database)), names.database_name(str(output))
        return old, new, run_alone(move_database(old, new, restored=restored))

    old, new, moved = in_group("MoveDbError", move)
    click.echo(f"Moved. {summary(moved.state)}, entries of the history: {moved.entries}")
    click.echo(f"Both held the same: {moved.rows} rows, hash {moved.digest}")
    if restored:
        click.echo("Every friend has to speak first, since the node may have gone on after the dump.")
    click.echo(f"Start the node on {new} from now on, and not on {old}.")


@click.command("check-db", cls=OffsetCommand)
@_RESTING
def _check_db(database: Path | str) -> None:
    """Check a node database, and that its history comes to its balances. It names the first entry that does not fit."""

    def check() -> str:
        try:
            from offset_node.database import names
            from offset_node.database.checking import check_database
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        state, entries = check_database(names.database_name(str(database)))
        return f"{summary(state)}, entries of the history: {entries}"

    click.echo(f"Checked. {in_group('CheckDbError', check)}")


COMMANDS = (_init_node_db, _import_db, _export_db, _move_db, _check_db)
