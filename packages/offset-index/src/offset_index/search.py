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

from offset_index.currency_graph import CurrencyGraph, Packed, Vertex, capacity_of, fee_of, least_packed, rate_of
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RouteCapacityRate
from offset_proto.rate import calc_fee, max_payable, sum_rates
from offset_proto.types import U128, PublicKey

__all__ = ["find_routes"]

EDGES_MAX = 60_000
"""Edges looked at for one request; some tens of milliseconds in a graph of a million nodes."""

CHEAPEST_EDGES_MAX = 20_000
"""Edges of these that the search for the cheapest route may look at."""

PARTS_MAX = 8
"""How many routes a multi-route has at most."""

OFFERS_TRIED_MAX = 8
"""Routes that are looked at for one that can be offered."""

Path = tuple[Vertex, ...]
Links = dict[Vertex, Vertex | None]
Hop = tuple[Vertex, Vertex]
Taken = dict[Hop, int]
Neighbours = list[tuple[Vertex, Packed]]
"""Each with what the receiver of the hop declared about its sender."""


class _BudgetSpent(Exception):
    """Stop searching; what was found is the answer."""


@dataclass
class _Search:
    graph: CurrencyGraph
    source: Vertex
    destination: Vertex
    exclude: frozenset[Hop]
    edges_left: int = EDGES_MAX

    def hops(self, node: Vertex, capacity: U128, taken: Taken) -> Neighbours:
        """Nodes that *node* can send *capacity* to, less what is taken."""
        sends = self.graph.sends[node]
        self._count(len(sends))
        least = least_packed(capacity)
        found = [hop for hop in sends.items() if hop[1] >= least]
        if taken or self.exclude:
            return [hop for hop in found if self._is_free((node, hop[0]), hop[1], capacity, taken)]
        return found

    def hops_back(self, node: Vertex, capacity: U128, taken: Taken) -> Neighbours:
        """Nodes that can send *capacity* to *node*, less what is taken."""
        receives, sends = self.graph.receives[node], self.graph.sends[node]
        self._count(len(receives))
        least = least_packed(capacity)
        found = [hop for hop in receives.items() if hop[1] >= least and hop[0] in sends]
        if taken or self.exclude:
            return [hop for hop in found if self._is_free((hop[0], node), hop[1], capacity, taken)]
        return found

    def _count(self, edges: int) -> None:
        self.edges_left -= edges
        if self.edges_left < 0:
            raise _BudgetSpent

    def _is_free(self, hop: Hop, packed: Packed, capacity: U128, taken: Taken) -> bool:
        """Whether a hop carries *capacity* besides what is taken; no pair is used in both directions."""
        return (
            hop not in self.exclude and hop[::-1] not in taken and capacity_of(packed) - taken.get(hop, 0) >= capacity
        )

    def declarations(self, path: Path) -> list[Packed]:
        """What the receiver of each hop of *path* declared about its sender."""
        return [self.graph.sends[sender][receiver] for sender, receiver in itertools.pairwise(path)]

    def route(self, path: Path, capacity: U128) -> RouteCapacityRate | None:
        """The route with its capacity and rate; None where its rates do not fit 32 bits (D64)."""
        rate = sum_rates([rate_of(packed) for packed in self.declarations(path)[:-1]])
        keys = FriendsRoute(tuple(self.graph.keys[vertex] for vertex in path))
        return None if rate is None else RouteCapacityRate(keys, capacity, rate)


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
    first, last = graph.vertex(source), graph.vertex(destination)
    if first is None or last is None:
        return ()
    search = _Search(graph, first, last, _excluded(graph, exclude))
    singles: list[RouteCapacityRate] = []
    multi: tuple[RouteCapacityRate, ...] = ()
    try:
        shortest = _offered(search, lambda: _shortest(search, capacity, {}))
        if shortest is not None:
            singles += _described(search, shortest)
            reserve = max(0, search.edges_left - CHEAPEST_EDGES_MAX)
            cheapest = _offered(search, lambda: _cheapest(search, capacity, shortest, reserve))
            singles += _described(search, cheapest)
        if not any(_suffices((route,), capacity) for route in singles):
            multi = _several(search, capacity)
    except _BudgetSpent:
        pass  # what was found is the answer
    ranked = sorted(dict.fromkeys(singles), key=lambda route: _preference(route, capacity))
    answers = [MultiRoute((route,)) for route in ranked]
    if multi:
        answers.append(MultiRoute(multi))
    return tuple(answers)


def _excluded(graph: CurrencyGraph, edge: Edge | None) -> frozenset[Hop]:
    if edge is None:
        return frozenset()
    sender, receiver = graph.vertex(edge.from_public_key), graph.vertex(edge.to_public_key)
    return frozenset() if sender is None or receiver is None else frozenset({(sender, receiver)})


def _offered(search: _Search, find: Callable[[], Path | None]) -> Path | None:
    """
    The first route of *find* that can be offered: the sum of its rates fits 32 bits (D64).

    Where one does not, the search is made again without the hop to its dearest mediator, a few times within the budget.
    A mediator that asks for very much can so not hide the routes around it, however little that is of a small amount.
    """
    asked = search.exclude
    try:
        for _ in range(OFFERS_TRIED_MAX):
            path = find()
            if path is None or _described(search, path):
                return path
            search.exclude |= {_dearest(search, path)}
        return None
    finally:
        search.exclude = asked


def _dearest(search: _Search, path: Path) -> Hop:
    """The hop of a route whose receiver, a mediator, charges the most for what comes over it."""
    mediated = list(zip(itertools.pairwise(path), search.declarations(path)[:-1], strict=False))
    hop, _ = max(mediated, key=lambda pair: (rate_of(pair[1]).mul, rate_of(pair[1]).add))
    return hop


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
    frontier: list[Vertex],
    seen: Links,
    others: Links,
    hops: Callable[[Vertex], Neighbours],
) -> tuple[list[Vertex], Vertex | None]:
    """The next frontier of one end, and where it met the other end, if it did."""
    reached: list[Vertex] = []
    for node in frontier:
        for neighbour, _ in hops(node):
            if neighbour in seen:
                continue
            seen[neighbour] = node
            reached.append(neighbour)
            if neighbour in others:
                return reached, neighbour
    return reached, None


def _joined(meeting: Vertex, before: Links, after: Links) -> Path:
    return (*reversed(list(_walk(before[meeting], before))), *_walk(meeting, after))


def _walk(start: Vertex | None, links: Links) -> Iterator[Vertex]:
    node = start
    while node is not None:
        yield node
        node = links[node]


def _cheapest(search: _Search, capacity: U128, known: Path, reserve: int) -> Path | None:
    """
    The route of the least fees for *capacity*, among equals the shortest, if that is cheaper than the *known* one.

    Dijkstra's search from both ends; what a hop costs is the fee of its receiver for what comes from its sender, and
    nothing at the destination. What can not lead to less than the best route so far is not looked at. None where
    the known one is the cheapest, or the budget is down to *reserve* edges first.

    Why nothing cheaper is passed by. Costs are pairs of fees and hops, compared in that order; they are never
    negative, and adding to both sides of a comparison keeps it. The amount is the same at every hop, so the cost of
    a hop does not depend on the way to it. Let R be a route that costs less than `best` at the end.

    * The end of the loop. A node that a side has not settled costs that side at least the top of its heap. If R
      left its settled part on both sides, it would cost at least the sum of the two tops, which is at least `best`.
    * The hop that is not pushed. It costs this side d, and d plus the top of the other heap is at least `best`.
      Were its node v on R, then v would cost the other side less than that top, so the other side has settled v
      already, or has left out a node of R between v and its end for the same reason, and that node is settled here.
      Either way R has a hop with one end settled on each side, and the cost over such a hop was compared with
      `best` when the second of its ends was settled.
    * The known route goes on being found. Each of its parts costs less than the whole, so its next node is pushed
      wherever a cheaper route leaves it; hence both ends are settled before a heap can run empty.

    Three things are not exact. Where the cheapest way to a node has so many hops that the whole is longer than a route
    may be, a dearer way with fewer hops to the same node is not tried. The fees added up here are rounded down for
    each mediator, while `_preference` rounds down once, the fee for the sum of the rates; the two differ by fewer
    credits than the route has mediators. And what can not be offered is avoided one hop at a time (`_offered`), so a
    route over such a hop whose other mediators ask for less may be missed.
    """
    sides = (_Side(search.source), _Side(search.destination))
    best = _cost(search, known, capacity)
    meeting: Hop | None = None  # the last node of one end, the first of the other
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
        for neighbour, packed in (search.hops if is_forward else search.hops_back)(node, capacity, {}):
            if neighbour in side.costs:
                continue
            receiver = neighbour if is_forward else node
            fee = 0 if receiver == search.destination else fee_of(packed, capacity)
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

    def __init__(self, node: Vertex) -> None:
        self.heap: list[tuple[int, int, Vertex, Vertex | None]] = [(0, 0, node, None)]
        self.links: Links = {}
        self.costs: dict[Vertex, tuple[int, int]] = {}


def _cost(search: _Search, path: Path, capacity: U128) -> tuple[int, int]:
    """Fees and hops of a route."""
    return sum(fee_of(packed, capacity) for packed in search.declarations(path)[:-1]), len(path) - 1


def _described(search: _Search, path: Path | None) -> list[RouteCapacityRate]:
    """The route, with all that it carries; empty where it can not be offered."""
    if path is None:
        return []
    route = search.route(path, min(capacity_of(packed) for packed in search.declarations(path)))
    return [] if route is None else [route]


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
        sendable = [capacity_of(packed) for packed in search.declarations(path)]
        part = min(capacity - taken.get(hop, 0) for hop, capacity in zip(hops, sendable, strict=True))
        for hop in hops:
            taken[hop] = taken.get(hop, 0) + part
        route = search.route(path, part)
        if route is not None:
            parts.append(route)
        if len(parts) > 1 and _suffices(tuple(parts), amount):
            return tuple(parts)
    return ()
