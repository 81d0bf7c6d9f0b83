"""Index servers of both kinds in one federation: three in a row, both directions of connecting, expiry."""

import os
from functools import cmp_to_key
from pathlib import Path

import pytest

from interop.live.payments import has_route, wait_for_route
from interop.network import Cast, Network, NodeSpec
from interop.programs import OURS, Implementation, wait_until
from offset_crypto.hashing import is_lower
from offset_crypto.identity import Identity
from offset_proto.files import IDENTITY, IdentityFile
from offset_proto.types import PrivateKey

NAMES = ["index0", "index1", "index2"]
EXPIRY_SECONDS = 60.0


def _make_identities(network: Network, *, ascending: bool) -> None:
    """The higher key connects to the lower one (spec 06 §5.4), so the order decides who does."""
    made = [IdentityFile(PrivateKey(os.urandom(32))) for _ in NAMES]

    def compare(first: IdentityFile, second: IdentityFile) -> int:
        keys = Identity(first.private_key).public_key, Identity(second.private_key).public_key
        return -1 if is_lower(*keys) else 1

    made.sort(key=cmp_to_key(compare), reverse=not ascending)
    for name, identity in zip(NAMES, made, strict=True):
        IDENTITY.save(network.path(f"{name}.ident"), identity)


@pytest.mark.parametrize("ascending", [True, False], ids=["connecting down", "connecting up"])
@pytest.mark.parametrize(
    "originals",
    [("index1",), ("index0", "index2"), ("index0",), ("index0", "index1", "index2")],
    ids=["the middle", "both ends", "one end", "all"],
)
def test_three_in_a_row(tmp_path: Path, original: Implementation, originals: tuple[str, ...], ascending: bool) -> None:
    """What a node declares at one end is known at the other, two hops away, and forgotten when the node is silent."""
    with Network(tmp_path, Cast(OURS, dict.fromkeys(originals, original))) as network:
        _make_identities(network, ascending=ascending)
        network.add_relay("relay")
        network.add_index_servers(NAMES, [("index0", "index1"), ("index1", "index2")])
        network.add_node(NodeSpec("A", "relay", "index0"))
        network.add_node(NodeSpec("B", "relay", "index1"))
        network.add_node(NodeSpec("C", "relay", "index2"))
        for pair in (("A", "B"), ("B", "C")):
            network.befriend(*pair, "FST")
            network.set_limit(*pair[::-1], "FST", 100)
        wait_for_route(network, "A", "C", "FST", 50)
        assert network.pay("A", "C", "FST", 50, "across") == "Receipt is valid!"
        network.set_limit("C", "B", "FST", 200)
        network.set_limit("B", "A", "FST", 200)
        wait_for_route(network, "A", "C", "FST", 100)
        network.servers["C"].kill()
        wait_until(
            "the silent node to be forgotten",
            lambda: not has_route(network, "A", "C", "FST", 1),
            EXPIRY_SECONDS + 40,
        )
