"""
Circles that a node pays to itself: out through a friend that owes it, back in through a friend that it owes. Pure.

The node is buyer and seller of one payment. What it sends lowers what the first friend owes it, and what comes back
lowers what it owes the last one. Whoever is in between passes on what it gets, and keeps its fee. So both debts shrink,
and nobody else's position changes but by fees.

Index servers know no route from a node to itself. What they know is a route from us to the friend before us without the
direct hop, which spec 06 §6.5 names for this; the last hop, back to us, is added here. They answer with the best routes
whatever friend these begin with. So where none begins with the friend that is wanted, the rest of the circle is asked
for, from this friend to the last one, and our own hop is added in front. A route that passes us in between is dropped:
a circle names us at both ends and nowhere else (spec 06 §8.2).

What a server adds up is the rates of those in the middle of the route that it was asked for. In a circle the last
friend, and in the second case the first one, is a mediator too. `Missing` says whose rate for whom is to be found out.

Which circles clear most: each friend has a balance and a *target*, 0 if nothing else is wanted. What it owes beyond its
target is to go out through it, what it lacks is to come back through it. `transfers` pairs them, the largest with
the largest, so that few circles do much.

How long. A node knows its own debts only. Two hops of a circle take off debts, its own ones; any other hop may go
against a debt as well, or make a new one of the same amount. So with four hops all debts together do not grow, whatever
there is between the others, and each hop more may add to them. If everybody clears whatever can be cleared, in circles
of any length, people push their debts on to each other. Hence those who clear take the circles that bring most for each
hop first, by `CLEARED_HOPS`, and leave the longest ones alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from offset_ctrl.rules.capacity import FriendCredit
from offset_ctrl.rules.routes import Part
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.rate import sum_rates
from offset_proto.types import U128, PublicKey

__all__ = [
    "CLEARED_HOPS",
    "HOPS_MAX",
    "Circle",
    "Missing",
    "Transfer",
    "add_rates",
    "close_circles",
    "limit",
    "missing_rates",
    "transfers",
]

HOPS_MAX: Final = ROUTE_KEYS_MAX - 1
"""Hops of a circle, whose route names us at both ends."""

CLEARED_HOPS: Final = (3, 4, 6)
"""
Hops that circles have at most which clear debts, one attempt after the other.

With three, at most one hop makes a new debt where two take one off; with four, at most two do. Six are for those who
find no shorter one. With longer ones, each member of a simulated community clears more of its own debts, and all of
them together clear less: docs/performance.md.
"""

Missing = tuple[PublicKey, PublicKey, PublicKey]
"""Three keys next to each other in a circle: the rate of the second one for what comes from the first is missing."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is wanted: *amount* credits out through one friend and back through another."""

    out: PublicKey
    back: PublicKey
    amount: U128


@dataclass(frozen=True, slots=True)
class Circle:
    """
    A payment to ourselves.

    Attributes:
        out: The friend through which it goes out.
        back: The friend through which it comes back.
        parts: Its transactions; each route has our key at both ends.
        are_fees_known: The rates of all mediators are known; otherwise some count as 0, and may be more.
    """

    out: PublicKey
    back: PublicKey
    parts: tuple[Part, ...]
    are_fees_known: bool

    @property
    def amount(self) -> int:
        """Credits that come back."""
        return sum(part.dest_payment for part in self.parts)

    @property
    def fees(self) -> int:
        """Credits that mediators keep."""
        return sum(part.fees for part in self.parts)


def transfers(friends: tuple[FriendCredit, ...], targets: Mapping[PublicKey, int]) -> tuple[Transfer, ...]:
    """
    What to send in circles, so that each friend's balance comes nearer to its target, and none gets beyond it.

    Each friend of which too much is there is paired with each of which there is too little; what one pair does is
    not taken off the others, as nobody knows yet whether there is a circle for it.

    Args:
        friends: The friends; those that are not usable are left as they are.
        targets: The balance that is wanted of each friend; 0 for one that is not named.

    Returns:
        The largest amounts first.
    """
    out, back = [], []
    for friend in friends:
        target = targets.get(friend.public_key, 0)
        surplus = friend.balance - friend.sending - target
        lack = target - friend.balance - friend.receiving
        if friend.is_usable and surplus > 0:
            out.append((friend.public_key, surplus))
        elif friend.is_usable and lack > 0:
            back.append((friend.public_key, min(lack, friend.receive)))
    pairs = [Transfer(one, other, min(surplus, lack)) for one, surplus in out for other, lack in back if lack > 0]
    return tuple(sorted(pairs, key=lambda pair: (-pair.amount, pair.out, pair.back)))


def close_circles(
    answer: tuple[MultiRoute, ...], us: PublicKey, out: PublicKey, hops_max: int = HOPS_MAX
) -> tuple[MultiRoute, ...]:
    """
    The circles through *out* among the routes of an *answer*, of which each begins with us or with *out*.

    Those of more than *hops_max* hops are left out.

    Their rates are those of the answer, and lack what `missing_rates` names.
    """
    closed = []
    for multi_route in answer:
        routes = []
        for route in multi_route.routes:
            keys = route.route.public_keys
            middle = keys[1:] if keys[:1] == (us,) else keys
            if len(middle) >= 2 and middle[0] == out and us not in middle and len(middle) + 1 <= hops_max:
                routes.append(replace(route, route=FriendsRoute((us, *middle, us))))
        if routes:
            closed.append(MultiRoute(tuple(routes)))
    return tuple(closed)


def limit(circles: tuple[MultiRoute, ...], room: U128) -> tuple[MultiRoute, ...]:
    """
    *circles* of which none carries more than *room* credits over its first hop, which no server was asked for.

    All routes of one share that hop. So where they carry more together, the widest stands for them alone.
    """
    limited = []
    for multi_route in circles:
        routes = multi_route.routes
        if sum(route.capacity for route in routes) > room:
            widest = max(routes, key=lambda route: route.capacity)
            routes = (replace(widest, capacity=min(widest.capacity, room)),)
        limited.append(MultiRoute(routes))
    return tuple(limited)


def missing_rates(circle: tuple[PublicKey, ...], *, with_first: bool) -> tuple[Missing, ...]:
    """Which rates the rate of *circle* lacks: that of the last mediator, and *with_first* that of the first one."""
    last, first = (circle[-3], circle[-2], circle[-1]), (circle[0], circle[1], circle[2])
    return (last, first) if with_first else (last,)


def add_rates(circle: RouteCapacityRate, rates: list[Rate]) -> RouteCapacityRate | None:
    """*circle* with the *rates* that it lacked; None where the sum can not be counted."""
    total = sum_rates([circle.rate, *rates])
    return None if total is None else replace(circle, rate=total)
