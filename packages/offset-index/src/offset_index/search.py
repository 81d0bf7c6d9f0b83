"""
Routes through the graph of one currency: shortest, cheapest, several at once. Spec 06 §6.5, §9.2.

A hop can be used if both sides declared it, it is not excluded, and it carries the capacity asked for. The
answer prefers what a buyer can use: a route that still carries the amount when its fees are added
comes before one that only carries the amount. All searches share one budget of edges, so
that no request can hold up the server.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from offset_index.graph import CurrencyGraph, Declaration
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.rate import calc_fee, max_payable, sum_rates
from offset_proto.types import U128, PublicKey

__all__ = ["find_routes"]

EDGES_MAX = 60_000
"""Edges looked at for one request; about 30 ms."""

CHEAPEST_EDGES_MAX = 20_000
"""Of them for the cheapest route."""

PARTS_MAX = 8
"""Routes of one multi-route."""

Path = tuple[PublicKey, ...]
Links = dict[PublicKey, PublicKey | None]
Taken = dict[tuple[PublicKey, PublicKey], int]
Hop = tuple[PublicKey, Declaration]
"""A neighbour, and what the receiver of the hop declared about its sender."""

_NOBODY: Final[dict[PublicKey, Declaration]] = {}


class _BudgetSpent(Exception):
    """Stop searching; what was found is the answer."""


@dataclass
class _Search:
    graph: CurrencyGraph
    source: PublicKey
    destination: PublicKey
    exclude: Edge | None
    edges_left: int = EDGES_MAX

    def hops(self, node: PublicKey, capacity: U128, taken: Taken) -> list[Hop]:
        """Nodes that *node* can send *capacity* to, less what is taken, each with what it declared about *node*."""
        declared = self.graph.declared
        receivers = declared.get(node, _NOBODY)
        self._count(len(receivers))
        found = []
        for receiver in receivers:
            declaration = declared.get(receiver, _NOBODY).get(node)
            if declaration is not None and declaration.recv_capacity >= capacity:
                found.append((receiver, declaration))
        if taken or self.exclude is not None:
            return [hop for hop in found if self._is_free(node, hop[0], capacity, taken)]
        return found

    def hops_back(self, node: PublicKey, capacity: U128, taken: Taken) -> list[Hop]:
        """Nodes that can send *capacity* to *node*, less what is taken, each with what *node* declared about it."""
        declared = self.graph.declared
        senders = declared.get(node, _NOBODY)
        self._count(len(senders))
        found = [
            hop for hop in senders.items() if hop[1].recv_capacity >= capacity and node in declared.get(hop[0], _NOBODY)
        ]
        if taken or self.exclude is not None:
            return [hop for hop in found if self._is_free(hop[0], node, capacity, taken)]
        return found

    def _count(self, edges: int) -> None:
        self.edges_left -= edges
        if self.edges_left < 0:
            raise _BudgetSpent

    def _is_free(self, sender: PublicKey, receiver: PublicKey, capacity: U128, taken: Taken) -> bool:
        """Whether a hop that carries *capacity* still does, less what is taken; no pair is used in both directions."""
        if self.exclude is not None and self.exclude == Edge(sender, receiver):
            return False
        if (receiver, sender) in taken:
            return False
        sendable = self.graph.send_capacity(sender, receiver)
        return sendable is not None and sendable - taken.get((sender, receiver), 0) >= capacity


def find_routes(
    graph: CurrencyGraph,
    source: PublicKey,
    destination: PublicKey,
    capacity: U128,
    exclude: Edge | None = None,
) -> tuple[MultiRoute, ...]:
    """
    Routes that carry *capacity* credits, the preferred one first; empty where there is none.

    Args:
        graph: Declarations of the currency.
        source: First node.
        destination: Last node; never equal to the source (cycles are asked for with *exclude*).
        capacity: Credits that must arrive.
        exclude: A directed hop that must not be used.

    Returns:
        At most three alternatives: single routes first, then several that together suffice.
    """
    if source == destination:
        return ()
    search = _Search(graph, source, destination, exclude)
    singles: list[RouteCapacityRate] = []
    multi: tuple[RouteCapacityRate, ...] = ()
    try:
        shortest = _shortest(search, capacity, {})
        if shortest is not None:
            singles += _described(search, shortest)
            singles += _described(search, _cheapest(search, capacity, shortest))
        if not any(_suffices((route,), capacity) for route in singles):
            multi = _several(search, capacity)
    except _BudgetSpent:
        pass  # what was found is the answer
    ranked = sorted(dict.fromkeys(singles), key=lambda route: _preference(route, capacity))
    answers = [MultiRoute((route,)) for route in ranked]
    if multi:
        answers.append(MultiRoute(multi))
    return tuple(answers)


def _preference(route: RouteCapacityRate, capacity: U128) -> tuple[bool, int, int]:
    return not _suffices((route,), capacity), calc_fee(route.rate, capacity), len(route.route.public_keys)


def _suffices(routes: tuple[RouteCapacityRate, ...], amount: U128) -> bool:
    """Whether a buyer can pay *amount* over these routes, fees included."""
    return sum(max_payable(route.rate, route.capacity) for route in routes) >= amount


def _shortest(search: _Search, capacity: U128, taken: Taken) -> Path | None:
    """A route of the fewest hops, searched from both ends, the smaller side first."""
    before: Links = {search.source: None}
    after: Links = {search.destination: None}
    front, back = [search.source], [search.destination]
    hops = 0
    while front and back and hops < ROUTE_KEYS_MAX - 1:
        hops += 1
        if len(front) <= len(back):
            front, meeting = _expand(front, before, after, lambda node: search.hops(node, capacity, taken))
        else:
            back, meeting = _expand(back, after, before, lambda node: search.hops_back(node, capacity, taken))
        if meeting is not None:
            return _joined(meeting, before, after)
    return None


def _expand(
    frontier: list[PublicKey],
    seen: Links,
    others: Links,
    hops: Callable[[PublicKey], list[Hop]],
) -> tuple[list[PublicKey], PublicKey | None]:
    """The next frontier of one end, and where it met the other end, if it did."""
    reached: list[PublicKey] = []
    for node in frontier:
        for neighbour, _ in hops(node):
            if neighbour in seen:
                continue
            seen[neighbour] = node
            reached.append(neighbour)
            if neighbour in others:
                return reached, neighbour
    return reached, None


def _joined(meeting: PublicKey, before: Links, after: Links) -> Path:
    return (*reversed(list(_walk(before[meeting], before))), *_walk(meeting, after))


def _walk(start: PublicKey | None, links: Links) -> Iterator[PublicKey]:
    node = start
    while node is not None:
        yield node
        node = links[node]


def _cheapest(search: _Search, capacity: U128, known: Path) -> Path | None:
    """
    The route of the least fees for *capacity*, among equals the shortest, if that is cheaper than the *known* one.

    Dijkstra's search from both ends; what a hop costs is the fee of its receiver for what comes from its sender, and
    nothing at the destination. What can not lead to less than the best route so far is not looked at. None where
    the known one is the cheapest, or the budget ends first.
    """
    reserve = max(0, search.edges_left - CHEAPEST_EDGES_MAX)
    sides = (_Side(search.source), _Side(search.destination))
    best = _cost(search, known, capacity)
    meeting: tuple[PublicKey, PublicKey] | None = None  # the last node of one end, the first of the other
    while sides[0].heap and sides[1].heap:
        (fees_0, hops_0, *_), (fees_1, hops_1, *_) = sides[0].heap[0], sides[1].heap[0]
        if (fees_0 + fees_1, hops_0 + hops_1) >= best:
            break
        is_forward = len(sides[0].heap) <= len(sides[1].heap)
        side, other = sides if is_forward else sides[::-1]
        other_fees, other_hops = (fees_1, hops_1) if is_forward else (fees_0, hops_0)
        fees, hops, node, previous = heapq.heappop(side.heap)
        if node in side.costs:
            continue
        side.links[node] = previous
        side.costs[node] = (fees, hops)
        for neighbour, declaration in (search.hops if is_forward else search.hops_back)(node, capacity, {}):
            if neighbour in side.costs:
                continue
            receiver = neighbour if is_forward else node
            fee = 0 if receiver == search.destination else calc_fee(declaration.rate, capacity)
            there = other.costs.get(neighbour)
            if there is not None:
                total = (fees + fee + there[0], hops + 1 + there[1])
                if total < best and total[1] < ROUTE_KEYS_MAX:
                    best = total
                    meeting = (node, neighbour) if is_forward else (neighbour, node)
            if (fees + fee + other_fees, hops + 1 + other_hops) < best:
                heapq.heappush(side.heap, (fees + fee, hops + 1, neighbour, node))
        if search.edges_left <= reserve:
            return None
    if meeting is None:
        return None
    return (*reversed(list(_walk(meeting[0], sides[0].links))), *_walk(meeting[1], sides[1].links))


class _Side:
    """One end of a search: what is to be settled, cheapest first; what is, with its way back and its cost."""

    def __init__(self, node: PublicKey) -> None:
        self.heap: list[tuple[int, int, PublicKey, PublicKey | None]] = [(0, 0, node, None)]
        self.links: Links = {}
        self.costs: dict[PublicKey, tuple[int, int]] = {}


def _cost(search: _Search, path: Path, capacity: U128) -> tuple[int, int]:
    """Fees and hops of a route."""
    fees = sum(calc_fee(search.graph.rate(path[i], path[i - 1]), capacity) for i in range(1, len(path) - 1))
    return fees, len(path) - 1


def _described(search: _Search, path: Path | None) -> list[RouteCapacityRate]:
    """The route with its capacity and rate; empty where its rates do not fit 32 bits (D64)."""
    if path is None:
        return []
    capacities = [search.graph.send_capacity(*hop) or 0 for hop in itertools.pairwise(path)]
    rate = _rate_of(search.graph, path)
    return [] if rate is None else [RouteCapacityRate(FriendsRoute(path), min(capacities), rate)]


def _rate_of(graph: CurrencyGraph, path: Path) -> Rate | None:
    return sum_rates([graph.rate(path[i], path[i - 1]) for i in range(1, len(path) - 1)])


def _several(search: _Search, amount: U128) -> tuple[RouteCapacityRate, ...]:
    """
    Routes that together carry *amount* and its fees, or none.

    Each takes its bottleneck out of what its hops can send, so any split within their capacities is feasible;
    no pair is used in both directions.
    """
    taken: Taken = {}
    parts: list[RouteCapacityRate] = []
    while len(parts) < PARTS_MAX:
        path = _shortest(search, 1, taken)
        if path is None:
            return ()
        hops = list(itertools.pairwise(path))
        part = min((search.graph.send_capacity(*hop) or 0) - taken.get(hop, 0) for hop in hops)
        for hop in hops:
            taken[hop] = taken.get(hop, 0) + part
        rate = _rate_of(search.graph, path)
        if rate is not None:
            parts.append(RouteCapacityRate(FriendsRoute(path), part, rate))
        if len(parts) > 1 and _suffices(tuple(parts), amount):
            return tuple(parts)
    return ()
