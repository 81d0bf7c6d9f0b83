"""stctrl doctor beside real processes: what is broken one after the other is what it finds."""

import json
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from interop.live.payments import wait_for_route
from interop.network import Network, NodeSpec
from interop.programs import wait_until
from interop.sleepers import CommandPayment


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Two friends A - B, a relay, an index server."""
    with Network(tmp_path_factory.mktemp("pair")) as network:
        network.add_relay("relay0")
        network.add_index_servers(["index0"])
        for name in ("A", "B"):
            network.add_node(NodeSpec(name, "relay0", "index0"))
        network.befriend("A", "B", "FST")
        for node, friend in (("A", "B"), ("B", "A")):
            network.set_limit(node, friend, "FST", 1000)
        yield network


def _doctor(network: Network, node: str, *options: object) -> tuple[int, dict[str, Any]]:
    """Exit status and page, once the page is printed for people as well, with the same status."""
    database = ("doctor", "-d", network.path(f"{node}.db"), *options)
    text = network.stctrl(node, *database, check=False)
    result = network.stctrl(node, *database, "--json", check=False)
    assert text.returncode == result.returncode, text.stderr
    page: dict[str, Any] = json.loads(result.stdout)
    assert page["worst"] in text.stdout
    return result.returncode, page


def _bad(page: dict[str, Any]) -> dict[str, str]:
    """The words of what is not fine, by what it is about."""
    return {each["about"]: each["words"] for each in page["findings"] if each["severity"] != "fine"}


def _is_connected(network: Network, node: str) -> bool:
    return any(server["connected"] for server in json.loads(network.stctrl(node, "info", "index", "--json").stdout))


def test_a_network_that_breaks_piece_by_piece(pair: Network) -> None:
    """First all is well; then there is an index server less, a friend, a relay, the node, and its database."""
    pair.run("stmgr", "backup", "-d", pair.path("A.db"), "-o", pair.path("A.backup"))
    wait_until("the index server to be connected", lambda: _is_connected(pair, "A"))
    status, page = _doctor(pair, "A")
    bad = _bad(page)
    bad.pop("clock", None)  # this machine's is not ours to judge
    bad.pop("disk", None)
    assert bad == {}
    assert status in (0, 4)
    assert page["versions"]["offset-node"]

    pair.servers["index0"].stop()
    wait_until("the index server to be missed", lambda: not _is_connected(pair, "A"))
    status, page = _doctor(pair, "A")
    assert status == 5
    assert "no index server" in _bad(page)["index servers"]

    pair.servers["B"].stop()
    pair.wait_for("B to be offline", "A", "B", lambda friend: not friend["online"])
    assert "B is offline; since when" in _bad(_doctor(pair, "A")[1])["friends"]

    pair.servers["relay0"].stop()
    bad = _bad(_doctor(pair, "A")[1])
    assert "is not reached" in bad["relays"]
    assert "none of its relays is reached from here" in bad["friends"]
    assert "relays" not in _bad(_doctor(pair, "A", "--local")[1])

    pair.servers["A"].kill()
    status, page = _doctor(pair, "A")
    bad = _bad(page)
    assert status == 5
    assert "the node can not be asked" in bad["node"]
    assert "friends" not in bad  # nobody knows who is online
    assert "is not reached" in bad["relays"]

    with closing(sqlite3.connect(pair.path("A.db"))) as connection, connection:
        connection.execute("DROP TABLE history")
    assert "history" in _bad(_doctor(pair, "A")[1])["database"]


def test_tickets_in_the_wrong_places(tmp_path: Path) -> None:
    """A relay and an index server of one key, each given as the other: the node waits for both, and doctor says why."""
    with Network(tmp_path) as network:
        network.path("index0.ident").hardlink_to(network.identity("relay0"))
        network.add_relay("relay0")
        network.add_index_servers(["index0"])
        network.start_node(NodeSpec("A", "relay0", "index0"))
        relay, index, node = (network.path(f"{name}.ticket") for name in ("relay0", "index0", "A"))
        tried = [
            network.stctrl("A", "config", *words, "-n", "x", "--try", check=False).stderr
            for words in (("add-relay", "-r", index), ("add-index", "-i", relay), ("add-relay", "-r", node))
        ]
        for told, answers in zip(tried, ("an index server does", "a relay does", "a node does"), strict=True):
            assert f"as {answers}" in told
            assert "nothing was changed; ask who runs it for the ticket of a" in told
        assert json.loads(network.stctrl("A", "info", "relays", "--json").stdout) == []
        network.stctrl("A", "config", "add-relay", "-r", index, "-n", "mine")
        network.stctrl("A", "config", "add-index", "-i", relay, "-n", "theirs")
        found = {each["about"]: each for each in reversed(_doctor(network, "A")[1]["findings"])}
        assert "is no relay: it answers as an index server does" in found["relays"]["words"]
        config = shlex.join(["stctrl", *network.login("A"), "config"])
        replaces = f"{config} remove-relay -n mine, then {config} add-relay -r TICKET -n mine"
        assert found["relays"]["remedy"].endswith(replaces)
        assert "is no index server: it answers as a relay does" in found["index servers"]["words"]
        log = network.servers["A"].log.read_text()
        assert log.count("relay_lost") == log.count("it tells the hash of a tick, as an index server does") == 1
        twice = network.stctrl("A", "config", "add-relay", "-r", relay, "-n", "again", check=False)
        assert "its address is that of the index server theirs" in twice.stderr
        network.stctrl("A", "config", "remove-relay", "-n", "mine")
        network.stctrl("A", "config", "remove-index", "-n", "theirs")
        network.stctrl("A", "config", "add-relay", "-r", relay, "-n", "relay", "--try")
        network.stctrl("A", "config", "add-index", "-i", index, "-n", "index", "--try")
        wait_until("the index server to be connected", lambda: _is_connected(network, "A"))
        bad = _bad(_doctor(network, "A")[1])
        assert not {"relays", "index servers"} & set(bad)


@pytest.mark.parametrize(("number", "reason"), [(0, "of another program"), (0x4F464642, "it is a backup")])
def test_a_database_of_something_else(pair: Network, tmp_path: Path, number: int, reason: str) -> None:
    """It is told as that, and nothing else is said of it."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
        connection.execute(f"PRAGMA application_id = {number}")
        connection.execute("CREATE TABLE days (day)")
    asked = pair.stctrl("A", "doctor", "--json", "-d", tmp_path / "x.db", check=False)
    told = [each["words"] for each in json.loads(asked.stdout)["findings"] if each["about"] in ("database", "disk")]
    assert len(told) == 1
    assert reason in told[0]


def _two_hours_pass(network: Network, node: str) -> None:
    """What the node has frozen has been so for two hours, as it would have written down itself."""
    network.servers[node].stop()
    with closing(sqlite3.connect(network.path(f"{node}.db"))) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO pending_since (friend, currency, side, request_id, since)"
            " SELECT friend, currency, side, request_id, unixepoch() - 7200 FROM pending_transactions"
        )
    network.servers[node].start()


def test_what_has_been_frozen_for_long(chain: Network) -> None:
    """The buyer's own payment by the wire; by its database what a mediator forwarded, whose time it does not tell."""
    wait_for_route(chain, "A", "C", "FST", 30)
    payment = CommandPayment(chain, "long")
    payment.create_invoice(30)
    assert payment.pay(60) == 0  # all is frozen until C collects
    for node in ("A", "B"):
        _two_hours_pass(chain, node)
    asked = chain.stctrl("A", "doctor", "--json", check=False)
    assert "31 FST wait behind B, the oldest for 2 h (1 of payments" in _bad(json.loads(asked.stdout))["frozen credits"]
    bad = _bad(_doctor(chain, "B")[1])
    assert "30 FST wait behind C, the oldest for 2 h (0 of payments" in bad["frozen credits"]
    asked = chain.stctrl("B", "doctor", check=False)
    assert "since when this node does not tell: 30 FST behind C" in asked.stdout
    payment.collect()
    assert "frozen credits" not in _bad(_doctor(chain, "B")[1])
