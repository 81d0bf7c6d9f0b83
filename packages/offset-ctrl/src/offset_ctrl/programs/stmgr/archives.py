"""The command of stmgr that moves old entries of a history to an archive. Spec 12 §6."""

from pathlib import Path
from typing import Any

import click

from offset_ctrl.programs.stmgr.files import PATH, in_group, not_installed
from offset_proto.cli import OffsetCommand

__all__ = ["COMMANDS"]


@click.command("archive-history", cls=OffsetCommand)
@click.option("-d", "--database", type=PATH, required=True, help="Node database; no node may run on it.")
@click.option("--until", metavar="DATE", required=True, help="What is from before this day, or time, in UTC.")
@click.option("-o", "--output", type=PATH, required=True, help="The archive; must not exist.")
def _archive_history(database: Path, until: str, output: Path) -> None:
    """
    Move the old entries of a history out of a node database, to an archive.

    Opening entries with the balances stay for them. If the command was interrupted, give it once more. The archive is
    the only place of its entries then: keep copies of it.
    """
    from offset_ctrl.programs.stctrl.history import parse_date

    def move() -> Any:
        try:
            from offset_node.database.archive import archive_history
        except ModuleNotFoundError as error:
            raise not_installed(error) from None
        moment = parse_date(until)
        assert moment is not None
        return archive_history(database, int(moment.timestamp()), output)

    archive = in_group("ArchiveHistoryError", move)
    click.echo(f"Archived. The entries up to number {archive.through} are in {output}.")


COMMANDS = (_archive_history,)
