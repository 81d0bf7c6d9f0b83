"""
Why a node has not carried a request out, as far as its report shows. Pure. Spec 07 §3.3.

A node acknowledges a request that it refuses like one that it carries out, and does not say why (D82). But nearly all
rules by which it refuses a change of its configuration are about what every app sees. So they are looked up here in the
report, after the fact: nothing is forbidden that a node would allow.

========================  =============================================================================
use one more relay        it has `NODE_RELAYS_MAX` already
add a friend              it is the node itself; or a friend already, under another name
anything with a friend    it is none any more
withdraw a currency       it is not set up; the friend has agreed to it; or the channel is inconsistent
accept terms of a reset   the channel is consistent; or the terms are others by now
========================  =============================================================================
"""

from collections.abc import Iterable
from typing import Final

from offset_proto.limits import NODE_RELAYS_MAX
from offset_proto.messages.app import (
    AddFriend,
    AddRelay,
    AppRequest,
    CloseFriendCurrency,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriendCurrency,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_proto.messages.report import ChannelConsistentReport, ChannelInconsistentReport, FriendReport
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PublicKey

__all__ = ["known_currencies", "known_names", "why_refused"]

NAMES_SHOWN: Final = 12
"""Names that are listed where one was asked for that is not there."""


def why_refused(request: AppRequest, report: ReportView) -> str | None:
    """Why the node of *report* has not carried *request* out, in words; None: its report does not show that."""
    match request:
        case AddRelay():
            if len(report.relays) >= NODE_RELAYS_MAX:
                return f"it has {NODE_RELAYS_MAX} relays, and no node has more; remove one first"
            return None
        case AddFriend(friend_public_key=key):
            return _why_not_added(key, report)
        case RemoveFriendCurrency(key, currency) if key in report.friends:
            return _why_not_withdrawn(report.friends[key], currency)
        case ResetFriendChannel(key, _) if key in report.friends:
            return _why_not_reset(report.friends[key])
        case (
            EnableFriend(key)
            | DisableFriend(key)
            | SetFriendName(key)
            | SetFriendRelays(key)
            | OpenFriendCurrency(key)
            | CloseFriendCurrency(key)
            | SetFriendCurrencyMaxDebt(key)
            | SetFriendCurrencyRate(key)
            | RemoveFriendCurrency(key)
            | ResetFriendChannel(key)
        ):
            return None if key in report.friends else "the node has no such friend any more"
        case _:
            return None


def _why_not_added(key: PublicKey, report: ReportView) -> str | None:
    if key == report.local_public_key:
        return "this ticket is that of the node itself; give the one that the friend wrote, by stctrl friend invite"
    if key in report.friends:
        return f"this friend is there already, as {report.friends[key].name}"
    return None


def _why_not_withdrawn(friend: FriendReport, currency: Currency) -> str | None:
    channel = friend.channel_status
    if not isinstance(channel, ChannelConsistentReport):
        return f"the channel with {friend.name} is broken; reset it first"
    if any(each.currency == currency for each in channel.currency_reports):
        return f"{friend.name} has agreed to {currency}, so it stays; it can be closed, and its limit set to 0"
    return f"there is no {currency} with {friend.name}; {known_currencies(friend)}"


def _why_not_reset(friend: FriendReport) -> str:
    if not isinstance(friend.channel_status, ChannelInconsistentReport):
        return f"the channel with {friend.name} is consistent"
    return f"the terms of {friend.name} are others by now; look at them, and accept them again"


def known_names(names: Iterable[str]) -> str:
    """Which names there are, for a person who has given another one."""
    known = sorted(names)
    if not known:
        return "there is none"
    more = f", and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known[:NAMES_SHOWN])}{more}"


def known_currencies(friend: FriendReport) -> str:
    """Which currencies are set up with a friend, for a person who has given another one."""
    return known_names(config.currency for config in friend.currency_configs)
