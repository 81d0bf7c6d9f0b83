"""A friendship from nothing, in both orders of the keys: who holds the first token, who dials and who listens."""

import os
from pathlib import Path

import pytest

from interop.live.conftest import open_recorder
from interop.live.payments import wait_for_route, wait_until_settled
from interop.network import Cast, Network, NodeSpec
from interop.programs import OURS, Implementation
from offset_crypto.hashing import is_lower
from offset_crypto.identity import Identity
from offset_proto.files import IDENTITY, IdentityFile
from offset_proto.types import PrivateKey


def make_identities(network: Network, lower: str, higher: str) -> None:
    """Identity files in this order of their keys."""
    first, second = IdentityFile(PrivateKey(os.urandom(32))), IdentityFile(PrivateKey(os.urandom(32)))
    if not is_lower(Identity(first.private_key).public_key, Identity(second.private_key).public_key):
        first, second = second, first
    IDENTITY.save(network.path(f"{lower}.ident"), first)
    IDENTITY.save(network.path(f"{higher}.ident"), second)


@pytest.mark.parametrize("servers", ["ours", "original"])
@pytest.mark.parametrize("lower", ["ours", "original", "both original"])
def test_opening(
    tmp_path: Path, original: Implementation, record_directory: Path | None, lower: str, servers: str
) -> None:
    """Two nodes, the lower key of one implementation or the other: they meet, pay both ways, and meet again."""
    players = {"ours": (OURS, original), "original": (original, OURS), "both original": (original, original)}
    low, high = players[lower]
    directory = tmp_path / "network"
    directory.mkdir()
    recorder = open_recorder(record_directory, f"opening {lower} {servers}", directory)
    cast = Cast(original if servers == "original" else OURS, {"L": low, "H": high})
    try:
        with Network(directory, cast, recorder) as network:
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
