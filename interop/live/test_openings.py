"""A friendship from nothing, in both orders of the keys: who holds the first token, who dials and who listens."""

from pathlib import Path

import pytest

from interop.live.conftest import open_recorder
from interop.live.identities import make_identities
from interop.live.payments import wait_for_route, wait_until_settled
from interop.live.watching import WatchedNetwork
from interop.network import Cast, NodeSpec
from interop.programs import Implementation
from interop.ready import OURS_READY


@pytest.mark.parametrize("servers", ["ours", "original"])
@pytest.mark.parametrize("lower", ["ours", "original", "both original"])
def test_opening(
    tmp_path: Path, original: Implementation, record_directory: Path | None, lower: str, servers: str
) -> None:
    """Two nodes, the lower key of one implementation or the other: they meet, pay both ways, and meet again."""
    players = {
        "ours": (OURS_READY, original),
        "original": (original, OURS_READY),
        "both original": (original, original),
    }
    low, high = players[lower]
    directory = tmp_path / "network"
    directory.mkdir()
    recorder = open_recorder(record_directory, f"opening {lower} {servers}", directory)
    cast = Cast(original if servers == "original" else OURS_READY, {"L": low, "H": high})
    try:
        with WatchedNetwork(directory, cast, recorder) as network:
            make_identities(network, "L", "H")
            network.add_relay("relay")
            network.add_index_servers(["index"])
            for name in ("L", "H"):
                network.add_node(NodeSpec(name, "relay", "index"))
            network.befriend("L", "H", "FST")
            for buyer, seller in (("L", "H"), ("H", "L")):
                network.set_limit(seller, buyer, "FST", 100)
                wait_for_route(network, buyer, seller, "FST", 30)
                assert network.pay(buyer, seller, "FST", 30, f"from-{buyer}") == "Receipt is valid!"
            wait_until_settled(network, [("L", "H")], "FST")
            for name in ("L", "H"):
                network.servers[name].kill()
                network.servers[name].start()
                network.wait_for("them to meet again", "L", "H", lambda friend: bool(friend["online"]))
            wait_for_route(network, "L", "H", "FST", 10)
            assert network.pay("L", "H", "FST", 10, "again") == "Receipt is valid!"
    finally:
        if recorder is not None:
            recorder.close()
