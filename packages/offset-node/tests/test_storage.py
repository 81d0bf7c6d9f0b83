"""The database. Spec 07 §7, spec 08 §6."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from offset_funder.effects import SendFriendMessage
from offset_funder.events import FriendMessageReceived
from offset_funder.state import Inconsistent
from offset_funder.testing import SimulatedNetwork
from offset_node.database.errors import DatabaseInUse, DatabaseWriteError, LoadDbError
from offset_node.database.original import format_database, parse_database
from offset_node.database.sqlite import create_database, load_database
from offset_node.database.testing import StoringNetwork
from offset_node.state import AddIndexServer, NodeState, RemoveIndexServer
from offset_proto.errors import InvalidInput
from offset_proto.files import OutputAlreadyExists
from offset_proto.messages.app import CancelInvoice, RemoveFriend
from offset_proto.messages.friend import MoveToken, MoveTokenRequest
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import HashResult, PublicKey, RandValue, Signature


@pytest.fixture
def network(tmp_path):
    """Three nodes in a row, with databases."""
    made = StoringNetwork(["A", "B", "C"], Random(0))
    with asyncio.Runner() as runner:
        try:
            made.store_in(tmp_path.joinpath, runner)
            made.befriend("A", "B")
            made.befriend("B", "C")
            yield made
        finally:
            for name in list(made.databases):
                made.close(name)  # or aiosqlite's threads would keep the process, should anything above fail


def test_what_is_stored_is_the_state(network):
    """After every event of payments, cancellations, a crash, a removal and an inconsistency."""
    network.pay(["A", "B", "C"], 50, fees=3)
    invoice = network.invoice("C", 20)
    payment = network.payment("A", "C", invoice, 20)
    network.transact(["A", "B", "C"], payment, 20, fees=1)
    network.step()
    network.crash("B")
    network.connect("A", "B")
    network.connect("B", "C")
    network.settle()
    network.request("C", CancelInvoice(invoice))
    network.settle()
    network.disconnect("A", "B")
    network.request("A", RemoveFriend(network.nodes["B"].key))
    network.connect("A", "B")
    network.settle()


def test_the_originals_database_and_back(network):
    """A state with tokens, ledgers and pending requests survives its text; so does every prefix of a payment."""
    payment = network.payment("A", "C", network.invoice("C", 20), 20)
    network.transact(["A", "B", "C"], payment, 20, fees=1)
    moving = True
    while moving:
        for node in network.nodes.values():
            assert parse_database(format_database(NodeState(node.stored))).funder == node.stored
        moving = network.step()


def test_inconsistent_channels_are_stored(network):
    """A token that does not fit is a break; both sides keep the terms."""
    broken = network.handle("A", _broken_token(network))
    assert any(isinstance(effect, SendFriendMessage) for effect in broken.effects)
    network.settle()
    channel = network.nodes["A"].stored.friends[network.nodes["B"].key].channel
    assert isinstance(channel, Inconsistent)
    text = format_database(NodeState(network.nodes["A"].stored))
    assert parse_database(text).funder == network.nodes["A"].stored


def _broken_token(network):
    token = MoveToken(
        old_token=Signature(b"\x07" * 64),
        currencies_operations=(),
        opt_local_relays=None,
        opt_active_currencies=None,
        info_hash=HashResult(bytes(32)),
        rand_nonce=RandValue(bytes(16)),
        new_token=Signature(b"\x08" * 64),
    )
    return FriendMessageReceived(network.nodes["B"].key, MoveTokenRequest(token, False))


def test_index_servers(network, tmp_path):
    """In order; one of the same key is replaced; an unknown one is no error."""
    first, second = (NamedIndexServerAddress(PublicKey(bytes([n]) * 32), "a:1", str(n)) for n in (1, 2))
    moved = NamedIndexServerAddress(first.public_key, "b:2", "moved")
    network.apply("A", [AddIndexServer(first), AddIndexServer(second), AddIndexServer(moved)])
    network.apply("A", [RemoveIndexServer(PublicKey(b"\x05" * 32))])
    assert network.load("A").index_servers == (second, moved)


def test_a_batch_is_all_or_nothing(network):
    """A batch that fails in its middle leaves nothing of itself."""
    server = NamedIndexServerAddress(PublicKey(bytes(32)), "a:1", "x")
    before = network.load("A")
    no_name: Any = None
    nameless = NamedIndexServerAddress(PublicKey(b"\x01" * 32), "a:1", no_name)
    with pytest.raises(DatabaseWriteError, match="NOT NULL"):
        network.apply("A", [AddIndexServer(server), AddIndexServer(nameless)])
    assert network.load("A") == before


def test_files_are_private_and_held_by_one(network, tmp_path):
    """D80: a second process is refused; modes are 0600."""
    with pytest.raises(DatabaseInUse):
        load_database(tmp_path / "A")
    with pytest.raises(OutputAlreadyExists):
        create_database(tmp_path / "A", NodeState(network.nodes["A"].stored))
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    network.close("A")
    state = load_database(tmp_path / "A")
    assert state.funder == network.nodes["A"].stored


def test_bad_databases(tmp_path):
    """Each is named, none is changed."""
    good = tmp_path / "good.db"
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    network.pay(["A", "B"], 10)
    create_database(good, NodeState(network.nodes["A"].stored))
    content = good.read_bytes()
    (tmp_path / "text.db").write_text("hello")
    (tmp_path / "empty.db").touch()
    (tmp_path / "short.db").write_bytes(content[: len(content) // 2])
    (tmp_path / "directory.db").mkdir()
    for name in ("text", "empty", "short", "directory", "missing"):
        with pytest.raises(LoadDbError, match=f"{name}.db"):
            load_database(tmp_path / f"{name}.db")
    assert (tmp_path / "text.db").read_text() == "hello"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledgers SET local_pending_debt = '1'",
        "UPDATE ledgers SET balance = 'much'",
        "UPDATE friends SET direction = '{}'",
        "UPDATE friends SET direction = 'x'",
        "DELETE FROM node",
        "UPDATE node SET local_public_key = x'00'",
        "UPDATE payments SET payment = '[]'",
        "PRAGMA user_version = 99",
        "DROP TABLE ledgers",
    ],
)
def test_damage_is_found(tmp_path, damage):
    """By type, by form, or by a rule of the ledger: what is stored is checked again."""
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    network.pay(["A", "B"], 10)
    network.payment("A", "B", network.invoice("B", 7), 7)
    path = tmp_path / "node.db"
    create_database(path, NodeState(network.nodes["A"].stored))
    load_database(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(LoadDbError, match=r"node\.db"):
        load_database(path)


_DOWN_TO = {
    6: "DROP TABLE history_timeline;",
    5: "DROP TABLE history_archives;",
    4: "DROP TABLE askers; DROP TABLE entry_askers; DROP TABLE apps; DROP TABLE notes; DROP TABLE entry_notes;"
    "DROP TABLE unheard; DROP TABLE forgotten;",
    3: "DROP TABLE history; DROP TABLE history_friends; DROP TABLE history_currencies;",
    2: 'ALTER TABLE open_invoices DROP COLUMN "end"; DROP TABLE pending_since;',
    1: "DROP TABLE plugin_values; DROP TABLE plugin_events;",
}
"""What a database of a version lacks of what the next version has."""


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_a_database_of_an_older_version_is_brought_up(tmp_path, version):
    """Nothing of it is lost, and its tables are those of a new database."""
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    network.payment("B", "A", network.invoice("A", 7), 7)
    path, new = tmp_path / "node.db", tmp_path / "new.db"
    state = NodeState(network.nodes["A"].stored)
    assert state.funder.open_invoices
    for made in (path, new):
        create_database(made, state)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for older in range(max(_DOWN_TO), version - 1, -1):
            connection.executescript(_DOWN_TO[older])
        connection.execute(f"PRAGMA user_version = {version}")
    assert load_database(path) == state
    assert _columns(path) == _columns(new)


def _columns(path: Path) -> dict[str, list[tuple]]:
    """Of each table: names and types of its columns; and the version."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        found = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for (name,) in tables}
        return found | {"version": connection.execute("PRAGMA user_version").fetchall()}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"funder_state": {}}', '"text"', "[" * 100_000])
def test_bad_texts_of_the_original(text):
    """One error that says where, never another."""
    with pytest.raises(InvalidInput):
        parse_database(text)


def test_damage_that_is_no_text(tmp_path):
    """SQLite quotes the damaged name in its message, which is then no text; it is an error like any other."""
    path = tmp_path / "node.db"
    network = SimulatedNetwork(["A"], Random(0))
    create_database(path, NodeState(network.nodes["A"].stored))
    content = path.read_bytes()
    assert b"tableopen_transactions" in content
    path.write_bytes(content.replace(b"tableopen_transactions", b"tableopen_transacti\x7f\xff\xff"))
    with pytest.raises(LoadDbError, match=r"node\.db"):
        load_database(path)
