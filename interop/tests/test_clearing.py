"""A community of real nodes clears its debts: exports, a plan, circles that are paid. docs/how-to/treasurer.md."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.network import Network, NodeSpec
from interop.programs import wait_until

DEBTS = {("A", "B"): 30, ("B", "C"): 20, ("C", "A"): 50}
"""What the first node owes the second."""


@pytest.fixture(scope="module")
def community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three nodes with these debts, none of which may grow by a credit."""
    network = Network(tmp_path_factory.mktemp("community"))
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
