"""stctrl buyer rebalance and clear: payments of a node to itself, which make what friends owe each other smaller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click

from offset_ctrl.connection.client import NotAnnounced, RoutesUnavailable
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.buyer import failure_words
from offset_ctrl.programs.stctrl.payment_plan import parts_table
from offset_ctrl.programs.stctrl.session import CommandError, find_friend, parse_currency
from offset_ctrl.programs.stctrl.waiting import bar, showing
from offset_ctrl.programs.table import format_table, printable
from offset_ctrl.rules.capacity import friend_credits
from offset_ctrl.rules.circles import Circle
from offset_ctrl.rules.entry_words import friend_name
from offset_ctrl.sdk.circles import ClearedCircle
from offset_ctrl.sdk.failures import PaymentFailed
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.sdk.node import Node, use_session
from offset_proto.report_view import ReportView
from offset_proto.types import U128, Currency, PublicKey

__all__ = ["clear", "rebalance"]

GROUP: Final = "BuyerError"

NOT_ALL: Final = 1
"""Exit status: some circles of the plan were not paid."""

Balances = dict[PublicKey, int]


async def rebalance(
    session: NodeSession,
    out: str,
    back: str,
    currency: str,
    amount: U128,
    *,
    fees_max: U128 | None,
    dry_run: bool,
    journal: Path | None,
    timeout: float,
) -> None:
    """
    Pay *amount* in a circle, out through one friend and back through the other, and print both balances.

    Raises:
        CommandError: Nothing was paid, and why.
    """
    parsed = parse_currency(GROUP, currency)
    ends = [find_friend(GROUP, session.report, name)[0] for name in (out, back)]
    async with _node(session, journal) as node:
        if dry_run:
            _tell_circle(node.report, await node.plan_rebalance(parsed, amount, *ends, fees_max=fees_max))
            click.echo("Nothing was paid.")
            return
        before = _balances(node.report, parsed)
        async with showing(lambda: f"{amount} {printable(parsed)} go around from {out} to {back}"):
            circle = await node.rebalance(parsed, amount, *ends, fees_max=fees_max, timeout=timeout)
        _tell_circle(node.report, circle)
        _tell_change(node.report, before, parsed)


async def clear(
    session: NodeSession,
    currency: str,
    *,
    towards: int,
    keep: tuple[str, ...],
    fees_max: U128 | None,
    dry_run: bool,
    journal: Path | None,
    timeout: float,
) -> int | None:
    """
    Print the circles that can be paid now, pay them, and print what has become of the balances.

    Returns:
        None where all circles of the plan were paid, and `NOT_ALL` where some were not.

    Raises:
        CommandError: Nothing was paid, and why.
    """
    parsed = parse_currency(GROUP, currency)
    wanted: dict[str | PublicKey, int] = dict(_kept(session.report, text) for text in keep)
    async with _node(session, journal) as node:
        plan = await node.plan_clear(parsed, towards=towards, keep=wanted, fees_max=fees_max)
        if not plan:
            click.echo("Nothing can be cleared now.")
            return None
        _tell_plan(node.report, plan, parsed)
        if dry_run:
            click.echo("Nothing was paid.")
            return None
        before, done = _balances(node.report, parsed), list[ClearedCircle]()
        async with showing(lambda: _cleared_words(done, plan, parsed)):
            await node.clear(parsed, towards=towards, keep=wanted, fees_max=fees_max, timeout=timeout, tell=done.append)
        return _tell_done(node.report, done, before, parsed)


@asynccontextmanager
async def _node(session: NodeSession, journal: Path | None) -> AsyncIterator[Node]:
    """The verbs of the SDK; its errors get the names that the other commands of this group have."""
    try:
        async with use_session(session, None if journal is None else Journal(journal), None) as node:
            yield node
    except RoutesUnavailable as error:
        raise CommandError(GROUP, f"AppRoutesError({error})") from None
    except NotAnnounced as error:
        words = "a circle that is stopped would stay frozen; give --journal DIR, from which it is seen through later"
        raise CommandError(GROUP, f"NotAnnounced({error})", words) from None
    except PaymentFailed as error:
        raise CommandError(GROUP, *failure_words(error)) from None


def _kept(report: ReportView, text: str) -> tuple[PublicKey, int]:
    name, _, amount = text.rpartition("=")
    try:
        return find_friend(GROUP, report, name)[0], int(amount)
    except ValueError:
        raise CommandError(GROUP, f"InvalidAmount({text})", "write --keep NAME=AMOUNT, such as bob=-20") from None


def _balances(report: ReportView, currency: Currency) -> Balances:
    return {credit.public_key: credit.balance for credit in friend_credits(report.friends, currency)}


def _tell_circle(report: ReportView, circle: Circle) -> None:
    click.echo(parts_table(report, circle.parts))
    click.echo(f"Total fees: {circle.fees}")
    if not circle.are_fees_known:
        click.echo("The rate of a mediator is not known; it may want more.")


def _tell_plan(report: ReportView, plan: tuple[Circle, ...], currency: Currency) -> None:
    rows = [
        [friend_name(report, circle.out), friend_name(report, circle.back), str(circle.amount), str(circle.fees)]
        for circle in plan
    ]
    total = sum(circle.amount for circle in plan), sum(circle.fees for circle in plan)
    rows.append(["all", "", *map(str, total)])
    click.echo(format_table(["out through", "back through", f"amount in {printable(currency)}", "fees"], rows))


def _paid(done: list[ClearedCircle]) -> list[Circle]:
    return [ended.circle for ended in done if ended.failure is None]


def _cleared_words(done: list[ClearedCircle], plan: tuple[Circle, ...], currency: Currency) -> str:
    """How far it has come; later plans may find more than the first one, which was printed."""
    cleared, planned = (sum(circle.amount for circle in circles) for circles in (_paid(done), plan))
    return f"{bar(cleared, planned)} {cleared} of {max(planned, cleared)} {printable(currency)} cleared"


def _tell_done(report: ReportView, done: list[ClearedCircle], before: Balances, currency: Currency) -> int | None:
    failed = [ended for ended in done if ended.failure is not None]
    for ended in failed:
        ends = " to ".join(friend_name(report, key) for key in (ended.circle.out, ended.circle.back))
        click.echo(f"not paid: {ended.circle.amount} from {ends}: {printable(str(ended.failure))}", err=True)
    _tell_change(report, before, currency)
    paid = _paid(done)
    click.echo(f"Circles: {len(paid)} paid, {len(failed)} not paid")
    click.echo(f"Cleared: {sum(circle.amount for circle in paid)}")
    return NOT_ALL if failed else None


def _tell_change(report: ReportView, before: Balances, currency: Currency) -> None:
    """Balances that are others than before."""
    after = _balances(report, currency)
    rows = [
        [friend_name(report, key), str(before.get(key, 0)), str(balance)]
        for key, balance in after.items()
        if balance != before.get(key, 0)
    ]
    if rows:
        click.echo(format_table(["friend", "before", "after"], rows))
    click.echo(f"Cost: {sum(before.values()) - sum(after.values())}")
