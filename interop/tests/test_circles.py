"""Circles of one person, through real processes: both debts shrink, and nothing else changes but by fees."""

import json
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

PAIRS = [("A", "B"), ("B", "C"), ("C", "A")]


@pytest.fixture(scope="module")
def triangle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A, B and C, each a friend of the others; B and C take 1 for what they forward. B owes A 60, A owes C 50."""
    with Network(tmp_path_factory.mktemp("circles"), Cast(OURS_READY)) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABC":
            network.add_node(NodeSpec(name, "relay", "index"))
        for one, other in PAIRS:
            network.befriend(one, other, "FST")
            network.set_limit(one, other, "FST", 1000)
            network.set_limit(other, one, "FST", 1000)
        network.pay("B", "A", "FST", 60, "first")
        network.pay("A", "C", "FST", 50, "second")
        for mediator, friend in (("B", "A"), ("C", "B")):
            network.stctrl(mediator, "config", "set-currency-rate", "-n", friend, "-c", "FST", "-m", 0, "-a", 1)
        wait_until("the debts", lambda: _balances(network) == (60, 0, 50), 30)
        wait_until("the rates at the index server", lambda: _fees(network) == "2", 30)
        yield network


def _balances(network: Network) -> tuple[int, int, int]:
    """What B owes A, C owes B, and A owes C."""
    return (
        network.balance("A", "B", "FST")["balance"],
        network.balance("B", "C", "FST")["balance"],
        network.balance("C", "A", "FST")["balance"],
    )


def _frozen(network: Network) -> int:
    found = [network.balance(*pair, "FST") for one, other in PAIRS for pair in ((one, other), (other, one))]
    return sum(each["local_pending_debt"] + each["remote_pending_debt"] for each in found)


REBALANCE = ("buyer", "rebalance", "--from", "B", "--to", "C", "-c", "FST")


def _fees(network: Network) -> str:
    told = network.stctrl("A", *REBALANCE, "-a", 20, "--dry-run", check=False).stdout
    return next((line.partition(": ")[2] for line in told.splitlines() if line.startswith("Total fees")), "")


def _capacity(network: Network, *arguments: str) -> Any:
    return json.loads(network.stctrl("A", "info", "capacity", "-c", "FST", *arguments, "--json").stdout)


def test_circles_of_one_person(triangle: Network) -> None:
    """
    The fees of B and C are named before, and are what A has less afterwards.

    In the circle A > B > C > A, B keeps 1 of what it forwards, and C 1 of what comes from B. Each step begins with what
    the one before has left, and the first with what other tests have left.
    """
    before = owed, between, owing = _balances(triangle)
    assert [friend["pay"] for friend in _capacity(triangle)["friends"]] == [str(1000 + owed), str(1000 - owing)]

    triangle.stctrl("A", *REBALANCE, "-a", 20, "--dry-run")
    assert (_balances(triangle), _frozen(triangle)) == (before, 0)

    refused = triangle.stctrl("A", *REBALANCE, "-a", 20, "--fees-max", 1, check=False)
    assert refused.returncode != 0
    assert "NoSuitableRoute" in refused.stderr
    assert _balances(triangle) == before

    triangle.stctrl("A", *REBALANCE, "-a", 20)
    # A's debtor and creditor both have 20 less to do with A; B and C have earned 1 each.
    after = (owed - 22, between - 21, owing - 20)
    wait_until("the circle", lambda: (_balances(triangle), _frozen(triangle)) == (after, 0), 20)

    time.sleep(2)  # until the index server knows
    kept = owed - 22 - 30
    clear = ("buyer", "clear", "-c", "FST", "--keep", f"B={kept}")
    assert "1 paid, 0 not paid" in triangle.stctrl("A", *clear).stdout
    wait_until("the rest", lambda: _frozen(triangle) == 0, 20)
    # 28 go around for 2, which is all that B owes beyond what is kept.
    assert _balances(triangle)[::2] == (kept, owing - 20 - 28)
    assert "Nothing can be cleared" in triangle.stctrl("A", *clear).stdout


def test_a_circle_that_is_killed(triangle: Network, tmp_path: Path) -> None:
    """As soon as the payment is in the journal: the next command sees to it, and nothing stays frozen."""
    before = _balances(triangle)
    circle = (*REBALANCE, "-a", "1", "--timeout", "5", "--journal", str(tmp_path))
    stctrl = str(Path(sys.executable).parent / "stctrl")
    with subprocess.Popen(
        [stctrl, *triangle.login("A"), *circle], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not any(tmp_path.iterdir()):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    triangle.stctrl("A", *circle)
    wait_until("nothing to be frozen", lambda: _frozen(triangle) == 0, 90)
    changed = tuple(one - other for one, other in zip(before, _balances(triangle), strict=True))
    assert changed in {(3, 2, 1), (6, 4, 2)}  # the second circle, or both
