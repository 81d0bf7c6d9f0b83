"""
The cheapest paths for a flow, one after another.

A flow that is built up by paths, each the cheapest that is left, is at each time the cheapest of its size (Busacker and
Gowen, A procedure for determining a family of minimum-cost network flow patterns, 1960). What makes this difficult is
that a path may give back what an earlier one took. Then the hop costs less than nothing, and Dijkstra's search, which
takes for settled what it has found the least way to, would err.

The remedy is a potential for each node (Edmonds and Karp, 1972, §2; Tomizawa 1971). The search sees a hop from u to v
at its cost + potential(u) - potential(v), the reduced cost. Each path from the source to the destination changes by
the same amount, so the cheapest stays the cheapest; and with the right potentials no reduced cost is negative. They
are made anew after each search: in the least costs that it has found, every hop of its path has reduced cost 0, so has
the way back over it, and no other hop gets below 0.

A search from one end would look at most of the graph. Ours goes from both ends until they meet, and few nodes are
settled. Let D be the cost of the path found, r the least cost that the source's side has not settled, and d(v), e(v)
the costs from the source to v and from v to the destination. What is added to the potentials is

    max(min(d(v), r), D - e(v)).

Each of the two in it could be added alone: the cost d of the end of a hop is at most the cost of its beginning and of
the hop, which is all that is needed, and it stays true of the minimum with a number, of the other end's costs, and of
the maximum of both. A node that the source's side has settled has d(v), one that the destination's side has settled
has D - e(v), where that is more than r; and all others, the rest of the graph, have r. So only differences from r are
kept, for nodes that were settled, and the rest of the graph is not touched. That nothing else is needed follows from
the end of the search: the sum of the least costs that are not settled is at least D.

What a hop costs for a credit is its mul, and its add divided by the size of the part that is expected; then, of equal
fees, the hop itself. Two things are not exact. A fixed fee is paid once for a route and not for each credit, which no
flow can say; and where the cheapest way to a node has so many hops that the whole is longer than a route may be, a
dearer one with fewer hops to the same node is not tried.
"""

import heapq
from typing import Final

from offset_index.currency_graph import Vertex, rate_bits
from offset_index.residual import Hop, Path, Residual
from offset_index.shortest import Links, walk
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.types import U32_MAX

__all__ = ["CheapestPaths"]

_HOP_SHIFT: Final = 6
"""Costs have the number of hops in their last bits. A path has fewer than 2**6, so they never outweigh a fee."""

_NO_FLOW: Final[dict[Hop, int]] = {}


class CheapestPaths:
    """
    Paths for a flow: at each time the cheapest that carries *least* credits.

    Args:
        residual: The flow so far, which the caller adds each path to; none at first. Where the caller takes anything
            out of it, what is found afterwards may be dearer than need be.
        least: Credits that each path carries. With 1 the flow is the cheapest there is, of many paths perhaps; with
            more there are fewer, and hops that carry less count as if they were not there.
        part: Credits over which a fixed fee is thought to be spread.
    """

    def __init__(self, residual: Residual, least: int, part: int) -> None:
        self._residual = residual
        self._least = least
        self._add_weight = (1 << 32) // part
        self._potentials: dict[Vertex, int] = {}
        """Less what all others have."""

    def next(self, wanted: int) -> Path | None:
        """A path for a part of *wanted* credits; None where there is none."""
        residual = self._residual
        least = max(1, min(self._least, wanted))
        sides = (_Side(residual.source), _Side(residual.destination))
        best: int | None = None
        meeting: Hop | None = None  # the last node of one end, the first of the other
        while sides[0].heap and sides[1].heap:
            if best is not None and sides[0].heap[0][0] + sides[1].heap[0][0] >= best:
                break
            # Both ends first, so that the side which comes to the other's is not mistaken for a dead end.
            is_forward = not sides[0].costs or (bool(sides[1].costs) and len(sides[0].heap) <= len(sides[1].heap))
            side, other = sides if is_forward else sides[::-1]
            cost, hops, node, previous = heapq.heappop(side.heap)
            if node in side.costs:
                continue
            side.settle(node, previous, cost, hops)
            for neighbour, step in self._steps(node, least, side.costs, is_forward):
                there = cost + step
                if neighbour in other.costs:
                    total = there + other.costs[neighbour]
                    if (best is None or total < best) and hops + 1 + other.hops[neighbour] < ROUTE_KEYS_MAX:
                        best, meeting = total, (node, neighbour) if is_forward else (neighbour, node)
                if best is None or there < best:
                    heapq.heappush(side.heap, (there, hops + 1, neighbour, node))
        if best is None or meeting is None:
            return None
        self._raise_potentials(sides, best)
        return (*reversed(list(walk(meeting[0], sides[0].links))), *walk(meeting[1], sides[1].links))

    def _steps(
        self, node: Vertex, least: int, settled: dict[Vertex, int], is_forward: bool
    ) -> list[tuple[Vertex, int]]:
        """
        Where a side that has *settled* some nodes goes on from *node*, and the reduced cost of that.

        It is never negative, but for hops that the potentials do not know of: those that carried too little before,
        where the last part asks for less than the others, and what was taken out of the flow. They count as free then.
        """
        residual, potentials, weight = self._residual, self._potentials, self._add_weight
        here, destination = potentials.get(node, 0), residual.destination
        flow = residual.flow if node in residual.used else _NO_FLOW
        steps = []
        for neighbour, packed in (residual.hops if is_forward else residual.hops_back)(node, least):
            if neighbour in settled:
                continue
            sender, receiver = (node, neighbour) if is_forward else (neighbour, node)
            sign = 1
            if flow and (receiver, sender) in flow:  # given back
                receiver, packed, sign = sender, residual.graph.sends[receiver][sender], -1
            cost = sign
            if receiver != destination:
                rate = rate_bits(packed)
                cost *= ((rate >> 32) + (rate & U32_MAX) * weight << _HOP_SHIFT) + 1
            change = here - potentials.get(neighbour, 0)
            reduced = cost + change if is_forward else cost - change
            steps.append((neighbour, max(0, reduced)))
        return steps

    def _raise_potentials(self, sides: "tuple[_Side, _Side]", best: int) -> None:
        """By what this search has found; all others by what the source's side has come to."""
        heap = sides[0].heap
        rest = min(best, heap[0][0]) if heap else best
        potentials = self._potentials
        for node, cost in sides[0].costs.items():
            if cost < rest:
                potentials[node] = potentials.get(node, 0) + cost - rest
        for node, cost in sides[1].costs.items():
            if best - cost > rest:
                potentials[node] = potentials.get(node, 0) + best - cost - rest


class _Side:
    """One end of a search: what is to be settled, cheapest first; what is, with its way back, its cost and hops."""

    def __init__(self, node: Vertex) -> None:
        self.heap: list[tuple[int, int, Vertex, Vertex | None]] = [(0, 0, node, None)]
        self.links: Links = {}
        self.costs: dict[Vertex, int] = {}
        self.hops: dict[Vertex, int] = {}

    def settle(self, node: Vertex, previous: Vertex | None, cost: int, hops: int) -> None:
        self.links[node] = previous
        self.costs[node] = cost
        self.hops[node] = hops
