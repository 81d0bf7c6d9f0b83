"""
The most that members of a community can clear without anybody's position changing.

The debts are a graph: an arc from a to b says what a owes b. To clear is to lower arcs so that for each member what it
owes shrinks by as much as what it is owed, which is a *circulation*: into each node flows what flows out of it, and no
arc carries more than the debt on it. The largest one clears most (Fleischman, Dini, "Mathematical Foundations for
Balancing the Payment System in the Trade Credit Market", 2021).

The search looks at what is left, not at what is cleared. What is left of the debts is a flow, too: a member that owes
more than it is owed sends out the difference, and one that is owed more takes it in. Of all flows that
do this along the debts, the one whose arcs have the least sum leaves least, and clears most. It is a minimum-cost flow
in which each arc costs 1 for each credit, and is found by the primal-dual method:

1. With nothing sent, each node has the potential 0. An arc's reduced cost is its cost plus the potential of its tail
   less that of its head. An arc that carries something can be gone back for the cost -1.
2. Find how far it is from the debtors to the nearest creditor, by reduced costs (Dijkstra), and raise the potentials by
   these distances, no further than that creditor's. No reduced cost becomes negative, and along each shortest way
   all are 0.
3. Send as much as can be sent over arcs with the reduced cost 0 (Dinic). Go back to 2 until everything is sent.

Why it is right: a flow is a cheapest one of its size exactly if some potentials leave no arc with room a negative
reduced cost, and steps 2 and 3 keep this. Everything can be sent, since the debts as they are send it. And it
ends: after step 3 the nearest creditor is further away than before, and no way has more arcs than there are members.
"""

import heapq
from collections.abc import Hashable, Mapping
from typing import TypeVar

from offset_proto.errors import invariant

__all__ = ["largest_set_off"]

M = TypeVar("M", bound=Hashable)


def largest_set_off(debts: Mapping[tuple[M, M], int]) -> dict[tuple[M, M], int]:
    """
    What of each debt is cleared, so that together the most is cleared and each member's position stays.

    Args:
        debts: Credits, at least 0, that the first member of a pair owes the second.

    Returns:
        Credits, at least 1, of each debt that shrinks. The same debts in the same order lead to the same answer.
    """
    nodes: dict[M, int] = {}
    for pair in debts:
        for member in pair:
            nodes.setdefault(member, len(nodes))
    positions = [0] * len(nodes)
    network = _Network(len(nodes) + 2)
    for (debtor, creditor), amount in debts.items():
        network.add(nodes[debtor], nodes[creditor], amount, 1)
        positions[nodes[debtor]] += amount
        positions[nodes[creditor]] -= amount
    source, sink = len(nodes), len(nodes) + 1
    for node, position in enumerate(positions):
        if position > 0:
            network.add(source, node, position, 0)
        elif position < 0:
            network.add(node, sink, -position, 0)
    network.send(source, sink)
    invariant(not any(network.room[arc] for arc in network.arcs_from[source]), "the debts as they are send everything")
    # Arcs are numbered in the order of the debts, each followed by its way back; the room that is left is cleared.
    return {pair: network.room[2 * index] for index, pair in enumerate(debts) if network.room[2 * index]}


class _Network:
    """
    Arcs with room and a cost for each credit. Arc 2i + 1 is the way back over arc 2i.

    Args:
        size: Number of nodes.
    """

    def __init__(self, size: int) -> None:
        self.arcs_from: list[list[int]] = [[] for _ in range(size)]
        self.heads: list[int] = []
        self.room: list[int] = []
        self._costs: list[int] = []
        self._potentials = [0] * size

    def add(self, tail: int, head: int, room: int, cost: int) -> None:
        """An arc for *room* credits."""
        for start, end, credits_, price in ((tail, head, room, cost), (head, tail, 0, -cost)):
            self.arcs_from[start].append(len(self.heads))
            self.heads.append(end)
            self.room.append(credits_)
            self._costs.append(price)

    def send(self, source: int, sink: int) -> None:
        """Send as much as possible, as cheaply as possible."""
        while self._raise_potentials(source, sink):
            free = [self._free_arcs(node) for node in range(len(self.arcs_from))]
            while levels := self._levels(free, source, sink):
                self._fill(free, source, sink, levels)

    def _raise_potentials(self, source: int, sink: int) -> bool:
        """Step 2; False where the sink is out of reach."""
        potentials, heads, room, costs = self._potentials, self.heads, self.room, self._costs
        distances = {source: 0}
        done: set[int] = set()
        queue = [(0, source)]
        while queue:
            distance, node = heapq.heappop(queue)
            if node in done:
                continue
            if node == sink:
                break
            done.add(node)
            start = distance + potentials[node]
            for arc in self.arcs_from[node]:
                if room[arc]:
                    head = heads[arc]
                    further = start + costs[arc] - potentials[head]
                    if further < distances.get(head, further + 1):
                        distances[head] = further
                        heapq.heappush(queue, (further, head))
        else:
            return False
        for node in range(len(potentials)):
            potentials[node] += min(distances.get(node, distance), distance)
        return True

    def _free_arcs(self, node: int) -> list[int]:
        """Arcs out of *node* with the reduced cost 0, with room or without."""
        least = self._potentials[node]
        return [arc for arc in self.arcs_from[node] if self._costs[arc] + least == self._potentials[self.heads[arc]]]

    def _levels(self, free: list[list[int]], source: int, sink: int) -> dict[int, int]:
        """How many *free* arcs each node is from the source; nothing where the sink is out of reach."""
        heads, room = self.heads, self.room
        levels = {source: 0}
        reached = [source]
        for node in reached:  # grows
            if node == sink:
                return levels
            level = levels[node] + 1
            for arc in free[node]:
                if room[arc] and heads[arc] not in levels:
                    levels[heads[arc]] = level
                    reached.append(heads[arc])
        return {}

    def _fill(self, free: list[list[int]], source: int, sink: int, levels: dict[int, int]) -> None:
        """Send over *free* arcs that lead one level further, until each such way to the sink has a full arc."""
        heads, room = self.heads, self.room
        untried = {node: free[node].copy() for node in levels}
        path: list[int] = []
        node = source
        while True:
            if node == sink:
                amount = min(room[arc] for arc in path)
                for arc in path:
                    room[arc] -= amount
                    room[arc ^ 1] += amount
                full = next(index for index, arc in enumerate(path) if not room[arc])
                node = heads[path[full] ^ 1]
                del path[full:]
            arcs, level = untried[node], levels[node] + 1
            while arcs and not (room[arcs[-1]] and levels.get(heads[arcs[-1]]) == level):
                arcs.pop()
            if arcs:
                path.append(arcs[-1])
                node = heads[arcs[-1]]
            elif path:
                node = heads[path.pop() ^ 1]  # a dead end
                untried[node].pop()
            else:
                return
