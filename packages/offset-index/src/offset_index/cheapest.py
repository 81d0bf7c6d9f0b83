"""The cheapest way for an amount. Spec 06 §9.2."""

import heapq

from offset_index.currency_graph import Vertex, cost_of
from offset_index.residual import Hop, Path, Residual
from offset_index.shortest import Links, walk
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.types import U128

__all__ = ["find_cheaper"]


def find_cheaper(residual: Residual, amount: U128, known: Path, reserve: int) -> Path | None:
    """
    The route of the least fees for *amount*, among equals the shortest, if that is cheaper than the *known* one.

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
    * Fees are what a buyer pays: parts of credits are added up over the mediators, and the sum is rounded down once.
      Rounding down keeps the order of costs, so all of this holds for a route of lower fees.

    Three things are not exact. Of routes with the same fees, one with more hops may be taken where they differ by a
    part of a credit. Where the cheapest way to a node has so many hops that the whole is longer than a route may be, a
    dearer way with fewer hops to the same node is not tried. And what can not be offered is avoided one hop at a time
    by those who offer routes, so a route over such a hop whose other mediators ask for less may be missed.
    """
    sides = (_Side(residual.source), _Side(residual.destination))
    best = _fees(residual, known, amount)
    equal, dearer = best[0] << 32, best[0] + 1 << 32
    destination = residual.destination
    meeting: Hop | None = None  # the last node of one end, the first of the other
    while sides[0].heap and sides[1].heap:
        (cost_0, hops_0, *_), (cost_1, hops_1, *_) = sides[0].heap[0], sides[1].heap[0]
        if (cost_0 + cost_1 >> 32, hops_0 + hops_1) >= best:
            break
        is_forward = len(sides[0].heap) <= len(sides[1].heap)
        side, other = sides if is_forward else sides[::-1]
        other_cost, other_hops = (cost_1, hops_1) if is_forward else (cost_0, hops_0)
        cost, hops, node, previous = heapq.heappop(side.heap)
        if node in side.costs:
            continue
        side.links[node] = previous
        settled, others = side.costs, other.costs
        settled[node] = (cost, hops)
        for neighbour, packed in (residual.hops if is_forward else residual.hops_back)(node, amount):
            if neighbour in settled:
                continue
            receiver = neighbour if is_forward else node
            here = cost if receiver == destination else cost + cost_of(packed, amount)
            there = others.get(neighbour)
            if there is not None:
                total = (here + there[0] >> 32, hops + 1 + there[1])
                if total < best and total[1] < ROUTE_KEYS_MAX:
                    best = total
                    equal, dearer = best[0] << 32, best[0] + 1 << 32
                    meeting = (node, neighbour) if is_forward else (neighbour, node)
            least = here + other_cost  # as the pair is compared with `best`, but quicker
            if least < dearer and (least < equal or hops + 1 + other_hops < best[1]):
                heapq.heappush(side.heap, (here, hops + 1, neighbour, node))
        if residual.edges_left <= reserve:
            return None
    if meeting is None:
        return None
    return (*reversed(list(walk(meeting[0], sides[0].links))), *walk(meeting[1], sides[1].links))


class _Side:
    """One end of a search: what is to be settled, cheapest first; what is, with its way back and its cost."""

    def __init__(self, node: Vertex) -> None:
        self.heap: list[tuple[int, int, Vertex, Vertex | None]] = [(0, 0, node, None)]
        self.links: Links = {}
        self.costs: dict[Vertex, tuple[int, int]] = {}


def _fees(residual: Residual, path: Path, amount: U128) -> tuple[int, int]:
    """Fees and hops of a route."""
    return sum(cost_of(packed, amount) for packed in residual.declarations(path)[:-1]) >> 32, len(path) - 1
