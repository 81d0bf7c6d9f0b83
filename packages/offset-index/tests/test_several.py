"""Several routes together. Spec 06 §8.1, §9.2. Measured against scipy's maximum flow and linear programs."""

from collections import Counter
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from offset_index import search, several
from offset_index.currency_graph import CurrencyGraph, Declaration
from offset_index.decomposition import paths_of
from offset_index.search import find_routes
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.index import Edge, MultiRoute
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE, calc_fee, max_payable, sum_rates
from offset_proto.types import U32_MAX, PublicKey

Hop = tuple[int, int]


class Network:
    """What each hop from one node to another carries, and what its receiver charges for forwarding that."""

    def __init__(self, capacities: dict[Hop, int], rates: dict[Hop, Rate] | None = None) -> None:
        self.capacities = capacities | {hop[::-1]: 0 for hop in capacities if hop[::-1] not in capacities}
        self.rates = rates or {}
        self.graph = CurrencyGraph()
        for (sender, receiver), capacity in self.capacities.items():
            declaration = Declaration(capacity, self.rates.get((sender, receiver), FREE))
            self.graph.declare(_key(receiver), _key(sender), declaration, 0)

    def ask(self, source: int, destination: int, amount: int, exclude: Hop | None = None) -> MultiRoute | None:
        """The answer that a buyer would take, checked; None where there is none that the amount can be paid over."""
        edge = None if exclude is None else Edge(_key(exclude[0]), _key(exclude[1]))
        found = find_routes(self.graph, _key(source), _key(destination), amount, edge)
        for multi_route in found:
            self.check(multi_route, source, destination, exclude)
        return next((multi_route for multi_route in found if _payable(multi_route) >= amount), None)

    def check(self, multi_route: MultiRoute, source: int, destination: int, exclude: Hop | None) -> None:
        """Whatever is told can be used, all of it at once."""
        carried: Counter[Hop] = Counter()
        assert 1 <= len(multi_route.routes) <= several.PARTS_MAX
        for route in multi_route.routes:
            path = [int.from_bytes(key, "big") for key in route.route.public_keys]
            assert (path[0], path[-1]) == (source, destination)
            assert len(set(path)) == len(path) <= ROUTE_KEYS_MAX
            assert route.rate == sum_rates([self.rates.get(hop, FREE) for hop in pairwise(path[:-1])])
            assert route.capacity > 0
            for hop in pairwise(path):
                carried[hop] += route.capacity
        for hop, amount in carried.items():
            assert hop != exclude
            assert hop[::-1] not in carried
            assert amount <= self.capacities[hop]

    def maximum_flow(self, source: int, destination: int) -> int:
        senders, receivers = zip(*self.capacities, strict=True)
        count = max(max(senders), max(receivers), source, destination) + 1
        entries = np.array(list(self.capacities.values()), dtype=np.int32)
        return int(
            maximum_flow(csr_array((entries, (senders, receivers)), (count, count)), source, destination).flow_value
        )

    def paths(self, source: int, destination: int) -> list[tuple[int, ...]]:
        """Every path that carries anything."""
        done, going = [], [(source,)]
        while going:
            path = going.pop()
            if path[-1] == destination:
                done.append(path)
                continue
            for (sender, receiver), capacity in self.capacities.items():
                if sender == path[-1] and capacity and receiver not in path:
                    going.append((*path, receiver))
        return done


def _key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


def _payable(multi_route: MultiRoute) -> int:
    return sum(max_payable(route.rate, route.capacity) for route in multi_route.routes)


def _fees(multi_route: MultiRoute) -> int:
    return sum(calc_fee(route.rate, max_payable(route.rate, route.capacity)) for route in multi_route.routes)


def _random_capacities(chance: Random, nodes: int, share: float) -> dict[Hop, int]:
    capacities = {}
    for one, other in combinations(range(nodes), 2):
        if chance.random() < share:
            capacities[one, other] = chance.choice([0, chance.randrange(10), chance.randrange(1000)])
            capacities[other, one] = chance.choice([0, chance.randrange(10), chance.randrange(1000)])
    return capacities


def _lines(count: int, hops: int) -> list[list[int]]:
    """So many ways from node 0 to node 1 with no other node in common."""
    return [[0, *(2 + line * (hops - 1) + number for number in range(hops - 1)), 1] for line in range(count)]


def test_a_first_choice_is_given_back():
    """The shortest route takes the middle of two longer ones; together these carry twice as much."""
    hops = [(0, 2), (2, 3), (3, 1), (2, 4), (4, 5), (5, 1), (0, 6), (6, 7), (7, 3)]
    network = Network(dict.fromkeys(hops, 10))
    assert network.ask(0, 1, 20) is not None
    assert network.ask(0, 1, 21) is None


@pytest.mark.parametrize("seed", range(150))
def test_what_a_flow_carries_is_found(seed):
    """Without fees, in networks too small for routes to be too many or too long: all that can be carried, no more."""
    chance = Random(seed)
    nodes = chance.randrange(3, 9)
    network = Network(_random_capacities(chance, nodes, chance.choice([0.4, 0.8])) | {(0, 1): chance.randrange(3)})
    most = network.maximum_flow(0, nodes - 1)
    for amount in {most, most * 4 // 5, most // 2} - {0}:
        assert network.ask(0, nodes - 1, amount) is not None
    assert network.ask(0, nodes - 1, most + 1) is None


@pytest.mark.parametrize("seed", range(40))
def test_an_excluded_hop_is_not_used(seed):
    """Not even in the end, and all that is carried without it is found."""
    chance = Random(seed)
    capacities = _random_capacities(chance, 7, 0.7)
    exclude = chance.choice([hop for hop in capacities if hop[0] == 0 or chance.random() < 0.3])
    most = Network(capacities | {exclude: 0}).maximum_flow(0, 6)
    network = Network(capacities)
    assert most == 0 or network.ask(0, 6, most, exclude) is not None
    assert network.ask(0, 6, most + 1, exclude) is None


@pytest.mark.parametrize("seed", range(60))
def test_the_fees_are_those_of_a_linear_program(seed):
    """
    At most 1 % and a credit for each route above the least that is possible, up to nearly all that can be paid. Where
    one route suffices, that is the answer, though two might be cheaper.

    Of the program: how much is paid over each path there is. Each takes its amount and fees out of all its hops.
    """
    chance = Random(seed)
    nodes = chance.randrange(4, 8)
    drawn = {(0, 1): 5, (1, nodes - 1): 5} | _random_capacities(chance, nodes, 0.8)
    capacities = {hop: (capacity + 1) * 1000 for hop, capacity in drawn.items()}
    rates = {hop: Rate(chance.choice([0, chance.randrange(2**28)]), 0) for hop in capacities}
    network = Network(capacities, rates)
    paths = network.paths(0, nodes - 1)
    costs = np.array([sum(rates[hop].mul for hop in pairwise(path[:-1])) / 2**32 for path in paths])
    hops = [hop for hop, capacity in capacities.items() if capacity]
    uses = np.array(
        [[(1 + cost) * (hop in pairwise(path)) for path, cost in zip(paths, costs, strict=True)] for hop in hops]
    )
    limits = [capacities[hop] for hop in hops]
    most = -linprog(-np.ones(len(paths)), uses, limits).fun
    for share in (0.4, 0.7, 0.97):
        amount = int(most * share)
        least = linprog(costs, uses, limits, np.ones((1, len(paths))), [amount]).fun
        found = network.ask(0, nodes - 1, amount)
        assert found is not None
        assert len(found.routes) == 1 or _fees(found) <= least * 1.01 + len(found.routes)


def test_what_can_be_paid_without_its_fees_only_is_not_offered():
    """Each of two routes carries 10 credits, and one of them is the mediator's."""
    hops = [hop for line in _lines(2, 2) for hop in pairwise(line)]
    network = Network(dict.fromkeys(hops, 10), dict.fromkeys(hops, Rate(0, 1)))
    assert network.ask(0, 1, 18) is not None
    assert network.ask(0, 1, 19) is None


def test_a_single_route_that_has_room_for_the_fees_is_found_behind_one_that_has_not():
    """The shortest route carries the amount, and not the fees."""
    capacities = {(0, 2): 10, (2, 1): 10, (0, 3): 11, (3, 4): 11, (4, 1): 11}
    found = Network(capacities, {(0, 2): Rate(0, 1), (0, 3): Rate(0, 1)}).ask(0, 1, 10)
    assert found is not None
    assert _fees(found) <= 2


def test_a_buyer_pays_over_the_cheapest_routes():
    """However a buyer spreads the amount: what the dearer route carries is only what the cheaper one does not."""
    hops = [hop for line in _lines(2, 2) for hop in pairwise(line)]
    rates = {(0, 2): Rate(2**26, 0), (0, 3): Rate(2**28, 0)}
    found = Network(dict.fromkeys(hops, 1000), rates).ask(0, 1, 1500)
    assert found is not None
    payable = {route.rate.mul: max_payable(route.rate, route.capacity) for route in found.routes}
    assert sum(payable.values()) == 1500
    assert payable[2**26] == max_payable(Rate(2**26, 0), 1000)


@pytest.mark.parametrize(("routes", "is_found"), [(several.PARTS_MAX, True), (several.PARTS_MAX + 1, False)])
def test_an_answer_has_so_many_routes(routes, is_found):
    """What needs more of them is not offered."""
    hops = [hop for line in _lines(routes, 2) for hop in pairwise(line)]
    assert (Network(dict.fromkeys(hops, 10)).ask(0, 1, 10 * routes) is not None) is is_found


@pytest.mark.parametrize(("hops", "is_found"), [(ROUTE_KEYS_MAX - 1, True), (ROUTE_KEYS_MAX, False)])
def test_each_of_several_routes_is_as_short_as_a_route_may_be(hops, is_found):
    """A node refuses longer ones."""
    lines = [hop for line in _lines(2, hops) for hop in pairwise(line)]
    assert (Network(dict.fromkeys(lines, 10)).ask(0, 1, 20) is not None) is is_found


def test_the_widest_way_that_is_too_long_does_not_hide_a_shorter_one():
    """Of two ways to the middle of a flow, only the narrower one is short enough to go on from there."""
    wide, narrow, way_out = [0, *range(100, 118), 2], [0, 3, 2], [2, *range(200, 218), 1]
    flow = dict.fromkeys(pairwise(wide), 11) | dict.fromkeys(pairwise(narrow), 8) | dict.fromkeys(pairwise(way_out), 19)
    assert paths_of(flow, 0, 1, several.PARTS_MAX) == [((*narrow, *way_out[1:]), 8)]


def test_a_route_that_can_not_be_offered_makes_room_for_others():
    """Two mediators in a row ask for more than 32 bits can say; three routes around them are found (D64)."""
    dear = {(0, 2): Rate(U32_MAX, 0), (2, 3): Rate(U32_MAX, 0)}
    hops = [(0, 2), (2, 3), (3, 1), (0, 4), (4, 1), (0, 5), (5, 6), (6, 7), (7, 1)]
    network = Network(dict.fromkeys(hops, 10), dear)
    assert network.ask(0, 1, 20) is not None
    assert network.ask(0, 1, 21) is None


def test_without_a_budget_for_cheaper_ones_the_first_answer_is_given(monkeypatch):
    """And with it, one of lower fees."""
    chance = Random(5)
    capacities = {hop: 10**6 for hop in combinations(range(12), 2) if hop != (0, 11)}
    network = Network(capacities, {hop: Rate(chance.randrange(2**28), 0) for hop in capacities})
    cheaper = network.ask(0, 11, 5 * 10**6)
    monkeypatch.setattr(several, "CHEAPER_EDGES_MAX", 0)
    first = network.ask(0, 11, 5 * 10**6)
    assert first is not None
    assert cheaper is not None
    assert _fees(cheaper) < _fees(first)


@pytest.mark.parametrize("edges", [0, 1, 10, 100, 300, 1000, 3000, 10000])
def test_a_request_ends_with_its_budget(monkeypatch, edges):
    """What it gives is sound, however early it ends; and no more edges are looked at than there are."""
    monkeypatch.setattr(search, "EDGES_MAX", edges)
    chance = Random(3)
    capacities = {hop: 1 + chance.randrange(50) for one in range(300) for hop in _ring(one, chance)}
    network = Network(capacities, {hop: Rate(chance.randrange(2**24), 1) for hop in capacities})
    looked_at = _count_looks(network.graph)
    network.ask(0, 150, 90)
    assert sum(looked_at) <= edges + max(map(len, network.graph.sends))


def _ring(node: int, chance: Random) -> list[Hop]:
    others = {(node + step) % 300 for step in (1, 2, 3)} | {chance.randrange(300)}
    return [hop for other in others - {node} for hop in ((node, other), (other, node))]


def _count_looks(graph: CurrencyGraph) -> list[int]:
    """How many edges each look at all hops of a node has seen."""
    looked_at: list[int] = []

    class Counted(dict[int, int]):
        def items(self):
            looked_at.append(len(self))
            return super().items()

    graph.sends = [Counted(hops) for hops in graph.sends]
    graph.receives = [Counted(hops) for hops in graph.receives]
    return looked_at
