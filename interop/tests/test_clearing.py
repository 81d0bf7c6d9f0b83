"""
A community clears its debts: exports, a plan, circles that are paid. docs/how-to/treasurer.md.

Real nodes for the programs, and simulated ones for communities of some size.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from interop.network import Cast, Network, NodeSpec
from interop.programs import wait_until
from interop.ready import OURS_READY
from offset_ctrl.clearing.exports import Member, Side
from offset_ctrl.clearing.plan import make_plan
from offset_funder.testing import FST, SimulatedNetwork
from offset_proto.messages.app import PaymentStatusSuccess
from offset_proto.messages.payment import Rate

DEBTS = {("A", "B"): 30, ("B", "C"): 20, ("C", "A"): 50}
"""What the first node owes the second."""


@pytest.fixture(scope="module")
def community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three nodes with these debts, none of which may grow by a credit."""
    network = Network(tmp_path_factory.mktemp("community"), Cast(OURS_READY))
    try:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABC":
            network.add_node(NodeSpec(name, "relay", "index"))
        for (debtor, creditor), debt in DEBTS.items():
            network.befriend(debtor, creditor, "FST")
            network.set_limit(creditor, debtor, "FST", debt)
            network.pay(debtor, creditor, "FST", debt, f"{debtor}{creditor}")
            network.set_limit(creditor, debtor, "FST", 0)
        yield network
    finally:
        network.stop()


def _export(network: Network) -> Path:
    members = network.path("members")
    members.mkdir()
    for name in "ABC":
        (members / f"{name}.json").write_text(network.stctrl(name, "info", "friends", "--json").stdout)
        network.stctrl(name, "info", "export-ticket", "-t", members / f"{name}.friend")
    return members


def _debts(network: Network) -> dict[tuple[str, str], int]:
    return {(one, other): network.balance(other, one, "FST")["balance"] for one, other in DEBTS}


def test_a_community_clears_its_debts(community: Network) -> None:
    """The payer pays its circle once, no max debt is needed, and all are left with what the plan says."""
    plan = community.path("plan.json")
    plan.write_text(community.run("stclear", "plan", "-d", _export(community), "-c", "FST", "--json").stdout)
    found: dict[str, Any] = json.loads(plan.read_text())
    assert found["debts"] == {"before": "100", "after": "40", "clearable": "60"}
    (payer,) = (member["name"] for member in found["members"] if member["circles"])

    def pay(name: str, directory: str, *options: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        arguments = ["-p", plan, "-d", community.path(directory), *options]
        return community.run("stclear", "pay", *community.login(name), *arguments, check=check)

    for name in "ABC":
        if name != payer:
            assert pay(name, f"{name}-paid").stdout == "This node has no circle to pay.\n"
    assert pay(payer, "paid", "--dry-run").stdout.endswith(": to be paid, fees 0\n")
    assert _debts(community) == DEBTS
    assert pay(payer, "paid").stdout.endswith(": paid, fees 0\n")
    left = {("A", "B"): 10, ("B", "C"): 0, ("C", "A"): 30}
    wait_until("the debts of the plan", lambda: _debts(community) == left, 30)
    assert pay(payer, "paid").stdout.endswith(": paid before\n")

    # Whoever has lost the directory does not pay a debt that is gone.
    refused = pay(payer, "lost", check=False)
    assert refused.returncode == 1
    assert "only; ask for a new plan" in refused.stdout
    assert _debts(community) == left


def _simulated(draws: Random, names: list[str], debts: int) -> SimulatedNetwork:
    """Nodes with random debts, some of which charge 1 credit and give 3 of credit, and the others nothing."""
    network = SimulatedNetwork(names, draws)
    while sum(len(node.funder.state.friends) for node in network.nodes.values()) < 2 * debts:
        debtor, creditor = draws.sample(names, 2)
        if network.nodes[creditor].key not in network.nodes[debtor].funder.state.friends:
            network.befriend(debtor, creditor)
            network.pay([debtor, creditor], draws.randrange(10, 100))
    for name, node in network.nodes.items():
        charges = draws.random() < 0.3
        for friend in names:
            if network.nodes[friend].key in node.funder.state.friends:
                network.set_limit(name, friend, 3 if charges else 0)
                network.set_rate(name, friend, Rate(0, 1 if charges else 0))
    return network


def _member(network: SimulatedNetwork, name: str) -> Member:
    node = network.nodes[name]
    by_key = {other.key: name for name, other in network.nodes.items()}
    sides = {}
    for friend in network.nodes.values():
        known = node.funder.state.friends.get(friend.key)
        if known is not None:
            config = known.currency_configs[FST]
            balance, ours, theirs = network.balance(name, by_key[friend.key])
            sides[friend.key] = Side(balance, ours, theirs, config.remote_max_debt, config.rate, True, True)
    return Member(name, node.key, sides)


@pytest.mark.parametrize("fees_max", [0, 4])
def test_every_payment_of_a_plan_goes_through(fees_max: int) -> None:
    """Funders that refuse a credit too much accept each payment, and are left with the debts of the plan."""
    draws = Random(fees_max)
    names = [f"N{number}" for number in range(25)]
    network = _simulated(draws, names, debts=80)
    plan = make_plan([_member(network, name) for name in names], FST, fees_max=fees_max)
    assert plan.payments
    assert {payment.fees > 0 for payment in plan.payments} == ({False} if fees_max == 0 else {False, True})
    by_key = {node.key: name for name, node in network.nodes.items()}
    for payment in plan.payments:
        ended = network.pay([by_key[key] for key in payment.route], payment.amount, payment.fees)
        assert isinstance(ended.status, PaymentStatusSuccess)
    left = [network.balance(by_key[debt.creditor], by_key[debt.debtor]) for debt in plan.comparison.debts]
    assert left == [(amount, 0, 0) for amount in plan.after]
