"""
What routes an index server finds, beside what the network can carry, what is the cheapest, and how long it takes.

The networks are random, with credit lines as people give them: the median is 148 credits, and few are very large
(log-normal, e**5 and a standard deviation of 1). Balances are anywhere between the two lines of a friendship.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from bench.measured import Figures
from offset_index.currency_graph import CurrencyGraph, Declaration
from offset_index.search import find_routes
from offset_index.several import PARTS_MAX
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.index import MultiRoute
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE, calc_fee, max_payable
from offset_proto.types import PublicKey

__all__ = ["DEMAND_PERCENTS", "NETWORKS", "measure_carried", "measure_fees", "measure_times"]

DEMAND_PERCENTS: Final = (50, 80, 90, 100)
"""Of the maximum flow between two nodes."""

Pair = tuple[int, int]
Path = tuple[int, ...]
Neighbours = Callable[[int], Iterator[tuple[int, int]]]
"""Of a node: whom it can send something to, and how much."""


def _attached(chance: random.Random) -> set[Pair]:
    """1,500 nodes, each of which made three friends when it came: those who had many got more."""
    pairs = set(itertools.combinations(range(4), 2))
    ends = [node for pair in sorted(pairs) for node in pair]
    for node in range(4, 1500):
        friends: set[int] = set()
        while len(friends) < 3:
            friends.add(chance.choice(ends))
        pairs |= {(friend, node) for friend in friends}
        ends += [end for friend in sorted(friends) for end in (friend, node)]
    return pairs


def _small_world(chance: random.Random) -> set[Pair]:
    """1,500 nodes in a ring, friends of the three next ones on either side; a tenth goes to anybody instead."""
    pairs = set()
    for node in range(1500):
        for step in (1, 2, 3):
            other = (
                (node + step) % 1500
                if chance.random() >= 0.1
                else chance.choice([*range(node), *range(node + 1, 1500)])
            )
            pairs.add((min(node, other), max(node, other)))
    return pairs


def _communities(chance: random.Random) -> set[Pair]:
    """40 communities of 40 nodes; each node made two friends in its own, and every other one a friend anywhere."""
    pairs = set()
    for node in range(1600):
        first = node // 40 * 40
        others = chance.sample([other for other in range(first, first + 40) if other != node], 2)
        if node % 2:
            others.append(chance.choice([*range(first), *range(first + 40, 1600)]))
        pairs |= {(min(node, other), max(node, other)) for other in others}
    return pairs


NETWORKS: Final = {
    "preferential attachment": _attached,
    "small world": _small_world,
    "40 communities": _communities,
}
"""Who is a friend of whom."""


@dataclass(frozen=True)
class _Network:
    """Credits that each hop can carry, what its receiver charges, and the same as an index server has it."""

    capacities: dict[Pair, int]
    rates: dict[Pair, Rate]
    graph: CurrencyGraph

    def ask(self, source: int, destination: int, amount: int) -> MultiRoute | None:
        """The answer that a buyer takes."""
        found = find_routes(self.graph, _key(source), _key(destination), amount)
        return next((multi_route for multi_route in found if _payable(multi_route) >= amount), None)


def _build(pairs: set[Pair], chance: random.Random, draw_rate: Callable[[], Rate] = lambda: FREE) -> _Network:
    network = _Network({}, {}, CurrencyGraph())
    for one, other in sorted(pairs):
        lines = chance.lognormvariate(5, 1), chance.lognormvariate(5, 1)
        balance = chance.random() * sum(lines)
        for hop, capacity in (((one, other), int(balance)), ((other, one), int(sum(lines) - balance))):
            network.capacities[hop], network.rates[hop] = capacity, draw_rate()
            sender, receiver = hop
            declaration = Declaration(capacity, network.rates[hop])
            network.graph.declare(_key(receiver), _key(sender), declaration, 0)
    return network


def _key(node: int) -> PublicKey:
    return PublicKey(node.to_bytes(32, "big"))


def _payable(multi_route: MultiRoute) -> int:
    return sum(max_payable(route.rate, route.capacity) for route in multi_route.routes)


def measure_carried(network: str, seed: int, pairs: int) -> Figures:
    """How often what is a part of the maximum flow between two nodes is found, by us and by the reference."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    chance = random.Random(seed)
    built = _build(NETWORKS[network](chance), chance)
    nodes = max(max(hop) for hop in built.capacities) + 1
    matrix = csr_array(
        (list(built.capacities.values()), tuple(zip(*built.capacities, strict=True))), (nodes, nodes), "int32"
    )
    sends: list[dict[int, int]] = [{} for _ in range(nodes)]
    for (sender, receiver), capacity in built.capacities.items():
        sends[sender][receiver] = capacity
    ours, reference = dict.fromkeys(DEMAND_PERCENTS, 0), dict.fromkeys(DEMAND_PERCENTS, 0)
    asked = 0
    while asked < pairs:
        source, destination = chance.sample(range(nodes), 2)
        most = int(maximum_flow(matrix, source, destination).flow_value)
        if not most:
            continue
        asked += 1
        for percent in DEMAND_PERCENTS:
            amount = -(-most * percent // 100)
            ours[percent] += built.ask(source, destination, amount) is not None
            reference[percent] += _is_found_by_reference(sends, source, destination, amount)
    figures: Figures = {}
    for percent in DEMAND_PERCENTS:
        figures[f"found at {percent}%"] = ours[percent] / pairs
        figures[f"reference at {percent}%"] = reference[percent] / pairs
        figures[f"of the reference at {percent}%"] = ours[percent] / max(1, reference[percent])
    return figures


def _is_found_by_reference(sends: list[dict[int, int]], source: int, destination: int, amount: int) -> bool:
    """Whether a plain flow of widest paths carries the amount, and is taken apart into so few of them."""
    flow: dict[Pair, int] = {}

    def residual(node: int) -> Iterator[tuple[int, int]]:
        for other, capacity in sends[node].items():
            yield other, capacity - flow.get((node, other), 0) + flow.get((other, node), 0)

    left = amount
    while left:
        path, width = _widest(residual, source, destination)
        if not path:
            return False
        width = min(width, left)
        left -= width
        for sender, receiver in itertools.pairwise(path):
            back = min(width, flow.get((receiver, sender), 0))
            flow[receiver, sender] = flow.get((receiver, sender), 0) - back
            flow[sender, receiver] = flow.get((sender, receiver), 0) + width - back
    left = amount
    for _ in range(PARTS_MAX):
        path, width = _widest(
            lambda node: ((other, flow.get((node, other), 0)) for other in sends[node]), source, destination
        )
        for hop in itertools.pairwise(path):
            flow[hop] -= width
        left -= width
    return left <= 0


def _widest(neighbours: Neighbours, source: int, destination: int) -> tuple[Path, int]:
    """The widest path of at most as many hops as a route has, and its width; empty where there is none."""
    fewest: dict[int, int] = {}
    heap: list[tuple[int, int, Path]] = [(-(2**64), 0, (source,))]
    while heap:
        width, hops, path = heapq.heappop(heap)
        if path[-1] == destination:
            return path, -width
        if hops >= fewest.get(path[-1], ROUTE_KEYS_MAX - 1):
            continue
        fewest[path[-1]] = hops
        for other, credits_left in neighbours(path[-1]):
            if credits_left > 0 and hops + 1 < fewest.get(other, ROUTE_KEYS_MAX):
                heapq.heappush(heap, (max(width, -credits_left), hops + 1, (*path, other)))
    return (), 0


def measure_fees(seed: int, networks: int) -> Figures:
    """
    Fees of several routes beside the least that a linear program finds, in networks of eight nodes.

    Of the program: how much goes over each path there is, which takes it and its fees out of all its hops. Mediators
    charge up to a sixteenth of what they forward. What one route carries is not asked for.
    """
    from scipy.optimize import linprog

    chance = random.Random(seed)
    ratios: list[float] = []
    missed = 0
    while len(ratios) + missed < networks:
        pairs = {pair for pair in itertools.combinations(range(8), 2) if pair != (0, 7) and chance.random() < 0.6}
        built = _build(pairs, chance, lambda: Rate(chance.randrange(2**28), 0))
        built = _grown(built, 1000)
        hops = [hop for hop, capacity in built.capacities.items() if capacity]
        paths = list(_paths(built.capacities, 0, 7))
        costs = [sum(built.rates[hop].mul for hop in itertools.pairwise(path[:-1])) / 2**32 for path in paths]
        uses = [
            [(1 + cost) * (hop in itertools.pairwise(path)) for path, cost in zip(paths, costs, strict=True)]
            for hop in hops
        ]
        limits = [built.capacities[hop] for hop in hops]
        if not paths:
            continue
        amount = int(-linprog([-1.0] * len(paths), uses, limits).fun * chance.choice([0.5, 0.8, 0.95]))
        least = linprog(costs, uses, limits, [[1.0] * len(paths)], [amount]).fun
        found = built.ask(0, 7, amount)
        if found is None:
            missed += 1
        elif len(found.routes) > 1:
            fees = sum(calc_fee(route.rate, max_payable(route.rate, route.capacity)) for route in found.routes)
            ratios.append((fees - len(found.routes)) / least)
    ratios.sort()
    return {
        "fees of the least, median": ratios[len(ratios) // 2],
        "fees of the least, p95": ratios[int(len(ratios) * 0.95)],
        "fees of the least, dearest": ratios[-1],
        "not found": missed / networks,
    }


def _grown(network: _Network, factor: int) -> _Network:
    """With so much larger capacities that the rounding of fees does not count."""
    grown = _Network({}, network.rates, CurrencyGraph())
    for (sender, receiver), capacity in network.capacities.items():
        grown.capacities[sender, receiver] = capacity * factor
        declaration = Declaration(capacity * factor, network.rates[sender, receiver])
        grown.graph.declare(_key(receiver), _key(sender), declaration, 0)
    return grown


def _paths(capacities: dict[Pair, int], source: int, destination: int) -> Iterator[Path]:
    """Every path that carries anything."""
    going: list[Path] = [(source,)]
    while going:
        path = going.pop()
        if path[-1] == destination:
            yield path
        else:
            going += [
                (*path, hop[1]) for hop in capacities if hop[0] == path[-1] and capacities[hop] and hop[1] not in path
            ]


def measure_times(nodes: int, edges: int, requests: int) -> Figures:
    """
    Milliseconds for a request that no single route serves, in a random network of so many nodes and directed edges.

    Mediators charge up to 1/64 of what they forward, and up to 2 credits. Half of what all friends of the one, or of
    the other, carry is asked for.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_time_requests, nodes, edges, requests).result()


def _time_requests(nodes: int, edges: int, requests: int) -> Figures:
    chance, graph = random.Random(7), CurrencyGraph()
    sendable, receivable = [0] * nodes, [0] * nodes
    keys = [_key(node) for node in range(nodes)]
    for _ in range(edges // 2):
        one, other = chance.sample(range(nodes), 2)
        for sender, receiver in ((one, other), (other, one)):
            capacity = chance.randrange(100, 10**6)
            sendable[sender] += capacity
            receivable[receiver] += capacity
            rate = Rate(chance.randrange(2**26), chance.randrange(3))
            graph.declare(keys[receiver], keys[sender], Declaration(capacity, rate), 0)
    latencies: list[float] = []
    found = 0
    while len(latencies) < requests:
        source, destination = chance.sample(range(nodes), 2)
        amount = min(sendable[source], receivable[destination]) // 2
        started = time.perf_counter()
        answers = find_routes(graph, keys[source], keys[destination], amount)
        took = time.perf_counter() - started
        answer = next((multi_route for multi_route in answers if _payable(multi_route) >= amount), None)
        if amount and (answer is None or len(answer.routes) > 1):
            latencies.append(took * 1000)
            found += answer is not None
    latencies.sort()
    return {"p50 ms": latencies[requests // 2], "p95 ms": latencies[int(requests * 0.95)], "found": found / requests}
