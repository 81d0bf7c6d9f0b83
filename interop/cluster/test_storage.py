"""What is stored on a server is what SQLite would hold; bad servers and databases are named. Spec 07 §7, 08 §6."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from interop.cluster.server import PostgresServer
from offset_funder.bookkeeping import Entry
from offset_funder.events import FriendMessageReceived
from offset_funder.state import FunderState, Inconsistent
from offset_funder.testing import FST
from offset_node.database import tables
from offset_node.database.errors import DatabaseWriteError, LoadDbError
from offset_node.database.names import PostgresAddress
from offset_node.database.opening import create_database, open_database
from offset_node.database.postgres import PostgresDatabase
from offset_node.database.postgres_connection import connect
from offset_node.database.testing import StoringNetwork
from offset_node.state import (
    AddEntry,
    AddIndexServer,
    AddPluginEvent,
    HistoryScope,
    Mutation,
    NodeState,
    RemoveIndexServer,
    RemovePluginEvent,
    SetAsker,
    SetNote,
    SetPluginValue,
)
from offset_proto.files import OutputAlreadyExists
from offset_proto.messages.app import CancelInvoice, RemoveFriend
from offset_proto.messages.friend import MoveToken, MoveTokenRequest
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, ReadHistory
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.types import HashResult, NetAddress, PaymentId, PublicKey, RandValue, Signature, Uid

KEY = PublicKey(b"\x21" * 32)
HOST = NetAddress("a:1")
EMPTY = NodeState(FunderState(KEY))


@pytest.fixture
def network(server: PostgresServer) -> Iterator[StoringNetwork]:
    """Three nodes in a row, with databases."""
    made = StoringNetwork(["A", "B", "C"], Random(0))
    places = {name: PostgresAddress(server.new_database()) for name in made.nodes}
    with asyncio.Runner() as runner:
        try:
            made.store_in(lambda name: places[name], runner)
            made.befriend("A", "B")
            made.befriend("B", "C")
            yield made
        finally:
            for name in list(made.databases):
                made.close(name)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def database(address: str, runner: asyncio.Runner) -> Iterator[PostgresDatabase]:
    """A database without friends, loaded."""
    create_database(PostgresAddress(address), EMPTY)
    opened = runner.run(PostgresDatabase.open(PostgresAddress(address)))
    assert runner.run(opened.load()) == EMPTY
    yield opened
    runner.run(opened.close())


def test_what_is_stored_is_the_state(network: StoringNetwork) -> None:
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
    network.handle("C", _broken_token(network.nodes["B"].key))
    network.settle()
    assert isinstance(network.nodes["C"].stored.friends[network.nodes["B"].key].channel, Inconsistent)
    network.disconnect("A", "B")
    network.request("A", RemoveFriend(network.nodes["B"].key))
    network.connect("A", "B")
    network.settle()


def _broken_token(friend: PublicKey) -> FriendMessageReceived:
    token = MoveToken(
        old_token=Signature(b"\x07" * 64),
        currencies_operations=(),
        opt_local_relays=None,
        opt_active_currencies=None,
        info_hash=HashResult(bytes(32)),
        rand_nonce=RandValue(bytes(16)),
        new_token=Signature(b"\x08" * 64),
    )
    return FriendMessageReceived(friend, MoveTokenRequest(token, False))


def test_every_name_comes_back(database: PostgresDatabase, runner: asyncio.Runner) -> None:
    """PostgreSQL keeps no NUL in a text, and a name may have one; one of a key that is known is replaced."""
    names = ("\0", "\x01", "\x010", "a\0b\x01\x01c", "%s ? %", "ü€𝄞", "")
    servers = [NamedIndexServerAddress(PublicKey(bytes([n]) * 32), HOST, name) for n, name in enumerate(names)]
    runner.run(database.apply([AddIndexServer(server) for server in servers]))
    runner.run(database.apply([RemoveIndexServer(KEY), AddIndexServer(servers[0])]))
    assert runner.run(database.load()).index_servers == (*servers[1:], servers[0])


def test_what_plugins_keep(database: PostgresDatabase, runner: asyncio.Runner) -> None:
    """Values are replaced, events stay in order."""
    events = [AddPluginEvent(position, "p", "hook", '{"a":"\\u0000"}') for position in (1, 2)]
    batch: list[Mutation] = [SetPluginValue("p", "k", b"\0old"), SetPluginValue("p", "k", b"\0new"), *events]
    runner.run(database.apply([*batch, RemovePluginEvent(1)]))
    records = runner.run(database.load_plugins())
    assert records.values == {"p": {"k": b"\0new"}}
    assert records.events == [events[1]]


def test_pages_of_the_history(database: PostgresDatabase, runner: asyncio.Runner) -> None:
    """Forwards, backwards and filtered; with notes and who asked."""
    entries = [Entry(KEY, FST, EntryKind.LIMIT, 0, 0, amount=2**128 - number) for number in range(1, 6)]
    batch: list[Mutation] = [AddEntry(number, 10 * number, entry, KEY) for number, entry in enumerate(entries, 1)]
    runner.run(database.apply([*batch, SetNote(3, "old"), SetNote(3, "new\0"), SetNote(2, "x"), SetNote(2, "")]))
    everything = runner.run(database.read_history(ReadHistory(Uid(bytes(16)), 0, 0, False, 100, EVERY_ENTRY)))
    assert [entry.number for entry in everything.entries] == [1, 2, 3, 4, 5]
    assert [entry.amount for entry in everything.entries] == [entry.amount for entry in entries]
    assert [entry.note for entry in everything.entries] == ["", "", "new\0", "", ""]
    assert {entry.opt_app for entry in everything.entries} == {KEY}
    last = runner.run(database.read_history(ReadHistory(Uid(bytes(16)), 0, 5, True, 2, EVERY_ENTRY)))
    assert [entry.number for entry in last.entries] == [4, 3]
    for scope, seen in ((HistoryScope(frozenset([KEY]), frozenset([FST])), 5), (HistoryScope(frozenset()), 0)):
        page = runner.run(database.read_history(ReadHistory(Uid(bytes(16)), 0, 0, False, 100, EVERY_ENTRY), scope))
        assert len(page.entries) == seen
    assert runner.run(database.load()) == EMPTY
    assert database.history_end == 5


def test_a_batch_is_all_or_nothing(database: PostgresDatabase, runner: asyncio.Runner) -> None:
    """A batch that fails in its middle leaves nothing of itself, and the next one is stored."""
    no_name: Any = None
    good, bad = (NamedIndexServerAddress(KEY, HOST, name) for name in ("good", no_name))
    with pytest.raises(DatabaseWriteError, match="null value in column"):
        runner.run(database.apply([AddIndexServer(good), AddIndexServer(bad), AddIndexServer(good)]))
    assert runner.run(database.load()) == EMPTY
    runner.run(database.apply([AddIndexServer(good)]))
    assert runner.run(database.load()).index_servers == (good,)


def test_what_is_acknowledged_is_on_disk(server: PostgresServer, address: str, runner: asyncio.Runner) -> None:
    """The server's default may be less; and what was answered is there after the server was killed."""
    server.execute("ALTER ROLE tester SET synchronous_commit = off")
    try:
        create_database(PostgresAddress(address), EMPTY)
        opened = runner.run(PostgresDatabase.open(PostgresAddress(address)))
        runner.run(opened.load())
        setting = runner.run(opened._read(["SHOW synchronous_commit"]))
        assert setting == {"SHOW synchronous_commit": [("on",)]}
        added = NamedIndexServerAddress(KEY, HOST, "kept")
        runner.run(opened.apply([AddIndexServer(added)]))
        server.stop()
        with pytest.raises(DatabaseWriteError):
            runner.run(opened.apply([RemoveIndexServer(KEY)]))
        runner.run(opened.close())
        server.start()
        opened = runner.run(PostgresDatabase.open(PostgresAddress(address)))
        assert runner.run(opened.load()).index_servers == (added,)
        runner.run(opened.close())
    finally:
        server.execute("ALTER ROLE tester RESET synchronous_commit")


class _Turns:
    """Stands before a server, and counts how often it was asked after it had answered."""

    def __init__(self, there: Path) -> None:
        self.count = 0
        self._there = there
        self._has_answered = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._there)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass_on(reader, there_writer, is_answer=False))
            tasks.create_task(self._pass_on(there_reader, writer, is_answer=True))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        while data := await reader.read(65_536):
            self.count += not is_answer and self._has_answered
            self._has_answered = is_answer
            writer.write(data)
        writer.close()


def test_a_batch_is_one_round_trip(server: PostgresServer, address: str, tmp_path: Path) -> None:
    """However many statements it has, and whether the server knows them already or not."""
    create_database(PostgresAddress(address), EMPTY)
    entry = Entry(KEY, FST, EntryKind.LIMIT, 0, 0, amount=7)

    async def run() -> list[int]:
        turns, socket = _Turns(server.socket), tmp_path / server.socket.name
        async with await asyncio.start_unix_server(turns.accept, socket):
            database = await PostgresDatabase.open(PostgresAddress(f"{address.partition('host=')[0]}host={tmp_path}"))
            await database.load()
            counts = []
            for number in range(1, 4):
                before = turns.count
                entries = [AddEntry(100 * number + index, 1, entry, KEY) for index in range(10 * number)]
                await database.apply([*entries, SetNote(100 * number, "note")])
                counts.append(turns.count - before)
            await database.close()
        return counts

    assert asyncio.run(asyncio.wait_for(run(), 60)) == [1, 1, 1]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DROP SCHEMA offset_node CASCADE", "no node database is there; stmgr init-node-db makes one"),
        ("DROP TABLE offset_node.about", "its schema offset_node is of something else"),
        ("DELETE FROM offset_node.about", "the table about is empty"),
        ("UPDATE offset_node.about SET application_id = 7", "not a node database"),
        ("UPDATE offset_node.about SET schema_version = 99", "schema version 99, this program knows"),
        ("UPDATE offset_node.about SET schema_version = 5", "schema version 5, this program knows"),
        ("UPDATE offset_node.about SET place = 'elsewhere'", "restored from a dump"),
        ("DELETE FROM offset_node.writer", "the table writer is empty"),
        ("DELETE FROM offset_node.node", "the table node is empty"),
        ("DROP TABLE offset_node.ledgers", "ledgers"),
    ],
)
def test_bad_databases(server: PostgresServer, address: str, runner: asyncio.Runner, damage: str, says: str) -> None:
    """Each is named, with what is wrong."""
    create_database(PostgresAddress(address), EMPTY)
    server.execute(damage, address)

    async def load() -> None:
        opened = await open_database(PostgresAddress(address))
        try:
            await opened.load()
        finally:
            await opened.close()

    with pytest.raises(LoadDbError, match=says):
        runner.run(load())


@pytest.mark.parametrize("first_form", [False, True])
def test_a_copy_by_template_is_no_place_to_run(
    server: PostgresServer, address: str, runner: asyncio.Runner, first_form: bool
) -> None:
    """It has the same tables on the same server; what is not a copy is known by its number, whatever its name."""
    create_database(PostgresAddress(address), EMPTY)
    if first_form:
        old = "(SELECT system_identifier || '/' || 'offset_node.about'::regclass::oid FROM pg_control_system())"
        server.execute(f"UPDATE offset_node.about SET place = {old}", address)
    opened = runner.run(PostgresDatabase.open(PostgresAddress(address)))
    runner.run(opened.close())
    name = address.partition("@/")[2].partition("?")[0]
    copy = server.new_database(f"TEMPLATE {name}")
    with pytest.raises(LoadDbError, match="a copy of another database, or restored from a dump, on which no node runs"):
        runner.run(PostgresDatabase.open(PostgresAddress(copy)))
    server.execute(f"ALTER DATABASE {name} RENAME TO {name}_renamed")
    renamed = PostgresAddress(address.replace(f"/{name}?", f"/{name}_renamed?"))
    opened = runner.run(PostgresDatabase.open(renamed))
    assert runner.run(opened.load()) == EMPTY
    runner.run(opened.close())
    read = runner.run(PostgresDatabase.open(PostgresAddress(copy), even_restored=True))
    runner.run(read.close())
    with pytest.raises(LoadDbError, match="a copy of another database"):
        runner.run(PostgresDatabase.open(PostgresAddress(copy)))


def test_what_is_there_stays(server: PostgresServer, address: str) -> None:
    """A second database in the same place is refused, and the first one stays as it is."""
    create_database(PostgresAddress(address), EMPTY)
    with pytest.raises(OutputAlreadyExists, match="schema offset_node"):
        create_database(PostgresAddress(address), NodeState(FunderState(PublicKey(bytes(32)))))
    assert server.execute("SELECT local_public_key FROM offset_node.node", address) == [(KEY,)]


def test_servers_that_do_not_fit(server: PostgresServer, runner: asyncio.Runner) -> None:
    """No server, no such database, another encoding; a password is never told."""
    for address, says in (
        ("postgresql://tester:secret@127.0.0.1:1/x", "refused"),
        ("postgresql://tester@/missing?password=secret&host=" + server.address().partition("host=")[2], "not exist"),
        (server.new_database("ENCODING 'SQL_ASCII' TEMPLATE template0"), "its encoding is SQL_ASCII"),
        ("postgresql://tester:secret@[::1/x?host=/tmp&nothing=1", "can not be read"),
        ("postgresql://tester:secret@host:port/x", "port"),
    ):
        with pytest.raises(Exception, match=says) as caught:
            runner.run(connect(PostgresAddress(address)))
        assert "secret" not in str(caught.value)


def test_tables_of_an_older_version_are_brought_up(
    server: PostgresServer, address: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number after the other; a step that fails leaves the version before it."""
    create_database(PostgresAddress(address), EMPTY)
    now = tables.SCHEMA_VERSION
    steps = {
        now: "CREATE TABLE one (id INTEGER PRIMARY KEY) STRICT;",
        now + 1: "ALTER TABLE one ADD COLUMN two TEXT;",
    }
    monkeypatch.setattr(tables, "SCHEMA_VERSION", now + 2)
    monkeypatch.setattr(tables, "MIGRATIONS", {**steps, now + 1: "ALTER TABLE none ADD COLUMN two TEXT;"})
    with pytest.raises(LoadDbError, match='relation "none" does not exist'):
        runner.run(PostgresDatabase.open(PostgresAddress(address)))
    assert server.execute("SELECT schema_version FROM offset_node.about", address) == [(now + 1,)]
    monkeypatch.setattr(tables, "MIGRATIONS", steps)
    opened = runner.run(PostgresDatabase.open(PostgresAddress(address)))
    assert runner.run(opened.load()) == EMPTY
    runner.run(opened.close())
    assert server.execute(
        "SELECT schema_version, two FROM offset_node.about LEFT JOIN offset_node.one ON true", address
    )


def test_who_asked_for_a_payment(database: PostgresDatabase, runner: asyncio.Runner, server: PostgresServer) -> None:
    """Once known it stays."""
    subject = PaymentId(bytes(16))
    runner.run(database.apply([SetAsker(subject, KEY), SetAsker(subject, PublicKey(bytes(32)))]))
    address = database._address.text
    rows = server.execute("SELECT a.public_key FROM offset_node.askers JOIN offset_node.apps a ON a.id = app", address)
    assert rows == [(KEY,)]
