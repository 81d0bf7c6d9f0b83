"""
stctrl income: the fees that forwarding earned, and those that payments cost, by month or by friend. Spec 12 §6.

It asks a node, archives or both, and changes nothing.
"""

import asyncio
from datetime import datetime
from pathlib import Path

import click

from offset_ctrl.connection.client import NotAnnounced
from offset_ctrl.programs.stctrl.archives import NamedSource, tell_archived, whole_history
from offset_ctrl.programs.stctrl.history import check_ends, not_announced, parse_range, read_filter
from offset_ctrl.programs.stctrl.waiting import moment
from offset_ctrl.programs.table import format_table, printable, shown_json
from offset_ctrl.rules.entry_words import friend_name
from offset_ctrl.sdk.history import archived_through, last_before, read_range
from offset_proto.messages.history import EntryKind

__all__ = ["income"]


async def income(
    source: NamedSource,
    *,
    by: str,
    since: str | None,
    until: str | None,
    currency: str | None,
    as_json: bool,
    archives: tuple[Path, ...] = (),
    ends: datetime | None = None,
) -> None:
    """
    Print the fees by month, or by friend: earned, of the friend whose request was forwarded; and paid, by the friend
    over whom the payment went.

    What was moved out of a node is read from *archives*. With *ends*, the source itself is archives, which have nothing
    from that moment on.

    Raises:
        CommandError: The node keeps no history, the archives are not its own or have not all of the period, or there is
            no such date.
    """
    if ends is not None:
        check_ends(*parse_range(since, until), ends)
    kinds = [EntryKind.FORWARDED.value, EntryKind.PAID.value]
    wanted = read_filter(source.report, since, until, None, currency, kinds)
    sums: dict[tuple[str, str], list[int]] = {}
    try:
        async with whole_history(source, archives) as whole:
            end, archived = await asyncio.gather(last_before(whole, None), archived_through(whole))
            async for entry in read_range(whole, archived, end, wanted):
                is_earned = entry.kind is EntryKind.FORWARDED
                who = entry.opt_party if is_earned else entry.friend
                if not entry.fee or who is None:
                    continue
                key = moment(entry.time)[:7] if by == "month" else friend_name(source.report, who)
                sums.setdefault((key, printable(entry.currency)), [0, 0])[0 if is_earned else 1] += entry.fee
            await tell_archived(whole)
    except NotAnnounced as error:
        raise not_announced(error) from None
    rows = [[*key, str(earned), str(paid)] for key, (earned, paid) in sorted(sums.items())]
    titles = [by, "currency", "earned", "paid"]
    if as_json:
        click.echo(shown_json([dict(zip(titles, row, strict=True)) for row in rows]))
    elif rows:
        click.echo(format_table(titles, rows))
    else:
        click.echo("No fees.")
