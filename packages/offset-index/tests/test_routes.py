"""The graph and the search. Spec 06 §6, §11 cases 7-12, 28-30, 36-42."""

from itertools import combinations, pairwise, permutations
from random import Random

import pytest

from offset_index.currency_graph import CurrencyGraph, Declaration
from offset_index.graph import CapacityGraph
from offset_index.search import find_routes
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.index import Edge
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE
from offset_proto.types import U128_MAX, Currency, PublicKey

FST, EUR = Currency("FST"), Currency("EUR")


def _key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


def _graph(pairs: dict[tuple[int, int], int], rates: dict[tuple[int, int], Rate] | None = None) -> CapacityGraph:
    """A graph where ``pairs[node, friend]`` is what *node* declares that it can receive from *friend*."""
    graph = CapacityGraph()
    for (node, friend), capacity in pairs.items():
        rate = (rates or {}).get((node, friend), FREE)
        graph.update(FST, _key(node), _key(friend), Declaration(capacity, rate))
    return graph


def _currency(graph: CapacityGraph) -> CurrencyGraph:
    made = graph.currency(FST)
    assert made is not None
    return made


def _declaring(graph: CurrencyGraph | None) -> set[int]:
    assert graph is not None
    return {number for number in range(10) if graph.has_declared(_key(number))}


def _routes(graph: CapacityGraph, source: int, destination: int, capacity: int, exclude: tuple[int, int] | None = None):
    edge = None if exclude is None else Edge(_key(exclude[0]), _key(exclude[1]))
    found = find_routes(_currency(graph), _key(source), _key(destination), capacity, edge)
    for multi_route in found:
        _check_multi_route(multi_route)
    return found


def _check_multi_route(multi_route) -> None:
    """No hop is used in both directions by one multi-route, and no node twice by one route (spec 06 §11 case 42)."""
    hops = set()
    for part in multi_route.routes:
        keys = part.route.public_keys
        assert len(set(keys)) == len(keys) <= ROUTE_KEYS_MAX
        hops.update(pairwise(keys))
    assert not {(b, a) for a, b in hops} & hops


def _first(found) -> tuple[list[int], int]:
    part = found[0].routes[0]
    return [int.from_bytes(key, "big") for key in part.route.public_keys], part.capacity


def _both_ways(*pairs: tuple[int, int, int, int]) -> dict[tuple[int, int], int]:
    declared = {}
    for a, b, ab, ba in pairs:
        declared[a, b], declared[b, a] = ab, ba
    return declared


EXAMPLE = _both_ways(
    (0, 1, 10, 30), (1, 2, 10, 10), (2, 5, 5, 30), (1, 3, 8, 30), (3, 4, 6, 30), (4, 2, 18, 30)
)  # spec 06 §11-10


@pytest.mark.parametrize(
    ("source", "destination", "capacity", "exclude", "expected"),
    [
        (2, 5, 29, None, ([2, 5], 30)),
        (2, 5, 30, None, ([2, 5], 30)),
        (0, 5, 25, None, ([0, 1, 3, 4, 2, 5], 30)),
        (0, 5, 29, None, ([0, 1, 3, 4, 2, 5], 30)),
        (0, 5, 30, None, ([0, 1, 3, 4, 2, 5], 30)),
        (0, 5, 30, (4, 3), ([0, 1, 3, 4, 2, 5], 30)),
        (0, 5, 30, (1, 2), ([0, 1, 3, 4, 2, 5], 30)),
        (2, 1, 6, (2, 1), ([2, 4, 3, 1], 6)),
    ],
)
def test_example_routes(source, destination, capacity, exclude, expected):
    """The routes of the example in the specification are found (spec 06 §11 case 10)."""
    assert _first(_routes(_graph(EXAMPLE), source, destination, capacity, exclude)) == expected


@pytest.mark.parametrize(
    ("source", "destination", "capacity", "exclude"),
    [(2, 5, 31, None), (0, 5, 31, None), (0, 5, 25, (3, 4)), (2, 1, 7, (2, 1)), (9, 5, 1, None), (0, 9, 1, None)],
)
def test_example_without_a_route(source, destination, capacity, exclude):
    """What can not be carried is not found, nor anything to or from somebody unknown (spec 06 §11 cases 10 and 38)."""
    assert _routes(_graph(EXAMPLE), source, destination, capacity, exclude) == ()


def test_shortest_first():
    """Of the routes that carry the amount, the one with the fewest hops comes first (spec 06 §11 case 7)."""
    links = [(0, 1), (1, 2), (2, 3), (3, 0), (3, 4), (4, 5), (4, 6), (6, 7), (6, 8), (7, 6), (8, 9)]
    declared = dict.fromkeys([(b, a) for a, b in links], 10) | {}
    for a, b in links:  # a one-way street: the other side declares that it can receive nothing
        declared.setdefault((a, b), 0)
    graph = _graph(declared)
    for source, destination, keys in (
        (0, 1, [0, 1]),
        (1, 0, [1, 2, 3, 0]),
        (0, 9, [0, 1, 2, 3, 4, 6, 8, 9]),
        (6, 7, [6, 7]),
        (7, 6, [7, 6]),
    ):
        assert _first(_routes(graph, source, destination, 5))[0] == keys
    for source, destination in ((8, 6), (9, 8), (5, 4), (4, 3)):
        assert _routes(graph, source, destination, 5) == ()


def test_both_sides_must_declare():
    """What a hop carries is what the receiver declared (spec 06 §11 case 8)."""
    graph = _currency(_graph({(0, 1): 20, (1, 0): 5}))
    assert graph.send_capacity(_key(0), _key(1)) == 5
    assert graph.send_capacity(_key(1), _key(0)) == 20
    one_sided = _currency(_graph({(0, 1): 20}))
    assert one_sided.send_capacity(_key(0), _key(1)) is None
    assert one_sided.send_capacity(_key(1), _key(0)) is None


def test_extreme_requests():
    """The edges of a search: no capacity, all the capacity there is, and a route to oneself (spec 06 §11 case 38)."""
    graph = _graph(_both_ways((0, 1, U128_MAX, U128_MAX)))
    assert _first(_routes(graph, 0, 1, 0))[0] == [0, 1]
    assert _first(_routes(graph, 0, 1, U128_MAX)) == ([0, 1], U128_MAX)
    assert _routes(graph, 0, 0, 1) == ()


def test_rates_are_those_of_the_mediators():
    """Each mediator's rate for the friend that the credits come from (spec 06 §11 case 28, D62)."""
    half = Rate(0x80000000, 0)
    capacities = dict.fromkeys([(5, 2), (2, 5), (2, 1), (1, 2), (1, 3), (3, 1)], 100)
    graph = _graph(capacities, {(2, 5): half, (1, 2): Rate(0, 2), (3, 1): Rate(0, 50), (5, 2): Rate(0, 60)})
    assert _routes(graph, 5, 3, 10)[0].routes[0].rate == Rate(0x80000000, 2)
    rates = {(0, 1): Rate(0, 1), (1, 0): Rate(0, 20), (1, 2): Rate(0, 300), (2, 1): Rate(0, 4000)}
    graph = _graph(dict.fromkeys(rates, 100), rates)
    assert _routes(graph, 0, 2, 10)[0].routes[0].rate == Rate(0, 20)


def test_a_rate_sum_that_overflows_is_passed_by():
    """An alternative route is used (spec 06 §11 case 40)."""
    capacities = _both_ways(
        (0, 1, 9, 9), (1, 2, 9, 9), (2, 3, 9, 9), (0, 4, 9, 9), (4, 5, 9, 9), (5, 6, 9, 9), (6, 3, 9, 9)
    )
    most = Rate(2**32 - 1, 2**32 - 1)
    found = _routes(_graph(capacities, {(1, 0): most, (2, 1): most}), 0, 3, 5)
    assert all(1 not in _first([multi_route])[0] for multi_route in found)
    assert _first(found)[0] == [0, 4, 5, 6, 3]


@pytest.mark.parametrize(("amount", "flat"), [(1, 0), (1, 1), (10, 7), (10, 1), (1000, 0)])
def test_a_rate_sum_that_overflows_hides_no_other_route(amount, flat):
    """Where the shortest route, or the cheapest, can not be offered, another one is (spec 06 §11 case 40, D64)."""
    hops = [(0, 1), (1, 2), (2, 5), (0, 3), (3, 4), (4, 6), (6, 5)]
    most = Rate(2**32 - 1, 0)
    rates = {(1, 0): most, (2, 1): most} | {pair: Rate(0, flat) for pair in [(3, 0), (4, 3), (6, 4)]}
    found = _routes(_graph(_both_ways(*[(a, b, 5000, 5000) for a, b in hops]), rates), 0, 5, amount)
    assert [0, 3, 4, 6, 5] in [_first([multi_route])[0] for multi_route in found]


@pytest.mark.parametrize(("keys", "found"), [(ROUTE_KEYS_MAX, True), (ROUTE_KEYS_MAX + 1, False)])
def test_longest_route(keys, found):
    """A route has at most as many keys as a payment may have (spec 06 §11 case 39)."""
    declared = _both_ways(*[(number, number + 1, 9, 9) for number in range(keys - 1)])
    assert bool(_routes(_graph(declared), 0, keys - 1, 1)) is found


def test_several_routes_together():
    """What no single route carries is offered as several, which never overlap in capacity."""
    declared = _both_ways(*[(0, mid, 10, 10) for mid in (1, 2, 3)], *[(mid, 4, 10, 10) for mid in (1, 2, 3)])
    found = _routes(_graph(declared), 0, 4, 25)
    assert sum(part.capacity for part in found[0].routes) >= 25


def test_removal():
    """An edge, the last edge, an unknown edge, an unknown currency can be removed (spec 06 §11 cases 9 and 30)."""
    graph = _graph({(0, 1): 10, (1, 0): 20})
    graph.remove(EUR, _key(0), _key(1))
    graph.remove(FST, _key(0), _key(7))
    graph.remove_node(_key(1))
    assert _declaring(_currency(graph)) == {0}
    assert _currency(graph).declared(_key(0)) == {_key(1): Declaration(10, FREE)}
    graph.remove_node(_key(1))
    graph.remove(FST, _key(0), _key(1))
    assert graph.currency(FST) is None
    graph.remove(FST, _key(0), _key(1))


def test_a_node_leaves_the_others_alone():
    """Its declarations go in every currency; what friends say of it stays (spec 06 §11 case 29, D61)."""
    graph = _graph({(0, 1): 10, (1, 0): 20, (2, 3): 5})
    graph.update(EUR, _key(0), _key(1), Declaration(1, FREE))
    graph.update(EUR, _key(2), _key(3), Declaration(1, FREE))
    graph.remove_node(_key(0))
    assert _declaring(_currency(graph)) == {1, 2}
    assert _declaring(graph.currency(EUR)) == {2}


def test_ageing():
    """With one pair there after 18 updates, gone at the 19th; others are not affected (spec 06 §11 case 11)."""
    graph = _graph({(0, 1): 10, (1, 0): 20, (2, 3): 5})
    for _ in range(18):
        graph.age(_key(0))
    assert graph.currency(FST).send_capacity(_key(1), _key(0)) == 10
    graph.age(_key(0))
    assert _declaring(_currency(graph)) == {1, 2}


def test_rotation_keeps_many_currencies_alive():
    """One pair of twenty refreshed by each update (spec 06 §11 case 41, D65)."""
    graph = CapacityGraph()
    currencies = [Currency(f"C{number}") for number in range(20)]
    for currency in currencies:
        graph.update(currency, _key(0), _key(1), Declaration(1, FREE))
    for number in range(200):
        graph.age(_key(0))
        graph.update(currencies[number % 20], _key(0), _key(1), Declaration(number, FREE))
        assert all(graph.currency(currency) is not None for currency in currencies)


def test_a_large_graph_is_answered_within_the_budget():
    """A search without a way through is given up; what is given is a route (spec 06 §11 case 46)."""
    declared = {}
    for number in range(4000):
        for step in (1, 7, 61, 401):
            declared[number, (number + step) % 4000] = declared[(number + step) % 4000, number] = 10
    graph = _graph(declared)
    found = _routes(graph, 0, 2001, 5)
    assert _first(found)[0][-1] == 2001
    assert _routes(graph, 0, 5000, 5) == ()


def test_the_room_for_declarations_is_shared():
    """A node that floods the graph takes a part of it, many such nodes take what is left; the others keep theirs."""
    graph = CapacityGraph(declarations_max=2560)
    for friend in (2, 3):
        graph.update(FST, _key(1), _key(friend), Declaration(5, FREE))
    for flooder in range(1000, 1010):
        for friend in range(2000, 3000):
            graph.update(FST, _key(flooder), _key(friend), Declaration(5, FREE))
    sizes = [len(_currency(graph).declared(_key(flooder))) for flooder in range(1000, 1010)]
    assert set(sizes) <= {9, 10}
    graph.update(FST, _key(1), _key(2), Declaration(7, FREE))
    assert _currency(graph).declared(_key(1))[_key(2)].recv_capacity == 7
    graph.update(FST, _key(4), _key(5), Declaration(1, FREE))
    assert len(_currency(graph).declared(_key(4))) == 1
    for flooder in range(1000, 1010):
        graph.remove_node(_key(flooder))
    for friend in range(2000, 3000):
        graph.update(FST, _key(4), _key(friend), Declaration(5, FREE))
    assert len(_currency(graph).declared(_key(4))) == 10


@pytest.mark.parametrize("seed", range(60))
def test_the_first_route_is_the_cheapest_there_is(seed):
    """Of all routes that carry the amount; compared with what trying every hop again and again comes to."""
    chance, count, amount = Random(seed), 12, 10
    pairs, rates = {}, {}
    for _ in range(chance.randrange(12, 30)):
        one, other = chance.sample(range(count), 2)
        for pair in ((one, other), (other, one)):
            pairs[pair] = chance.choice([5, 1000, 1000, 1000])
            rates[pair] = Rate(0, chance.randrange(20))
    graph = _graph(pairs, rates)
    costs = {0: 0}
    for _ in range(count):
        for (receiver, sender), capacity in pairs.items():
            if sender in costs and capacity >= amount and receiver != 0:
                fee = 0 if receiver == count - 1 else rates[receiver, sender].add
                costs[receiver] = min(costs.get(receiver, 10**9), costs[sender] + fee)
    found = _routes(graph, 0, count - 1, amount) if any(0 in pair for pair in pairs) else ()
    singles = [multi.routes[0] for multi in found if len(multi.routes) == 1 and multi.routes[0].capacity >= amount]
    if count - 1 not in costs:
        assert singles == []
    else:
        assert min(route.rate.add for route in singles) == costs[count - 1]


@pytest.mark.parametrize("seed", range(150))
def test_no_cheaper_route_is_cut_off(seed):
    """
    No simple path of a small graph has lower fees than the best route found, or equal fees and fewer hops.

    Fees are what a buyer pays: the sum of the rates, of the amount, rounded down once.
    """
    chance, amount, excluded = Random(seed), 1000, (1, 2)
    count = chance.randrange(4, 8)
    pairs, rates = {}, {}
    for one, other in combinations(range(count), 2):
        if (one, other) == (0, 1) or chance.random() < 0.6:
            for pair in ((one, other), (other, one)):
                pairs[pair] = chance.choice([5, 10**6, 10**6, 10**6])
                rates[pair] = Rate(chance.choice([0, chance.randrange(2**28)]), chance.randrange(4))

    def cost(path: tuple[int, ...]) -> tuple[int, int]:
        mediated = [rates[receiver, sender] for sender, receiver in pairwise(path[:-1])]
        return amount * sum(rate.mul for rate in mediated) // 2**32 + sum(rate.add for rate in mediated), len(path)

    costs = []
    for inner in range(count - 1):
        for middle in permutations(range(1, count - 1), inner):
            path = (0, *middle, count - 1)
            if all(hop != excluded and pairs.get(hop[::-1], 0) >= amount for hop in pairwise(path)):
                costs.append(cost(path))
    found = _routes(_graph(pairs, rates), 0, count - 1, amount, excluded)
    paths = [
        tuple(int.from_bytes(key, "big") for key in multi.routes[0].route.public_keys)
        for multi in found
        if len(multi.routes) == 1
    ]
    assert min(map(cost, paths), default=None) == min(costs, default=None)


def test_parts_of_credits_add_up():
    """Three mediators that ask for 0.9 credits each cost 2 credits, though each takes none; a longer way costs 1."""
    hops = [(0, 2), (2, 3), (3, 4), (4, 1), (0, 5), (5, 6), (6, 7), (7, 8), (8, 1)]
    part, whole = Rate(2**32 * 9 // 100, 0), Rate(0, 1)
    rates = dict.fromkeys([(2, 0), (3, 2), (4, 3)], part) | {(5, 0): whole}
    found = _routes(_graph(_both_ways(*[(a, b, 100, 100) for a, b in hops]), rates), 0, 1, 10)
    assert [_first([multi_route])[0] for multi_route in found] == [[0, 5, 6, 7, 8, 1], [0, 2, 3, 4, 1]]


@pytest.mark.parametrize("seed", range(30))
def test_the_graph_is_what_was_declared(seed):
    """Declarations, removals, ageing and nodes that go, in any order; compared with one table of all that is said."""
    chance, graph = Random(seed), CapacityGraph()
    table: dict[tuple[Currency, int, int], tuple[Declaration, int]] = {}
    updates = dict.fromkeys(range(6), 0)
    for _ in range(400):
        node, friend = chance.sample(range(6), 2)
        currency = chance.choice([FST, FST, EUR])
        pairs = [pair for pair in table if pair[1] == node]
        match chance.choices(["update", "remove", "remove node", "age"], [10, 4, 1, 20])[0]:
            case "update" if len(pairs) < 7:  # with more, what expires may stay for some updates
                declaration = Declaration(chance.randrange(2**128), Rate(chance.randrange(2**32), chance.randrange(9)))
                graph.update(currency, _key(node), _key(friend), declaration)
                table[currency, node, friend] = declaration, updates[node]
            case "remove":
                graph.remove(currency, _key(node), _key(friend))
                table.pop((currency, node, friend), None)
            case "remove node":
                graph.remove_node(_key(node))
                table = {pair: said for pair, said in table.items() if pair[1] != node}
            case "age":
                graph.age(_key(node))
                updates[node] += 1
                for pair in pairs:
                    if updates[node] - table[pair][1] >= 16 + 3 * len(pairs):
                        del table[pair]
        for known in (FST, EUR):
            said = {pair[1:]: declaration for pair, (declaration, _) in table.items() if pair[0] == known}
            _check_graph(graph.currency(known), said)


def _check_graph(graph: CurrencyGraph | None, said: dict[tuple[int, int], Declaration]) -> None:
    if graph is None:
        assert said == {}
        return
    for node in range(6):
        declared = {_key(friend): declaration for (one, friend), declaration in said.items() if one == node}
        assert graph.declared(_key(node)) == declared
        for friend in range(6):
            both = (node, friend) in said and (friend, node) in said
            sendable = said[friend, node].recv_capacity if both else None
            assert graph.send_capacity(_key(node), _key(friend)) == sendable
            vertex = graph.vertex(_key(node))
            mentioned = {number for pair in said for number in pair}
            assert (vertex is not None) is (node in mentioned)


def test_what_expires_of_many_declarations_goes_soon():
    """A node of many friends is not looked through at each update; what it stopped to refresh goes all the same."""
    graph, count = CapacityGraph(), 100
    for friend in range(1, count + 1):
        graph.update(FST, _key(0), _key(friend), Declaration(friend, FREE))
    for number in range(16 + 3 * count + count // 8):
        graph.age(_key(0))
        graph.update(FST, _key(0), _key(number % 50 + 1), Declaration(1, FREE))
    assert set(_currency(graph).declared(_key(0))) == {_key(friend) for friend in range(1, 51)}


def test_a_node_declares_in_so_many_currencies(monkeypatch):
    """More are ignored, also after one was taken back and another one took its place."""
    monkeypatch.setattr("offset_index.graph.INDEX_NODE_CURRENCIES_MAX", 3)
    graph = CapacityGraph()
    currencies = [Currency(f"C{number}") for number in range(5)]
    for currency in currencies:
        graph.update(currency, _key(0), _key(1), Declaration(1, FREE))
    assert [graph.currency(currency) is not None for currency in currencies] == [True, True, True, False, False]
    assert graph.refused == 2
    graph.update(currencies[2], _key(0), _key(2), Declaration(1, FREE))
    graph.remove(currencies[0], _key(0), _key(1))
    graph.update(currencies[4], _key(0), _key(1), Declaration(1, FREE))
    graph.update(currencies[3], _key(0), _key(1), Declaration(1, FREE))
    assert [graph.currency(currency) is not None for currency in currencies] == [False, True, True, False, True]


def test_numbers_of_nodes_that_went_are_used_again():
    """Whoever comes after others have gone is not mistaken for them, and takes no more room than they did."""
    graph = CapacityGraph()
    graph.update(FST, _key(1), _key(2), Declaration(7, FREE))
    for round_ in range(50):
        nodes = [10 + 4 * round_ + number for number in range(4)]
        for one, other in pairwise(nodes):
            graph.update(FST, _key(one), _key(other), Declaration(5, FREE))
            graph.update(FST, _key(other), _key(one), Declaration(6, FREE))
        assert _first(_routes(graph, nodes[0], nodes[3], 6)) == (nodes, 6)
        for node in nodes:
            graph.remove_node(_key(node))
    assert len(_currency(graph).keys) <= 6
    assert _currency(graph).declared(_key(1)) == {_key(2): Declaration(7, FREE)}
