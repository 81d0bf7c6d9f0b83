"""Histories beside the original: its app on our node that keeps one, and our commands on its node that keeps none."""

import json
from pathlib import Path

from interop.live.payments import wait_for_route
from interop.live.watching import WatchedNetwork
from interop.network import Cast, NodeSpec
from interop.programs import OURS, Implementation
from interop.ready import OURS_READY

AMOUNT = 30


def test_the_history_of_one_side(tmp_path: Path, original: Implementation) -> None:
    """A is ours under the original's stctrl, B is the original's under ours; A pays B."""
    with WatchedNetwork(tmp_path, Cast(OURS_READY, {"A.stctrl": original, "B": original})) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "AB":
            network.add_node(NodeSpec(name, "relay", "index"))
        network.befriend("A", "B", "FST")
        network.set_limit("B", "A", "FST", 100)
        wait_for_route(network, "A", "B", "FST", AMOUNT)
        network.pay("A", "B", "FST", AMOUNT, "tea")

        for command in (("history",), ("statement", "--month", "2026-11"), ("income",)):
            asked = network.stctrl("B", *command, check=False)
            assert asked.returncode == 1
            assert asked.stdout == ""
            (line,) = asked.stderr.splitlines()
            assert "keeps no history" in line

        said = OURS.run("stctrl", *network.login("A"), "history", "--kind", "paid", "--json").stdout
        (paid,) = json.loads(said)
        assert (paid["change"], paid["friend"], paid["balance"]) == (str(-AMOUNT), "B", str(-AMOUNT))
