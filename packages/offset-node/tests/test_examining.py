"""A look at a database while its node runs."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from random import Random

import pytest
from immutables import Map

from offset_funder.ledger import Side
from offset_funder.reports import initial_report
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.database.backup import back_up, restore
from offset_node.database.errors import LoadDbError
from offset_node.database.examining import LongFrozen, examine_database
from offset_node.database.sqlite import Database, create_database
from offset_node.state import AddIndexServer, NodeState
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import NetAddress, PublicKey, Uid

SERVER = NamedIndexServerAddress(PublicKey(b"\x05" * 32), NetAddress("h:1"), "late")


@pytest.fixture
def network() -> SimulatedNetwork:
    """A - B - C, with a payment from A to C that C has not collected."""
    network = SimulatedNetwork("ABC", Random(1))
    network.befriend("A", "B")
    network.befriend("B", "C")
    network.pay(["A", "B"], 30)
    invoice = network.invoice("C", 5)
    network.transact(list("ABC"), network.payment("A", "C", invoice, 5), 5)
    network.settle()
    return network


def _pending_since(network, name, friend) -> Map:
    """Times of all that *name* has pending with *friend*, and of one request that has ended meanwhile."""
    key, ledger = network.nodes[friend].key, network.ledger(name, friend)
    times = {(key, FST, Side.LOCAL, request): 100 for request in ledger.pending_local}
    times |= {(key, FST, Side.REMOTE, request): 50 for request in ledger.pending_remote}
    return Map({**times, (key, FST, Side.LOCAL, Uid(bytes(16))): 7})


def _examined(network, tmp_path, name, friend):
    path = tmp_path / f"{name}.db"
    create_database(path, NodeState(network.nodes[name].stored, (), _pending_since(network, name, friend)))
    return examine_database(path)


def test_what_is_frozen(network, tmp_path):
    """Behind the friend that it was sent to, as one's own or as forwarded; what others have frozen is theirs."""
    b, c = network.nodes["B"].key, network.nodes["C"].key
    assert _examined(network, tmp_path, "A", "B").frozen == (LongFrozen(b, FST, 5, 100, True),)
    found = _examined(network, tmp_path, "B", "C")
    assert found.frozen == (LongFrozen(c, FST, 5, 100, False),)
    assert found.pending == {network.nodes["A"].key: 1, c: 1}
    assert _examined(network, tmp_path, "C", "B").frozen == ()


def test_a_friend_that_is_gone_holds_nothing(tmp_path):
    """A time may be there for a moment longer than its friend."""
    network = SimulatedNetwork("A", Random(1))
    key = (PublicKey(b"\x05" * 32), FST, Side.LOCAL, Uid(bytes(16)))
    create_database(tmp_path / "a.db", NodeState(network.nodes["A"].stored, (), Map({key: 7})))
    assert examine_database(tmp_path / "a.db").frozen == ()


def test_while_a_node_runs_on_it(network, tmp_path):
    """What is stored is seen, although it is in the write-ahead log only; and nothing is written by looking."""
    path = tmp_path / "node.db"
    create_database(path, NodeState(network.nodes["A"].stored))

    def digests() -> dict[str, str]:
        names = ("node.db", "node.db-wal")
        return {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names}

    async def run() -> None:
        node = await Database.open(path)
        try:
            state = await node.load()
            await node.apply([AddIndexServer(SERVER)])
            before = digests()
            found = await asyncio.to_thread(examine_database, path)
            assert found.report == initial_report(state.funder, (SERVER,))
            assert found.entries == 1  # the balance when the history began
            assert digests() == before
        finally:
            await node.close()

    asyncio.run(run())


def test_who_has_to_speak_first(network, tmp_path):
    """Each friend, once the database was restored."""
    create_database(tmp_path / "a.db", NodeState(network.nodes["A"].stored))
    assert examine_database(tmp_path / "a.db").unheard == frozenset()
    back_up(tmp_path / "a.db", tmp_path / "a.backup")
    restore(tmp_path / "a.backup", tmp_path / "again.db", lambda: "")
    assert examine_database(tmp_path / "again.db").unheard == {network.nodes["B"].key}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE history SET balance = balance + 1", "the entries come to"),
        ("DELETE FROM history", "the entries come to 0"),
        ("UPDATE ledgers SET balance = balance + 1", "balance"),
    ],
)
def test_what_is_damaged(network, tmp_path, damage, words):
    """The history and the state, each by itself."""
    path = tmp_path / "node.db"
    create_database(path, NodeState(network.nodes["A"].stored))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    with pytest.raises(LoadDbError, match=words):
        examine_database(path)


def test_what_is_none(tmp_path):
    """Nothing is made where nothing was."""
    with pytest.raises(LoadDbError, match="no such file"):
        examine_database(tmp_path / "node.db")
    (tmp_path / "text").write_text("no database, but some text")
    with pytest.raises(LoadDbError):
        examine_database(tmp_path / "text")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
