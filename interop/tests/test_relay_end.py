"""A relay that gets SIGTERM: friends who have a second one go on over it, and lose no payment. Spec 03 §4, 09 §3.1."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest

from interop.live.payments import wait_for_route
from interop.network import Network, NodeSpec
from interop.programs import wait_until
from interop.sleepers import CommandPayment

GRACE_SECONDS: Final = 4
PAYMENTS: Final = 3
AMOUNT: Final = 3


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Two friends who listen at both of two relays."""
    options = {"relay0": ("--grace", str(GRACE_SECONDS)), "relay1": ("--grace", "3600")}
    with Network(tmp_path_factory.mktemp("ends"), options=options) as made:
        made.add_relay("relay0")
        made.add_relay("relay1")
        made.add_index_servers(["index0"])
        for name in ("A", "C"):
            made.add_node(NodeSpec(name, "relay0", "index0"))
            made.stctrl(name, "config", "add-relay", "-r", made.path("relay1.ticket"), "-n", "relay1")
        made.befriend("A", "C", "FST")
        made.set_limit("C", "A", "FST", 100_000)
        yield made


class _Payments:
    """Payments one after the other, each called again until it is through, as a person would."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.paid = 0
        self.thread = threading.Thread(target=self._pay)

    def _pay(self) -> None:
        for number in range(PAYMENTS):
            payment = CommandPayment(self._network, f"ends{number}")
            payment.create_invoice(AMOUNT)
            wait_until("the payment to get through", lambda payment=payment: payment.pay(30) == 0, 150)  # type: ignore[misc]
            payment.collect()
            self.paid += 1


def _process(network: Network, name: str) -> "subprocess.Popen[bytes]":
    process = network.servers[name].process
    assert process is not None
    return process


def test_no_payment_is_lost(network: Network) -> None:
    """The relay that carries everything ends within its limit, with status 0, while payments go on."""
    wait_for_route(network, "A", "C", "FST", AMOUNT)
    before = network.balance("A", "C", "FST")["balance"]
    payments = _Payments(network)
    payments.thread.start()
    wait_until("the first payment", lambda: payments.paid > 0, 60)
    relay = _process(network, "relay0")
    relay.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert relay.wait(60) == 0
    assert time.monotonic() - began >= GRACE_SECONDS - 1  # nodes keep their tunnels as long as they may
    payments.thread.join()
    assert payments.paid == PAYMENTS
    paid = {"balance": before - PAYMENTS * AMOUNT, "local_pending_debt": 0, "remote_pending_debt": 0}
    assert network.balance("A", "C", "FST") == paid


def test_a_second_sigterm_ends_at_once(network: Network) -> None:
    """After the first one the relay goes on for its friends' sake, and takes nobody new."""
    relay = network.servers["relay1"]
    process = _process(network, "relay1")
    process.send_signal(signal.SIGTERM)
    wait_until("the relay to take no more connections", lambda: not relay.listens(), 30)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
