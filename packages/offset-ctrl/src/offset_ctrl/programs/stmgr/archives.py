"""
Commands of stmgr that move old entries of a history to an archive, and show what is in one. Spec 12 §6.

What they show has the forms of `stctrl history`, `statement` and `income`, whose code does it; archives only take the
place of the node (`offset_ctrl.programs.stctrl.archives`).
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offset_ctrl.programs.stctrl.commands.history_options import ENTRIES, INCOME, STATEMENT
from offset_ctrl.programs.stmgr.files import PATH, in_group, not_installed
from offset_proto.cli import OffsetCommand

if TYPE_CHECKING:
    from offset_ctrl.programs.stctrl.archives import ArchivedHistory

__all__ = ["COMMANDS"]

_ARCHIVES = click.option(
    "-a",
    "--archive",
    "archives",
    type=PATH,
    multiple=True,
    required=True,
    help="Archive, made by stmgr archive-history; may be repeated, for archives that follow each other.",
)


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


def _with_archives(paths: tuple[Path, ...], show: Callable[["ArchivedHistory"], Awaitable[None]]) -> None:
    """Open archives, and show something of them."""
    from offset_ctrl.programs.stctrl.archives import open_archived

    async def opened() -> None:
        async with open_archived(paths) as source:
            await show(source)

    in_group("ArchiveError", lambda: asyncio.run(opened()))


def _options(*options: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[..., Any]:
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


@click.command("archived-history", cls=OffsetCommand)
@_ARCHIVES
@_options(*ENTRIES)
def _archived_history(archives: tuple[Path, ...], limit: int, as_json: bool, as_csv: bool, **choice: Any) -> None:
    """Show what changed the balances with friends, and why, as it is in archives."""
    from offset_ctrl.programs.stctrl.history import read_filter, show_last

    async def show(source: "ArchivedHistory") -> None:
        wanted = read_filter(source.report, **choice)
        await show_last(source, wanted, limit, as_json=as_json, as_csv=as_csv)

    _with_archives(archives, show)


@click.command("archived-statement", cls=OffsetCommand)
@_ARCHIVES
@_options(*STATEMENT)
def _archived_statement(archives: tuple[Path, ...], **options: Any) -> None:
    """Show an account as a bank does, of a period that is in archives."""
    from offset_ctrl.programs.stctrl.statement import statement

    _with_archives(archives, lambda source: statement(source, ends=source.ends, **options))


@click.command("archived-income", cls=OffsetCommand)
@_ARCHIVES
@_options(*INCOME)
def _archived_income(archives: tuple[Path, ...], **options: Any) -> None:
    """Show the fees that were earned and paid, as they are in archives."""
    from offset_ctrl.programs.stctrl.income import income

    _with_archives(archives, lambda source: income(source, ends=source.ends, **options))


COMMANDS = (_archive_history, _archived_history, _archived_statement, _archived_income)
