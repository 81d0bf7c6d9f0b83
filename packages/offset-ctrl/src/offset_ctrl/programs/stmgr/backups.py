"""Commands of stmgr that back the database of a node up, and restore it. Spec 09 §4."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import click

from offset_ctrl.programs.stmgr.databases import summary
from offset_ctrl.programs.stmgr.files import OUTPUT, PATH, check_new, in_group, not_installed
from offset_proto.cli import PASSPHRASE_FILE, OffsetCommand

__all__ = ["COMMANDS", "restore_database"]

_NICE = 10  # the node that runs beside it goes first
_KEPT = click.IntRange(1, 10_000)
_HOURS = click.FloatRange(min=0.001, max=8784)


@click.command("backup", cls=OffsetCommand)
@click.option("-d", "--database", type=PATH, required=True, help="Database of a node, which may run.")
@click.option("-o", "--output", type=PATH, help="The backup; must not exist.")
@click.option("--watch", "directory", type=PATH, help="Directory for a backup now and after each interval.")
@click.option(
    "--keep", type=click.IntRange(1, 10_000), default=7, show_default=True, help="With --watch: so many stay."
)
@click.option("--interval", type=_HOURS, default=24.0, show_default=True, help="With --watch: hours between backups.")
@click.option("--encrypt", is_flag=True, help="Lock the backups by a passphrase.")
@PASSPHRASE_FILE
def _backup(
    database: Path,
    output: Path | None,
    directory: Path | None,
    *,
    keep: int,
    interval: float,
    encrypt: bool,
    passphrase_file: Path | None,
) -> None:
    """
    Copy the database of a node, while the node runs or not, and check the copy. With --watch, until SIGTERM.

    Without --encrypt, whoever reads the copy learns friends, balances and payments. No key is in it.
    """
    if (output is None) == (directory is None):
        raise click.UsageError("Give one of --output and --watch", click.get_current_context())
    from offset_crypto.passphrase import find_passphrase, forget_variable

    def make() -> Any:
        try:
            from offset_node.database.backup import back_up
            from offset_node.database.backup_series import BackupSeries
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        what = f"backups of {database}"
        passphrase = find_passphrase(what, passphrase_file, is_new=True) if encrypt else None
        forget_variable()
        os.nice(_NICE)
        if output is not None:
            return back_up(database, output, passphrase)
        assert directory is not None
        end = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: end.set())
        return BackupSeries(database, directory, keep, interval * 3600, passphrase).run(end)

    state = in_group("BackupError", make)
    if state is not None:
        click.echo(f"Backed up. {summary(state)}")


@click.command("restore", cls=OffsetCommand)
@click.option("-i", "--input", "backup", type=PATH, required=True, help="Backup, made by stmgr backup; is not changed.")
@OUTPUT
@PASSPHRASE_FILE
def _restore(backup: Path, output: Path, passphrase_file: Path | None) -> None:
    """
    Make a node database from a backup.

    It does not know what the node signed after the backup, so a node that runs on it lets each friend speak first.
    """
    state = in_group("RestoreError", lambda: restore_database(backup, output, passphrase_file))
    click.echo(f"Restored. {summary(state)}")
    click.echo(f"{output} is as old as the backup: stnode lets each friend speak first, and some may ask for a reset.")
    click.echo("The machine that the database is from must stay off: two nodes of one key break all channels.")


def restore_database(backup: Path, output: Path, passphrase_file: Path | None) -> Any:
    """
    Make a node database from a backup; what is in it, a `NodeState`.

    Raises:
        OffsetError: As of `offset_node.database.backup.restore`, or the package offset-node is not installed.
    """
    from offset_crypto.passphrase import find_passphrase

    try:
        from offset_node.database.backup import restore
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    return restore(backup, output, lambda: find_passphrase(str(backup), passphrase_file))


@click.command("contacts", cls=OffsetCommand)
@click.option("-d", "--database", type=PATH, required=True, help="Database of a node, which may run, or a backup.")
@OUTPUT
@PASSPHRASE_FILE
def _contacts(database: Path, output: Path, passphrase_file: Path | None) -> None:
    """
    Write the contact list of a node: friends and their settings, relays, index servers; no secrets.

    stctrl recover makes friends again from it when the database is lost.
    """
    from offset_crypto.passphrase import find_passphrase
    from offset_ctrl.rules.recovery import contacts_of
    from offset_proto.contacts import CONTACTS
    from offset_proto.report_view import ReportView

    def make() -> None:
        try:
            from offset_node.database.backup import read_report
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        check_new(output)
        report = read_report(database, lambda: find_passphrase(str(database), passphrase_file))
        CONTACTS.save(output, contacts_of(ReportView(report)))

    in_group("ContactsError", make)


COMMANDS = (_backup, _contacts, _restore)
