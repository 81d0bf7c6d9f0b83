"""A node is moved between a file and a server with all it remembers, and starts on one of them. Spec 08 §6."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from interop.cluster.server import PostgresServer
from offset_funder.bookkeeping import Entry, balances
from offset_funder.state import FunderState
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.database.between_engines import move_database
from offset_node.database.errors import LoadDbError
from offset_node.database.names import DatabaseName, PostgresAddress
from offset_node.database.opening import create, create_database, open_database
from offset_node.database.tables.cells import Statement
from offset_node.state import AddEntry, AddPluginEvent, NodeState, PluginRecords, SetNote, SetPluginValue
from offset_proto.files import OutputAlreadyExists
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, HistoryPage, ReadHistory
from offset_proto.types import PublicKey, Uid

APP = PublicKey(b"\x31" * 32)
EMPTY = NodeState(FunderState(APP))
ENTRIES = 2500


async def _everything(name: DatabaseName) -> tuple[NodeState, PluginRecords, HistoryPage]:
    database = await open_database(name)
    try:
        state = await database.load()
        page = await database.read_history(ReadHistory(Uid(bytes(16)), 0, 0, True, 1000, EVERY_ENTRY))
        return state, await database.load_plugins(), page
    finally:
        await database.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The database of a node with friends, a payment under way, a history, notes, and plugins."""
    network = SimulatedNetwork(["A", "B", "C"], Random(0))
    network.befriend("A", "B")
    network.befriend("B", "C")
    network.pay(["A", "B", "C"], 50, fees=3)
    network.transact(["A", "B", "C"], network.payment("A", "C", network.invoice("C", 20), 20), 20, fees=1)
    network.step()
    stored = network.nodes["A"].stored
    path = tmp_path / "node.db"
    create_database(path, NodeState(stored))

    async def fill() -> None:
        database = await open_database(path)
        try:
            await database.load()
            friend = network.nodes["B"].key
            balance = balances(stored)[friend, FST]
            limit = Entry(friend, FST, EntryKind.LIMIT, balance, balance, amount=7)
            first = database.history_end + 1
            await database.apply([AddEntry(number, number, limit, APP) for number in range(first, first + ENTRIES)])
            await database.apply([SetNote(first, "a\0b"), AddPluginEvent(3, "p", "h", "{}")])
            await database.apply([SetPluginValue("p", "a\0b", b"\0")])
        finally:
            await database.close()

    asyncio.run(fill())
    return path


def test_there_and_back(source: Path, address: str, tmp_path: Path) -> None:
    """Nothing is lost either way, what is counted goes on after the last number, and the old one is left behind."""
    there, back = PostgresAddress(address), tmp_path / "back.db"
    everything = asyncio.run(_everything(source))
    moved = asyncio.run(move_database(source, there))
    assert (moved.state, moved.entries) == (everything[0], ENTRIES + 1)
    assert asyncio.run(_everything(there)) == everything
    with pytest.raises(LoadDbError, match="exported: its node may have gone on elsewhere"):
        asyncio.run(open_database(source))

    async def go_on() -> None:
        database = await open_database(there)
        try:
            state = await database.load()
            new = Entry(PublicKey(b"\x01" * 32), FST, EntryKind.LIMIT, 0, 0, amount=1)
            await database.apply([AddEntry(database.history_end + 1, 1, new, PublicKey(b"\x02" * 32))])
            assert await database.reader.check(state) == ENTRIES + 2
        finally:
            await database.close()

    asyncio.run(go_on())
    everything = asyncio.run(_everything(there))
    again = asyncio.run(move_database(there, back))
    assert asyncio.run(_everything(back)) == everything
    assert again.digest != moved.digest
    with pytest.raises(LoadDbError, match="exported: its node may have gone on elsewhere"):
        asyncio.run(open_database(there))


def test_what_is_there_stays(source: Path, address: str, tmp_path: Path) -> None:
    """A database in the place of the new one is not touched, and the node still starts on the old one."""
    there, file = PostgresAddress(address), tmp_path / "there.db"
    for taken in (there, file):
        create_database(taken, EMPTY)
        with pytest.raises(OutputAlreadyExists):
            asyncio.run(move_database(source, taken))
        assert asyncio.run(_everything(taken))[0] == EMPTY
    with pytest.raises(OutputAlreadyExists):
        asyncio.run(move_database(source, source))
    asyncio.run(_everything(source))


async def _interrupted(source: DatabaseName, target: DatabaseName, steps: int) -> None:
    """The first steps of a move, by hand, with what is stored there at the end of each."""
    old = await open_database(source)
    old_rows = [row async for row in old.reader.rows("SELECT local_public_key FROM node")]
    await old.close()

    async def half() -> AsyncIterator[list[Statement]]:
        yield [("INSERT INTO node (id, local_public_key) VALUES (1, ?)", row) for row in old_rows]

    await create(target, half(), is_exported=True)
    if steps > 1:
        old = await open_database(source)
        await old.mark_exported(True)
        await old.close()


def test_a_move_that_did_not_end(address: str, tmp_path: Path) -> None:
    """The same again ends it; where what it finds is something else, it says so, and a node starts where it did."""
    there = PostgresAddress(address)
    for steps in (1, 2):
        old, new = tmp_path / f"{steps}.db", tmp_path / f"{steps}-new.db"
        create_database(old, EMPTY)
        asyncio.run(_interrupted(old, new, steps))
        with pytest.raises(LoadDbError, match="exported"):
            asyncio.run(open_database(new))
        asyncio.run(move_database(old, new))
        assert asyncio.run(_everything(new))[0] == EMPTY
        with pytest.raises(LoadDbError, match="exported"):
            asyncio.run(open_database(old))
    network = SimulatedNetwork(["A", "B"], Random(0))
    network.befriend("A", "B")
    create_database(tmp_path / "old.db", NodeState(network.nodes["A"].stored))
    asyncio.run(_interrupted(tmp_path / "old.db", there, 1))
    with pytest.raises(LoadDbError, match=r"its table (relays|friends) of 0 rows is not that of"):
        asyncio.run(move_database(tmp_path / "old.db", there))
    asyncio.run(_everything(tmp_path / "old.db"))


def test_a_moved_node_is_moved_nowhere_else(source: Path, address: str, tmp_path: Path) -> None:
    """It may have gone on there."""
    asyncio.run(move_database(source, PostgresAddress(address)))
    with pytest.raises(LoadDbError, match="no such file"):
        asyncio.run(move_database(source, tmp_path / "second.db"))
    with pytest.raises(OutputAlreadyExists):
        asyncio.run(move_database(source, PostgresAddress(address)))


def test_a_dump_is_a_backup(server: PostgresServer, source: Path, address: str, tmp_path: Path) -> None:
    """No node runs on what was restored from it; in what is made of it every friend has to speak first."""
    asyncio.run(move_database(source, PostgresAddress(address)))
    before = asyncio.run(_everything(PostgresAddress(address)))
    dump = subprocess.run([server.programs / "pg_dump", address], check=True, capture_output=True).stdout
    restored = server.new_database()
    subprocess.run([server.programs / "psql", "-q", restored], input=dump, check=True, capture_output=True)
    with pytest.raises(LoadDbError, match="restored from a dump, on which no node runs"):
        asyncio.run(open_database(PostgresAddress(restored)))
    timelines = {before[2].timeline}
    for target in (tmp_path / "again.db", PostgresAddress(server.new_database())):
        asyncio.run(move_database(PostgresAddress(restored), target, restored=True))
        state, plugins, page = asyncio.run(_everything(target))
        assert state.funder.has_forgotten
        assert not any(friend.is_heard for friend in state.funder.friends.values())
        assert set(state.funder.friends) == set(before[0].funder.friends)
        assert (plugins, replace(page, timeline=0)) == before[1:]
        timelines.add(page.timeline)
    assert len(timelines) == 3
