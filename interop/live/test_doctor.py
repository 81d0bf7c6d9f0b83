"""`stctrl doctor` beside a node, a relay and an index server of the original, which tell less of themselves."""

import json
from pathlib import Path
from typing import Any

from interop.network import Cast, Network, NodeSpec
from interop.programs import Implementation, wait_until
from interop.ready import OURS_READY


def _findings(network: Network, *options: object) -> dict[str, list[dict[str, str]]]:
    """What our doctor finds at the node A, by what it is about."""
    asked = network.stctrl("A", "doctor", "--json", *options, check=False)
    page: dict[str, Any] = json.loads(asked.stdout)
    return {
        about: [each for each in page["findings"] if each["about"] == about]
        for about in dict.fromkeys(each["about"] for each in page["findings"])
    }


def _is_connected(network: Network) -> bool:
    listed = json.loads(network.stctrl("A", "info", "index", "--json").stdout)
    return any(server["connected"] for server in listed)


def test_a_node_and_servers_of_the_original(original: Implementation, tmp_path: Path) -> None:
    """All is well; then tickets are given in the wrong places; then the friend goes, and the servers."""
    with Network(tmp_path, Cast(original, {"A.stctrl": OURS_READY})) as network:
        network.add_relay("relay0")
        network.add_index_servers(["index0", "index1"])
        for name in ("A", "B"):
            network.add_node(NodeSpec(name, "relay0", "index0"))
        network.befriend("A", "B", "FST")
        wait_until("the index server to be connected", lambda: _is_connected(network))
        found = _findings(network, "-d", network.path("A.db"))
        assert "it is one of the original" in found["node"][0]["words"]
        assert [each["severity"] for about in ("relays", "index servers", "friends") for each in found[about]] == (
            ["fine"] * 3
        )
        assert "was not checked" in found["database"][0]["words"]
        assert "nothing has been frozen" in found["frozen credits"][0]["words"]

        relay, index, node = (network.path(f"{name}.ticket") for name in ("relay0", "index1", "B"))
        for words, answers in (
            (("add-relay", "-r", index), "it answers as an index server does"),
            (("add-index", "-i", relay), "its address is that of the relay relay0"),
            (("add-relay", "-r", node), "it closes the link at once, as a node does"),
        ):
            assert answers in network.stctrl("A", "config", *words, "-n", "wrong", "--try", check=False).stderr
        network.stctrl("A", "config", "add-relay", "-r", index, "-n", "wrong")
        wrong = next(each for each in _findings(network)["relays"] if each["severity"] != "fine")
        assert "is no relay: it answers as an index server does" in wrong["words"]
        network.stctrl("A", "config", "remove-relay", "-n", "wrong")

        network.servers["B"].stop()
        network.wait_for("B to be offline", "A", "B", lambda friend: not friend["online"])
        assert "B is offline" in _findings(network, "--local")["friends"][0]["words"]
        for server in ("relay0", "index0"):
            network.servers[server].stop()
        found = _findings(network)
        assert "none of its relays is reached from here" in found["friends"][0]["words"]
        for about in ("relays", "index servers"):
            assert found[about][0]["severity"] == "broken"
