"""
Circles that an index server knows of, for one friend to go out through and one to come back through.

What is asked, and why, is in `offset_ctrl.rules.circles`. One search serves one plan: the answers are as of its
moment, and are kept until the plan is made.
"""

from typing import TYPE_CHECKING, Final

from offset_ctrl.rules.capacity import LargestSearch, direct_capacity, payable
from offset_ctrl.rules.circles import (
    HOPS_MAX,
    Circle,
    Missing,
    Transfer,
    add_rates,
    close_circles,
    limit,
    missing_rates,
)
from offset_ctrl.rules.routes import choose_routes
from offset_proto.messages.index import Edge, MultiRoute
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE
from offset_proto.types import U128, Currency, PublicKey

if TYPE_CHECKING:
    from offset_ctrl.sdk.node import Node

__all__ = ["CircleSearch"]

QUESTIONS_MAX: Final = 6
"""Amounts for which a circle of one pair is asked for."""

_Question = tuple[U128, PublicKey, PublicKey, Edge | None]
"""Amount, source, destination, and the hop that is left out."""


class CircleSearch:
    """
    Asks for circles, as often as one plan needs.

    Args:
        node: Whose circles they are; it asks its index server.
        currency: Of the circles.
    """

    def __init__(self, node: "Node", currency: Currency) -> None:
        self._node = node
        self._currency = currency
        self._rates: dict[Missing, Rate | None] = {}
        self._answers: dict[_Question, tuple[MultiRoute, ...]] = {}

    async def circle(self, wanted: Transfer) -> Circle | None:
        """A circle for all of *wanted*; None where there is none."""
        return self._choose(wanted, await self._ask(wanted, HOPS_MAX), None)

    async def largest(self, wanted: Transfer, most: int | None = None, hops_max: int = HOPS_MAX) -> Circle | None:
        """
        The largest circle for *wanted*, or a part of it, that a few questions have found; None where there is none.

        *most* credits may go out with fees; None: any. It has at most *hops_max* hops.
        """
        search = LargestSearch(wanted.amount, QUESTIONS_MAX)
        best: tuple[MultiRoute, ...] = ()
        while (amount := search.question()) is not None:
            found = await self._ask(Transfer(wanted.out, wanted.back, amount), hops_max)
            search.answered(amount, found)
            best = max(best, found, key=_carried)
        amount = min(wanted.amount, _carried(best))
        circle = self._choose(Transfer(wanted.out, wanted.back, amount), best, None) if amount else None
        if circle is not None and most is not None and circle.amount + circle.fees > most:
            # Fees go out through the first friend, too, and must not make a new debt.
            amount = most - circle.fees
            circle = self._choose(Transfer(wanted.out, wanted.back, amount), best, most) if amount > 0 else None
        return circle

    def _choose(self, wanted: Transfer, circles: tuple[MultiRoute, ...], most: int | None) -> Circle | None:
        choice = choose_routes(circles, wanted.amount)
        if choice is None or (most is not None and wanted.amount + choice.total_fees > most):
            return None
        known = all(
            self._rates.get(missing, FREE) is not None
            for part in choice.parts
            for missing in missing_rates(part.public_keys, with_first=True)
        )
        return Circle(wanted.out, wanted.back, choice.parts, known)

    async def _ask(self, wanted: Transfer, hops_max: int) -> tuple[MultiRoute, ...]:
        """Circles for *wanted*; they may carry less, as mediators at the ends take fees that no server counts."""
        circles = await self._ask_once(wanted, wanted.amount, hops_max)
        short = wanted.amount - _carried(circles)
        if circles and short > 0:
            more = await self._ask_once(wanted, wanted.amount + short, hops_max)
            circles = max(circles, more, key=_carried)
        return circles

    async def _ask_once(self, wanted: Transfer, amount: int, hops_max: int) -> tuple[MultiRoute, ...]:
        us, find = self._node.public_key, self._find
        around = await find(amount, us, wanted.back, Edge(us, wanted.back))
        circles = await self._with_rates(close_circles(around, us, wanted.out, hops_max), with_first=False)
        if circles:
            return circles
        room = direct_capacity(await find(1, us, wanted.out, None))
        for avoided in (Edge(wanted.out, us), Edge(us, wanted.back)) if room >= amount else ():
            rest = await find(amount, wanted.out, wanted.back, avoided)
            closed = limit(close_circles(rest, us, wanted.out, hops_max), room)
            circles = await self._with_rates(closed, with_first=True)
            if circles:
                return circles
        return ()

    async def _find(
        self, amount: U128, source: PublicKey, to: PublicKey, exclude: Edge | None
    ) -> tuple[MultiRoute, ...]:
        """The routes that a server names; asked once, as circles of all lengths begin with the same question."""
        question = (amount, source, to, exclude)
        if question not in self._answers:
            self._answers[question] = await self._node.find_routes(
                self._currency, amount, to, source=source, exclude=exclude
            )
        return self._answers[question]

    async def _with_rates(self, circles: tuple[MultiRoute, ...], *, with_first: bool) -> tuple[MultiRoute, ...]:
        complete = []
        for multi_route in circles:
            routes = []
            for route in multi_route.routes:
                rates = [
                    await self._rate(missing)
                    for missing in missing_rates(route.route.public_keys, with_first=with_first)
                ]
                whole = add_rates(route, [rate or FREE for rate in rates])
                if whole is not None:
                    routes.append(whole)
            if routes:
                complete.append(MultiRoute(tuple(routes)))
        return tuple(complete)

    async def _rate(self, missing: Missing) -> Rate | None:
        """What the one in the middle takes: the rate of the route over it alone, where a server names that route."""
        if missing not in self._rates:
            before, _, after = missing
            answer = await self._find(1, before, after, Edge(before, after))
            found = [route.rate for multi in answer for route in multi.routes if route.route.public_keys == missing]
            self._rates[missing] = found[0] if found else None
        return self._rates[missing]


def _carried(circles: tuple[MultiRoute, ...]) -> int:
    return max(map(payable, circles), default=0)
