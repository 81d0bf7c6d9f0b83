"""The walkthroughs of docs/protocol/09-cli.md §11, command by command, every step checked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.network import Network, NodeSpec
from interop.programs import CommandFailed, wait_until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Network]:
    """Two nodes, each with a relay and an index server of its own; nothing configured but those."""
    with Network(tmp_path) as network:
        network.add_relay("relay0")
        network.add_relay("relay1")
        network.add_index_servers(["index0", "index1"])
        network.add_node(NodeSpec("node0", "relay0", "index0"))
        network.add_node(NodeSpec("node1", "relay1", "index1"))
        yield network


def _table(network: Network, node: str) -> str:
    return network.stctrl(node, "info", "friends").stdout


def _wait_for_status(network: Network, node: str, status: str) -> None:
    wait_until(f"{node} to show {status}", lambda: status in _table(network, node))


def test_two_nodes(pair: Network) -> None:
    """Spec 09 §11.1: friendship, a cancelled invoice, a payment, a token, the end of the friendship."""
    path = pair.path
    both = (("node0", "node1"), ("node1", "node0"))
    for node, _ in both:
        assert _table(pair, node) == "No configured friends.\n"
        pair.stctrl(node, "info", "export-ticket", "-t", path(f"{node}.friend"))
    for node, other in both:
        pair.stctrl(node, "config", "add-friend", "-f", path(f"{other}.friend"), "-n", other)
        pair.stctrl(node, "config", "set-currency-rate", "-n", other, "-c", "FST", "-m", 0, "-a", 1)
        pair.stctrl(node, "config", "enable-friend", "-n", other)
    for node, other in both:
        _wait_for_status(pair, node, "E+")
        pair.stctrl(node, "config", "open-currency", "-n", other, "-c", "FST")

    identities = ["-n", path("node1.ident"), "-p", path("node1-app.ident")]
    pair.run("stmgr", "node-entry", *identities, "-a", f"127.0.0.1:{pair.ports['node1']}", "-o", path("node1.entry"))
    assert path("node1.entry").stat().st_mode & 0o777 == 0o600
    pair.stctrl("node0", "config", "set-currency-rate", "-n", "node1", "-c", "FST2", "-m", 0, "-a", 1)
    pair.stctrl("node0", "config", "remove-currency", "-n", "node1", "-c", "FST2")
    pair.stctrl("node0", "config", "set-currency-max-debt", "-n", "node1", "-c", "FST", "-m", 200)

    temporary = path("temp.invoice")
    pair.stctrl("node0", "seller", "create-invoice", "-c", "FST", "-a", 50, "-i", temporary)
    pair.stctrl("node0", "seller", "cancel-invoice", "-i", temporary)
    assert not temporary.exists()

    invoice, payment, commit = path("test1.invoice"), path("test1.payment"), path("test1.commit")
    pair.stctrl("node0", "seller", "create-invoice", "-c", "FST", "-a", 50, "-i", invoice)
    assert pair.pay_invoice("node1", invoice, payment, commit) == "Total fees: 0\nPayment successful!\n"
    pair.stctrl("node0", "seller", "commit-invoice", "-i", invoice, "-c", commit)
    receipt = path("test1.receipt")
    status = pair.stctrl("node1", "buyer", "payment-status", "-p", payment, "-r", receipt)
    assert status.stdout == "Payment succeeded. Saving receipt to file.\n"
    assert not payment.exists()
    verified = pair.run("stverify", "verify-receipt", "-i", invoice, "-r", receipt)
    assert verified.stdout == "Receipt is valid!\n"
    assert pair.balance("node0", "node1", "FST")["balance"] == 50
    assert pair.balance("node1", "node0", "FST")["balance"] == -50

    token = path("node0.token")
    pair.stctrl("node1", "info", "friend-last-token", "-n", "node0", "-t", token)
    shown = pair.run("stverify", "verify-token", "-t", token).stdout
    assert shown.startswith("Token is valid!\n")
    assert "- FST: balance=50, lpd=0, rpd=0" in shown

    for node, other in both:
        pair.stctrl(node, "config", "close-currency", "-n", other, "-c", "FST")
        with pytest.raises(CommandFailed, match="RequestRefused"):  # in use: it can not be removed
            pair.stctrl(node, "config", "remove-currency", "-n", other, "-c", "FST")
        pair.stctrl(node, "config", "disable-friend", "-n", other)
    for node, _ in both:
        _wait_for_status(pair, node, "D-")


def test_three_nodes(chain: Network) -> None:
    """Spec 09 §11.2: the mediator keeps its fee, and only the sending side of each hop needs credit."""
    invoice, payment = chain.path("three.invoice"), chain.path("three.payment")
    commit, receipt = chain.path("three.commit"), chain.path("three.receipt")
    chain.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 50, "-i", invoice)
    assert chain.pay_invoice("C", invoice, payment, commit) == "Total fees: 1\nPayment successful!\n"
    assert chain.balance("C", "B", "FST") == {"balance": 0, "local_pending_debt": 51, "remote_pending_debt": 0}
    assert chain.balance("B", "A", "FST") == {"balance": 0, "local_pending_debt": 50, "remote_pending_debt": 0}
    chain.stctrl("A", "seller", "commit-invoice", "-i", invoice, "-c", commit)
    chain.stctrl("C", "buyer", "payment-status", "-p", payment, "-r", receipt)
    assert chain.run("stverify", "verify-receipt", "-i", invoice, "-r", receipt).stdout == "Receipt is valid!\n"
    balances = [("C", "B", -51), ("B", "C", 51), ("B", "A", -50), ("A", "B", 50)]
    for node, friend, balance in balances:
        assert chain.balance(node, friend, "FST")["balance"] == balance


def test_a_payment_beyond_the_credit_fails(chain: Network) -> None:
    """Too little credit: no route, nothing frozen, and nothing left behind."""
    invoice, payment, commit = (chain.path(f"much.{kind}") for kind in ("invoice", "payment", "commit"))
    chain.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 10**9, "-i", invoice)
    result = chain.stctrl("C", "buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit, check=False)
    assert result.returncode == 1
    assert "error: BuyerError(NoSuitableRoute)" in result.stderr
    assert not payment.exists()
    assert not commit.exists()
    assert chain.balance("C", "B", "FST")["local_pending_debt"] == 0
    chain.stctrl("A", "seller", "cancel-invoice", "-i", invoice)


def test_a_cancelled_invoice_cancels_the_payment(chain: Network) -> None:
    """The seller cancels after the buyer paid: payment-status says so, and the credits are free again."""
    invoice, payment = chain.path("cancel.invoice"), chain.path("cancel.payment")
    commit, receipt = chain.path("cancel.commit"), chain.path("cancel.receipt")
    before = chain.balance("C", "B", "FST")
    chain.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 5, "-i", invoice)
    chain.pay_invoice("C", invoice, payment, commit)
    chain.stctrl("A", "seller", "cancel-invoice", "-i", invoice)
    status = chain.stctrl("C", "buyer", "payment-status", "-p", payment, "-r", receipt)
    assert status.stdout == "Payment was canceled.\n"
    assert not payment.exists()
    assert not receipt.exists()
    wait_until("the credits to be free", lambda: chain.balance("C", "B", "FST") == before)


def test_an_unknown_payment_is_not_found(chain: Network) -> None:
    """payment-status of a payment that the node does not know deletes the file."""
    payment = chain.path("unknown.payment")
    payment.write_text(json.dumps({"payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"}))
    status = chain.stctrl("C", "buyer", "payment-status", "-p", payment, "-r", chain.path("unknown.receipt"))
    assert status.stdout == "Payment could not be found\n"
    assert not payment.exists()
