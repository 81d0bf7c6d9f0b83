"""
Who owes whom, and what needs attention, in the terms of a person. Pure.

A balance is what the friend owes, in credits; below zero, what we owe. How much a friend may owe is our own choice and
known. How much we may owe is the friend's choice, which nodes do not tell each other: a payment that goes too far is
refused, and that is how it is found out. So the bar of a balance has an end on one side only::

    we owe                    0                    the friend owes
    - - - - - - - - - - ######|--------------------]
       no end is known                              the limit that we have set
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.types import PublicKey

__all__ = ["BAR_HALF", "Bar", "Friendship", "Ledger", "Terms", "Total", "build_friendship", "sum_up"]

BAR_HALF: Final = 500
"""Units of a bar on each side of zero."""

UNLIMITED: Final = 2**100
"""A limit that nobody reaches is shown as none."""


@dataclass(frozen=True, slots=True)
class Bar:
    """
    A balance as a bar, in units of which `BAR_HALF` are on each side of zero.

    Attributes:
        start, width: Of what is owed.
        end: Where the limit is; None: there is none to be shown.
    """

    start: int
    width: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """
    One currency with a friend.

    Attributes:
        balance: None: the friend has not opened the currency yet.
        out, back: Credits that are frozen by us and by the friend.
        limit: What the friend may owe; None where we have set nothing up.
        is_unlimited: The limit is one that nobody reaches.
        rate: What forwarding costs the friend.
        is_open: We forward in this currency.
    """

    currency: str
    balance: int | None
    out: int
    back: int
    limit: int | None
    is_unlimited: bool
    rate: Rate | None
    is_open: bool
    bar: Bar


@dataclass(frozen=True, slots=True)
class Terms:
    """One currency of a disagreement: what either side takes for the balance, in our sign; None: nothing is said."""

    currency: str
    ours: int | None
    theirs: int | None


@dataclass(frozen=True, slots=True)
class Friendship:
    """
    A friend, as the pages show it.

    Attributes:
        state: online, offline or paused.
        terms: Where the two sides disagree: what each takes for right; None: they agree.
        has_terms: The friend has said what it takes for right.
        is_heard: False: the node was restored, and the friend has to speak first. The ledgers are those of the backup.
    """

    key: PublicKey
    name: str
    state: str
    ledgers: tuple[Ledger, ...]
    terms: tuple[Terms, ...] | None
    has_terms: bool
    is_heard: bool

    @property
    def weight(self) -> int:
        """The largest of its balances, for the order of a list."""
        return max((abs(ledger.balance or 0) for ledger in self.ledgers), default=0)


@dataclass(frozen=True, slots=True)
class Total:
    """One currency over all friends: what they owe together, and what we owe."""

    currency: str
    owed: int
    owing: int
    debtors: int
    creditors: int

    @property
    def net(self) -> int:
        """What would be left if everything were settled."""
        return self.owed - self.owing


def build_friendship(key: PublicKey, friend: FriendReport, *, is_heard: bool = True) -> Friendship:
    """A friend of the report, and whether it has spoken, where it has to speak first."""
    status = friend.channel_status
    agreed = status.currency_reports if isinstance(status, ChannelConsistentReport) else ()
    reports = {each.currency: each for each in agreed}
    configs = {each.currency: each for each in friend.currency_configs}
    ledgers = tuple(
        _ledger(currency, reports.get(currency), configs.get(currency)) for currency in sorted({*reports, *configs})
    )
    if isinstance(status, ChannelConsistentReport):
        return Friendship(key, friend.name, _state(friend), ledgers, None, has_terms=False, is_heard=is_heard)
    has_terms = status.opt_remote_reset_terms is not None
    return Friendship(key, friend.name, _state(friend), ledgers, _terms(status), has_terms, is_heard)


def _state(friend: FriendReport) -> str:
    if friend.status is FriendStatusReport.DISABLED:
        return "paused"
    return "online" if friend.liveness is FriendLivenessReport.ONLINE else "offline"


def _ledger(currency: str, report: CurrencyReport | None, config: CurrencyConfigReport | None) -> Ledger:
    balance = None if report is None else report.balance.balance
    limit = None if config is None else config.remote_max_debt
    is_unlimited = limit is not None and limit >= UNLIMITED
    return Ledger(
        currency,
        balance,
        0 if report is None else report.balance.local_pending_debt,
        0 if report is None else report.balance.remote_pending_debt,
        limit,
        is_unlimited,
        None if config is None else config.rate,
        config is not None and config.is_open,
        _bar(balance or 0, None if is_unlimited else limit),
    )


def _bar(balance: int, limit: int | None) -> Bar:
    """A bar whose half is as long as the larger of balance and limit; without a limit, twice as long as the balance."""
    span = max(abs(balance), limit) if limit is not None else 2 * abs(balance)
    width = 0 if not span else max(-(-abs(balance) * BAR_HALF // span), 6 if balance else 0)
    end = None if limit is None else BAR_HALF + (limit * BAR_HALF // span if span else 0)
    return Bar(BAR_HALF if balance >= 0 else BAR_HALF - width, width, end)


def _terms(status: ChannelInconsistentReport) -> tuple[Terms, ...]:
    ours = {str(each.currency): int(each.balance) for each in status.local_reset_terms}
    asked = status.opt_remote_reset_terms
    theirs = {} if asked is None else {str(each.currency): -int(each.balance) for each in asked.balance_for_reset}
    return tuple(Terms(currency, ours.get(currency), theirs.get(currency)) for currency in sorted({*ours, *theirs}))


def sum_up(friendships: Iterable[Friendship]) -> list[Total]:
    """What is owed and owing in each currency, over all friends; our own terms count where a channel is broken."""
    balances: dict[str, list[int]] = {}
    for friendship in friendships:
        for ledger in friendship.ledgers:
            balances.setdefault(ledger.currency, [])
            if ledger.balance:
                balances[ledger.currency].append(ledger.balance)
        for terms in friendship.terms or ():
            balances.setdefault(terms.currency, []).append(terms.ours or 0)
    return [
        Total(
            currency,
            sum(each for each in found if each > 0),
            -sum(each for each in found if each < 0),
            sum(each > 0 for each in found),
            sum(each < 0 for each in found),
        )
        for currency, found in sorted(balances.items())
    ]
