"""
Which routes to pay over, and how much over each. Spec 06 §8.1, 09 §8.3. Pure.

The first multi-route that can carry the amount is taken. Within it the amount is spread so that all
routes in use keep the same headroom, and none is used that is not needed.
"""

from dataclasses import dataclass, replace

from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE, FeeOverflow, calc_fee, max_payable
from offset_proto.types import U32, U128, U128_MAX, PublicKey

__all__ = ["Part", "RouteChoice", "choose_routes", "direct_route"]


@dataclass(frozen=True, slots=True)
class Part:
    """One transaction to make: its route (by index in the multi-route too), and amounts in credits."""

    route_index: int
    public_keys: tuple[PublicKey, ...]
    dest_payment: U128
    fees: U128


@dataclass(frozen=True, slots=True)
class RouteChoice:
    """The multi-route chosen, by its index, and the parts to pay over it."""

    multi_route_index: int
    parts: tuple[Part, ...]

    @property
    def total_fees(self) -> int:
        """Credits that the buyer pays beyond the amount, over all parts."""
        return sum(part.fees for part in self.parts)


def direct_route(us: PublicKey, friend: PublicKey) -> tuple[MultiRoute, ...]:
    """
    The way to a friend with nobody in between, as the routes of a payment that is to take no other way.

    It costs nothing. How much it carries, no report says, as the limit is the friend's: a part that is too large fails.
    """
    return (MultiRoute((RouteCapacityRate(FriendsRoute((us, friend)), U128_MAX, FREE),)),)


def choose_routes(multi_routes: tuple[MultiRoute, ...], amount: U128, extra_fees: U32 = 0) -> RouteChoice | None:
    """
    How to pay *amount* credits; None where no multi-route can carry it.

    Args:
        multi_routes: As the index server answered, best first.
        amount: Credits that the seller is to get.
        extra_fees: Credits offered beyond what the index server says, on each route with a mediator. Servers of
            the original add up rates of the wrong ends of friendships, so mediators may want more (spec 06 §6.6b).

    Raises:
        FeeOverflow: The fees exceed 128 bits (D83).
    """
    for index, multi_route in enumerate(multi_routes):
        routes = tuple(_raise_fees(route, extra_fees) for route in multi_route.routes)
        shares = _split(routes, amount)
        if shares is not None:
            choice = RouteChoice(index, _parts(routes, shares))
            if choice.total_fees > U128_MAX:
                raise FeeOverflow("the fees exceed 128 bits")
            return choice
    return None


def _raise_fees(route: RouteCapacityRate, extra_fees: int) -> RouteCapacityRate:
    if len(route.route.public_keys) <= 2:
        return route  # nobody is between buyer and seller
    return replace(route, rate=Rate(route.rate.mul, route.rate.add + extra_fees))


def _parts(routes: tuple[RouteCapacityRate, ...], shares: list[tuple[int, int]]) -> tuple[Part, ...]:
    # Parts of zero credits would only cost (D77); a payment of zero has one.
    used = [share for share in shares if share[1] > 0] or shares[:1]
    return tuple(
        Part(index, routes[index].route.public_keys, share, calc_fee(routes[index].rate, share))
        for index, share in used
    )


def _split(routes: tuple[RouteCapacityRate, ...], amount: int) -> list[tuple[int, int]] | None:
    """(index, credits) of each route in use, from the smallest route to the largest; None where impossible."""
    payable = [(index, max_payable(route.rate, route.capacity)) for index, route in enumerate(routes)]
    payable.sort(key=lambda item: item[1], reverse=True)  # stable: ties keep the server's order
    levels = [most for _, most in payable] + [0]
    left = amount
    for used in range(1, len(payable) + 1):
        step = (levels[used - 1] - levels[used]) * used
        if left <= step:
            quotient, remainder = divmod(left, used)
            return [
                (payable[j][0], levels[j] - levels[used - 1] + quotient + (1 if j < remainder else 0))
                for j in range(used - 1, -1, -1)
            ]
        left -= step
    return None
