"""
A flow taken apart into routes.

A flow is a number of credits on each hop; a buyer can only send along routes. Every flow without circles is a sum of
paths (Ford and Fulkerson, Flows in networks, 1962), at most one for each hop, as each path that is taken away with all
that it can carry leaves at least one hop empty. How few suffice is a question that no quick algorithm answers. Taking
the widest path first comes close (Vatinlen and others, Simple bounds and greedy algorithms for decomposing a flow into
a minimal set of paths, 2008). Circles carry nothing to the destination; no path goes through one, so they stay behind.
"""

import heapq

from offset_index.currency_graph import Vertex
from offset_index.residual import Hop, Path, hops_of
from offset_proto.limits import ROUTE_KEYS_MAX

__all__ = ["paths_of"]


def paths_of(flow: dict[Hop, int], source: Vertex, destination: Vertex, paths_max: int) -> list[tuple[Path, int]]:
    """
    Paths of a flow, the widest first, each with the credits that go over it.

    They carry all of the flow, unless that takes more than *paths_max* paths, or paths of more hops than a route has.

    Args:
        flow: Credits on each hop, more than 0; not changed.
    """
    left: dict[Vertex, dict[Vertex, int]] = {}
    for (sender, receiver), carried in flow.items():
        left.setdefault(sender, {})[receiver] = carried
    paths: list[tuple[Path, int]] = []
    while len(paths) < paths_max:
        path = _widest(left, source, destination)
        if path is None:
            break
        width = min(left[sender][receiver] for sender, receiver in hops_of(path))
        for sender, receiver in hops_of(path):
            left[sender][receiver] -= width
            if not left[sender][receiver]:
                del left[sender][receiver]
        paths.append((path, width))
    return paths


def _widest(left: dict[Vertex, dict[Vertex, int]], source: Vertex, destination: Vertex) -> Path | None:
    """
    The widest path, of equally wide ones that with the fewest hops; None where none is as short as a route.

    Dijkstra's search, with the narrowest hop so far in place of a sum. A node is looked at again where a narrower way
    reaches it with fewer hops, since the wider one may be too long.
    """
    fewest: dict[Vertex, int] = {}
    heap: list[tuple[int, int, Path]] = [(0, 0, (source,))]  # the less the wider
    while heap:
        width, hops, path = heapq.heappop(heap)
        node = path[-1]
        if node == destination:
            return path
        if hops >= fewest.get(node, ROUTE_KEYS_MAX - 1):
            continue
        fewest[node] = hops
        for neighbour, carried in left.get(node, {}).items():
            narrowest = -carried if node == source else max(width, -carried)
            heapq.heappush(heap, (narrowest, hops + 1, (*path, neighbour)))
    return None
