"""
How much a node can receive now, and how to find with few questions how much it can pay. Pure.

What each friend can bring us follows from the report alone: our limit for its debt, less what it owes already, and less
what is frozen on the way to us. What we can bring a friend depends on its limit for us, and the report does not have
that: the friend declares it to index servers. So it is asked for, as the route that has nobody in between.

`LargestSearch` looks for the largest amount that routes carry. An index server answers whether it knows routes for an
amount, and says how much they carry. Its states are two numbers: *found*, which can be paid, and *refused*, which no
answer carried. Rules.

1. The first question is for the most that there can be, where that is known: often the answer is yes, and nothing is
   left to be asked.
2. The next one is for one credit. The answer's route has some capacity, which is *found* at once.
3. Each further question is for the middle between *found* and *refused*, and halves the rest. Where no amount was
   refused so far, it is for twice as much as was found.
4. The search ends where the two numbers are neighbours, or after so many questions as are allowed. Then *found* is what
   can be paid for sure, and `is_exact` says that it is the largest.

Why the middle: with a server that puts several routes together, how much is carried is a maximum flow, and a server
that knows single routes only has one more step at each route's capacity; in both cases whoever can bring an amount can
bring a smaller one, so halving is right. An answer may carry more than was asked, and less, as fees are paid out of
the capacity too; both are taken as what they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from offset_proto.messages.index import MultiRoute
from offset_proto.messages.report import (
    ChannelConsistentReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.rate import max_payable
from offset_proto.types import U128, U128_MAX, Currency, PublicKey

__all__ = ["QUESTIONS_MAX", "FriendCredit", "Largest", "LargestSearch", "direct_capacity", "friend_credits", "payable"]

QUESTIONS_MAX: Final = 12
"""Questions for one destination. Of what is in doubt after the first two, a thousandth is left."""


@dataclass(frozen=True, slots=True)
class FriendCredit:
    """
    What the report says of one currency with one friend; all amounts are credits.

    Attributes:
        public_key, name: Of the friend.
        is_usable: It is enabled, online and consistent, and the currency is open: something can pass now.
        max_debt: How much the friend may owe us.
        balance: What the friend owes us; negative where we owe.
        sending: Frozen on the way out to the friend.
        receiving: Frozen on the way in from the friend.
        receive: What can still be received from the friend now.
    """

    public_key: PublicKey
    name: str
    is_usable: bool
    max_debt: U128
    balance: int
    sending: U128
    receiving: U128
    receive: U128


def friend_credits(friends: Mapping[PublicKey, FriendReport], currency: Currency) -> tuple[FriendCredit, ...]:
    """The friends that have a balance in *currency*, by name and key."""
    found = []
    for public_key, friend in friends.items():
        if not isinstance(friend.channel_status, ChannelConsistentReport):
            continue
        configs = [config for config in friend.currency_configs if config.currency == currency]
        is_open = any(config.is_open for config in configs)
        max_debt = configs[0].remote_max_debt if configs else 0
        is_usable = (
            is_open and friend.status is FriendStatusReport.ENABLED and friend.liveness is FriendLivenessReport.ONLINE
        )
        for report in friend.channel_status.currency_reports:
            if report.currency == currency:
                ledger = report.balance
                # The rule by which a node declares to index servers what it can receive, spec 06 §7.2.
                left = min(max(max_debt - ledger.balance - ledger.remote_pending_debt, 0), U128_MAX)
                found.append(
                    FriendCredit(
                        public_key,
                        friend.name,
                        is_usable,
                        max_debt,
                        ledger.balance,
                        ledger.local_pending_debt,
                        ledger.remote_pending_debt,
                        left if is_usable else 0,
                    )
                )
    return tuple(sorted(found, key=lambda credit: (credit.name, credit.public_key)))


def payable(multi_route: MultiRoute) -> int:
    """Credits that can arrive over the routes of *multi_route* together."""
    return sum(max_payable(route.rate, route.capacity) for route in multi_route.routes)


def direct_capacity(multi_routes: tuple[MultiRoute, ...]) -> int:
    """Credits that the route with nobody in between carries; 0 where there is none."""
    return max(
        (route.capacity for multi in multi_routes for route in multi.routes if len(route.route.public_keys) == 2),
        default=0,
    )


@dataclass(frozen=True, slots=True)
class Largest:
    """
    The largest amount that could be paid to one destination now.

    Attributes:
        amount: Credits that can arrive, for sure as far as index servers know.
        is_exact: No larger amount could be paid; False: the questions were over before that was known.
    """

    amount: int
    is_exact: bool


class LargestSearch:
    """
    The search for the largest amount that can be paid; `question` and `answered` take turns.

    Args:
        most: Credits beyond which nothing can be paid, for whatever reason; None: not known.
        questions_max: Questions that may be asked.
    """

    def __init__(self, most: int | None = None, questions_max: int = QUESTIONS_MAX) -> None:
        self._found = 0
        self._refused = U128_MAX + 1 if most is None else min(most, U128_MAX) + 1
        self._first = [1] if most is None else [1, self._refused - 1]
        self._left = questions_max

    @property
    def largest(self) -> Largest:
        """What is known so far."""
        return Largest(self._found, self._found + 1 == self._refused)

    def question(self) -> U128 | None:
        """The amount to ask routes for next; None where the search is over."""
        if not self._left or self._found + 1 >= self._refused:
            return None
        self._left -= 1
        while self._first:
            amount = self._first.pop()
            if self._found < amount < self._refused:
                return amount
        if self._refused > U128_MAX:
            return min(2 * self._found, U128_MAX)
        return (self._found + self._refused) // 2

    def answered(self, amount: U128, multi_routes: tuple[MultiRoute, ...]) -> None:
        """*multi_routes* are the answer to the question for *amount* credits."""
        carried = max(map(payable, multi_routes), default=0)
        self._found = max(self._found, min(carried, self._refused - 1))
        if carried < amount:
            self._refused = amount
