"""The account of a friend moves to its new key, with one node of the original: balances and limits, both ways."""

from pathlib import Path

import pytest

from interop.live.payments import wait_for_route
from interop.live.watching import WatchedNetwork
from interop.network import Cast, Network, NodeSpec
from interop.programs import Implementation, wait_until
from interop.ready import OURS_READY

OWED, OWING = 100, 40


def _move(network: Network, folder: Path, *options: object) -> int:
    words = ["friend", "move", "B", network.path("N.friend"), "--journal", folder, *options]
    result = network.stctrl("A", *words, check=False)
    assert result.returncode in (0, 3), result.stderr
    return result.returncode


def _agree(network: Network) -> None:
    """N becomes a friend of A, as the command says."""
    network.stctrl("A", "info", "export-ticket", "-t", network.path("A2.friend"))
    network.stctrl("N", "config", "add-friend", "-f", network.path("A2.friend"), "-n", "A")
    network.stctrl("N", "config", "enable-friend", "-n", "A")
    for currency in ("FST", "USD"):
        network.stctrl("N", "config", "set-currency-rate", "-n", "A", "-c", currency, "-m", 0, "-a", 0)
    active = {"FST", "USD"}
    network.wait_for("both currencies", "N", "A", lambda found: active <= {it["currency"] for it in found["balances"]})
    for currency in sorted(active):
        network.stctrl("N", "config", "open-currency", "-n", "A", "-c", currency)
    network.set_limit("N", "A", "USD", OWING)


@pytest.mark.parametrize("roles", [("N", "N.stctrl"), ("A",)], ids=["new friend", "owner's node"])
def test_an_account_moves(tmp_path: Path, original: Implementation, roles: tuple[str, ...]) -> None:
    """The new friend with all its programs is the original's; or the node that keeps no history, under our command."""
    with WatchedNetwork(tmp_path, Cast(OURS_READY, dict.fromkeys(roles, original))) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABN":
            network.add_node(NodeSpec(name, "relay", "index"))
        for currency in ("FST", "USD"):
            network.befriend("A", "B", currency, rates=(7, 0))
            for one, other in ("AB", "BA"):
                network.set_limit(one, other, currency, 500)
        wait_for_route(network, "B", "A", "FST", OWED)
        network.pay("B", "A", "FST", OWED, "owed")
        wait_for_route(network, "A", "B", "USD", OWING)
        network.pay("A", "B", "USD", OWING, "owing")
        network.servers["B"].stop()
        network.stctrl("N", "info", "export-ticket", "-t", network.path("N.friend"))

        folder = tmp_path / "move"
        assert _move(network, folder, "--timeout", 1) == 3
        _agree(network)
        assert _move(network, folder) == 3
        network.stctrl("N", "seller", "create-invoice", "-c", "USD", "-a", OWING, "-i", folder / "USD.invoice")
        wait_for_route(network, "N", "A", "FST", OWED)
        network.pay_invoice("N", folder / "FST.invoice", network.path("n.payment"), folder / "FST.commit")
        assert _move(network, folder) == 3
        network.stctrl("N", "seller", "commit-invoice", "-i", folder / "USD.invoice", "-c", folder / "USD.commit")
        wait_until("the end of the move", lambda: _move(network, folder) == 0, network.patience)

        old, new = (network.friends("A")[name] for name in ("B", "B-new"))
        assert {c: network.balance("A", "B-new", c)["balance"] for c in ("FST", "USD")} == {"FST": OWED, "USD": -OWING}
        assert sorted(map(str, new["currency_configs"])) == sorted(map(str, old["currency_configs"]))
        wait_until("the friend to agree", lambda: network.balance("N", "A", "FST")["balance"] == -OWED, 60)
        assert network.balance("N", "A", "USD")["balance"] == OWING
        assert _move(network, folder, "--remove-old") == 0
        assert sorted(network.friends("A")) == ["B"]
        assert network.balance("A", "B", "USD")["balance"] == -OWING
