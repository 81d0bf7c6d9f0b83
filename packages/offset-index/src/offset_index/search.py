"""
Routes through the graph of one currency: shortest, cheapest, several at once. Spec 06 §6.5, §9.2.

A hop can be used if both sides declared it, it is not excluded, and it carries the capacity asked for. The
answer prefers what a buyer can use: a route that still carries the amount when its fees are added
comes before one that only carries the amount; the capacity and the rate in the answer tell them apart. Where no single
route can be paid over, several are searched (`several`), and none is the answer where these do not suffice either. All
searches share one budget of edges, so that no request can hold up the server.
"""

from collections.abc import Callable

from offset_index.cheapest import find_cheaper
from offset_index.currency_graph import CurrencyGraph, capacity_of, cost_at, rate_of
from offset_index.residual import BudgetSpent, Hop, Path, Residual, hops_of
from offset_index.several import find_several
from offset_index.shortest import TwoEnds
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RouteCapacityRate
from offset_proto.rate import max_payable, sum_rates
from offset_proto.types import U128, PublicKey

__all__ = ["find_routes"]

EDGES_MAX = 60_000
"""Edges looked at for one request; some tens of milliseconds in a graph of a million nodes."""

CHEAPEST_EDGES_MAX = 20_000
"""Edges of these that the search for the cheapest route may look at."""

OFFERS_TRIED_MAX = 8
"""Routes that are looked at for one that can be offered."""


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
        At most three alternatives: single routes, or before them, where none of them can be paid over with its fees,
        several that together can.
    """
    if source == destination:
        return ()
    first, last = graph.vertex(source), graph.vertex(destination)
    if first is None or last is None:
        return ()
    search = Residual(graph, first, last, EDGES_MAX)
    _exclude(search, exclude)
    singles: list[RouteCapacityRate] = []
    several: tuple[RouteCapacityRate, ...] = ()
    try:
        shortest = _offered(search, lambda: TwoEnds(search, capacity).meet())
        if shortest is not None:
            singles += _described(search, shortest)
            reserve = max(0, search.edges_left - CHEAPEST_EDGES_MAX)
            cheapest = _offered(search, lambda: find_cheaper(search, capacity, shortest, reserve))
            singles += _described(search, cheapest)
        if not any(_suffices(route, capacity) for route in singles):
            several = find_several(search, capacity)
    except BudgetSpent:
        pass  # what was found is the answer
    ranked = sorted(dict.fromkeys(singles), key=lambda route: _preference(route, capacity))
    answers = [MultiRoute((route,)) for route in ranked]
    return (MultiRoute(several), *answers) if several else tuple(answers)


def _exclude(search: Residual, edge: Edge | None) -> None:
    if edge is not None:
        sender, receiver = search.graph.vertex(edge.from_public_key), search.graph.vertex(edge.to_public_key)
        if sender is not None and receiver is not None:
            search.exclude((sender, receiver))


def _offered(search: Residual, find: Callable[[], Path | None]) -> Path | None:
    """
    The first route of *find* that can be offered: the sum of its rates fits 32 bits (D64).

    Where one does not, the search is made again without the hop to its dearest mediator, a few times within the budget.
    A mediator that asks for very much can so not hide the routes around it, however little that is of a small amount.
    """
    avoided: list[Hop] = []
    try:
        for _ in range(OFFERS_TRIED_MAX):
            path = find()
            if path is None or _described(search, path):
                return path
            avoided.append(_dearest(search, path))
            search.exclude(avoided[-1])
        return None
    finally:
        for hop in avoided:
            search.admit(hop)


def _dearest(search: Residual, path: Path) -> Hop:
    """The hop of a route whose receiver, a mediator, charges the most for what comes over it."""
    mediated = list(zip(hops_of(path), search.declarations(path)[:-1], strict=False))
    hop, _ = max(mediated, key=lambda pair: (rate_of(pair[1]).mul, rate_of(pair[1]).add))
    return hop


def _preference(route: RouteCapacityRate, amount: U128) -> tuple[bool, int, int]:
    return not _suffices(route, amount), cost_at(route.rate, amount) >> 32, len(route.route.public_keys)


def _suffices(route: RouteCapacityRate, amount: U128) -> bool:
    """Whether a buyer can pay *amount* over this route, fees included."""
    return max_payable(route.rate, route.capacity) >= amount


def _described(search: Residual, path: Path | None) -> list[RouteCapacityRate]:
    """The route, with all that it carries; empty where it can not be offered, as its rates do not fit 32 bits (D64)."""
    if path is None:
        return []
    declarations = search.declarations(path)
    rate = sum_rates([rate_of(packed) for packed in declarations[:-1]])
    keys = FriendsRoute(search.keys(path))
    carried = min(capacity_of(packed) for packed in declarations)
    return [] if rate is None else [RouteCapacityRate(keys, carried, rate)]
