"""A node that pays itself around a circle of friends: what it does to the debts on its way. Spec 04 §4.5, 05 §12.2."""

from itertools import pairwise
from random import Random

import pytest

from offset_funder.testing import SimulatedNetwork
from offset_proto.limits import ROUTE_KEYS_MAX
from offset_proto.messages.app import Canceled, Failure, PaymentStatusSuccess
from offset_proto.messages.payment import Rate


def _indebted(names: list[str], debts: list[int]) -> SimulatedNetwork:
    """A ring of nodes in which each owes the next one so much; nobody may owe anybody any more than that."""
    network = SimulatedNetwork(names, Random(0))
    for (debtor, creditor), debt in zip(pairwise([*names, names[0]]), debts, strict=True):
        network.befriend(debtor, creditor)
        network.pay([debtor, creditor], debt)
        for name, friend in ((debtor, creditor), (creditor, debtor)):
            network.set_limit(name, friend, 0)
    return network


def _debts(network: SimulatedNetwork) -> list[int]:
    """What each node owes the next one; nothing is frozen."""
    names = list(network.nodes)
    debts = []
    for debtor, creditor in pairwise([*names, names[0]]):
        balance, *frozen = network.balance(creditor, debtor)
        assert frozen == [0, 0]
        debts.append(balance)
    return debts


def test_a_circle_against_the_debts_shrinks_them_all():
    """A owes B, B owes C, C owes D, D owes A: A pays itself 20 over D, C and B. No max debt is needed for that."""
    network = _indebted(list("ABCD"), [30, 20, 50, 40])
    closed = network.pay(list("ADCBA"), 20)
    assert isinstance(closed.status, PaymentStatusSuccess)
    assert _debts(network) == [10, 0, 30, 20]


def test_any_member_can_pay_the_circle():
    """The same debts shrink, whoever pays."""
    network = _indebted(list("ABCD"), [30, 20, 50, 40])
    assert isinstance(network.pay(list("CBADC"), 20).status, PaymentStatusSuccess)
    assert _debts(network) == [10, 0, 30, 20]


@pytest.mark.parametrize(("route", "amount"), [("ABCDA", 1), ("ADCBA", 21)])
def test_a_circle_does_not_lead_beyond_a_max_debt(route, amount):
    """The other way round debts would grow, and a credit more than the smallest debt would turn it round."""
    network = _indebted(list("ABCD"), [30, 20, 50, 40])
    assert isinstance(network.pay(list(route), amount).status, Canceled)
    assert _debts(network) == [30, 20, 50, 40]


def test_mediators_keep_their_fees_and_the_payer_gets_what_is_left():
    """D and C charge 2 each, and A, who charges 7, is no mediator; of 5 offered 1 comes back. B's fee is 0."""
    network = _indebted(list("ABCD"), [30, 30, 50, 40])
    for name, payer, fee in (("D", "A", 2), ("C", "D", 2), ("A", "B", 7)):
        network.set_rate(name, payer, Rate(0, fee))
    assert isinstance(network.pay(list("ADCBA"), 20, fees=5).status, PaymentStatusSuccess)
    assert _debts(network) == [30 - 21, 30 - 21, 50 - 23, 40 - 25]


def test_the_longest_circle():
    """A route has 32 keys and names the payer twice, so 31 nodes can clear their debts, and 32 can not."""
    names = [f"N{number}" for number in range(ROUTE_KEYS_MAX)]
    network = _indebted(names[:-1], [5] * (ROUTE_KEYS_MAX - 1))
    assert isinstance(network.pay([names[0], *reversed(names[:-1])], 5).status, PaymentStatusSuccess)
    assert _debts(network) == [0] * (ROUTE_KEYS_MAX - 1)

    network = _indebted(names, [5] * ROUTE_KEYS_MAX)
    payment = network.payment(names[0], names[0], network.invoice(names[0], 5), 5)
    assert network.result(names[0], network.transact([names[0], *reversed(names)], payment, 5)) == Failure()
    assert _debts(network) == [5] * ROUTE_KEYS_MAX
