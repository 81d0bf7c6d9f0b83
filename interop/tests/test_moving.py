"""The account of a friend who has lost its key moves to its new key, through real processes that are killed."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.network import Cast, Network, NodeSpec
from interop.programs import wait_until
from interop.ready import OURS_READY

KILLS = 10

OWED, OWING = 100, 40
"""What B owes A in FST, and what A owes B in USD."""


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A and B are friends with three currencies, and N is the new key of B."""
    with Network(tmp_path_factory.mktemp("moving"), Cast(OURS_READY)) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABN":
            network.add_node(NodeSpec(name, "relay", "index"))
        for currency in ("FST", "USD", "EUR"):
            network.befriend("A", "B", currency, rates=(7, 0))
            for one, other in ("AB", "BA"):
                network.set_limit(one, other, currency, 500)
        network.pay("B", "A", "FST", OWED, "owed")
        network.pay("A", "B", "USD", OWING, "owing")
        # Less than B owes by now: it says what B may owe from now on.
        network.set_limit("A", "B", "FST", 60)
        network.stctrl("A", "config", "close-currency", "-n", "B", "-c", "EUR")
        network.servers["B"].stop()  # its key is lost
        network.stctrl("N", "info", "export-ticket", "-t", network.path("N.friend"))
        yield network


class _Mover:
    """`stctrl friend move` of A, which is killed now and then."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.chance = random.Random()
        self.killed = 0
        seed = self.chance.getrandbits(32)
        self.chance.seed(seed)
        print(f"seed {seed}")

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """To its end."""
        return self.network.stctrl("A", *self._words(*options), check=False)

    def kill(self, times: int) -> None:
        """Send SIGKILL so many times, at any moment of what the command does; one that has ended by then is no kill."""
        stctrl = str(Path(sys.executable).parent / "stctrl")
        command = [stctrl, *self.network.login("A"), *map(str, self._words("--timeout", "5"))]
        latest = 2.5
        while times:
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(self.chance.uniform(0.1, latest))
                process.send_signal(signal.SIGKILL)
            if process.returncode == -signal.SIGKILL:
                times -= 1
                self.killed += 1
            else:
                latest = max(0.7 * latest, 0.2)

    def _words(self, *options: str) -> list[object]:
        return ["friend", "move", "B", self.network.path("N.friend"), "--journal", self.folder, *options]


def _entries(network: Network, kind: str) -> list[dict[str, Any]]:
    """Of the history of A, those of one kind with N."""
    told = json.loads(network.stctrl("A", "history", "--kind", kind, "--json", "--limit", 1000).stdout)
    return [entry for entry in told if entry["currency"] in ("FST", "USD")]


def test_an_account_moves_in_both_directions(village: Network, tmp_path: Path) -> None:
    """Each balance is that of the new key in the end, by one payment, and the limits are those of before."""
    network, folder = village, tmp_path / "move"
    mover = _Mover(network, folder)

    planned = mover.run("--dry-run")
    assert "Nothing was changed." in planned.stdout
    assert network.friends("A")["B"]["enabled"] is True
    assert not folder.exists()

    mover.kill(3)
    waiting = mover.run("--timeout", "1")
    assert waiting.returncode == 3, waiting.stderr
    assert "waits for B-new to be online" in waiting.stdout
    assert "go on: stctrl -I" in waiting.stderr

    network.stctrl("A", "info", "export-ticket", "-t", network.path("A2.friend"))
    network.stctrl("N", "config", "add-friend", "-f", network.path("A2.friend"), "-n", "A")
    network.stctrl("N", "config", "enable-friend", "-n", "A")
    for currency in ("FST", "USD"):
        network.stctrl("N", "config", "set-currency-rate", "-n", "A", "-c", currency, "-m", 0, "-a", 0)
        network.stctrl("N", "config", "open-currency", "-n", "A", "-c", currency)
    network.set_limit("N", "A", "USD", OWING)
    mover.kill(2)
    asking = mover.run("--timeout", "20")
    assert asking.returncode == 3, asking.stderr
    assert "B-new pays you 100 FST" in asking.stdout
    assert "You pay B-new 40 USD" in asking.stdout

    paying = ["-i", folder / "FST.invoice", "-p", tmp_path / "n.payment", "-c", folder / "FST.commit"]
    network.stctrl("N", "buyer", "pay-invoice", *paying, "--direct")
    selling = ["-c", "USD", "-a", OWING, "-i", folder / "USD.invoice"]
    network.stctrl("N", "seller", "create-invoice", *selling)
    mover.kill(3)
    handing = mover.run("--timeout", "20")
    assert handing.returncode == 3, handing.stderr
    assert "commit-invoice" in handing.stdout

    network.stctrl("N", "seller", "commit-invoice", "-i", folder / "USD.invoice", "-c", folder / "USD.commit")
    mover.kill(2)
    moved = mover.run("--timeout", "20")
    assert moved.returncode == 0, moved.stderr
    assert "--remove-old" in moved.stdout
    assert mover.killed == KILLS

    wait_until("the balances", lambda: network.balance("N", "A", "FST")["balance"] == -OWED, 20)
    assert {c: network.balance("A", "B-new", c)["balance"] for c in ("FST", "USD")} == {"FST": OWED, "USD": -OWING}
    assert network.balance("N", "A", "USD")["balance"] == OWING
    old, new = (network.friends("A")[name] for name in ("B", "B-new"))
    assert not old["enabled"]
    assert new["currency_configs"] == old["currency_configs"]
    for kind, amount in (("received", OWED), ("paid", OWING)):
        (of_old, of_new) = _entries(network, kind)
        assert int(of_new["amount"]) == amount, of_old
    for listed in (("seller", "invoices"), ("buyer", "payments")):
        assert "FST" not in network.stctrl("A", *listed).stdout
        assert "USD" not in network.stctrl("A", *listed).stdout
    receipt = network.run("stverify", "verify-receipt", "-i", folder / "USD.invoice", "-r", folder / "USD.receipt")
    assert "valid" in receipt.stdout.lower()
    assert (folder / "account.move").stat().st_mode & 0o777 == 0o600

    removed = mover.run("--remove-old")
    assert removed.returncode == 0, removed.stderr
    assert sorted(network.friends("A")) == ["B"]
    assert network.balance("A", "B", "FST")["balance"] == OWED
    assert {entry["currency"] for entry in _entries(network, "forgiven")} == {"FST", "USD"}
    assert mover.run().returncode == 0
