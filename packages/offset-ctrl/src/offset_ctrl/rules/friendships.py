"""
How it stands with each friend of a node, and what is frozen behind them. Pure.

The first of these that holds says what is wrong with a friend; the later ones can not be judged while it does.

=================  =========  ==========================================================================
the channel broke  broken     nothing can be paid until one side accepts the terms of the other
disabled           fine       the owner wants it so
not heard          attention  the database was restored, and the friend has to speak first
offline            attention  the reasons that can be seen from here: no relay of it, or none that answers
no currency        attention  nothing can be paid
currency missing   attention  the friend has not opened it
online             fine       with what is nearly at its limit, if anything
=================  =========  ==========================================================================

What is frozen for long can not be taken back (spec 12 §5), and a node does not see behind which friend of its friend it
waits. So its owner can only be told whom to talk to.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from offset_ctrl.rules.findings import Finding, Severity, command, is_nearly, short_key
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PublicKey

__all__ = ["LONG_FROZEN_SECONDS", "Frozen", "judge_credits", "judge_friend"]

LONG_FROZEN_SECONDS: Final = 3600
"""Credits that have been frozen for longer are told of."""

FRIENDS: Final = "friends"
CREDITS: Final = "frozen credits"


@dataclass(frozen=True, slots=True)
class Frozen:
    """
    Credits that this node has frozen for a request.

    Attributes:
        friend: Behind which they wait.
        currency, credits: What they are.
        since: Seconds since 1970.
        is_own: For a payment of this node; otherwise the request was forwarded.
    """

    friend: PublicKey
    currency: Currency
    credits: int
    since: int
    is_own: bool


def judge_friend(
    friend: FriendReport,
    *,
    is_live: bool,
    is_heard: bool,
    unreached: Mapping[RelayAddress, str],
    stctrl: tuple[str, ...] = ("stctrl",),
) -> Iterator[Finding]:
    """
    How it stands with one friend.

    Args:
        friend: As the node reports it.
        is_live: The node runs, so it knows who is online; otherwise the report is from its database.
        is_heard: The friend has spoken since the database was restored, if it ever was.
        unreached: Relays that were tried in vain, and why.
        stctrl: With what commands for this node begin.
    """
    name, status = friend.name, friend.channel_status
    if isinstance(status, ChannelInconsistentReport):
        yield _broken_channel(name, status, stctrl)
    elif friend.status is FriendStatusReport.DISABLED:
        words = f"{name} is disabled, as you wanted it: nothing is paid through it"
        yield Finding(FRIENDS, Severity.FINE, words, command(*stctrl, "config", "enable-friend", "-n", name))
    elif not is_heard:
        words = f"{name} has to speak first, since this node goes on from a backup or without its database"
        yield Finding(FRIENDS, Severity.ATTENTION, words, "Ask it to be online; then it shows how the channel stands.")
    elif is_live and friend.liveness is FriendLivenessReport.OFFLINE:
        yield _offline(friend, unreached, stctrl)
    else:
        yield from _working(friend, status, stctrl, is_live=is_live)


def _broken_channel(name: str, status: ChannelInconsistentReport, stctrl: tuple[str, ...]) -> Finding:
    ours = _terms(status.local_reset_terms, 1)
    if status.opt_remote_reset_terms is None:
        words = f"the channel with {name} is broken; by our terms it {ours}, and its terms are not known yet"
        remedy = "Both nodes have to be online, so that they tell each other their terms."
        return Finding(FRIENDS, Severity.BROKEN, words, remedy)
    theirs = _terms(status.opt_remote_reset_terms.balance_for_reset, -1)
    accept = command(*stctrl, "config", "reset-friend", "-n", name)
    words = f"the channel with {name} is broken; by our terms it {ours}, by its terms it {theirs}"
    return Finding(FRIENDS, Severity.BROKEN, words, f"Agree on what is right. {accept} accepts the friend's terms.")


def _terms(balances: tuple[CurrencyBalance, ...], sign: int) -> str:
    """What the friend owes us by terms; *sign* is -1 where they are written as the friend sees it."""
    owed = [f"{sign * each.balance} {each.currency}" for each in sorted(balances, key=lambda each: each.currency)]
    return f"owes us {', '.join(owed)}" if owed else "owes us nothing"


def _offline(friend: FriendReport, unreached: Mapping[RelayAddress, str], stctrl: tuple[str, ...]) -> Finding:
    name, relays = friend.name, friend.remote_relays
    renew = command(*stctrl, "config", "set-friend-relays", "-n", name, "-f", "TICKET")
    if not relays:
        words = f"{name} is offline, and no relay is known at which it could be reached"
        return Finding(FRIENDS, Severity.ATTENTION, words, f"Ask it for a new friend ticket: {renew}")
    if all(relay in unreached for relay in relays):
        tried = ", ".join(f"{relay.address} ({unreached[relay]})" for relay in relays)
        words = f"{name} is offline, and none of its relays is reached from here: {tried}"
        return Finding(FRIENDS, Severity.ATTENTION, words, f"Ask it for a ticket with those that it uses now: {renew}")
    words = f"{name} is offline; since when, the node does not tell"
    return Finding(
        FRIENDS, Severity.ATTENTION, words, "Ask its owner whether the node runs, and for its stctrl doctor."
    )


def _working(
    friend: FriendReport, status: ChannelConsistentReport, stctrl: tuple[str, ...], *, is_live: bool
) -> Iterator[Finding]:
    name = friend.name
    balances = {report.currency: report.balance for report in status.currency_reports}
    lacking = sorted(config.currency for config in friend.currency_configs if config.currency not in balances)
    stands = f"{name} is online" if is_live else f"{name} has a channel that works"
    if lacking:
        words = f"{stands}, and has not opened {', '.join(lacking)}"
        yield Finding(
            FRIENDS, Severity.ATTENTION, words, "Ask its owner to open it, too, or whether the name is right."
        )
    elif not balances:
        opens = command(*stctrl, "config", "open-currency", "-n", name, "-c", "CURRENCY")
        yield Finding(FRIENDS, Severity.ATTENTION, f"{stands}, and no currency is open with it", opens)
    else:
        closed = {config.currency for config in friend.currency_configs if not config.is_open}
        shown = [f"{each} (closed by you)" if each in closed else each for each in sorted(balances)]
        yield Finding(FRIENDS, Severity.FINE, f"{stands}: {', '.join(shown)}")
    for config in friend.currency_configs:
        ledger = balances.get(config.currency)
        owed = 0 if ledger is None else ledger.balance + ledger.remote_pending_debt
        if config.remote_max_debt and is_nearly(owed, config.remote_max_debt):
            words = f"{name} owes us {owed} of at most {config.remote_max_debt} {config.currency}"
            which = ("-n", name, "-c", config.currency, "-m", "LIMIT")
            raises = command(*stctrl, "config", "set-currency-max-debt", *which)
            yield Finding("limits", Severity.ATTENTION, words, f"Let it pay back, or raise the limit: {raises}")


def judge_credits(
    report: ReportView, frozen: Iterable[Frozen] | None, *, now: int, knows_forwarded: bool
) -> Iterator[Finding]:
    """
    What has been frozen for longer than an hour, and behind whom it waits.

    Args:
        report: Of the node.
        frozen: What is known of single requests; None: nothing, since the node is one of the original, or the app may
            not ask.
        now: Seconds since 1970.
        knows_forwarded: *frozen* has the requests of others that were forwarded, too.
    """
    known = tuple(frozen or ())
    old: dict[PublicKey, list[Frozen]] = {}
    for each in known:
        if each.since + LONG_FROZEN_SECONDS <= now:
            old.setdefault(each.friend, []).append(each)
    for key, requests in sorted(old.items(), key=lambda item: min(each.since for each in item[1])):
        yield _long_frozen(_name(report, key), requests, now)
    untold = "" if knows_forwarded else _untold(report, known)
    if untold:
        words = f"frozen, and since when this node does not tell: {untold}"
        yield Finding(CREDITS, Severity.FINE, words, "Where it is still so in an hour, ask these friends.")
    elif not old:
        yield Finding(CREDITS, Severity.FINE, "nothing has been frozen for longer than an hour")


def _untold(report: ReportView, known: tuple[Frozen, ...]) -> str:
    """What is frozen behind which friends for requests that are not *known*."""
    rest = dict(_pending(report))
    for each in known:
        rest[each.friend, each.currency] = rest.get((each.friend, each.currency), 0) - each.credits
    return ", ".join(
        f"{amount} {currency} behind {_name(report, key)}" for (key, currency), amount in rest.items() if amount > 0
    )


def _long_frozen(name: str, requests: list[Frozen], now: int) -> Finding:
    amounts: dict[Currency, int] = {}
    for each in requests:
        amounts[each.currency] = amounts.get(each.currency, 0) + each.credits
    hours = (now - min(each.since for each in requests)) // 3600
    own = sum(each.is_own for each in requests)
    whose = f"{own} of payments of this node, {len(requests) - own} forwarded for others"
    total = ", ".join(f"{amount} {currency}" for currency, amount in sorted(amounts.items()))
    words = (
        f"{total} wait behind {name}, the oldest for {hours} h ({whose}); who further on is silent is not known here"
    )
    remedy = f"Ask {name} whether its friends are online, and to run stctrl doctor."
    return Finding(CREDITS, Severity.ATTENTION, words, remedy)


def _pending(report: ReportView) -> Iterator[tuple[tuple[PublicKey, Currency], int]]:
    """What this node has frozen behind each friend, in all."""
    for key, friend in report.friends.items():
        if isinstance(friend.channel_status, ChannelConsistentReport):
            for ledger in friend.channel_status.currency_reports:
                yield (key, ledger.currency), ledger.balance.local_pending_debt


def _name(report: ReportView, key: PublicKey) -> str:
    friend = report.friends.get(key)
    return short_key(key) if friend is None else friend.name
