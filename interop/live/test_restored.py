"""A node of ours that goes on from a backup, or from its key alone, with a friend of the original. Spec 05 §7.7."""

from pathlib import Path

from interop.network import Cast, Network, NodeSpec
from interop.programs import Implementation, wait_until
from interop.ready import OURS_READY
from interop.restoring import accept_terms, back_up, balance, log_of, restore, run_on


def test_a_friend_of_the_original(tmp_path: Path, original: Implementation) -> None:
    """It speaks first, whoever holds the token: where the backup is, ahead of it, and to a node that knows nothing."""
    with Network(tmp_path, Cast(OURS_READY, {"A": original})) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "AB":
            network.add_node(NodeSpec(name, "relay", "index"))
        network.befriend("A", "B", "FST")
        for one, other in ("AB", "BA"):
            network.set_limit(one, other, "FST", 1000)

        for number in range(3):  # the token has been on either side
            assert network.pay("B", "A", "FST", 5, f"before{number}") == "Receipt is valid!"
            network.servers["B"].stop()
            restore(network, "B", back_up(network, "B"))
            wait_until("A to be heard", lambda: "friend 'A' is heard" in log_of(network, "B"), 100)

        backup = back_up(network, "B")
        assert network.pay("B", "A", "FST", 7, "forgotten") == "Receipt is valid!"
        restore(network, "B", backup)
        accept_terms(network, "B", "A")
        assert balance(network, "B", "A") == -22

        contacts, database = network.path("B.contacts"), network.path("B-new.db")
        network.stctrl("B", "info", "contacts", "-o", contacts)
        network.servers["B"].kill()
        network.run("stmgr", "init-node-db", "-i", network.path("B.ident"), "-o", database, "--recover")
        run_on(network, "B", database)
        network.stctrl("B", "recover", contacts, "--accept", "agreeing", "--timeout", 100)
        assert balance(network, "B", "A") == -22
