"""The set-off of a community's debts: flow, circles, debts, plan."""

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_ctrl.clearing.circles import HOPS_MAX, Circle, find_circles, take_apart
from offset_ctrl.clearing.debts import Hindrance, compare
from offset_ctrl.clearing.exports import Member, Side
from offset_ctrl.clearing.flow import largest_set_off
from offset_ctrl.clearing.plan import CirclePayment, Position, Reason, make_plan
from offset_ctrl.clearing.report import plan_as_json
from offset_proto.messages.payment import Rate
from offset_proto.rate import FREE
from offset_proto.types import Currency, PublicKey, is_route_valid

FST = Currency("FST")

Debts = dict[tuple[str, str], int]


def _optimum(debts: Debts) -> int:
    """What is cleared at most, by the network simplex of networkx."""
    graph = networkx.DiGraph()
    graph.add_node("nobody")  # a graph without nodes is refused
    for (debtor, creditor), amount in debts.items():
        graph.add_edge(debtor, creditor, capacity=amount, weight=-1)
    return -networkx.network_simplex(graph)[0]


def _excess(amounts: dict[tuple[Any, Any], int]) -> dict[Any, int]:
    """Of each member, what goes out less what comes in, where they differ."""
    excess: Counter[Any] = Counter()
    for (tail, head), amount in amounts.items():
        excess[tail] += amount
        excess[head] -= amount
    return {member: amount for member, amount in excess.items() if amount}


def _sum(circles: list[Circle[Any]]) -> Counter[tuple[Any, Any]]:
    """What circles take off each debt."""
    total: Counter[tuple[Any, Any]] = Counter()
    for circle in circles:
        for hop in pairwise((*circle.members, circle.members[0])):
            total[hop] += circle.amount
    return total


def _ring(names: str | list[str], amount: int = 10) -> Debts:
    return dict.fromkeys(pairwise([*names, names[0]]), amount)


def _random_debts(seed: int, members: int, debts: int) -> Debts:
    draws = Random(seed)
    names = [f"m{index}" for index in range(members)]
    made: Debts = {}
    while len(made) < debts:
        debtor, creditor = draws.sample(names, 2)
        if (creditor, debtor) not in made:
            made[debtor, creditor] = 1 + int(draws.lognormvariate(4, 1.2))
    return made


@st.composite
def _some_debts(draw: st.DrawFn) -> Debts:
    """Debts of up to eight members, between each two in one direction at most."""
    names = "abcdefgh"[: draw(st.integers(3, 8))]
    pairs = [(one, other) for index, one in enumerate(names) for other in names[index + 1 :]]
    amounts = st.one_of(st.integers(-9, 9), st.integers(-(2**127) + 1, 2**127 - 1))
    made: Debts = {}
    for one, other in draw(st.lists(st.sampled_from(pairs), unique=True, max_size=28)):
        amount = draw(amounts)
        made[(one, other) if amount > 0 else (other, one)] = abs(amount)
    return made


# The flow.


@given(_some_debts())
def test_the_set_off_is_the_largest_circulation(debts):
    """As much is cleared as the network simplex clears, nothing beyond a debt, and no position changes."""
    cleared = largest_set_off(debts)
    assert sum(cleared.values()) == _optimum(debts)
    assert all(0 < amount <= debts[pair] for pair, amount in cleared.items())
    assert _excess(cleared) == {}


def test_a_longer_circle_is_preferred_where_both_need_one_debt():
    """a owes b 10, and both circles need this debt: the one over four members clears 40, the other one 30."""
    debts = _ring("abc") | _ring("abde")
    assert largest_set_off(debts) == _ring("abde")


def test_two_circles_share_what_is_enough_for_both():
    """With 25 between a and b, both circles are cleared, and 5 of it are left."""
    debts = _ring("abc") | _ring("abde") | {("a", "b"): 25}
    assert largest_set_off(debts) == {**debts, ("a", "b"): 20}


def test_a_community_of_two_hundred():
    """The optimum of a random community, and circles that clear nearly all of it."""
    debts = _random_debts(seed=1, members=200, debts=1000)
    cleared = largest_set_off(debts)
    assert sum(cleared.values()) == _optimum(debts)
    circles = find_circles(debts, cleared)
    assert max(len(circle.members) for circle in circles) <= HOPS_MAX
    assert sum(_sum(circles).values()) > 0.99 * sum(cleared.values())
    assert all(amount <= debts[hop] for hop, amount in _sum(circles).items())


def test_nobody_owes_anything():
    """No debts, or none in a circle, lead to no circle."""
    assert largest_set_off({}) == {}
    assert largest_set_off({("a", "b"): 5, ("b", "c"): 5}) == {}
    assert largest_set_off({("a", "b"): 0, ("b", "c"): 5, ("c", "a"): 5}) == {}


# The circles.


@given(_some_debts())
def test_circles_add_up_to_the_set_off(debts):
    """None goes through a member twice, and together they are what is cleared: no more, no less."""
    cleared = largest_set_off(debts)
    circles = find_circles(debts, cleared)
    assert _sum(circles) == cleared
    assert all(len(set(circle.members)) == len(circle.members) >= 3 for circle in circles)
    assert all(circle.amount > 0 for circle in circles)
    assert len(circles) <= len(debts)


def test_the_longest_circle_that_can_be_paid():
    """A route has 32 public keys, the payer's at both ends: a ring of 31 is a circle, a ring of 32 is none."""
    for members, expected in ((HOPS_MAX, 1), (HOPS_MAX + 1, 0)):
        ring = _ring([f"m{index}" for index in range(members)])
        assert largest_set_off(ring) == ring
        assert len(find_circles(ring, ring)) == expected


def test_a_short_circle_instead_of_one_that_is_too_long():
    """Where the largest set-off is a ring of four and three hops are allowed, the triangle beside it is found."""
    debts = _ring("abc") | _ring("abde")
    cleared = largest_set_off(debts)
    assert find_circles(debts, cleared, hops_max=3) == [Circle(("a", "b", "c"), 10)]


def test_the_search_is_made_from_several_members():
    """A community of which one search leaves circles that are too long, and another one does not."""
    debts = _random_debts(seed=2, members=200, debts=500)
    cleared = largest_set_off(debts)
    assert _sum(take_apart(cleared)) != cleared
    assert _sum(find_circles(debts, cleared)) == cleared


@given(_some_debts(), st.integers(3, 5))
def test_no_circle_of_the_length_is_left(debts, hops_max):
    """With a limit of hops the debts hold the circles found, and no other one of that length besides."""
    circles = find_circles(debts, largest_set_off(debts), hops_max)
    left = dict(debts)
    for hop, amount in _sum(circles).items():
        left[hop] -= amount
    assert min(left.values(), default=0) >= 0
    graph = networkx.DiGraph(hop for hop, amount in left.items() if amount)
    assert not list(networkx.simple_cycles(graph, length_bound=hops_max))
    assert all(len(circle.members) <= hops_max for circle in circles)


def test_the_shortest_circle_comes_first():
    """Two circles through a: the triangle is taken out before the ring of four."""
    assert [len(circle.members) for circle in take_apart(_ring("adeb") | _ring("axy"))] == [3, 4]


# Debts and plans.


def _key(name: str) -> PublicKey:
    return PublicKey(name.encode().ljust(PublicKey.SIZE, b"."))


def _side(
    balance: int | None, *, max_debt: int = 0, rate: Rate = FREE, pending: tuple[int, int] = (0, 0), **flags: bool
) -> Side:
    return Side(balance, *pending, max_debt, rate, flags.get("is_open", True), flags.get("is_enabled", True))


def _community(debts: Debts, rates: dict[str, Rate] | None = None, max_debt: int = 0) -> list[Member]:
    """Members that agree on *debts*; each charges all its friends the rate in *rates*."""
    names = sorted({name for pair in debts for name in pair})
    sides: dict[str, dict[PublicKey, Side]] = {name: {} for name in names}
    for (debtor, creditor), amount in debts.items():
        for name, friend, balance in ((debtor, creditor, -amount), (creditor, debtor, amount)):
            rate = (rates or {}).get(name, FREE)
            sides[name][_key(friend)] = _side(balance, rate=rate, max_debt=max_debt)
    return [Member(name, _key(name), sides[name]) for name in names]


def test_a_triangle():
    """a owes b, b owes c, c owes a: a circle of the smallest debt, paid against the debts."""
    plan = make_plan(_community({("a", "b"): 30, ("b", "c"): 20, ("c", "a"): 50}), FST)
    assert plan.payments == (CirclePayment((_key("a"), _key("c"), _key("b"), _key("a")), 20, 0),)
    assert (plan.total_before, plan.total_after, plan.most) == (100, 40, 60)
    assert plan.positions() == {
        _key("a"): (Position(30, 50), Position(10, 30)),
        _key("b"): (Position(20, 30), Position(0, 10)),
        _key("c"): (Position(50, 20), Position(30, 0)),
    }


class _Ledgers:
    """The balances of a community, with the rule by which a node takes a request (spec 04 §4.3)."""

    def __init__(self, members: list[Member]) -> None:
        self.sides = {(member.public_key, friend): side for member in members for friend, side in member.sides.items()}
        self.balances = {pair: side.balance or 0 for pair, side in self.sides.items()}

    def pay(self, payment: CirclePayment) -> None:
        """Push *payment* around; each node checks its own limit and takes its own fee."""
        left_fees = payment.fees
        for place, (sender, receiver) in enumerate(pairwise(payment.route)):
            side = self.sides[receiver, sender]
            credits_ = payment.amount + left_fees
            assert self.balances[receiver, sender] + side.remote_pending_debt + credits_ <= side.max_debt
            self.balances[receiver, sender] += credits_
            self.balances[sender, receiver] -= credits_
            if place < len(payment.route) - 2:
                left_fees -= (payment.amount * side.rate.mul >> 32) + side.rate.add
        assert left_fees == 0

    def total(self) -> int:
        """Credits of all debts."""
        return sum(balance for balance in self.balances.values() if balance > 0)

    def position(self, key: PublicKey) -> int:
        """What a member is owed, less what it owes."""
        return sum(balance for (member, _), balance in self.balances.items() if member == key)


@given(_some_debts(), st.randoms(use_true_random=False))
def test_each_payment_is_possible_and_nobody_wins_or_loses(debts, draws):
    """No max debt, no fees: nodes accept the payments in any order, and end with the debts that the plan says."""
    members = _community(debts)
    plan = make_plan(members, FST)
    ledgers, before = _Ledgers(members), _Ledgers(members)
    payments = list(plan.payments)
    draws.shuffle(payments)
    for payment in payments:
        assert is_route_valid(payment.route)
        ledgers.pay(payment)
    assert ledgers.total() == plan.total_after == plan.total_before - plan.most
    for member in members:
        assert ledgers.position(member.public_key) == before.position(member.public_key)
    assert all(abs(ledgers.balances[pair]) <= abs(balance) for pair, balance in before.balances.items())


@given(
    _some_debts(),
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.builds(Rate, st.sampled_from([0, 2**26, 2**31]), st.integers(0, 3))
    ),
    st.integers(0, 9),
    st.sampled_from([0, 5, 2**127]),
)
def test_fees_stay_within_what_was_allowed_and_trusted(debts, rates, max_debt, fees_max):
    """Nodes with rates and max debts accept each payment, and none costs more than allowed."""
    members = _community(debts, rates, max_debt)
    plan = make_plan(members, FST, fees_max=fees_max)
    ledgers = _Ledgers(members)
    for payment in plan.payments:
        assert payment.amount > 0
        assert payment.fees <= fees_max
        ledgers.pay(payment)
    assert ledgers.total() == plan.total_after
    planned = sum(payment.amount * (len(payment.route) - 1) for payment in plan.payments)
    assert planned + sum(entry.amount * len(entry.circle.members) for entry in plan.left_out) == plan.most


def test_the_member_that_charges_pays():
    """The payer is no mediator, so a circle with one member that charges costs nothing."""
    members = _community(_ring("abcd"), {"c": Rate(0, 2)})
    plan = make_plan(members, FST)
    assert [(payment.payer, payment.fees) for payment in plan.payments] == [(_key("c"), 0)]
    assert plan.total_after == 0


def test_a_circle_that_costs_too_much():
    """With two that charge 2 credits, one of them is paid. It is not planned for less, and it is told."""
    members = _community(_ring("abcd"), {"c": Rate(0, 2), "a": Rate(0, 2)}, max_debt=2)
    plan = make_plan(members, FST, fees_max=1)
    assert plan.payments == ()
    assert [(entry.amount, entry.reason) for entry in plan.left_out] == [(10, Reason.FEES)]
    assert plan.total_after == plan.total_before == 40
    assert [payment.fees for payment in make_plan(members, FST, fees_max=2).payments] == [2]


def test_fees_take_room_that_a_debt_does_not_give():
    """Without any max debt, fees fit into the debt only if less than the whole debt is paid."""
    members = _community(_ring("abcd"), {"c": Rate(0, 2), "a": Rate(0, 2)})
    plan = make_plan(members, FST, fees_max=2)
    assert [(payment.amount, payment.fees) for payment in plan.payments] == [(8, 2)]
    assert [(entry.amount, entry.reason) for entry in plan.left_out] == [(2, Reason.CREDIT)]


def test_mediators_do_not_pay():
    """Who is not among the payers is on the way of a circle at most; a circle of such members is left out."""
    members = _community(_ring("abc"))
    assert [payment.payer for payment in make_plan(members, FST, payers={_key("b")}).payments] == [_key("b")]
    plan = make_plan(members, FST, payers=set())
    assert plan.payments == ()
    assert [entry.reason for entry in plan.left_out] == [Reason.PAYER]


def test_payments_are_spread_over_the_members():
    """Where it costs the same, the circle is paid by a member that pays fewer: a is in both, and pays one at most."""
    plan = make_plan(_community(_ring("abc") | _ring("ade")), FST)
    assert len({payment.payer for payment in plan.payments}) == len(plan.payments) == 2


def _pair(first: Side | None, second: Side | None) -> list[Member]:
    return [
        Member("alice", _key("alice"), {} if first is None else {_key("bob"): first}),
        Member("bob", _key("bob"), {} if second is None else {_key("alice"): second}),
    ]


@pytest.mark.parametrize(
    ("alice", "bob", "amount"),
    [(30, -20, 20), (-20, 30, 20), (30, 20, 0), (-30, -20, 0), (0, 5, 0), (None, -20, 0), (20, None, 0)],
)
def test_exports_that_disagree(alice, bob, amount):
    """Both balances are told, and the smaller debt counts; none where they do not agree on who owes."""
    members = _pair(*(None if balance is None else _side(balance) for balance in (alice, bob)))
    comparison = compare(members)
    assert [debt.amount for debt in comparison.debts] == ([amount] if amount else [])
    assert [(entry.first_balance, entry.second_balance) for entry in comparison.disagreements] == [(alice, bob)]


def test_what_is_frozen_is_not_cleared():
    """Payments under way from the creditor to the debtor may take the debt; those the other way may not happen."""
    (debt,) = compare(_pair(_side(30, pending=(12, 7)), _side(-30, pending=(7, 10)))).debts
    assert (debt.debtor, debt.frozen, debt.clearable) == (_key("bob"), 12, 18)
    (debt,) = compare(_pair(_side(30, pending=(40, 0)), _side(-30, pending=(0, 40)))).debts
    assert debt.clearable == 0


@pytest.mark.parametrize(
    ("flags", "hindrance"), [({"is_open": False}, Hindrance.CLOSED), ({"is_enabled": False}, Hindrance.DISABLED)]
)
def test_debts_that_nothing_can_pass(flags, hindrance):
    """A currency that is closed, or a friend who is disabled, on one side is enough."""
    for sides in ((_side(30, **flags), _side(-30)), (_side(30), _side(-30, **flags))):
        (debt,) = compare(_pair(*sides)).debts
        assert (debt.amount, debt.hindrance, debt.clearable) == (30, hindrance, 0)


def test_an_inconsistent_channel_has_no_debt():
    """It is told, also where only one side knows of it."""
    for sides in ((_side(None), _side(None)), (_side(None), _side(-30))):
        comparison = compare(_pair(*sides))
        assert comparison.debts == comparison.disagreements == ()
        assert [(one.name, other.name) for one, other in comparison.inconsistent] == [("alice", "bob")]


def test_friends_who_exported_nothing_do_not_count():
    """Their debts are left alone, and the report says how many there are."""
    debts = {**_ring("abc"), ("a", "x"): 7, ("a", "y"): 0}
    members = [member for member in _community(debts) if member.name in "abc"]
    plan = make_plan(members, FST)
    assert plan.total_before == 30
    assert [member["friends_without_export"] for member in plan_as_json(plan)["members"]] == [1, 0, 0]
