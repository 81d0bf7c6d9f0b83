"""A seller that sleeps while somebody pays, with one node of the original: each command ends, and nothing is lost."""

from pathlib import Path

import pytest

from interop.live.payments import wait_for_route, wait_until_settled
from interop.live.watching import WatchedNetwork
from interop.network import Cast, NodeSpec
from interop.programs import Implementation, wait_until
from interop.ready import OURS_READY
from interop.sleepers import GOES_ON, CommandPayment, asleep, frozen_credits


@pytest.mark.parametrize("who", ["A", "B", "C"], ids=["buyer", "mediator", "seller"])
def test_a_seller_that_sleeps(tmp_path: Path, original: Implementation, who: str) -> None:
    """One node is the original's; the apps are ours. Spec 12 says what each of them can do then."""
    with WatchedNetwork(tmp_path, Cast(OURS_READY, {who: original})) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABC":
            network.add_node(NodeSpec(name, "relay", "index"))
        for pair in (("A", "B"), ("B", "C")):
            network.befriend(*pair, "FST", rates=(1, 1))
            for node, friend in (pair, pair[::-1]):
                network.set_limit(node, friend, "FST", 1000)
        wait_for_route(network, "A", "C", "FST", 30)

        payment = CommandPayment(network, "asleep")
        payment.create_invoice(30)
        with asleep(network, "C"):
            assert payment.pay(4) == GOES_ON
            assert payment.status()["state"] == "open"
        assert payment.pay(60) == 0
        payment.collect()
        wait_until_settled(network, [("A", "B"), ("B", "C")], "FST")
        assert network.balance("A", "B", "FST")["balance"] == -31

        payment = CommandPayment(network, "ends")
        if who == "C":
            payment.create_invoice(20)  # an original's node does not end an invoice, so its owner has to
        else:
            payment.create_invoice(20, "--expires", "15s")
        with asleep(network, "C"):
            assert payment.pay(16) == GOES_ON
        if who == "C":
            network.stctrl("C", "seller", "cancel-invoice", "-i", payment.invoice)
        wait_until("all credits to be free", lambda: frozen_credits(network) == 0, network.patience)
        network.stctrl("A", "buyer", "give-up", "-p", payment.payment, "--timeout", 30)
        assert not payment.payment.exists()
        assert network.balance("A", "B", "FST")["balance"] == -31
