"""
Keep balances with friends even: what one friend owes us pays what we owe another.

Alice owes us 50, we owe Bob 50, and Alice and Bob can reach each other through friends of theirs: a payment to
ourselves that leaves through Alice and comes back through Bob makes both 0, for the fees of those between.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

import click

from offset_ctrl import Node, PaymentFailed, PayOptions, RoutesUnavailable, connect
from offset_proto.errors import OffsetError
from offset_proto.messages.extensions import Extension
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Commit
from offset_proto.messages.report import ChannelConsistentReport, FriendLivenessReport
from offset_proto.report_view import ReportView
from offset_proto.types import PublicKey

CIRCLE_SECONDS: Final = 600
"""The invoice of a circle ends after this time, also where the bot is stopped in the middle of it."""


@dataclass(frozen=True)
class Imbalance:
    """A friend who owes us, and one whom we owe; *amount* in credits is the smaller of the two debts."""

    debtor: PublicKey
    creditor: PublicKey
    amount: int


def find_imbalance(report: ReportView, currency: str, tolerance: int) -> Imbalance | None:
    """The largest one that is beyond *tolerance* credits on both sides."""
    balances = {}
    for key, friend in report.friends.items():
        if friend.liveness is FriendLivenessReport.ONLINE and isinstance(
            friend.channel_status, ChannelConsistentReport
        ):
            for ledger in friend.channel_status.currency_reports:
                if ledger.currency == currency:
                    balances[key] = ledger.balance.balance
    if not balances:
        return None
    debtor, creditor = max(balances, key=lambda key: balances[key]), min(balances, key=lambda key: balances[key])
    amount = min(balances[debtor], -balances[creditor])
    return Imbalance(debtor, creditor, amount) if amount > tolerance else None


def _close_circle(route: RouteCapacityRate, us: PublicKey) -> RouteCapacityRate:
    return replace(route, route=FriendsRoute((*route.route.public_keys, us)))


async def settle(node: Node, currency: str, imbalance: Imbalance, fees_max: int) -> int:
    """
    Pay ourselves around the circle; the fees that it took.

    Raises:
        PaymentFailed: There is no way around, or not for these fees.
    """
    us = node.public_key
    avoid = Edge(us, imbalance.creditor)
    found = await node.find_routes(currency, imbalance.amount, imbalance.creditor, exclude=avoid)
    circles = [
        MultiRoute((_close_circle(route, us),))
        for multi in found
        for route in multi.routes
        if route.route.public_keys[1] == imbalance.debtor
    ]
    if not circles:
        raise PaymentFailed("no route from the one to the other")
    # The creditor is a mediator of the circle, and nobody tells us its fee; what it leaves comes back to us.
    options = PayOptions(routes=tuple(circles), extra_fees=fees_max, fees_max=2 * fees_max)
    can_expire = Extension.EXPIRING_INVOICES in node.extensions  # a node of the original can not
    expires = CIRCLE_SECONDS if can_expire else None
    invoice = await node.create_invoice(currency, imbalance.amount, expires=expires)

    async def deliver(commit: Commit) -> None:
        await node.accept_commit(invoice, commit)

    before = _total(node.report, currency)
    try:
        await node.pay(invoice, deliver, options)
    except PaymentFailed:
        await node.cancel_invoice(invoice)
        raise
    await node.wait_until(lambda report: find_imbalance(report, currency, imbalance.amount - 1) is None, timeout=30)
    return before - _total(node.report, currency)


def _total(report: ReportView, currency: str) -> int:
    return sum(
        ledger.balance.balance
        for friend in report.friends.values()
        if isinstance(friend.channel_status, ChannelConsistentReport)
        for ledger in friend.channel_status.currency_reports
        if ledger.currency == currency
    )


async def keep_even(node: Node, currency: str, tolerance: int, fees_max: int, *, once: bool) -> None:
    """Settle what there is, and what comes, for ever or until there is nothing more to settle."""
    async for report in node.reports():
        imbalance = find_imbalance(report, currency, tolerance)
        if imbalance is None:
            if once:
                return
            continue
        names = [report.friends[key].name for key in (imbalance.debtor, imbalance.creditor)]
        try:
            fees = await settle(node, currency, imbalance, fees_max)
        except (PaymentFailed, RoutesUnavailable) as error:
            click.echo(f"{imbalance.amount} {currency} from {names[0]} to {names[1]}: {error}", err=True)
            if once:
                raise
            await asyncio.sleep(30)
        else:
            click.echo(f"settled {imbalance.amount} {currency} from {names[0]} to {names[1]} for {fees}")


@click.command()
@click.option("-T", "--ticket", required=True, help="Ticket of the node.")
@click.option(
    "-I", "--idfile", required=True, help="Identity of this app; needs the permissions routes, buyer, seller."
)
@click.option("-c", "--currency", default="FST", show_default=True, help="Currency to look after.")
@click.option(
    "--tolerance", default=10, show_default=True, type=click.IntRange(0), help="Credits to leave as they are."
)
@click.option("--fees-max", default=2, show_default=True, type=click.IntRange(0), help="Credits to offer each time.")
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
