"""
Archives of a history: alone, or together with the node that they were made of. Spec 12 §6.

What shows entries takes them from a `NamedSource`: the session of a node, archives, or both as one history
(`offset_ctrl.sdk.whole_history`). Archives are read by the package offset-node, where it is installed.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import click

from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.sdk.history import HistorySource, archived_through
from offset_ctrl.sdk.whole_history import ArchivesDoNotFit, join_history
from offset_proto.errors import OffsetError
from offset_proto.messages.history import HistoryPage, ReadHistory
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64

if TYPE_CHECKING:
    from offset_node.database.archive_series import ArchiveSeries

__all__ = ["GROUP", "READ_ARCHIVE", "ArchivedHistory", "NamedSource", "open_archived", "tell_archived", "whole_history"]

GROUP: Final = "HistoryError"
"""Of errors of what shows a history, in `CommandError`."""

READ_ARCHIVE: Final = (
    "to see the whole, give the same command with --archive FILE; without a node, stmgr archived-history, stmgr"
    " archived-statement and stmgr archived-income read it"
)


class NamedSource(HistorySource, Protocol):
    """A history, and whose it is."""

    @property
    def report(self) -> ReportView:
        """The node, with the names of its friends."""


class ArchivedHistory:
    """
    Archives that follow each other, as a history with names. Made by `open_archived`.

    Attributes:
        report: The node as it was when the last archive was made.
        ends: The archives have nothing from this moment on.
    """

    def __init__(self, series: "ArchiveSeries") -> None:
        self.report = ReportView(series.last.report)
        self.ends = datetime.fromtimestamp(series.last.until, UTC)
        self._series = series

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        """The page that *request* asks for; raises OffsetError where an archive is damaged."""
        return await self._series.read(request)


class _WholeHistory:
    """The history of a node with its archives; friends have the names that the node has for them now."""

    def __init__(self, report: ReportView, history: HistorySource) -> None:
        self.report = report
        self._history = history

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        return await self._history.read_history(request)


@contextlib.asynccontextmanager
async def open_archived(paths: tuple[Path, ...]) -> AsyncIterator[ArchivedHistory]:
    """
    Open archives, at least one, for the length of a ``with`` block.

    Raises:
        OffsetError: One of them can not be read, they do not follow each other, or offset-node is not installed.
    """
    try:
        from offset_node.database.archive_series import open_archives
    except ModuleNotFoundError as error:
        raise OffsetError(f"{error.name} is not installed: pip install offset-node") from None
    async with open_archives(paths) as series:
        yield ArchivedHistory(series)


@contextlib.asynccontextmanager
async def whole_history(node: NamedSource, paths: tuple[Path, ...]) -> AsyncIterator[NamedSource]:
    """
    The history of a node, for the length of a ``with`` block; with what is in the archives of *paths*, where there are.

    Raises:
        CommandError: An archive can not be read, or they are not those that the history of the node goes on from; says
            what to do.
        NotAnnounced: There are archives, and the node keeps no history.
    """
    if not paths:
        yield node
        return
    async with contextlib.AsyncExitStack() as stack:
        try:
            archives = await stack.enter_async_context(open_archived(paths))
        except OffsetError as error:
            raise CommandError(GROUP, str(error)) from None
        keys = [format_b64(source.report.local_public_key) for source in (archives, node)]
        if keys[0] != keys[1]:
            words = f"they are of the node {keys[0]}, and this is {keys[1]}; give those of this node"
            raise CommandError(GROUP, "ArchivesDoNotFit", words)
        try:
            whole = await join_history(node, archives)
        except ArchivesDoNotFit as error:
            raise CommandError(GROUP, "ArchivesDoNotFit", str(error)) from None
        yield _WholeHistory(node.report, whole)


async def tell_archived(source: HistorySource) -> None:
    """Say so where the first entries were moved to an archive, so that nobody takes what is shown for all there was."""
    through = await archived_through(source)
    if through:
        click.echo(f"The entries up to number {through} are in an archive: {READ_ARCHIVE}", err=True)
