"""
Our nodes at an index server of the original: capacities, a circle, and a payment that no single route carries.

The original answers with one route at most (spec 06 §5.8). So such a payment needs a server of ours, which may have
learned from the original all that it knows.
"""

import json
from pathlib import Path

from interop.live.payments import wait_for_route, wait_until_settled
from interop.live.watching import WatchedNetwork
from interop.network import Cast, Network, NodeSpec
from interop.programs import Implementation, wait_until
from interop.ready import OURS_READY
from offset_crypto.identity import Identity
from offset_proto.files import IDENTITY
from offset_proto.text import format_b64

PAIRS = [("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")]
"""Two ways lead from A to D."""

LIMIT = 100


def _capacity(network: Network) -> tuple[int, int, int]:
    """What A can bring to B and to C, and the most that could arrive at D."""
    key = Identity(IDENTITY.load(network.identity("D")).private_key).public_key
    told = json.loads(network.stctrl("A", "info", "capacity", "-c", "FST", "--to", format_b64(key), "--json").stdout)
    pay = {friend["name"]: int(friend["pay"]) for friend in told["friends"]}
    return pay["B"], pay["C"], int(told["largest"]["amount"])


def _owed_to_us(network: Network) -> tuple[int, int]:
    """What B and C owe A."""
    return network.balance("A", "B", "FST")["balance"], network.balance("A", "C", "FST")["balance"]


def test_routes_of_an_original(tmp_path: Path, original: Implementation) -> None:
    """All nodes are at an index server of the original; at last A changes to one of ours beside it."""
    with WatchedNetwork(tmp_path, Cast(OURS_READY, {"index0": original})) as network:
        network.add_relay("relay")
        network.add_index_servers(["index0", "index1"])
        for name in "ABCD":
            network.add_node(NodeSpec(name, "relay", "index0"))
        for pair in PAIRS:
            network.befriend(*pair, "FST")
            for node, friend in (pair, pair[::-1]):
                network.set_limit(node, friend, "FST", LIMIT)
        network.pay("A", "B", "FST", 60, "owed")
        network.pay("C", "A", "FST", 50, "lent")
        wait_until("the server to know that", lambda: _capacity(network) == (40, 150, 100), 30)

        # Nobody takes a fee, so both debts shrink by the amount.
        network.stctrl("A", "buyer", "rebalance", "--from", "C", "--to", "B", "-c", "FST", "-a", 30)
        wait_until_settled(network, PAIRS, "FST")
        assert _owed_to_us(network) == (-30, 20)
        wait_until("the server to know that", lambda: _capacity(network) == (70, 120, 70), 30)

        # 70 over B and 70 over C: the server knows both, and answers with one of them.
        bill, payment, commit, receipt = (
            network.path(f"split.{kind}") for kind in ("invoice", "payment", "commit", "receipt")
        )
        network.stctrl("D", "seller", "create-invoice", "-c", "FST", "-a", 120, "-i", bill)
        pay = ("buyer", "pay-invoice", "-i", bill, "-p", payment, "-c", commit)
        refused = network.stctrl("A", *pay, check=False)
        assert "70 FST could be paid" in refused.stderr

        network.stctrl("A", "config", "add-index", "-i", network.path("index1.ticket"), "-n", "index1")
        network.stctrl("A", "config", "remove-index", "-n", "index0")
        wait_for_route(network, "A", "D", "FST", 120)
        assert _capacity(network) == (70, 120, 140)
        network.stctrl("A", *pay)
        network.stctrl("D", "seller", "commit-invoice", "-i", bill, "-c", commit)
        network.wait_for_receipt("A", payment, receipt)
        wait_until_settled(network, PAIRS, "FST")
        carried = [before - after for before, after in zip((-30, 20), _owed_to_us(network), strict=True)]
        assert sum(carried) == 120
        assert max(carried) <= 70
