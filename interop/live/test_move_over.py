"""A live node with friends, credit in use, an open invoice and an open payment moves to ours, and back."""

from pathlib import Path

import pytest

from interop.live.payments import wait_for_route, wait_until_settled
from interop.live.watching import WatchedNetwork
from interop.network import Cast, Network, NodeSpec
from interop.programs import Implementation
from interop.ready import OURS_READY

PAIRS = [("A", "B"), ("B", "C")]


def _leave_open(network: Network, buyer: str, seller: str, label: str) -> None:
    """A payment whose credits are frozen along the route: the seller has not committed yet."""
    files = [network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit")]
    network.stctrl(seller, "seller", "create-invoice", "-c", "FST", "-a", 20, "-i", files[0])
    wait_for_route(network, buyer, seller, "FST", 20)
    network.pay_invoice(buyer, *files)


def _complete(network: Network, buyer: str, seller: str, label: str) -> None:
    """The seller commits: the pending transaction is collected, and the buyer gets its receipt."""
    invoice, payment, commit, receipt = (
        network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit", "receipt")
    )
    network.stctrl(seller, "seller", "commit-invoice", "-i", invoice, "-c", commit)
    network.wait_for_receipt(buyer, payment, receipt)
    assert network.run("stverify", "verify-receipt", "-i", invoice, "-r", receipt).stdout == "Receipt is valid!\n"


def _pay_open_invoice(network: Network, buyer: str, seller: str, label: str) -> None:
    wait_for_route(network, buyer, seller, "FST", 9)
    network.pay_invoice(buyer, *[network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit")])
    _complete(network, buyer, seller, label)


def _create_invoice(network: Network, seller: str, label: str) -> None:
    invoice = network.path(f"{label}.invoice")
    network.stctrl(seller, "seller", "create-invoice", "-c", "FST", "-a", 9, "-i", invoice)


def _wait_for_friends(network: Network, name: str) -> None:
    for friend in network.friends(name):
        network.wait_for(f"{friend} to be online", name, friend, lambda found: bool(found["online"]))


@pytest.mark.parametrize("moved", ["A", "B", "C"], ids=["buyer", "mediator", "seller"])
@pytest.mark.parametrize("others", ["ours", "original"])
def test_move_over(tmp_path: Path, original: Implementation, others: str, moved: str) -> None:
    """Stop, import, start ours; everything goes on. Stop, export, start the original; it goes on."""
    cast = Cast(original if others == "original" else OURS_READY, {moved: original})
    with WatchedNetwork(tmp_path, cast) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABC":
            network.add_node(NodeSpec(name, "relay", "index"))
        for pair in PAIRS:
            network.befriend(*pair, "FST", rates=(1, 1))
            for node, friend in (pair, pair[::-1]):
                network.set_limit(node, friend, "FST", 1000)
        wait_for_route(network, "A", "C", "FST", 50)
        assert network.pay("A", "C", "FST", 50, "before") == "Receipt is valid!"
        _leave_open(network, "A", "C", "pending1")
        _create_invoice(network, "C", "invoice1")

        network.servers[moved].stop()
        OURS_READY.run("stmgr", "import-db", "-d", network.path(f"{moved}.db"), "-o", network.path("ours.db"))
        network.replace_node(moved, OURS_READY, network.path("ours.db"))
        _wait_for_friends(network, moved)
        _complete(network, "A", "C", "pending1")
        _pay_open_invoice(network, "A", "C", "invoice1")
        _leave_open(network, "A", "C", "pending2")
        _create_invoice(network, "C", "invoice2")

        network.servers[moved].stop()
        OURS_READY.run("stmgr", "export-db", "-d", network.path("ours.db"), "-o", network.path("back.json"))
        network.replace_node(moved, original, network.path("back.json"))
        _wait_for_friends(network, moved)
        _complete(network, "A", "C", "pending2")
        _pay_open_invoice(network, "A", "C", "invoice2")
        wait_until_settled(network, PAIRS, "FST")
        assert network.balance("C", "B", "FST")["balance"] == 50 + 2 * 20 + 2 * 9
        assert network.balance("B", "A", "FST")["balance"] == 50 + 2 * 20 + 2 * 9 + 5
