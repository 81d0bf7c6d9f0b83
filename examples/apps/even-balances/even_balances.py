"""
Keep balances with friends even: what one friend owes us pays what we owe another.

Alice owes us 50, we owe Bob 50, and Alice and Bob can reach each other through friends of theirs: a payment to
ourselves that leaves through Alice and comes back through Bob makes both 0, for the fees of those between.
"""

import asyncio
from typing import Final

import click

from offset_ctrl import Node, RoutesUnavailable, connect
from offset_proto.errors import OffsetError
from offset_proto.messages.report import ChannelConsistentReport
from offset_proto.report_view import ReportView
from offset_proto.types import PublicKey

AGAIN_SECONDS: Final = 30
"""After a round in which nothing could be settled, for instance as a friend of a friend was away."""


def balances(report: ReportView, currency: str) -> dict[PublicKey, int]:
    """What each friend owes us; negative where we owe."""
    return {
        key: ledger.balance.balance
        for key, friend in report.friends.items()
        if isinstance(friend.channel_status, ChannelConsistentReport)
        for ledger in friend.channel_status.currency_reports
        if ledger.currency == currency
    }


def is_even(report: ReportView, currency: str, tolerance: int) -> bool:
    """Whether no debt of a friend could pay one of ours, but for *tolerance* credits."""
    owed = balances(report, currency).values()
    return not owed or min(max(owed), -min(owed)) <= tolerance


async def settle(node: Node, currency: str, fees_max: int) -> int:
    """Pay all circles that can be paid now; how many that were."""
    names = {key: friend.name for key, friend in node.report.friends.items()}
    paid = 0
    for ended in await node.clear(currency, fees_max=fees_max):
        circle = ended.circle
        words = f"{circle.amount} {currency} from {names[circle.out]} to {names[circle.back]}"
        if ended.failure is None:
            paid += 1
            click.echo(f"settled {words} for {circle.fees}")
        else:
            click.echo(f"{words}: {ended.failure}", err=True)
    return paid


async def keep_even(node: Node, currency: str, tolerance: int, fees_max: int, *, once: bool) -> None:
    """Settle what there is, and what comes, for ever or until there is nothing more to settle."""
    async for report in node.reports():
        if not is_even(report, currency, tolerance):
            try:
                paid = await settle(node, currency, fees_max)
            except RoutesUnavailable as error:
                if once:
                    raise
                paid = 0
                click.echo(str(error), err=True)
            if once and not paid:
                raise OffsetError("there are debts, and no circle that clears them")
            if not paid:
                await asyncio.sleep(AGAIN_SECONDS)
        if once:
            return


@click.command()
@click.option("-T", "--ticket", required=True, help="Ticket of the node.")
@click.option(
    "-I", "--idfile", required=True, help="Identity of this app; needs the permissions routes, buyer, seller."
)
@click.option("-c", "--currency", default="FST", show_default=True, help="Currency to look after.")
@click.option(
    "--tolerance", default=10, show_default=True, type=click.IntRange(0), help="Credits to leave as they are."
)
@click.option(
    "--fees-max", default=2, show_default=True, type=click.IntRange(0), help="Credits for all circles of one time."
)
@click.option("--once", is_flag=True, help="End when there is nothing to settle.")
def main(ticket: str, idfile: str, currency: str, tolerance: int, fees_max: int, once: bool) -> None:
    """Keep balances with friends even."""

    async def run() -> None:
        async with connect(ticket, idfile, journal=".even-balances") as node:
            await keep_even(node, currency, tolerance, fees_max, once=once)

    try:
        asyncio.run(run())
    except OffsetError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
