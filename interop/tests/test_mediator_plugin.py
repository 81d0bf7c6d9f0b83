"""A mediator's policy as a plugin: found by its entry point, asked before a request is forwarded."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.network import Network
from interop.tests.conftest import build_chain

PLUGIN = '''
import logging
import time

from offset_node.plugins.hooks import hookimpl
from offset_node.plugins.values import Refusal

log = logging.getLogger("offset.plugins.toll")


class Toll:
    """Forwards at most 10 credits; does not come back for 13; breaks down at 14."""

    hooks_version = 1

    @hookimpl
    def offset_judge_forwarding(self, forwarding):
        if forwarding.dest_payment == 13:
            time.sleep(6)
        if forwarding.dest_payment == 14:
            raise RuntimeError("broken down")
        return Refusal("too much") if forwarding.dest_payment > 10 else None

    @hookimpl
    def offset_request_forwarded(self, forwarded):
        log.error("forwarded %s for %s", forwarded.dest_payment, forwarded.fee)
'''


@pytest.fixture(scope="module")
def toll(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The chain A - B - C, all three with the plugin."""
    site = tmp_path_factory.mktemp("site")
    (site / "offset_toll.py").write_text(PLUGIN)
    metadata = site / "offset_toll-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: offset-toll\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[offset.node]\ntoll = offset_toll:Toll\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        network = build_chain(tmp_path_factory.mktemp("toll"))
        network.pay("C", "A", "FST", 1, "first")  # waits until the index servers know the route
        yield network
        network.stop()


def _pay(network: Network, amount: int) -> "subprocess.CompletedProcess[str]":
    invoice, payment, commit = (network.path(f"{amount}.{kind}") for kind in ("invoice", "payment", "commit"))
    network.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", amount, "-i", invoice)
    return network.stctrl("C", "buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit, check=False)


def _is_free(friend: dict[str, Any]) -> bool:
    """Whether no credit is frozen with a friend, in any currency."""
    return all(int(entry["local_pending_debt"]) == 0 for entry in friend["balances"])


def _log(network: Network) -> str:
    path: Path = network.servers["B"].log
    return path.read_text()


def test_what_passes_and_what_does_not(toll: Network) -> None:
    """10 pass and are told; 11 are cancelled back to the buyer, and nothing stays frozen."""
    before = toll.balance("C", "B", "FST")["balance"]
    toll.pay("C", "A", "FST", 10, "toll")
    assert "forwarded 10 for 1" in _log(toll)
    assert "CreateTransactionFailed" in _pay(toll, 11).stderr
    assert "forwarded 11" not in _log(toll)
    after = toll.balance("C", "B", "FST")
    assert after == {"balance": before - 11, "local_pending_debt": 0, "remote_pending_debt": 0}


def test_a_plugin_that_breaks_down_or_does_not_come_back(toll: Network) -> None:
    """The request is refused and the log says why; meanwhile the node answers others at once."""
    assert "CreateTransactionFailed" in _pay(toll, 14).stderr
    assert "plugin toll, offset_judge_forwarding: RuntimeError: broken down" in _log(toll)
    started = time.monotonic()
    assert "CreateTransactionFailed" in _pay(toll, 13).stderr
    assert "did not answer within 2 seconds" in _log(toll)
    _pay(toll, 5)  # it still sleeps; stctrl tries again for some seconds, and may find it awake
    assert "is still busy with an earlier call" in _log(toll)
    toll.stctrl("A", "seller", "cancel-invoice", "-i", toll.path("5.invoice"))
    toll.wait_for("nothing to be frozen", "C", "B", _is_free)
    toll.friends("B")
    time.sleep(max(0.0, started + 9 - time.monotonic()))
    toll.pay("C", "A", "FST", 6, "again")
