"""
What the hops of a graph can still carry while a search puts credits on them. Spec 06 §6.4, §9.2.

A flow says how many credits go over each hop. Credits from u to v and credits from v to u cancel out, so a flow has at
most one direction between two nodes. Beside a flow, a hop can carry

* what goes over it the other way, which is given back first;
* where nothing does, its capacity less what goes over it already.

That one may give back is what makes the search for a flow complete: a bad first choice is corrected by a later one
(Ford and Fulkerson, Maximal flow through a network, 1956). The graph itself is not touched. What a flow changes is
written beside it, and a node that the flow does not touch is looked at as fast as without one.
"""

import itertools
from collections.abc import Iterable

from offset_index.currency_graph import CurrencyGraph, Packed, Vertex, capacity_of, least_packed
from offset_proto.types import PublicKey

__all__ = ["BudgetSpent", "Hop", "Neighbours", "Path", "Residual", "hops_of"]

Path = tuple[Vertex, ...]
"""The nodes of a way through the graph, in order."""

Hop = tuple[Vertex, Vertex]
"""Sender and receiver."""

Neighbours = list[tuple[Vertex, Packed]]
"""Each with what the receiver of the hop declared about its sender."""


class BudgetSpent(Exception):
    """Stop searching; what was found is the answer."""


def hops_of(path: Path) -> Iterable[Hop]:
    """The hops of *path*, in order."""
    return itertools.pairwise(path)


class Residual:
    """
    A graph beside a flow through it, and the budget of those who look at it.

    Args:
        graph: Declarations of the currency; not changed.
        source: Where the flow begins.
        destination: Where it ends.
        edges_left: How many edges may be looked at; None of the methods below goes beyond.

    Attributes:
        flow: Credits on each hop that carries any, never on both directions of a pair.
        used: Nodes whose hops carry credits or are excluded, or once did; the others are as in the graph.
    """

    def __init__(self, graph: CurrencyGraph, source: Vertex, destination: Vertex, edges_left: int) -> None:
        self.graph = graph
        self.source = source
        self.destination = destination
        self.edges_left = edges_left
        self.flow: dict[Hop, int] = {}
        self.used: set[Vertex] = set()
        self._excluded: set[Hop] = set()

    def exclude(self, hop: Hop) -> None:
        """Nothing more goes over *hop* from now on."""
        self._excluded.add(hop)
        self.used.update(hop)

    def admit(self, hop: Hop) -> None:
        """*hop* is no longer excluded."""
        self._excluded.discard(hop)

    def without_flow(self, edges_left: int) -> "Residual":
        """The same graph with the same hops excluded, without a flow, and with a budget of its own."""
        fresh = Residual(self.graph, self.source, self.destination, edges_left)
        for hop in self._excluded:
            fresh.exclude(hop)
        return fresh

    def hops(self, node: Vertex, least: int) -> Neighbours:
        """Nodes that *node* can send *least* credits to."""
        sends = self.graph.sends[node]
        self.spend(len(sends))
        if node in self.used:
            return [hop for hop in sends.items() if self.room((node, hop[0]), hop[1]) >= least]
        packed = least_packed(least)
        return [hop for hop in sends.items() if hop[1] >= packed]

    def hops_back(self, node: Vertex, least: int) -> Neighbours:
        """Nodes that can send *least* credits to *node*."""
        receives, sends = self.graph.receives[node], self.graph.sends[node]
        self.spend(len(receives))
        if node in self.used:
            return [hop for hop in receives.items() if hop[0] in sends and self.room((hop[0], node), hop[1]) >= least]
        packed = least_packed(least)
        return [hop for hop in receives.items() if hop[1] >= packed and hop[0] in sends]

    def spend(self, edges: int) -> None:
        """So many edges are looked at."""
        self.edges_left -= edges
        if self.edges_left < 0:
            raise BudgetSpent

    def room(self, hop: Hop, packed: Packed) -> int:
        """Credits that *hop*, declared as *packed*, can still carry; less than nothing where it is excluded."""
        returned = self.flow.get(hop[::-1])
        if returned is not None:
            return returned
        return -1 if hop in self._excluded else capacity_of(packed) - self.flow.get(hop, 0)

    def declarations(self, path: Path) -> list[Packed]:
        """What the receiver of each hop of *path* declared about its sender."""
        return [self.graph.sends[sender][receiver] for sender, receiver in hops_of(path)]

    def keys(self, path: Path) -> tuple[PublicKey, ...]:
        """The nodes of *path*, as others know them."""
        return tuple(self.graph.keys[vertex] for vertex in path)

    def width(self, path: Path) -> int:
        """Credits that every hop of *path* can still carry."""
        return min(self.room(hop, packed) for hop, packed in zip(hops_of(path), self.declarations(path), strict=True))

    def push(self, path: Path, amount: int) -> None:
        """Put *amount* credits on each hop of *path*, at most its width; what goes the other way is given back."""
        for hop in hops_of(path):
            back = hop[::-1]
            returned = self.flow.get(back, 0)
            if returned > amount:
                self.flow[back] = returned - amount
            elif returned:
                del self.flow[back]
            else:
                self.flow[hop] = self.flow.get(hop, 0) + amount
        self.used.update(path)
