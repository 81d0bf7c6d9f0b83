"""
Several routes that carry together what no single one does. Spec 06 §8.1, §9.2.

Taking routes one after another, each for good, ends early: the first may take just the hop over which two others would
have gone. So what is searched is a flow, in which a later path may give back what an earlier one took, and the flow is
then taken apart into routes. No hop is used beyond its capacity or in both directions, so the buyer may send over all
of them at once.

Fees. A buyer sends over a route the part that is to arrive and the fees for it, and the wire has one capacity for all
hops of a route. So a route takes its part with all of its fees out of each hop, and what a buyer has been told can be
paid. An amount that would fit without its fees only is not offered.

An answer comes first, a cheaper one after it.

1. The flow is built up of the widest paths, which is quick, needs few routes, and finds the amount wherever it can be
   carried. Where it comes to too many routes, it is tried once more with finer steps.
2. If that asks for fees, flows are built up of the cheapest paths: at first of those that carry much, so that there are
   few, then of less wide ones, and at last of any, which is the cheapest flow there is, of too many routes perhaps.
   Small networks come to the end of this, large ones to the end of the budget. Of all that was found the answer of
   the lowest fees is given.

Each time what remains to be paid decides how much a path is to carry, and only the routes that the flow has come to
in the end say what their fees are. Where they leave something to be paid, the flow goes on growing.

The parts are exact. A buyer fills several routes up evenly, whatever they cost (spec 06 §8.1). The capacities in
the answer therefore just suffice for the amount: dear routes do not get a share that cheaper ones have room for.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from offset_index.cheapest_flow import CheapestPaths
from offset_index.currency_graph import cost_at, rate_of
from offset_index.decomposition import paths_of
from offset_index.residual import BudgetSpent, Path, Residual, hops_of
from offset_index.shortest import WidestPaths
from offset_proto.limits import OPERATIONS_PER_TOKEN_MAX
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.rate import max_payable, sum_rates
from offset_proto.types import U128

__all__ = ["PARTS_MAX", "find_several"]

PARTS_MAX: Final = OPERATIONS_PER_TOKEN_MAX
"""
Routes of an answer. All of them may begin with the same friend of the buyer, and so many requests fit into one token
of a node of either implementation. Each part has to succeed, so more of them would fail more often, too.
"""

STEPS: Final = (0.8, 0.9)
"""Of the widest paths, one attempt after the other; with finer steps there are fewer routes, and more is looked at."""

CHEAPER_EDGES_MAX: Final = 4_000
"""Edges looked at for an answer that is cheaper than the first; some milliseconds, as they are weighed one by one."""

PATHS_MAX: Final = 64
"""Of a flow. One that needs more is not taken apart into as few routes as an answer may have."""

GROWTHS_MAX: Final = 4
"""How often a flow that was taken apart may grow for fees that it did not foresee."""

EXPECTED_PARTS: Final = 4
"""Over so many the search for the cheapest paths thinks the amount to be spread, to weigh fixed fees against others."""

_ONE: Final = 1 << 32
"""What mul is a part of."""


class _Paths(Protocol):
    def next(self, wanted: int) -> Path | None:
        """A path for a part of *wanted* credits; None where there is none."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A path of the flow that can be offered: the credits on each hop, the rate, what arrives of them."""

    path: Path
    carried: int
    rate: Rate

    @property
    def payable(self) -> int:
        return max_payable(self.rate, self.carried)


Parts = list[_Part]
"""Of one flow."""


class _NoMorePaths(Exception):
    """A flow can not grow, and the amount can not be paid over its routes; it carries *carried* credits."""

    def __init__(self, carried: int) -> None:
        super().__init__(carried)
        self.carried = carried


def find_several(residual: Residual, amount: U128) -> tuple[RouteCapacityRate, ...]:
    """
    At most `PARTS_MAX` routes that carry *amount* credits and their fees together; empty where none were found.

    Args:
        residual: The graph, without a flow, and the budget that is left.
        amount: Credits that must arrive, more than 0.
    """
    found: list[Parts] = []
    try:
        if not _may_suffice(residual, amount):
            return ()
        found += _first(residual, amount)
        if not found or _fees(found[0]):
            residual.edges_left = min(residual.edges_left, CHEAPER_EDGES_MAX)
            for least in (amount // EXPECTED_PARTS, amount // PARTS_MAX, 1):
                found += _cheapest(residual, amount, least)
    except (BudgetSpent, _NoMorePaths):
        pass  # what was found is the answer
    return tuple(
        RouteCapacityRate(FriendsRoute(residual.keys(part.path)), part.carried, part.rate)
        for part in min(found, key=_fees, default=[])
    )


def _first(residual: Residual, amount: int) -> list[Parts]:
    """
    An answer made of the widest paths, or none.

    Raises:
        _NoMorePaths: No flow carries the amount, not even without fees.
    """
    for step in STEPS:
        flow = residual.without_flow(residual.edges_left)
        try:
            found = _carried(flow, WidestPaths(flow, step), amount)
        except _NoMorePaths as error:
            if error.carried < amount:
                raise
            return []  # over cheaper paths there may be less to carry
        finally:
            residual.edges_left = flow.edges_left
        if found:
            return found
    return []


def _cheapest(residual: Residual, amount: int, least: int) -> list[Parts]:
    """An answer made of the cheapest paths that carry *least* credits, or none."""
    flow = residual.without_flow(residual.edges_left)
    try:
        return _carried(flow, CheapestPaths(flow, least, max(1, amount // EXPECTED_PARTS)), amount)
    except _NoMorePaths:
        return []
    finally:
        residual.edges_left = flow.edges_left


def _may_suffice(residual: Residual, amount: int) -> bool:
    """Whether the hops of both ends, taken together, carry the amount; most of what can not be paid fails here."""
    source, destination = residual.source, residual.destination
    sendable = sum(residual.room((source, node), packed) for node, packed in residual.hops(source, 1))
    receivable = sum(residual.room((node, destination), packed) for node, packed in residual.hops_back(destination, 1))
    return min(sendable, receivable) >= amount


def _carried(residual: Residual, paths: _Paths, amount: int) -> list[Parts]:
    """
    Let the flow grow by *paths* until it carries the amount and its fees: the answer, or none of so few routes.

    Raises:
        _NoMorePaths: Before it did.
        BudgetSpent: Before either was known.
    """
    left = amount
    for _ in range(GROWTHS_MAX):
        has_more = _grow(residual, paths, left)
        carried = sum(carried for (sender, _), carried in residual.flow.items() if sender == residual.source)
        parts = _parts(residual)
        left = amount - sum(part.payable for part in parts)
        if left <= 0:
            return [_exact(parts, amount)]
        if not has_more:
            raise _NoMorePaths(carried)
        if len(parts) == PARTS_MAX:
            break
        residual.spend(len(parts) * len(residual.flow))  # what it took to take the flow apart
    return []


def _grow(residual: Residual, paths: _Paths, left: int) -> bool:
    """Add paths to the flow until *left* credits more can be paid, as far as can be seen; False if there are none."""
    for _ in range(PATHS_MAX):
        if left <= 0:
            break
        path = paths.next(left)
        if path is None:
            return False
        mul, add = _further_rate(residual, path)
        further = min(residual.width(path), left - (-left * mul >> 32) + add)
        residual.push(path, further)
        left -= max(0, further - add << 32) // (mul + _ONE)
    return True


def _further_rate(residual: Residual, path: Path) -> tuple[int, int]:
    """What is to be paid for more credits over *path*: mul and add; hops that give back save their fees."""
    mul = add = 0
    for sender, receiver in hops_of(path):
        is_back = (receiver, sender) in residual.flow
        one, other = (receiver, sender) if is_back else (sender, receiver)
        if other != residual.destination:
            rate = rate_of(residual.graph.sends[one][other])
            mul += -rate.mul if is_back else rate.mul
            add += -rate.add if is_back else rate.add
    return max(0, mul), max(0, add)


def _parts(residual: Residual) -> Parts:
    """
    The routes of the flow, at most `PARTS_MAX`; what they do not take is given back.

    Where a route can not be offered, because its rates add up to more than 32 bits, the hop to its dearest mediator is
    not used again.
    """
    parts = []
    for path, carried in paths_of(residual.flow, residual.source, residual.destination, PARTS_MAX):
        rates = [rate_of(packed) for packed in residual.declarations(path)[:-1]]
        rate = sum_rates(rates)
        if rate is None:
            dearest = max(zip(rates, hops_of(path), strict=False), key=lambda pair: (pair[0].mul, pair[0].add))
            residual.exclude(dearest[1])
        elif max_payable(rate, carried):
            parts.append(_Part(path, carried, rate))
    residual.flow.clear()
    for part in parts:
        residual.push(part.path, part.carried)
    return parts


def _exact(parts: Parts, amount: int) -> Parts:
    """As much of the parts as the amount needs: the cheaper ones in full, of the dearest what remains."""
    exact, left = [], amount
    for part in sorted(parts, key=lambda part: (cost_at(part.rate, part.payable) // part.payable, len(part.path))):
        share = min(part.payable, left)
        left -= share
        if share:
            needed = share - (-share * part.rate.mul >> 32) + part.rate.add  # the least of which the share is payable
            exact.append(_Part(part.path, needed, part.rate))
    return exact


def _fees(parts: Parts) -> int:
    """Credits that a buyer pays beyond the amount."""
    return sum(cost_at(part.rate, part.payable) >> 32 for part in parts)
