"""Payments whose seller is asleep: the steps of the tests with our programs and beside the original's."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from interop.network import Network

__all__ = ["GOES_ON", "CommandPayment", "asleep", "frozen_credits"]

GOES_ON: Final = 3
"""Exit status of a command that ends before what it waits for."""


@contextmanager
def asleep(network: Network, name: str) -> Iterator[None]:
    """A node that is stopped in the middle of whatever it does, and goes on later."""
    process = network.servers[name].process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def frozen_credits(network: Network) -> int:
    """Credits that are frozen anywhere in the chain."""
    pairs = (("A", "B"), ("B", "A"), ("B", "C"), ("C", "B"))
    balances = [network.balance(one, other, "FST") for one, other in pairs]
    return sum(side["local_pending_debt"] + side["remote_pending_debt"] for side in balances)


class CommandPayment:
    """The files of one payment from A over B to C, and the commands that work on them."""

    def __init__(self, network: Network, label: str) -> None:
        self._network = network
        self.invoice, self.payment, self.commit, self.receipt = (
            network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit", "receipt")
        )

    def create_invoice(self, amount: int, *options: object) -> None:
        """Let C ask for credits."""
        arguments = ["-c", "FST", "-a", amount, "-i", self.invoice, *options]
        self._network.stctrl("C", "seller", "create-invoice", *arguments)

    def pay(self, seconds: float) -> int:
        """Let A pay, for at most so long; the exit status."""
        arguments = ["-i", self.invoice, "-p", self.payment, "-c", self.commit, "--timeout", seconds]
        return self._network.stctrl("A", "buyer", "pay-invoice", *arguments, check=False).returncode

    def status(self) -> dict[str, object]:
        """What payment-status says, for programs."""
        asked = self._network.stctrl("A", "buyer", "payment-status", "-p", self.payment, "--json", check=False)
        said: dict[str, object] = json.loads(asked.stdout)
        return said

    def collect(self) -> None:
        """Hand the commit to C, and wait for the receipt."""
        self._network.stctrl("C", "seller", "commit-invoice", "-i", self.invoice, "-c", self.commit)
        self._network.wait_for_receipt("A", self.payment, self.receipt)
