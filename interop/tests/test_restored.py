"""Nodes that go on from a backup, or from their key alone, as real processes driven by the commands. Spec 05 §7.7."""

import re
from pathlib import Path

import pytest

from interop.network import Network, NodeSpec
from interop.programs import wait_until


def _back_up(network: Network, node: str) -> Path:
    command = network.servers[node].command
    database = Path(command[command.index("-d") + 1])
    target = database.with_suffix(".backup")
    network.run("stmgr", "backup", "-d", database, "-o", target)
    return target


def _run_on(network: Network, node: str, database: Path) -> None:
    """Let a node that is down run on another database."""
    server = network.servers[node]
    server.command[server.command.index("-d") + 1] = str(database)
    server.start()


def _restore(network: Network, node: str, backup: Path) -> None:
    """Kill the node, lose its database, restore an old one."""
    network.servers[node].kill()
    lost = backup.with_suffix(".db")
    for path in network.directory.glob(f"{lost.name}*"):
        path.unlink()
    database = network.path(f"{lost.stem}-restored.db")
    assert "speak first" in network.run("stmgr", "restore", "-i", backup, "-o", database).stdout
    _run_on(network, node, database)


def _log(network: Network, node: str) -> str:
    return network.servers[node].log.read_text()


def _balance(network: Network, node: str, friend: str) -> int:
    return network.balance(node, friend, "FST")["balance"]


def _knows_terms(network: Network, node: str, friend: str) -> bool:
    return network.friends(node)[friend].get("remote_reset_terms") is not None


def _accept_terms(network: Network, node: str, friend: str) -> None:
    wait_until(f"the terms of {friend}", lambda: _knows_terms(network, node, friend), 90)
    network.stctrl(node, "config", "reset-friend", "-n", friend)
    wait_until(f"{friend} to go on", lambda: "balances" in network.friends(friend)[node], 60)


@pytest.mark.parametrize("kills", [0, 2])
def test_a_friend_that_is_where_the_backup_is(chain: Network, kills: int) -> None:
    """No person is asked: what was stored last is in the backup, and payments pass in both directions."""
    assert chain.pay("C", "A", "FST", 7, f"before{kills}") == "Receipt is valid!"
    before = _balance(chain, "A", "B"), _balance(chain, "B", "C")
    chain.servers["B"].stop()
    _restore(chain, "B", _back_up(chain, "B"))
    for _ in range(kills):
        chain.servers["B"].kill()
        chain.servers["B"].start()
    chain.wait_until_back("B")
    wait_until("both friends to be heard", lambda: _log(chain, "B").count("is heard, and all goes on") >= 2, 60)
    assert (_balance(chain, "A", "B"), _balance(chain, "B", "C")) == before
    assert chain.pay("C", "A", "FST", 5, f"after{kills}") == "Receipt is valid!"
    assert chain.pay("A", "C", "FST", 3, f"back{kills}") == "Receipt is valid!"


def test_a_friend_that_is_ahead(chain: Network) -> None:
    """What was paid since the backup is in the terms of the friends; whoever accepts them has it, and payments pass."""
    backup = _back_up(chain, "B")
    for number in range(3):
        assert chain.pay("C", "A", "FST", 7, f"forgotten{number}") == "Receipt is valid!"
    known = -_balance(chain, "A", "B"), -_balance(chain, "C", "B")
    _restore(chain, "B", backup)
    said = "before they have said where they are: 'A', 'C'"
    wait_until("B to say who is waited for", lambda: said in _log(chain, "B"), 30)
    for friend in "AC":
        _accept_terms(chain, "B", friend)
    assert (_balance(chain, "B", "A"), _balance(chain, "B", "C")) == known
    for node, friend in (("B", "A"), ("B", "C"), ("A", "B"), ("C", "B")):
        chain.stctrl(node, "config", "open-currency", "-n", friend, "-c", "FST")
    assert chain.pay("C", "A", "FST", 5, "after") == "Receipt is valid!"
    assert (_balance(chain, "A", "B"), _balance(chain, "C", "B")) == (-known[0] + 5, -known[1] - 6)


def test_nothing_but_the_key_is_left(tmp_path: Path) -> None:
    """
    A new database, and an older contact list: the friend's terms come.

    They are not those of the list, so they are not accepted with those that agree, but by name. Limits, rates and
    openings are as they were then: a payment passes.
    """
    with Network(tmp_path) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "AB":
            network.add_node(NodeSpec(name, "relay", "index"))
        network.befriend("A", "B", "FST")
        network.set_limit("A", "B", "FST", 1000)
        assert network.pay("B", "A", "FST", 7, "forgotten") == "Receipt is valid!"
        contacts, again = network.path("B.contacts"), network.path("B.contacts-again")
        network.run("stmgr", "contacts", "-d", network.path("B.db"), "-o", contacts)
        network.stctrl("B", "info", "contacts", "-o", again)
        assert contacts.read_text() == again.read_text()
        assert network.pay("B", "A", "FST", 5, "after-the-list") == "Receipt is valid!"
        network.servers["B"].kill()
        database = network.path("B-new.db")
        network.run("stmgr", "init-node-db", "-i", network.path("B.ident"), "-o", database, "--recover")
        _run_on(network, "B", database)
        dry = network.stctrl("B", "recover", contacts, "--dry-run", check=False)
        assert dry.returncode == 3
        assert network.friends("B") == {}
        said = network.stctrl("B", "recover", contacts, "--accept", "agreeing", check=False)
        assert said.returncode == 3, said.stderr
        assert re.search(r"A +\| terms +\| FST +\| -12 +\| -7 +\| +\| differs", said.stdout), said.stdout
        assert "works" in network.stctrl("B", "recover", contacts, "--accept", "A").stdout
        wait_until("A to go on", lambda: "balances" in network.friends("A")["B"], 60)
        assert _balance(network, "B", "A") == -12
        assert network.pay("B", "A", "FST", 3, "after") == "Receipt is valid!"
