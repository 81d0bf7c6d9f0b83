"""
A friend from nothing: what is still to be asked for, and what is waited for. Pure.

A friend is there when the node is in touch with it, and each currency that was wished for has a ledger. A ledger begins
when both sides have opened the currency, so the other person has something to do as well, in any order.

What is wished for is compared with what the node reports, each time anew. So it can be wished for again after an error,
a timeout or a restart, and only what is missing is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.findings import command
from offset_proto.files import FriendTicket
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    FriendLivenessReport,
    FriendReport,
)
from offset_proto.rate import FREE
from offset_proto.report_view import ReportView
from offset_proto.types import U128, Currency

__all__ = ["FriendWish", "WishRefused", "awaited", "missing"]


class WishRefused(ValueError):
    """The node has a friend that stands in the way; the text says which."""


@dataclass(frozen=True, slots=True)
class FriendWish:
    """
    A friend as it is to be.

    Attributes:
        ticket: The ticket that it exported.
        name: Its local name.
        currencies: What is to be opened with it.
        max_debt: Credits of each that it may owe; None leaves it as it is.
        rate: What it is charged for forwarding, in each; None leaves it as it is, which is nothing at first.
    """

    ticket: FriendTicket
    name: str
    currencies: tuple[Currency, ...]
    max_debt: U128 | None
    rate: Rate | None


def missing(report: ReportView, wish: FriendWish) -> list[Change]:
    """
    What has to be asked for, in order.

    The relays of a friend that is there already stay as they are: the friend may have told newer ones.

    Raises:
        WishRefused: Another friend has this name, or this friend another name.
        InvalidInput: As `offset_ctrl.rules.changes.as_entered`.
    """
    key = wish.ticket.public_key
    friend = report.friends.get(key)
    if friend is not None and friend.name != wish.name:
        raise WishRefused(f"FriendNameMismatch({wish.name}): this friend is there already, as {friend.name}")
    if friend is None and any(known.name == wish.name for known in report.friends.values()):
        raise WishRefused(f"FriendNameAlreadyExists({wish.name})")
    configured = set() if friend is None else {config.currency for config in friend.currency_configs}
    return [change for change in map(changes.as_entered, _changes(wish, configured)) if not change.holds(report)]


def _changes(wish: FriendWish, configured: set[Currency]) -> Iterator[Change]:
    key = wish.ticket.public_key
    yield changes.add_friend(wish.ticket, wish.name)
    yield changes.enable_friend(key)
    for currency in wish.currencies:
        rate = FREE if wish.rate is None and currency not in configured else wish.rate
        yield from changes.set_up_currency(key, currency, rate=rate, max_debt=wish.max_debt, is_open=True)


def awaited(report: ReportView, wish: FriendWish, stctrl: tuple[str, ...] = ("stctrl",)) -> str | None:
    """
    What the friend has not done yet, in words; None when it is there.

    Args:
        report: Of the node.
        wish: Who the friend is to be.
        stctrl: With what commands for this node begin.
    """
    friend = report.friends.get(wish.ticket.public_key)
    if friend is None or friend.liveness is not FriendLivenessReport.ONLINE:
        return f"{wish.name} to be online, and to have added and enabled this node"
    if not isinstance(friend.channel_status, ChannelConsistentReport):
        look = command(*stctrl, "info", "friends")
        resets = command(*stctrl, "config", "reset-friend", "-n", wish.name)
        return f"the channel with {wish.name} to be consistent: {look} shows the terms, {resets} accepts the friend's"
    unopened = [currency for currency in wish.currencies if currency not in _ledgers(friend)]
    return f"{wish.name} to open {', '.join(unopened)}" if unopened else None


def _ledgers(friend: FriendReport) -> set[Currency]:
    channel = friend.channel_status
    assert isinstance(channel, ChannelConsistentReport)
    return {ledger.currency for ledger in channel.currency_reports}
