"""A relay that gets SIGTERM: friends who have a second one go on over it, and lose no payment. Spec 03 §4, 09 §3.1."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from interop.live.payments import wait_for_route
from interop.network import Network, NodeSpec
from interop.programs import wait_until
from interop.sleepers import CommandPayment

GRACE_SECONDS: Final = 4
PAYMENTS: Final = 3
AMOUNT: Final = 3


@contextmanager
def _two_friends(directory: Path, grace: int) -> Iterator[Network]:
    """Two friends whose tunnel is at relay0, which has so many seconds to end; they have relay1, too, which is down."""
    with Network(directory, options={"relay0": ("--grace", str(grace))}) as network:
        network.add_relay("relay0")
        network.add_relay("relay1")
        network.servers["relay1"].stop()
        network.add_index_servers(["index0"])
        for name in ("A", "C"):
            network.add_node(NodeSpec(name, "relay0", "index0"))
            network.stctrl(name, "config", "add-relay", "-r", network.path("relay1.ticket"), "-n", "relay1")
        network.befriend("A", "C", "FST")
        network.set_limit("C", "A", "FST", 100_000)
        yield network


def _start_the_other_relay(network: Network) -> None:
    network.servers["relay1"].start()
    connected = f"relay_connected: 127.0.0.1:{network.ports['relay1']}"
    for name in ("A", "C"):
        log = network.servers[name].log
        wait_until(f"{name} to be at relay1", lambda log=log: connected in log.read_text(), 60)  # type: ignore[misc]


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


def test_no_payment_is_lost(tmp_path: Path) -> None:
    """The relay that carries everything ends within its limit, with status 0, while payments go on."""
    with _two_friends(tmp_path, GRACE_SECONDS) as network:
        _start_the_other_relay(network)
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


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    """After the first one the relay goes on for its friends' sake, and takes nobody new."""
    with _two_friends(tmp_path, 3600) as network:
        relay, process = network.servers["relay0"], _process(network, "relay0")
        process.send_signal(signal.SIGTERM)
        wait_until("the relay to take no more connections", lambda: not relay.listens(), 30)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
