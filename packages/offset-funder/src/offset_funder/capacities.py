"""
What a node declares to index servers: how much it can receive from each friend. Spec 05 §15.

A pair (friend, currency) is declared while the friend is enabled and online, the channel consistent and
the currency open. `diff` compares two such views; it is applied once per batch of report mutations,
before against after, never in between (D49).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from offset_proto.messages.index import IndexMutation, RemoveFriendCurrency, UpdateFriendCurrency
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.types import U128, U128_MAX, Currency, PublicKey

__all__ = ["Capacity", "declared", "declared_by", "diff"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """Credits that can still be received, and the rate charged for them."""

    recv_capacity: U128
    rate: Rate


Declared = dict[tuple[PublicKey, Currency], Capacity]


def declared_by(public_key: PublicKey, friend: FriendReport) -> Declared:
    """What we declare to index servers about one friend: its open currencies, while it is enabled and online."""
    enabled = friend.status is FriendStatusReport.ENABLED
    online = friend.liveness is FriendLivenessReport.ONLINE
    if not (enabled and online and isinstance(friend.channel_status, ChannelConsistentReport)):
        return {}
    configs = {config.currency: config for config in friend.currency_configs if config.is_open}
    view: Declared = {}
    for report in friend.channel_status.currency_reports:
        config = configs.get(report.currency)
        if config is not None:
            balance = report.balance
            capacity = config.remote_max_debt - (balance.balance + balance.remote_pending_debt)
            view[public_key, report.currency] = Capacity(min(max(capacity, 0), U128_MAX), config.rate)
    return view


def declared(friends: Mapping[PublicKey, FriendReport]) -> Declared:
    """What we declare to index servers about all friends, by friend and currency."""
    view: Declared = {}
    for public_key, friend in friends.items():
        view |= declared_by(public_key, friend)
    return view


def diff(before: Declared, after: Declared) -> tuple[IndexMutation, ...]:
    """Removals of what vanished, then updates of what is new or changed."""
    removed = [RemoveFriendCurrency(*pair) for pair in before if pair not in after]
    updated = [
        UpdateFriendCurrency(key, currency, capacity.recv_capacity, capacity.rate)
        for (key, currency), capacity in after.items()
        if before.get((key, currency)) != capacity
    ]
    return (*removed, *updated)
