"""Nodes that go on from a backup, or from their key alone, as real processes driven by the commands. Spec 05 §7.7."""

import re
from pathlib import Path

import pytest

from interop.network import Cast, Network, NodeSpec
from interop.programs import wait_until
from interop.ready import OURS_READY
from interop.restoring import accept_terms, back_up, balance, log_of, restore, run_on


@pytest.mark.parametrize("kills", [0, 2])
def test_a_friend_that_is_where_the_backup_is(chain: Network, kills: int) -> None:
    """No person is asked: what was stored last is in the backup, and payments pass in both directions."""
    assert chain.pay("C", "A", "FST", 7, f"before{kills}") == "Receipt is valid!"
    before = balance(chain, "A", "B"), balance(chain, "B", "C")
    chain.servers["B"].stop()
    told = len(log_of(chain, "B"))
    restore(chain, "B", back_up(chain, "B"))
    for _ in range(kills):
        chain.servers["B"].kill()
        chain.servers["B"].start()
    chain.wait_until_back("B")

    def are_heard() -> bool:  # be it before a kill
        return all(f"friend '{name}' is heard" in log_of(chain, "B")[told:] for name in "AC")

    wait_until("both friends to be heard", are_heard, 60)
    assert (balance(chain, "A", "B"), balance(chain, "B", "C")) == before
    assert chain.pay("C", "A", "FST", 5, f"after{kills}") == "Receipt is valid!"
    assert chain.pay("A", "C", "FST", 3, f"back{kills}") == "Receipt is valid!"


def test_a_friend_that_is_ahead(chain: Network) -> None:
    """What was paid since the backup is in the terms of the friends; whoever accepts them has it, and payments pass."""
    backup = back_up(chain, "B")
    for number in range(3):
        assert chain.pay("C", "A", "FST", 7, f"forgotten{number}") == "Receipt is valid!"
    known = -balance(chain, "A", "B"), -balance(chain, "C", "B")
    restore(chain, "B", backup)
    said = "before they have said where they are: 'A', 'C'"
    wait_until("B to say who is waited for", lambda: said in log_of(chain, "B"), 30)
    for friend in "AC":
        accept_terms(chain, "B", friend)
    assert (balance(chain, "B", "A"), balance(chain, "B", "C")) == known
    for node, friend in (("B", "A"), ("B", "C"), ("A", "B"), ("C", "B")):
        chain.stctrl(node, "config", "open-currency", "-n", friend, "-c", "FST")
    assert chain.pay("C", "A", "FST", 5, "after") == "Receipt is valid!"
    assert (balance(chain, "A", "B"), balance(chain, "C", "B")) == (-known[0] + 5, -known[1] - 6)


def test_nothing_but_the_key_is_left(tmp_path: Path) -> None:
    """
    A new database, and an older contact list: the friend's terms come.

    They are not those of the list, so they are not accepted with those that agree, but by name. Limits, rates and
    openings are as they were then: a payment passes.
    """
    with Network(tmp_path, Cast(OURS_READY)) as network:
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
        run_on(network, "B", database)
        dry = network.stctrl("B", "recover", contacts, "--dry-run", check=False)
        assert dry.returncode == 3
        assert network.friends("B") == {}
        said = network.stctrl("B", "recover", contacts, "--accept", "agreeing", check=False)
        assert said.returncode == 3, said.stderr
        assert re.search(r"A +\| terms +\| FST +\| -12 +\| -7 +\| +\| differs", said.stdout), said.stdout
        assert "works" in network.stctrl("B", "recover", contacts, "--accept", "A").stdout
        wait_until("A to go on", lambda: "balances" in network.friends("A")["B"], 60)
        assert balance(network, "B", "A") == -12
        assert network.pay("B", "A", "FST", 3, "after") == "Receipt is valid!"
