"""
Ways of the fewest hops, and the widest that are worth their length.

A search from one end looks at all that can be reached in h hops; one from both ends, the smaller side first, at what
can be reached in half as many. `TwoEnds` is that search, for a given amount on each hop. `WidestPaths` asks it again
and again to build up a flow.
"""

from collections.abc import Callable, Iterator

from offset_index.currency_graph import Vertex
from offset_index.residual import Neighbours, Path, Residual
from offset_proto.limits import ROUTE_KEYS_MAX

__all__ = ["Links", "TwoEnds", "WidestPaths", "walk"]

Links = dict[Vertex, Vertex | None]
"""Nodes that a search has reached, each with the one that it was reached from."""


class TwoEnds:
    """
    The search for a path of the fewest hops, each of which can carry some credits.

    Args:
        residual: What the hops can carry.
        least: Credits.

    Attributes:
        before, after: What the source reaches, and what reaches the destination.
        front, back: Of these, what was reached last.
    """

    def __init__(self, residual: Residual, least: int) -> None:
        self.residual = residual
        self.least = least
        self.before: Links = {residual.source: None}
        self.after: Links = {residual.destination: None}
        self.front, self.back = [residual.source], [residual.destination]

    def meet(self) -> Path | None:
        """The path; None where a side has nothing left to look at, or where every path has too many hops."""
        residual, least, hops = self.residual, self.least, 0
        while self.front and self.back and hops < ROUTE_KEYS_MAX - 1:
            hops += 1
            if len(self.front) <= len(self.back):
                self.front, meeting = _expand(self.front, self.before, self.after, residual.hops, least)
            else:
                self.back, meeting = _expand(self.back, self.after, self.before, residual.hops_back, least)
            if meeting is not None:
                return (*reversed(list(walk(self.before[meeting], self.before))), *walk(meeting, self.after))
        return None

    def way_out(self) -> int:
        """After a search that found nothing: what the widest hop out of its dead end carries."""
        residual = self.residual
        if not self.front:
            reached: Links = self.before
            hops, is_forward = residual.hops, True
        elif not self.back:
            reached = self.after
            hops, is_forward = residual.hops_back, False
        else:
            return self.least - 1  # there was no dead end, but too many hops
        return max(
            (
                residual.room((node, neighbour) if is_forward else (neighbour, node), packed)
                for node in reached
                for neighbour, packed in hops(node, 1)
                if neighbour not in reached
            ),
            default=0,
        )


def _expand(
    frontier: list[Vertex],
    seen: Links,
    others: Links,
    hops: Callable[[Vertex, int], Neighbours],
    least: int,
) -> tuple[list[Vertex], Vertex | None]:
    """The next frontier of one end, and where it met the other end, if it did."""
    reached: list[Vertex] = []
    for node in frontier:
        for neighbour, _ in hops(node, least):
            if neighbour in seen:
                continue
            seen[neighbour] = node
            reached.append(neighbour)
            if neighbour in others:
                return reached, neighbour
    return reached, None


def walk(start: Vertex | None, links: Links) -> Iterator[Vertex]:
    """From *start* to where its search began."""
    node = start
    while node is not None:
        yield node
        node = links[node]


class WidestPaths:
    """
    Paths for a flow: at each time one of the widest, and of these one with few hops.

    A flow of few paths needs wide ones. But the very widest path winds through the whole graph to gain a credit or
    two, and each of its mediators may fail. So a path is asked to carry some credits, all that is left at first, and
    the shortest that does is taken. Where there is none, less is asked for. This is the scaling of capacities of
    Edmonds and Karp (Theoretical improvements in algorithmic efficiency for network flow problems, 1972, §3).

    What is asked next is *step* times as much, or what the widest hop out of the dead end carries, if that is less: no
    amount between has a path either. So the search soon knows when nothing is left at all. Then, as long as no path has
    too many hops, the flow is the largest there is: what the dead end reached is separated from the rest by hops that
    carry all they can (the cut of Ford and Fulkerson).

    Args:
        residual: The flow so far, which the caller adds each path to.
        step: How much less is asked for, where there was no path; more than 0 and less than 1.
    """

    def __init__(self, residual: Residual, step: float) -> None:
        self._residual = residual
        self._step = step
        self._least: int | None = None

    def next(self, wanted: int) -> Path | None:
        """A path for a part of *wanted* credits, at least 1; None where there is none."""
        least = wanted if self._least is None else min(self._least, wanted)
        while least > 0:
            search = TwoEnds(self._residual, least)
            path = search.meet()
            if path is not None:
                self._least = least
                return path
            least = min(search.way_out(), max(1, int(least * self._step)))
        return None
